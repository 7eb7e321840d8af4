"""MongoDB's query language, compiled once per command into a Python predicate.

mongomock's own matcher parses the filter again for every document, and accepts some filters that MongoDB
refuses; compiling first refuses them even on an empty collection.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from bson import Binary, Code, Decimal128, Int64, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from mongomock import aggregate as mongomock_aggregate

from alpw.database.embedded.errors import MongoError, not_implemented
from alpw.database.embedded.values import (
    MISSING,
    NULL_RANK,
    NUMBER_RANK,
    expanded,
    is_number,
    leaves,
    order_key,
    sort_key,
)

Predicate = Callable[[Any], bool]

INT32 = range(-(2**31), 2**31)


def _is_int32(value: Any) -> bool:
    return type(value) is int and value in INT32


# type name -> (BSON type number, test)
BSON_TYPES: dict[str, tuple[int, Predicate]] = {
    "double": (1, lambda v: isinstance(v, float)),
    "string": (2, lambda v: isinstance(v, str) and not isinstance(v, Code)),
    "object": (3, lambda v: isinstance(v, dict)),
    "array": (4, lambda v: isinstance(v, list)),
    "binData": (5, lambda v: isinstance(v, (bytes, Binary))),
    "objectId": (7, lambda v: isinstance(v, ObjectId)),
    "bool": (8, lambda v: isinstance(v, bool)),
    "date": (9, lambda v: isinstance(v, (datetime, DatetimeMS))),
    "null": (10, lambda v: v is None),
    "regex": (11, lambda v: isinstance(v, Regex)),
    "int": (16, _is_int32),
    "timestamp": (17, lambda v: isinstance(v, Timestamp)),
    "long": (18, lambda v: isinstance(v, Int64) or (type(v) is int and v not in INT32)),
    "decimal": (19, lambda v: isinstance(v, Decimal128)),
}
BSON_TYPE_NAMES = {number: name for name, (number, _) in BSON_TYPES.items()}

REGEX_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "x": re.VERBOSE, "s": re.DOTALL}


def compile_filter(spec: Any) -> Predicate:
    """A predicate over documents for a query filter.

    Raises:
        MongoError: for operators that MongoDB does not know, or that this server lacks.
    """
    if not isinstance(spec, Mapping):
        raise MongoError(14, f"Expected field filter to be of type object, found {type(spec).__name__}")
    clauses = [_clause(key, condition) for key, condition in spec.items() if key != "$comment"]
    return _all_of(clauses)


def _all_of(clauses: list[Predicate]) -> Predicate:
    if len(clauses) == 1:
        return clauses[0]
    return lambda document: all(clause(document) for clause in clauses)


def _clause(key: str, condition: Any) -> Predicate:
    if key in LOGICAL:
        if not isinstance(condition, list) or not condition:
            raise MongoError(2, f"{key} argument must be a nonempty array")
        return LOGICAL[key]([compile_filter(part) for part in condition])
    if key == "$expr":
        return lambda document: _expression_holds(condition, document)
    if key in ("$where", "$text", "$jsonSchema", "$alwaysTrue", "$alwaysFalse"):
        raise not_implemented(key)
    if key.startswith("$"):
        raise MongoError(2, f"unknown top level operator: {key}")
    return _field(key.split("."), condition)


LOGICAL: dict[str, Callable[[list[Predicate]], Predicate]] = {
    "$and": _all_of,
    "$or": lambda parts: lambda document: any(part(document) for part in parts),
    "$nor": lambda parts: lambda document: not any(part(document) for part in parts),
}


def _expression_holds(expression: Any, document: dict) -> bool:
    value = mongomock_aggregate._parse_expression(expression, document, ignore_missing_keys=True)
    return not (value is None or value is False or (is_number(value) and value == 0))


def is_operator_document(condition: Any) -> bool:
    """Whether a condition such as ``{"$gt": 3}`` is made of operators; a mixture is MongoDB's error 2.

    ``{"$ref": ..., "$id": ...}`` is a reference, which is a value.
    """
    if not isinstance(condition, dict) or not condition:
        return False
    first = next(iter(condition))
    return first.startswith("$") and first not in ("$ref", "$id", "$db")


def _field(parts: list[str], condition: Any) -> Predicate:
    """Predicate over documents for one field and its condition."""
    if isinstance(condition, Regex):
        return _some(parts, _regex_test(condition))
    if not is_operator_document(condition):
        return _some(parts, _equals(condition))
    if "$options" in condition and "$regex" not in condition:
        raise MongoError(2, "$options needs a $regex")
    options = condition.get("$options", "")
    clauses = []
    for name, operand in condition.items():
        if name == "$options":
            continue
        if name == "$regex":
            clauses.append(_some(parts, _regex_test(operand, options)))
        elif name in VALUE_TESTS:
            clauses.append(_some(parts, VALUE_TESTS[name](operand)))
        elif name in FIELD_TESTS:
            clauses.append(FIELD_TESTS[name](parts, operand))
        elif name in KNOWN_BUT_MISSING:
            raise not_implemented(name)
        else:
            raise MongoError(2, f"unknown operator: {name}")
    return _all_of(clauses)


def _some(parts: list[str], test: Predicate) -> Predicate:
    """Whether any value at the path, or any element of an array there, passes the test."""
    if len(parts) > 1:
        return lambda document: any(test(value) for value in expanded(document, parts))
    name = parts[0]

    def holds(document: dict) -> bool:
        value = document.get(name, MISSING)
        return test(value) or (isinstance(value, list) and any(test(item) for item in value))

    return holds


def _equals(value: Any) -> Predicate:
    if value is None:
        return lambda found: found is None or found is MISSING
    if type(value) in (str, ObjectId):
        return lambda found: found == value
    key = order_key(value)
    return lambda found: found is not MISSING and order_key(found) == key


def _compares(relation: Callable[[Any, Any], bool], value: Any) -> Predicate:
    """Ordered comparison, among values of the same type only (MongoDB's type bracketing)."""
    key = order_key(value)
    bracket = key[:2] if key[0] == NUMBER_RANK else key[:1]
    if key[0] == NULL_RANK:
        includes_equal = relation(0, 0)
        return lambda found: includes_equal and (found is None or found is MISSING)

    def holds(found: Any) -> bool:
        if found is MISSING:
            return False
        other = order_key(found)
        return other[: len(bracket)] == bracket and relation(other, key)

    return holds


def _is_in(values: Any) -> Predicate:
    if not isinstance(values, list):
        raise MongoError(2, "$in needs an array")
    if any(is_operator_document(value) for value in values):
        raise MongoError(2, "cannot nest $ under $in")
    keys = {order_key(value) for value in values}
    patterns = [_regex_test(value) for value in values if isinstance(value, Regex)]
    has_null = None in values

    def holds(found: Any) -> bool:
        if found is MISSING:
            return has_null
        return order_key(found) in keys or any(pattern(found) for pattern in patterns)

    return holds


def _regex_test(pattern: Any, options: str = "") -> Predicate:
    if not isinstance(pattern, (str, Regex)):
        raise MongoError(2, "$regex has to be a string")
    if unknown := set(options) - set(REGEX_FLAGS):
        raise MongoError(51108, f"invalid flag in regex options: {''.join(sorted(unknown))}")
    flags = 0
    for option in options:
        flags |= REGEX_FLAGS[option]
    if isinstance(pattern, Regex):
        # MongoDB's flags are i, l, m, s, u, x; the driver maps them to Python's
        flags |= pattern.flags
        pattern = pattern.pattern
    try:
        compiled = re.compile(pattern, flags)
    except (re.error, ValueError) as error:
        raise MongoError(51091, f"Regular expression is invalid: {error}") from error
    return lambda found: isinstance(found, str) and compiled.search(found) is not None


def _has_type(operand: Any) -> Predicate:
    tests: list[Predicate] = []
    for name in operand if isinstance(operand, list) else [operand]:
        if name == "number":
            tests.append(is_number)
            continue
        if is_number(name):
            name = BSON_TYPE_NAMES.get(name, str(name))
        if name not in BSON_TYPES:
            raise MongoError(2, f"Unknown type name alias: {name}")
        tests.append(BSON_TYPES[name][1])
    return lambda found: any(test(found) for test in tests)


def _has_remainder(operand: Any) -> Predicate:
    if not isinstance(operand, list) or len(operand) != 2 or not all(is_number(item) for item in operand):
        raise MongoError(2, "malformed mod, needs to be an array of two numbers")
    divisor, remainder = (int(item) for item in operand)
    if divisor == 0:
        raise MongoError(2, "divisor cannot be 0")

    def holds(found: Any) -> bool:
        if isinstance(found, bool) or not isinstance(found, (int, float)) or found != found:
            return False
        # the remainder has the sign of the dividend, as in C
        whole = int(found)
        return (abs(whole) % abs(divisor)) * (1 if whole >= 0 else -1) == remainder

    return holds


VALUE_TESTS: dict[str, Callable[[Any], Predicate]] = {
    "$eq": _equals,
    "$gt": lambda value: _compares(operator.gt, value),
    "$gte": lambda value: _compares(operator.ge, value),
    "$lt": lambda value: _compares(operator.lt, value),
    "$lte": lambda value: _compares(operator.le, value),
    "$in": _is_in,
    "$type": _has_type,
    "$mod": _has_remainder,
}


def _not(predicate: Predicate) -> Predicate:
    return lambda document: not predicate(document)


def _negated(parts: list[str], operand: Any) -> Predicate:
    if not isinstance(operand, Regex) and not is_operator_document(operand):
        raise MongoError(2, "$not needs a regex or a document")
    return _not(_field(parts, operand))


def _not_equal(parts: list[str], operand: Any) -> Predicate:
    if isinstance(operand, Regex):
        raise MongoError(2, "Can't have regex as arg to $ne.")
    return _not(_some(parts, _equals(operand)))


def _exists(parts: list[str], operand: Any) -> Predicate:
    wanted = bool(operand)
    return lambda document: any(value is not MISSING for value in leaves(document, parts)) is wanted


def _has_size(parts: list[str], operand: Any) -> Predicate:
    if not is_number(operand) or operand != int(operand) or operand < 0:
        raise MongoError(2, f"Failed to parse $size. Expected a non-negative integer, found: {operand}")
    return lambda document: any(
        isinstance(value, list) and len(value) == operand for value in leaves(document, parts)
    )


def element_predicate(operand: Any) -> Predicate:
    """Predicate over the elements of an array for the operand of ``$elemMatch``."""
    if not isinstance(operand, dict):
        raise MongoError(2, "$elemMatch needs an Object")
    if is_operator_document(operand) and next(iter(operand)) not in (*LOGICAL, "$expr", "$where"):
        value_holds = _field(["value"], operand)
        return lambda item: value_holds({"value": item})
    fields_hold = compile_filter(operand)
    return lambda item: isinstance(item, dict) and fields_hold(item)


def _some_element(parts: list[str], operand: Any) -> Predicate:
    holds = element_predicate(operand)
    return lambda document: any(
        isinstance(value, list) and any(holds(item) for item in value) for value in leaves(document, parts)
    )


def _has_all(parts: list[str], operand: Any) -> Predicate:
    if not isinstance(operand, list):
        raise MongoError(2, "$all needs an array")
    if not operand:
        return lambda document: False
    return _all_of([_field(parts, item) for item in operand])


FIELD_TESTS: dict[str, Callable[[list[str], Any], Predicate]] = {
    "$ne": _not_equal,
    "$nin": lambda parts, operand: _not(_some(parts, _is_in(operand))),
    "$not": _negated,
    "$exists": _exists,
    "$size": _has_size,
    "$elemMatch": _some_element,
    "$all": _has_all,
}

KNOWN_BUT_MISSING = {
    *("$bitsAllClear", "$bitsAllSet", "$bitsAnyClear", "$bitsAnySet"),
    *("$geoIntersects", "$geoWithin", "$near", "$nearSphere", "$minDistance", "$maxDistance"),
}


def equalities(spec: Mapping) -> dict[str, list[Any]]:
    """The fields that a matching document must hold one of the given values in, for a look-up by index."""
    found: dict[str, list[Any]] = {}
    for key, condition in spec.items():
        if key == "$and":
            for part in condition:
                found.update(equalities(part))
        elif not key.startswith("$"):
            values = [condition]
            if is_operator_document(condition):
                if "$eq" in condition:
                    values = [condition["$eq"]]
                elif "$in" in condition:
                    values = condition["$in"]
                else:
                    continue
            if not any(isinstance(value, (Regex, dict, list)) or value is None for value in values):
                found[key] = values
    return found


def sorted_documents(documents: Iterable[dict], sort: Mapping[str, Any] | None) -> list[dict]:
    """The documents in the order of a sort specification such as ``{"energy": 1, "_id": -1}``."""
    result = list(documents)
    for path, direction in reversed(list((sort or {}).items())):
        if not is_number(direction) or direction not in (1, -1):
            raise MongoError(
                2, f"$sort key ordering must be 1 (for ascending) or -1 (for descending): {path}"
            )
        if path == "$natural":
            if direction == -1:
                result.reverse()
            continue
        if path.startswith("$"):
            raise MongoError(2, f"Illegal key in $sort specification: {path}")
        descending = direction == -1

        def key(document: dict, parts: list[str] = path.split("."), descending: bool = descending) -> tuple:
            return sort_key(document, parts, descending)

        result.sort(key=key, reverse=descending)
    return result
