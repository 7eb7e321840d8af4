"""Candidates for a query from hash tables of the indexed fields; mongomock then filters the candidates.

For every indexed field a document is filed under the plain values that it holds there (each element of an
array), under `ABSENT` if it holds nothing or null, and under `OTHER` for anything else: a document, an array
within the path. So a document that a query for equality can match is under one of the wanted values or under
`OTHER`; where nothing is under `OTHER`, the tables are the answer.
"""

from __future__ import annotations

from collections.abc import Iterable
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
            _take_out(table, _filed_under(document, path), key)

    def replace(self, key: Any, old: dict[str, Any], new: dict[str, Any]) -> None:
        """File a document anew, by the fields that have changed."""
        for path, table in self.tables.items():
            before, after = _filed_under(old, path), _filed_under(new, path)
            if before != after:
                _take_out(table, before - after, key)
                for value in after - before:
                    table.setdefault(value, set()).add(key)

    def candidates(self, query: dict[str, Any], documents: dict[Any, dict]) -> Candidates | None:
        """Keys of all that may match, and what is still to ask of them; None where no field helps."""
        parts: list[list[set]] = []
        rest = self._unanswered(query, documents, parts)
        if not parts:
            return None
        parts.sort(key=lambda sets: sum(map(len, sets)))
        keys = set().union(*parts[0])
        for sets in parts[1:]:
            keys = set().union(*(keys & matching for matching in sets))
        return keys, rest

    def _unanswered(
        self, query: dict[str, Any], documents: dict[Any, dict], parts: list[list[set]]
    ) -> dict[str, Any]:
        """What of a query the tables leave open; their sets go to ``parts``, a list for each condition."""
        rest: dict[str, Any] = {}
        for path, wanted in query.items():
            if path == "$and":
                left = [self._unanswered(part, documents, parts) for part in wanted]
                wanted = [part for part in left if part]
            elif not path.startswith("$") and (values := _equalities(wanted)) is not None:
                is_alone = not isinstance(wanted, dict) or len(wanted) == 1
                if path == "_id":
                    parts.append([{value for value in values if value in documents}])
                    if is_alone and all(isinstance(value, (ObjectId, str)) for value in values):
                        continue
                elif path in self.tables:
                    table = self.tables[path]
                    places = {_filed(value) for value in values}
                    parts.append([table[value] for value in (*places, OTHER) if value in table])
                    if is_alone and OTHER not in table:
                        # All that is under these values matches, and nothing else does.
                        continue
            if path != "$and" or wanted:
                rest[path] = wanted
        return rest


def _take_out(table: dict[Any, set], values: set, key: Any) -> None:
    for value in values:
        table[value].discard(key)
        if not table[value]:
            del table[value]


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


def _equalities(wanted: Any) -> list | None:
    """The plain values one of which a condition wants; None if it wants anything else."""
    values = [wanted]
    if isinstance(wanted, dict):
        values = [wanted["$eq"]] if "$eq" in wanted else wanted.get("$in", [OTHER])
    return values if all(isinstance(value, LOOKED_UP) for value in values) else None
