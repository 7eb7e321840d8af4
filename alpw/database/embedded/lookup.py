"""Candidates for a query from hash tables of the indexed fields; mongomock then filters the candidates.

For every indexed field a document is filed under the plain values that it holds there (each element of an
array), and under `OTHER` for anything else: nothing there, null, a document, an array within the path. So a
document that a query for equality can match is under one of the wanted values or under `OTHER`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from bson import ObjectId

OTHER = object()
FILED = (str, int, float, ObjectId, datetime, bytes)
LOOKED_UP = (str, int, float, ObjectId, type(None))


class Lookup:
    """The tables of one collection: field -> value -> keys of documents."""

    def __init__(self, paths: Iterable[str] = (), documents: Iterable[tuple[Any, dict]] = ()) -> None:
        self.tables: dict[str, dict[Any, set]] = {path: {} for path in paths}
        for key, document in documents:
            self.add(key, document)

    def add(self, key: Any, document: dict[str, Any]) -> None:
        for path, table in self.tables.items():
            for value in _filed_under(document, path):
                table.setdefault(value, set()).add(key)

    def remove(self, key: Any, document: dict[str, Any]) -> None:
        for path, table in self.tables.items():
            for value in _filed_under(document, path):
                table[value].discard(key)
                if not table[value]:
                    del table[value]

    def candidates(self, query: dict[str, Any], documents: dict[Any, dict]) -> set | None:
        """Keys of all documents that may match, by the most selective field; None where none helps."""
        found: list[list[set]] = []
        for path, values in _equalities(query):
            if path == "_id":
                found.append([{value} for value in values if value in documents])
            elif path in self.tables:
                found.append([self.tables[path].get(value, set()) for value in (*values, OTHER)])
        return set().union(*min(found, key=lambda sets: sum(map(len, sets)))) if found else None


def _filed_under(document: dict[str, Any], path: str) -> set:
    value: Any = document
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return {OTHER}
        value = value[part]
    values = value if isinstance(value, list) else [value]
    return {item if isinstance(item, FILED) else OTHER for item in values} or {OTHER}


def _equalities(query: dict[str, Any]) -> Iterator[tuple[str, list]]:
    """The fields that a query wants to equal a plain value, or one of several."""
    for path, wanted in query.items():
        if path == "$and":
            for part in wanted:
                yield from _equalities(part)
        elif not path.startswith("$"):
            values = [wanted]
            if isinstance(wanted, dict):
                values = [wanted["$eq"]] if "$eq" in wanted else wanted.get("$in", [OTHER])
            if all(isinstance(value, LOOKED_UP) for value in values):
                yield path, values
