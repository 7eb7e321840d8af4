"""Whether a document matches a query, where plain values answer; the rest is mongomock's, which takes long.

The answer is False or True where it is certain, else None: a condition on an array, null, a regular
expression and the like. A document that has no such field is certain.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from bson import Int64, ObjectId

from alpw.database.embedded.checks import has_operators

Verdict = Callable[[dict[str, Any]], "bool | None"]

KINDS: dict[type, str] = {int: "number", Int64: "number", float: "number", str: "text", bool: "truth"}
KINDS |= {ObjectId: "id", datetime: "date"}
"""types that are compared with their like, and are never equal to another"""
MISSING = object()
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def verdict(query: dict[str, Any]) -> Verdict:
    """What can be said of documents without mongomock."""
    tests: list[Verdict] = []
    for key, wanted in query.items():
        if key in ("$and", "$or"):
            parts = [verdict(part) for part in wanted]
            tests.append(_all(parts) if key == "$and" else _any(parts))
        elif key.startswith("$"):
            tests.append(_unknown)
        else:
            conditions = wanted if has_operators(wanted) else {"$eq": wanted}
            tests.extend(_condition(key.split("."), name, value) for name, value in conditions.items())
    return _all(tests)


def value_at(document: dict[str, Any], path: Sequence[str]) -> Any:
    """What lies there, `MISSING`, or an array that is in the way."""
    found: Any = document
    for part in path:
        if isinstance(found, list):
            return found
        found = found.get(part, MISSING) if isinstance(found, dict) else MISSING
    return found


def _unknown(document: dict[str, Any]) -> None:
    return None


def _all(tests: Sequence[Verdict]) -> Verdict:
    if len(tests) == 1:
        return tests[0]

    def answer(document: dict[str, Any]) -> bool | None:
        certain: bool | None = True
        for test in tests:
            found = test(document)
            if found is False:
                return False
            if found is None:
                certain = None
        return certain

    return answer


def _any(tests: Sequence[Verdict]) -> Verdict:
    def answer(document: dict[str, Any]) -> bool | None:
        certain: bool | None = False
        for test in tests:
            found = test(document)
            if found:
                return True
            if found is None:
                certain = None
        return certain

    return answer


def _condition(path: Sequence[str], name: str, wanted: Any) -> Verdict:
    """One operator on one field."""
    if name == "$exists":
        return _of_value(path, lambda found: bool(wanted), missing=not wanted)
    if name in ("$in", "$nin") and all(map(_is_plain, wanted)):
        members, is_in = {(KINDS[type(value)], value) for value in wanted}, name == "$in"
        return _of_value(
            path, lambda found: ((KINDS[type(found)], found) in members) is is_in, missing=not is_in
        )
    if not _is_plain(wanted):
        return _unknown
    kind = KINDS[type(wanted)]
    if name in ("$eq", "$ne"):
        is_equal = name == "$eq"
        return _of_value(
            path,
            lambda found: (found == wanted and KINDS[type(found)] == kind) is is_equal,
            missing=not is_equal,
        )
    if name in ORDERS and kind != "truth":
        compare = ORDERS[name]
        return _of_value(
            path, lambda found: KINDS[type(found)] == kind and compare(found, wanted), missing=False
        )
    return _unknown


def _of_value(path: Sequence[str], test: Callable[[Any], bool], missing: bool) -> Verdict:
    """The test where there is a plain value; what goes for a document without the field."""
    name = path[0] if len(path) == 1 else None

    def answer(document: dict[str, Any]) -> bool | None:
        found = value_at(document, path) if name is None else document.get(name, MISSING)
        if found is MISSING:
            return missing
        return test(found) if type(found) in KINDS else None

    return answer


def _is_plain(value: Any) -> bool:
    """A value that equals itself, of a type that is compared."""
    return type(value) in KINDS and value == value
