"""The commands that make, list and drop collections and indexes."""

from __future__ import annotations

from alpw.database.embedded.commands import (
    OK,
    Engine,
    Reply,
    batch_size,
    collection_name,
    command,
    named_collection,
)
from alpw.database.embedded.errors import MongoError
from alpw.database.embedded.indexes import Index
from alpw.database.embedded.query import compile_filter


@command("listCollections", fields="filter nameOnly authorizedCollections cursor")
def _list_collections(engine: Engine, database: str, request: Reply) -> Reply:
    holds = compile_filter(request.get("filter") or {})
    found = []
    for name in engine.store.collections(database):
        entry: Reply = {"name": name, "type": "collection"}
        if not request.get("nameOnly"):
            id_index = {"v": 2, "key": {"_id": 1}, "name": "_id_"}
            entry |= {"options": {}, "info": {"readOnly": False}, "idIndex": id_index}
        if holds(entry):
            found.append(entry)
    namespace = f"{database}.$cmd.listCollections"
    return engine.cursors.first_reply(namespace, found, batch_size(request.get("cursor") or {}))


@command(
    "create",
    fields="",
    refused="capped size max timeseries clusteredIndex validator viewOn pipeline collation "
    "expireAfterSeconds validationLevel validationAction storageEngine indexOptionDefaults "
    "changeStreamPreAndPostImages encryptedFields",
)
def _create(engine: Engine, database: str, request: Reply) -> Reply:
    name = collection_name(request)
    if engine.store.exists(database, name):
        raise MongoError(48, f"Collection {database}.{name} already exists.")
    engine.store.create(database, name)
    return dict(OK)


@command("drop")
def _drop(engine: Engine, database: str, request: Reply) -> Reply:
    name = collection_name(request)
    collection = engine.store.get(database, name)
    if not engine.store.drop(database, name):
        raise MongoError(26, "ns not found")
    return {"nIndexesWas": 1 + len(collection.indexes), "ns": collection.namespace, **OK}


@command("renameCollection", fields="to dropTarget")
def _rename(engine: Engine, database: str, request: Reply) -> Reply:
    if database != "admin":
        raise MongoError(13, "renameCollection may only be run against the admin database.")
    source, target = (tuple(str(request.get(field)).split(".", 1)) for field in ("renameCollection", "to"))
    if len(source) != 2 or len(target) != 2:
        raise MongoError(73, "renameCollection takes namespaces such as 'database.collection'")
    if not engine.store.exists(*source):
        raise MongoError(26, f"Source collection {'.'.join(source)} does not exist")
    if engine.store.exists(*target):
        if not request.get("dropTarget") or source == target:
            raise MongoError(48, "target namespace exists")
        engine.store.drop(*target)
    engine.store.rename(source, target)
    return dict(OK)


@command("createIndexes", fields="indexes commitQuorum")
def _create_indexes(engine: Engine, database: str, request: Reply) -> Reply:
    existed = engine.store.exists(database, collection_name(request))
    indexes = [Index.from_client(spec) for spec in request.get("indexes") or ()]
    if not indexes:
        raise MongoError(2, "Must specify at least one index to create")
    collection = named_collection(engine, database, request, create=True)
    before = 1 + len(collection.indexes)
    for index in indexes:
        collection.create_index(index)
    reply: Reply = {"numIndexesBefore": before, "numIndexesAfter": 1 + len(collection.indexes)}
    return {**reply, "createdCollectionAutomatically": not existed, **OK}


def _existing(engine: Engine, database: str, request: Reply) -> None:
    if not engine.store.exists(database, collection_name(request)):
        raise MongoError(26, f"ns does not exist: {database}.{collection_name(request)}")


@command("listIndexes", fields="cursor")
def _list_indexes(engine: Engine, database: str, request: Reply) -> Reply:
    _existing(engine, database, request)
    collection = named_collection(engine, database, request)
    specs = [{"v": 2, "key": {"_id": 1}, "name": "_id_"}, *(i.spec for i in collection.indexes.values())]
    return engine.cursors.first_reply(collection.namespace, specs, batch_size(request.get("cursor") or {}))


@command("dropIndexes", fields="index")
def _drop_indexes(engine: Engine, database: str, request: Reply) -> Reply:
    _existing(engine, database, request)
    collection = named_collection(engine, database, request)
    wanted, before = request.get("index"), 1 + len(collection.indexes)
    if wanted == "*":
        names = list(collection.indexes)
    elif isinstance(wanted, dict):
        names = [name for name, index in collection.indexes.items() if index.spec["key"] == wanted]
        if not names:
            raise MongoError(27, f"can't find index with key: {wanted}")
    else:
        names = wanted if isinstance(wanted, list) else [str(wanted)]
    for name in names:
        collection.drop_index(name)
    return {"nIndexesWas": before, **OK}
