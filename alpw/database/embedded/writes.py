"""The commands that write documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alpw.database.embedded.aggregation import update_by_pipeline
from alpw.database.embedded.collection import UpdateOutcome
from alpw.database.embedded.commands import (
    OK,
    Engine,
    Reply,
    check_hint,
    collection_name,
    command,
    named_collection,
)
from alpw.database.embedded.errors import MongoError, not_implemented
from alpw.database.embedded.projection import compile_projection


def _statements(
    request: Reply, field: str, run: Callable[[Any], None], allowed: str = "", refused: str = ""
) -> list[Reply]:
    """Run the statements of a write command; the errors among them.

    An ordered command stops at the first error. The statements before it stay, as in MongoDB.
    """
    statements = request.get(field)
    if not isinstance(statements, list) or not statements:
        raise MongoError(
            72, f"Write batch sizes must be between 1 and 100000. Got 0 operations in '{field}'."
        )
    errors = []
    for index, statement in enumerate(statements):
        try:
            for name in statement if allowed else ():
                if name in refused.split() and statement[name]:
                    raise not_implemented(f"the field {name!r} of {field}")
                if name not in allowed.split() + refused.split():
                    raise MongoError(40415, f"BSON field '{field}.{name}' is an unknown field.")
            run(statement)
        except MongoError as error:
            errors.append(error.as_write_error(index))
            if request.get("ordered", True):
                break
    return errors


def _with_errors(reply: Reply, errors: list[Reply]) -> Reply:
    return {**reply, **({"writeErrors": errors} if errors else {}), **OK}


@command("insert", fields="documents ordered bypassDocumentValidation")
def _insert(engine: Engine, database: str, request: Reply) -> Reply:
    collection = named_collection(engine, database, request, create=True)
    errors = _statements(request, "documents", collection.insert)
    attempted = (
        errors[-1]["index"] + 1 if errors and request.get("ordered", True) else len(request["documents"])
    )
    return _with_errors({"n": attempted - len(errors)}, errors)


def _update_one_or_many(engine: Engine, database: str, name: str, statement: Reply) -> UpdateOutcome:
    upsert = bool(statement.get("upsert"))
    store = engine.store
    collection = store.create(database, name) if upsert else store.get(database, name)
    check_hint(collection, statement.get("hint"))
    return collection.update(
        statement["q"],
        statement["u"],
        multi=bool(statement.get("multi")),
        upsert=upsert,
        sort=statement.get("sort"),
        array_filters=statement.get("arrayFilters"),
        pipeline=update_by_pipeline,
    )


@command("update", fields="updates ordered bypassDocumentValidation", refused="let")
def _update(engine: Engine, database: str, request: Reply) -> Reply:
    name = collection_name(request)
    reply: Reply = {"n": 0, "nModified": 0}
    upserted: list[Reply] = []
    done = iter(range(len(request.get("updates") or ())))

    def run(statement: Reply) -> None:
        index = next(done)
        outcome = _update_one_or_many(engine, database, name, statement)
        reply["n"] += outcome.matched + outcome.upserted
        reply["nModified"] += outcome.modified
        if outcome.upserted:
            upserted.append({"index": index, "_id": outcome.upserted_id})

    errors = _statements(request, "updates", run, "q u multi upsert arrayFilters hint", "collation c sort")
    return _with_errors({**reply, **({"upserted": upserted} if upserted else {})}, errors)


@command("delete", fields="deletes ordered", refused="let")
def _delete(engine: Engine, database: str, request: Reply) -> Reply:
    collection = named_collection(engine, database, request)
    deleted: list[dict] = []

    def run(statement: Reply) -> None:
        check_hint(collection, statement.get("hint"))
        if statement.get("limit") not in (0, 1):
            raise MongoError(
                9, f"The limit field in delete objects must be 0 or 1. Got {statement.get('limit')}"
            )
        deleted.extend(collection.delete(statement["q"], limit=int(statement["limit"])))

    errors = _statements(request, "deletes", run, "q limit hint", "collation")
    return _with_errors({"n": len(deleted)}, errors)


@command(
    "findAndModify",
    "findandmodify",
    fields="query update remove new fields sort upsert arrayFilters hint bypassDocumentValidation",
    refused="collation let",
)
def _find_and_modify(engine: Engine, database: str, request: Reply) -> Reply:
    name = collection_name(request)
    query, sort = request.get("query") or {}, request.get("sort")
    project = compile_projection(request.get("fields"))
    if bool(request.get("remove")) == ("update" in request):
        raise MongoError(9, "Either an update or remove=true must be specified")
    if request.get("remove"):
        if request.get("new") or request.get("upsert"):
            raise MongoError(9, "Cannot specify remove together with 'new' or 'upsert'")
        removed = named_collection(engine, database, request).delete(query, limit=1, sort=sort)
        value = project(removed[0]) if removed else None
        return {"lastErrorObject": {"n": len(removed)}, "value": value, **OK}
    statement = {"q": query, "u": request["update"], "sort": sort}
    statement |= {key: request[key] for key in ("upsert", "arrayFilters", "hint") if key in request}
    outcome = _update_one_or_many(engine, database, name, statement)
    last: Reply = {"n": outcome.matched + outcome.upserted, "updatedExisting": outcome.matched > 0}
    if outcome.upserted:
        last["upserted"] = outcome.upserted_id
    document = outcome.after if request.get("new") else outcome.before
    return {"lastErrorObject": last, "value": project(document) if document is not None else None, **OK}
