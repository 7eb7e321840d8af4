"""The table of commands, and what they share: the engine, the check of fields, the look-up of a collection.

A field that a command does not have is MongoDB's error 40415; one that MongoDB has and this server lacks
is refused, because ignoring it would give an answer to another question.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alpw.database.embedded.collection import Collection
from alpw.database.embedded.cursors import Cursors
from alpw.database.embedded.errors import MongoError, not_implemented
from alpw.database.embedded.store import Store
from alpw.database.embedded.values import is_number

Reply = dict[str, Any]
OK: Reply = {"ok": 1.0}


class Engine:
    """What the commands work on."""

    def __init__(self, store: Store) -> None:
        self.store, self.cursors, self.started = store, Cursors(), time.time()


@dataclass(frozen=True)
class Command:
    run: Callable[[Engine, str, Reply], Reply]
    fields: frozenset[str]
    refused: frozenset[str]


COMMANDS: dict[str, Command] = {}

GENERIC = {
    *("$db", "$readPreference", "$clusterTime", "lsid", "comment", "maxTimeMS"),
    *("writeConcern", "readConcern", "apiVersion", "apiStrict", "apiDeprecationErrors"),
}
TRANSACTIONS = ("txnNumber", "startTransaction", "autocommit")


def command(*names: str, fields: str = "", refused: str = "") -> Callable:
    """Register a function under the names of its command."""

    def register(run: Callable[[Engine, str, Reply], Reply]) -> Callable:
        for name in names:
            allowed = frozenset((name, *fields.split()))
            COMMANDS[name.lower()] = Command(run, allowed, frozenset(refused.split()))
        return run

    return register


def run_command(engine: Engine, database: str, request: Reply) -> Reply:
    """Run one command; the caller holds the lock and commits the effects.

    Raises:
        MongoError: what the client is told.
    """
    name = next(iter(request))
    found = COMMANDS.get(name.lower())
    if found is None:
        raise MongoError(59, f"no such command: '{name}'")
    for field in TRANSACTIONS:
        if field in request:
            raise MongoError(20, "Transaction numbers are only allowed on a replica set member or mongos")
    if found.fields != ANY_FIELD:
        for field in request:
            if field in found.refused:
                if request[field]:
                    raise not_implemented(f"the field {field!r} of {name}")
            elif field not in found.fields and field not in GENERIC and field != name:
                raise MongoError(40415, f"BSON field '{name}.{field}' is an unknown field.")
    write_concern = request.get("writeConcern") or {}
    if is_number(write_concern.get("w")) and write_concern["w"] > 1:
        raise MongoError(2, "cannot use 'w' > 1 when a host is not replicated")
    return found.run(engine, database, request)


ANY_FIELD = frozenset({"*"})


def collection_name(request: Reply) -> str:
    name = request[next(iter(request))]
    if not isinstance(name, str) or not name:
        raise MongoError(73, f"collection name has invalid type {type(name).__name__}")
    return name


def named_collection(engine: Engine, database: str, request: Reply, *, create: bool = False) -> Collection:
    """The collection that a command names, with its ``hint`` checked."""
    store, name = engine.store, collection_name(request)
    collection = store.create(database, name) if create else store.get(database, name)
    check_hint(collection, request.get("hint"))
    return collection


def check_hint(collection: Collection, hint: Any) -> None:
    """A hint does not change an answer, but one on a missing index is an error."""
    if not hint or hint in ("_id_", {"_id": 1}) or (isinstance(hint, dict) and "$natural" in hint):
        return
    if hint not in collection.indexes and all(
        hint != index.spec["key"] for index in collection.indexes.values()
    ):
        raise MongoError(2, "error processing query: hint provided does not correspond to an existing index")


def natural_number(request: Reply, field: str) -> int:
    value = request.get(field) or 0
    if not is_number(value) or value < 0:
        raise MongoError(2, f"{field} value must be non-negative, but received: {value}")
    return int(value)


def batch_size(options: Reply) -> int | None:
    return natural_number(options, "batchSize") if "batchSize" in options else None
