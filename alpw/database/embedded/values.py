"""BSON values: their comparison order, and the values that a dotted path reaches in a document.

The order is that of https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from bson import Binary, Code, DBRef, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

EPOCH = datetime(1970, 1, 1)
MILLISECOND = timedelta(milliseconds=1)

NULL_RANK, NUMBER_RANK = 5, 10


class Missing:
    """Stands for the value of a field that a document does not have."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


def is_number(value: Any) -> bool:
    """Whether MongoDB stores the value as int, long, double or decimal (a Python bool is none of them)."""
    return isinstance(value, (int, float, Decimal128)) and not isinstance(value, bool)


def order_key(value: Any) -> tuple:
    """A hashable key that compares and is equal as MongoDB compares: types first, 1 == 1.0, True != 1.

    Raises:
        TypeError: for an object that is no BSON value.
    """
    if value is None or value is MISSING:
        return (NULL_RANK,)
    if isinstance(value, bool):
        return (40, value)
    if isinstance(value, Decimal128):
        value = value.to_decimal()
        return (NUMBER_RANK, 0, 0) if value.is_nan() else (NUMBER_RANK, 1, value)
    if isinstance(value, (int, float)):
        # NaN equals itself and precedes every number
        is_nan = isinstance(value, float) and math.isnan(value)
        return (NUMBER_RANK, 0, 0) if is_nan else (NUMBER_RANK, 1, value)
    if isinstance(value, Code):
        return (55, str(value), order_key(value.scope))
    if isinstance(value, str):
        return (15, value)
    if isinstance(value, DBRef):
        value = value.as_doc()
    if isinstance(value, dict):
        keys = ((name, order_key(item)) for name, item in value.items())
        return (20, tuple((key[0], name, key) for name, key in keys))
    if isinstance(value, (list, tuple)):
        return (25, tuple(order_key(item) for item in value))
    if isinstance(value, bytes):
        return (30, len(value), value.subtype if isinstance(value, Binary) else 0, bytes(value))
    if isinstance(value, ObjectId):
        return (35, value.binary)
    if isinstance(value, datetime):
        return (45, (value.replace(tzinfo=None) - EPOCH) // MILLISECOND)
    if isinstance(value, DatetimeMS):
        return (45, int(value))
    if isinstance(value, Timestamp):
        return (47, value.time, value.inc)
    if isinstance(value, Regex):
        return (50, str(value.pattern), value.flags)
    if isinstance(value, MinKey):
        return (-1,)
    if isinstance(value, MaxKey):
        return (127,)
    raise TypeError(f"not a BSON value: {type(value).__name__}")


def leaves(value: Any, parts: list[str] | tuple[str, ...]) -> Iterator[Any]:
    """The values that a dotted path reaches; arrays on the way are searched by position and by element.

    An array at the end of the path is given whole; ``MISSING`` stands for a path that ends early.
    """
    if not parts:
        yield value
    elif isinstance(value, dict):
        if parts[0] in value:
            yield from leaves(value[parts[0]], parts[1:])
        else:
            yield MISSING
    elif isinstance(value, list):
        if parts[0].isdigit() and int(parts[0]) < len(value):
            yield from leaves(value[int(parts[0])], parts[1:])
        for item in value:
            if isinstance(item, dict):
                yield from leaves(item, parts)
    else:
        yield MISSING


def expanded(value: Any, parts: list[str] | tuple[str, ...]) -> Iterator[Any]:
    """As `leaves`, and the elements of an array at the end of the path too."""
    for leaf in leaves(value, parts):
        yield leaf
        if isinstance(leaf, list):
            yield from leaf


def index_keys(document: dict, path: str) -> set[tuple]:
    """The keys under which an index on ``path`` holds the document: one, or one per array element."""
    keys: set[tuple] = set()
    for leaf in leaves(document, path.split(".")):
        items = leaf if isinstance(leaf, list) and leaf else [leaf]
        keys.update(order_key(item) for item in items)
    return keys or {order_key(None)}


def sort_key(document: dict, parts: list[str], descending: bool) -> tuple:
    """Sort key of a document: the least value of an array in ascending order, the greatest in descending."""
    value: Any = document
    for part in parts:
        value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, list):
            break
    else:
        # no array on the way, which is the common and the fast case
        return order_key(value)
    keys = [
        order_key(item)
        for leaf in leaves(document, parts)
        # an empty array sorts below null
        for item in ((leaf or [MinKey()]) if isinstance(leaf, list) else [leaf])
    ]
    if not keys:
        return order_key(None)
    return max(keys) if descending else min(keys)


def copied(value: Any) -> Any:
    """A copy that shares no container with the value; BSON's other types are immutable."""
    if isinstance(value, dict):
        return {name: copied(item) for name, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value
