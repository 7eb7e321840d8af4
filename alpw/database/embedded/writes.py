"""The commands that write documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alpw.database.embedded.checks import check_query, check_update
from alpw.database.embedded.collection import Collection
from alpw.database.embedded.errors import MongoError, as_mongo_error, not_implemented

Reply = dict[str, Any]
STATEMENT_FIELDS = {"q", "u", "multi", "upsert", "limit", "hint"}
# what MongoDB has and this server has not
UNSERVED_FIELDS = {"collation", "let", "arrayFilters", "explain", "min", "max", "returnKey", "showRecordId"}
UNSERVED_FIELDS |= {"tailable", "awaitData", "capped", "size", "clusteredIndex", "timeseries", "viewOn"}
UNSERVED_FIELDS |= {"validator", "validationLevel", "validationAction"}


def given_fields(request: Reply) -> set[str]:
    """The fields of a request that ask for something."""
    return {field for field, value in request.items() if value not in (None, False, {}, [])}


def unserved_field(field: str, command: str) -> MongoError:
    """The refusal of a field of a request: one that MongoDB has, or one that it has not either."""
    if field in UNSERVED_FIELDS:
        return not_implemented(f"the field {field!r} of {command}")
    return MongoError(40415, f"BSON field '{command}.{field}' is an unknown field.")


def check_hint(collection: Collection, hint: Any) -> None:
    """A hint does not change an answer, but one on a missing index is an error."""
    keys = {name: dict(index["key"]) for name, index in collection._store.indexes.items()}
    if hint and hint not in (*keys, *keys.values(), "_id_", {"_id": 1}, {"$natural": 1}):
        raise MongoError(2, "hint provided does not correspond to an existing index")


def insert(collection: Collection, document: Reply) -> Reply:
    collection.insert_one(document)
    return {"n": 1}


def update(collection: Collection, statement: Reply) -> Reply:
    _check_statement(collection, statement)
    query, multi, upsert = statement["q"], bool(statement.get("multi")), bool(statement.get("upsert"))
    check_update(statement["u"], query, multi=multi, upsert=upsert)
    return collection._update(query, statement["u"], upsert=upsert, multi=multi)


def delete(collection: Collection, statement: Reply) -> Reply:
    _check_statement(collection, statement)
    return {"n": collection._delete(statement["q"], multi=not statement.get("limit"))["n"]}


def _check_statement(collection: Collection, statement: Reply) -> None:
    if other := given_fields(statement) - STATEMENT_FIELDS:
        raise unserved_field(other.pop(), "write")
    check_hint(collection, statement.get("hint"))
    check_query(statement["q"])


def run_statements(
    run: Callable[[Collection, Reply], Reply], collection: Collection, request: Reply, field: str
) -> Reply:
    """Add up what the statements of a write command did; one that fails ends the command if it is ordered."""
    reply: Reply = {"n": 0}
    for index, statement in enumerate(request[field]):
        try:
            result = run(collection, statement)
        except Exception as error:  # noqa: BLE001 - told to the client, with its index
            reply.setdefault("writeErrors", []).append({"index": index, **as_mongo_error(error).fields})
            if request.get("ordered", True):
                break
            continue
        reply["n"] += result["n"]
        if "nModified" in result:
            reply["nModified"] = reply.get("nModified", 0) + result["nModified"]
            if result["n"] and not result["updatedExisting"]:
                reply.setdefault("upserted", []).append({"index": index, "_id": result["upserted"]})
    return reply


def find_and_modify(collection: Collection, request: Reply) -> Reply:
    query, changes = request.get("query") or {}, request.get("update") or {}
    projection = request.get("fields")
    new, upsert, remove = (bool(request.get(field)) for field in ("new", "upsert", "remove"))
    if remove == ("update" in request) or (remove and (upsert or new)):
        raise MongoError(9, "Either an update or remove=true is needed; remove excludes new and upsert")
    check_update(changes, query, upsert=upsert)
    found = collection.select(query, sort=request.get("sort"), limit=1)
    if not found and not upsert:
        return {"lastErrorObject": {"n": 0, "updatedExisting": False}, "value": None}
    if found:
        query = {"_id": {"$eq": found[0]["_id"]}}
    value = collection.select(query, projection)
    if remove:
        collection._delete(query)
        return {"lastErrorObject": {"n": 1}, "value": value[0]}
    result = collection._update(query, changes, upsert=upsert)
    outcome = {"n": 1, "updatedExisting": bool(found)}
    if not found:
        outcome["upserted"] = result["upserted"]
        query = {"_id": {"$eq": result["upserted"]}}
    value = collection.select(query, projection) if new else value
    return {"lastErrorObject": outcome, "value": value[0] if value else None}
