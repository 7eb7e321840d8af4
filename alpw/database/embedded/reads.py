"""The commands that read documents."""

from __future__ import annotations

from alpw.database.embedded.aggregation import run_pipeline
from alpw.database.embedded.collection import Collection
from alpw.database.embedded.commands import (
    OK,
    Engine,
    Reply,
    batch_size,
    command,
    named_collection,
    natural_number,
)
from alpw.database.embedded.errors import MongoError, not_implemented
from alpw.database.embedded.projection import compile_projection
from alpw.database.embedded.query import sorted_documents
from alpw.database.embedded.values import MISSING, leaves, order_key


class DatabaseView:
    """One database, as the stages of a pipeline reach it."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.name = engine, name

    def get_collection(self, name: str) -> Collection:
        return self.engine.store.get(self.name, name)

    def replace_collection(self, name: str, documents: list[dict]) -> None:
        collection = self.engine.store.create(self.name, name)
        collection.delete({})
        for document in documents:
            collection.insert(document)


@command(
    "find",
    fields="filter projection sort skip limit batchSize singleBatch hint noCursorTimeout allowDiskUse "
    "allowPartialResults",
    refused="collation min max returnKey showRecordId tailable awaitData let oplogReplay",
)
def _find(engine: Engine, database: str, request: Reply) -> Reply:
    collection = named_collection(engine, database, request)
    project = compile_projection(request.get("projection"))
    found = collection.find(request.get("filter"))
    documents = sorted_documents(found, request["sort"]) if request.get("sort") else list(found)
    skip, limit = natural_number(request, "skip"), natural_number(request, "limit")
    documents = documents[skip : skip + limit] if limit else documents[skip:]
    if request.get("projection"):
        documents = [project(document) for document in documents]
    return engine.cursors.first_reply(
        collection.namespace, documents, batch_size(request), bool(request.get("singleBatch"))
    )


@command(
    "aggregate",
    fields="pipeline cursor allowDiskUse bypassDocumentValidation hint",
    refused="collation let explain",
)
def _aggregate(engine: Engine, database: str, request: Reply) -> Reply:
    if not isinstance(request["aggregate"], str):
        raise not_implemented("an aggregation without a collection")
    collection = named_collection(engine, database, request)
    pipeline = request.get("pipeline")
    if "cursor" not in request:
        raise MongoError(9, "The 'cursor' option is required")
    query: dict = {}
    if isinstance(pipeline, list) and pipeline and isinstance(pipeline[0], dict) and "$match" in pipeline[0]:
        # indexes serve the first stage only
        query = pipeline[0]["$match"]
    documents = run_pipeline(collection.find(query), pipeline, DatabaseView(engine, database))
    return engine.cursors.first_reply(collection.namespace, documents, batch_size(request["cursor"] or {}))


@command("getMore", fields="collection batchSize")
def _get_more(engine: Engine, database: str, request: Reply) -> Reply:
    namespace = f"{database}.{request.get('collection')}"
    return engine.cursors.next_reply(
        request["getMore"], namespace, natural_number(request, "batchSize") or None
    )


@command("killCursors", fields="cursors")
def _kill_cursors(engine: Engine, database: str, request: Reply) -> Reply:
    killed, unknown = engine.cursors.kill(request.get("cursors", []))
    return {
        "cursorsKilled": killed,
        "cursorsNotFound": unknown,
        "cursorsAlive": [],
        "cursorsUnknown": [],
        **OK,
    }


@command("count", fields="query limit skip hint fields", refused="collation")
def _count(engine: Engine, database: str, request: Reply) -> Reply:
    collection = named_collection(engine, database, request)
    query = request.get("query") or {}
    count = sum(1 for _ in collection.find(query)) if query else len(collection.documents)
    count = max(count - natural_number(request, "skip"), 0)
    limit = abs(int(request.get("limit") or 0))
    return {"n": min(count, limit) if limit else count, **OK}


@command("distinct", fields="key query hint", refused="collation")
def _distinct(engine: Engine, database: str, request: Reply) -> Reply:
    collection = named_collection(engine, database, request)
    if not isinstance(request.get("key"), str):
        raise MongoError(14, "The 'key' of distinct must be a string")
    parts = request["key"].split(".")
    values = {
        order_key(value): value
        for document in collection.find(request.get("query"))
        for leaf in leaves(document, parts)
        for value in (leaf if isinstance(leaf, list) else [leaf])
        if value is not MISSING
    }
    return {"values": list(values.values()), **OK}
