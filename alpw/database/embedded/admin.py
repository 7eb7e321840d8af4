"""The commands about the server and its databases."""

from __future__ import annotations

import os
import time

from bson import Int64

from alpw.database.embedded.commands import (
    ANY_FIELD,
    COMMANDS,
    OK,
    Command,
    Engine,
    Reply,
    command,
    named_collection,
)
from alpw.database.embedded.query import compile_filter

# the MongoDB version whose behaviour is followed, and its wire protocol
VERSION, WIRE_VERSION = "6.0.0", 17


def _hello(engine: Engine, database: str, request: Reply) -> Reply:
    # without logicalSessionTimeoutMinutes drivers use neither sessions nor retryable writes
    return {
        "helloOk": True,
        "ismaster": True,
        "isWritablePrimary": True,
        "maxBsonObjectSize": 16 * 1024 * 1024,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
        "minWireVersion": 0,
        "maxWireVersion": WIRE_VERSION,
        "readOnly": False,
        **OK,
    }


# drivers add fields to the handshake with every version
for _name in ("hello", "ismaster"):
    COMMANDS[_name] = Command(_hello, ANY_FIELD, frozenset())


@command("ping")
@command("endSessions")
@command("refreshSessions")
@command("killSessions")
def _nothing(engine: Engine, database: str, request: Reply) -> Reply:
    return dict(OK)


@command("buildInfo")
def _build_info(engine: Engine, database: str, request: Reply) -> Reply:
    return {
        "version": VERSION,
        "versionArray": [*map(int, VERSION.split(".")), 0],
        "modules": ["alpw-embedded"],
        "maxBsonObjectSize": 16 * 1024 * 1024,
        **OK,
    }


@command("serverStatus")
def _server_status(engine: Engine, database: str, request: Reply) -> Reply:
    return {
        "version": VERSION,
        "process": "alpw-embedded",
        "pid": Int64(os.getpid()),
        "uptime": time.time() - engine.started,
        "metrics": {"cursor": {"open": {"total": len(engine.cursors)}}},
        **OK,
    }


@command("listDatabases", fields="filter nameOnly authorizedDatabases")
def _list_databases(engine: Engine, database: str, request: Reply) -> Reply:
    holds = compile_filter(request.get("filter") or {})
    names = [name for name in engine.store.databases() if holds({"name": name})]
    if request.get("nameOnly"):
        return {"databases": [{"name": name} for name in names], **OK}
    found = []
    for name in names:
        collections = engine.store.collections(name).values()
        size = sum(engine.store.stored_bytes(collection) for collection in collections)
        found.append({"name": name, "sizeOnDisk": Int64(size), "empty": size == 0})
    return {"databases": found, "totalSize": Int64(sum(item["sizeOnDisk"] for item in found)), **OK}


@command("dropDatabase")
def _drop_database(engine: Engine, database: str, request: Reply) -> Reply:
    for name in list(engine.store.collections(database)):
        engine.store.drop(database, name)
    return {"dropped": database, **OK}


@command("dbStats", fields="scale freeStorage")
def _database_stats(engine: Engine, database: str, request: Reply) -> Reply:
    collections = list(engine.store.collections(database).values())
    scale = request.get("scale") or 1
    size = sum(engine.store.stored_bytes(collection) for collection in collections)
    return {
        "db": database,
        "collections": len(collections),
        "views": 0,
        "objects": sum(len(collection.documents) for collection in collections),
        "dataSize": size / scale,
        "storageSize": size / scale,
        "indexes": sum(1 + len(collection.indexes) for collection in collections),
        "scaleFactor": scale,
        **OK,
    }


@command("collStats", fields="scale")
def _collection_stats(engine: Engine, database: str, request: Reply) -> Reply:
    collection = named_collection(engine, database, request)
    scale, count = request.get("scale") or 1, len(collection.documents)
    size = engine.store.stored_bytes(collection)
    return {
        "ns": collection.namespace,
        "count": count,
        "size": int(size / scale),
        "storageSize": int(size / scale),
        "avgObjSize": size // count if count else 0,
        "nindexes": 1 + len(collection.indexes),
        "scaleFactor": scale,
        **OK,
    }
