"""Candidates for a query from hash tables of the indexed fields; mongomock then filters the candidates.

For every indexed field a document is filed under the plain values that it holds there (each element of an
array), under `ABSENT` if it holds nothing or null, and under `OTHER` for anything else: a document, an array
within the path. So a document that a query for equality can match is under one of the wanted values or under
`OTHER`; where nothing is under `OTHER`, the tables are the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from bson import ObjectId

ABSENT, OTHER = object(), object()
FILED = (str, int, float, ObjectId, datetime, bytes)
LOOKED_UP = (str, int, float, ObjectId, type(None))
Candidates = tuple[set, dict[str, Any]]


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

    def candidates(self, query: dict[str, Any], documents: dict[Any, dict]) -> Candidates | None:
        """Keys of all documents that may match, and what is still to ask of them; None if no field helps."""
        parts = []
        rest = dict(query)
        for path, values, alone in _equalities(query):
            if path == "_id":
                parts.append([{value for value in values if value in documents}])
                if alone and all(isinstance(value, (ObjectId, str)) for value in values):
                    # A number may be equal to one of another kind, these only to themselves.
                    del rest[path]
            elif path in self.tables:
                table = self.tables[path]
                wanted = {_filed(value) for value in values}
                parts.append([table[value] for value in (*wanted, OTHER) if value in table])
                if alone and OTHER not in table:
                    # All that is under these values matches, and nothing else does.
                    del rest[path]
        if not parts:
            return None
        parts.sort(key=lambda sets: sum(map(len, sets)))
        keys = set().union(*parts[0])
        for sets in parts[1:]:
            keys = set().union(*(keys & matching for matching in sets))
        return keys, rest


def _filed_under(document: dict[str, Any], path: str) -> set:
    value: Any = document
    for part in path.split("."):
        if isinstance(value, list):
            return {OTHER}
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, list):
        return {OTHER if item is None else _filed(item) for item in value} or {OTHER}
    return {_filed(value)}


def _filed(value: Any) -> Any:
    """What a value is filed under; True and 1, which are equal in Python, are not the same."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return (bool, value)
    return value if isinstance(value, FILED) else OTHER


def _equalities(query: dict[str, Any], alone: bool = True) -> Iterator[tuple[str, list, bool]]:
    """The fields that a query wants to equal a plain value, or one of several.

    And whether the query has that condition in its first place and asks nothing else of the field.
    """
    for path, wanted in query.items():
        if path == "$and":
            for part in wanted:
                yield from _equalities(part, alone=False)
        elif not path.startswith("$"):
            values, only = [wanted], alone
            if isinstance(wanted, dict):
                values = [wanted["$eq"]] if "$eq" in wanted else wanted.get("$in", [OTHER])
                only = alone and len(wanted) == 1
            if all(isinstance(value, LOOKED_UP) for value in values):
                yield path, values, only
