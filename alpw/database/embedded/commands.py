"""The commands: each lets mongomock do the work, and words the reply as MongoDB does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bson
from mongomock.filtering import filter_applies

from alpw.database.embedded import writes
from alpw.database.embedded.checks import check_pipeline, check_projection, check_query, check_sort
from alpw.database.embedded.collection import Client, Collection
from alpw.database.embedded.cursors import Cursors
from alpw.database.embedded.errors import MongoError, not_implemented
from alpw.database.embedded.store import MAX_DOCUMENT_BYTES, encoded
from alpw.database.embedded.wire import MAX_MESSAGE_BYTES
from alpw.database.embedded.writes import Reply, given_fields

# the MongoDB version whose behaviour is followed, and its wire protocol
VERSION, WIRE_VERSION = "6.0.0", 17
# the fields of requests that are served or may be ignored
FIELDS = {"$db", "$readPreference", "$clusterTime", "lsid", "comment", "maxTimeMS", "writeConcern"}
FIELDS |= {"readConcern", "apiVersion", "apiStrict", "apiDeprecationErrors", "bypassDocumentValidation"}
FIELDS |= {"scale", "freeStorage", "nameOnly", "authorizedDatabases", "authorizedCollections", "commitQuorum"}
FIELDS |= {"filter", "query", "projection", "fields", "sort", "skip", "limit", "hint", "key", "pipeline"}
FIELDS |= {"cursor", "cursors", "collection", "batchSize", "singleBatch", "noCursorTimeout", "allowDiskUse"}
FIELDS |= {"documents", "updates", "deletes", "ordered", "update", "remove", "new", "upsert"}
FIELDS |= {"index", "indexes", "to", "dropTarget"}
CHECKS: dict[str, Callable[[Any], None]] = {"filter": check_query, "query": check_query, "sort": check_sort}
CHECKS |= {"pipeline": check_pipeline, "projection": check_projection, "fields": check_projection}
# drivers add fields to these with every version
ANY_FIELD = {"hello", "ismaster"}
INDEX_OPTIONS = {"unique", "sparse", "expireAfterSeconds", "partialFilterExpression"}


class Commands:
    """A method for each command, called with its collection, or with its database's name."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.cursors = Cursors()

    def run(self, database: str, request: Reply) -> Reply:
        """The reply to a command; the caller holds the lock and commits the effects."""
        name = next(iter(request))
        method = getattr(self, f"do_{name.lower()}", None)
        if method is None:
            raise MongoError(59, f"no such command: '{name}'")
        if {"txnNumber", "startTransaction", "autocommit"} & request.keys():
            raise MongoError(20, "Transaction numbers are only allowed on a replica set member or mongos")
        other = given_fields(request) - FIELDS - {name}
        if other and name.lower() not in ANY_FIELD:
            raise writes.unserved_field(other.pop(), name)
        if not database or set('/\\. "$\0') & set(database):
            raise MongoError(73, f"Invalid database name: '{database}'")
        for field in CHECKS.keys() & given_fields(request):
            CHECKS[field](request[field])
        target: Any = database
        if isinstance(request[name], str):
            target = self.client[database][request[name]]
            writes.check_hint(target, request.get("hint"))
        return {**method(target, request), "ok": 1.0}

    def do_hello(self, database: str, request: Reply) -> Reply:
        # without logicalSessionTimeoutMinutes drivers use neither sessions nor retryable writes
        sizes = {"maxBsonObjectSize": MAX_DOCUMENT_BYTES, "maxMessageSizeBytes": MAX_MESSAGE_BYTES}
        versions = {"minWireVersion": 0, "maxWireVersion": WIRE_VERSION, "maxWriteBatchSize": 100_000}
        return {"helloOk": True, "ismaster": True, "isWritablePrimary": True, **sizes, **versions}

    do_ismaster = do_hello

    def do_ping(self, database: str, request: Reply) -> Reply:
        return {}

    do_endsessions = do_ping

    def do_buildinfo(self, database: str, request: Reply) -> Reply:
        return {"version": VERSION, "versionArray": [*map(int, VERSION.split(".")), 0], "process": "embedded"}

    do_serverstatus = do_buildinfo

    def do_dbstats(self, database: str, request: Reply) -> Reply:
        target: Any = self.client[database]
        stats = [self.do_collstats(target[name], request) for name in target.list_collection_names()]
        count, size = (sum(each[field] for each in stats) for field in ("count", "size"))
        return {"db": database, "collections": len(stats), "objects": count, "dataSize": size}

    def do_collstats(self, collection: Collection, request: Reply) -> Reply:
        sizes = [len(bson.encode(document)) for document in collection._store.documents]
        size = sum(sizes) / (request.get("scale") or 1)
        return {"ns": collection.full_name, "count": len(sizes), "size": size}

    def do_listdatabases(self, database: str, request: Reply) -> Reply:
        entries: list[Reply] = [{"name": name} for name in sorted(self.client.list_database_names())]
        for entry in entries if not request.get("nameOnly") else ():
            entry.update(sizeOnDisk=self.do_dbstats(entry["name"], {})["dataSize"], empty=False)
        chosen = [entry for entry in entries if filter_applies(request.get("filter") or {}, entry)]
        return {"databases": chosen}

    def do_dropdatabase(self, database: str, request: Reply) -> Reply:
        self.client.drop_database(database)
        return {"dropped": database}

    def do_listcollections(self, database: str, request: Reply) -> Reply:
        names: list[str] = self.client[database].list_collection_names()
        entries: list[Reply] = [{"name": name, "type": "collection"} for name in names]
        for entry in entries if not request.get("nameOnly") else ():
            entry.update(options={}, info={"readOnly": False})
        chosen = [entry for entry in entries if filter_applies(request.get("filter") or {}, entry)]
        return self.cursors.first(f"{database}.$cmd.listCollections", chosen, request.get("cursor"))

    def do_create(self, collection: Collection, request: Reply) -> Reply:
        if collection._store.is_created:
            raise MongoError(48, f"Collection {collection.full_name} already exists.")
        collection._store.create()
        return {}

    def do_drop(self, collection: Collection, request: Reply) -> Reply:
        _existing(collection).drop()
        return {}

    def do_renamecollection(self, _: Collection, request: Reply) -> Reply:
        (database, old), (other, new) = (request[f].split(".", 1) for f in ("renameCollection", "to"))
        client: Any = self.client
        source, target = _existing(client[database][old]), client[other][new]._store
        if target is source or (target.is_created and not request.get("dropTarget")):
            raise MongoError(48, "target namespace exists")
        target.drop()
        target.create()
        for name, index in source.indexes.items():
            target.create_index(name, index)
        for document in source.documents:
            target[document["_id"]] = document
        source.drop()
        return {}

    def do_createindexes(self, collection: Collection, request: Reply) -> Reply:
        for index in request["indexes"]:
            key = index["key"]
            options = {field: index[field] for field in given_fields(index) & INDEX_OPTIONS}
            other = given_fields(index) - INDEX_OPTIONS - {"v", "key", "name", "background"}
            if other or set(key.values()) - {1, -1} or any("$" in path for path in key):
                raise not_implemented(f"an index with {other or key}")
            check_query(options.get("partialFilterExpression", {}))
            if options.get("unique"):
                collection.check_no_arrays(key)
            if list(key) != ["_id"]:
                collection.create_index(list(key.items()), name=index["name"], **options)
        collection._store.create()
        return {}

    def do_listindexes(self, collection: Collection, request: Reply) -> Reply:
        _existing(collection)
        found = list(collection.list_indexes())
        return self.cursors.first(collection.full_name, found, request.get("cursor"))

    def do_dropindexes(self, collection: Collection, request: Reply) -> Reply:
        store, wanted = _existing(collection), request["index"]
        keys = {name: dict(index["key"]) for name, index in store.indexes.items()}
        names = [name for name, key in keys.items() if wanted in ("*", name, key)]
        if not names and wanted != "*":
            raise MongoError(27, f"index not found: {wanted}")
        for name in names:
            store.drop_index(name)
        return {}

    def do_find(self, collection: Collection, request: Reply) -> Reply:
        query, projection, sort, skip, limit = map(
            request.get, ("filter", "projection", "sort", "skip", "limit")
        )
        found = collection.select(query or {}, projection, sort, skip or 0, limit or 0)
        return self.cursors.first(collection.full_name, found, request)

    def do_aggregate(self, collection: Collection, request: Reply) -> Reply:
        found = collection.run_pipeline(request["pipeline"])
        return self.cursors.first(collection.full_name, found, request.get("cursor"))

    def do_count(self, collection: Collection, request: Reply) -> Reply:
        skip, limit = request.get("skip") or 0, request.get("limit") or 0
        return {"n": len(collection.select(request.get("query") or {}, skip=skip, limit=limit))}

    def do_distinct(self, collection: Collection, request: Reply) -> Reply:
        reply = {"values": collection.distinct(request["key"], request.get("query") or {})}
        encoded(reply)
        return reply

    def do_insert(self, collection: Collection, request: Reply) -> Reply:
        return writes.run_statements(writes.insert, collection, request, "documents")

    def do_update(self, collection: Collection, request: Reply) -> Reply:
        return {"nModified": 0, **writes.run_statements(writes.update, collection, request, "updates")}

    def do_delete(self, collection: Collection, request: Reply) -> Reply:
        return writes.run_statements(writes.delete, collection, request, "deletes")

    def do_findandmodify(self, collection: Collection, request: Reply) -> Reply:
        return writes.find_and_modify(collection, request)

    def do_getmore(self, database: str, request: Reply) -> Reply:
        namespace = f"{database}.{request['collection']}"
        return self.cursors.next(namespace, request["getMore"], request.get("batchSize"))

    def do_killcursors(self, collection: Collection, request: Reply) -> Reply:
        return self.cursors.kill(request["cursors"])


def _existing(collection: Collection) -> Any:
    if not collection._store.is_created:
        raise MongoError(26, f"ns does not exist: {collection.full_name}")
    return collection._store
