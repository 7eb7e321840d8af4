"""MongoDB's update operators on one document, which the caller has copied.

Strict where mongomock's updater is silent: an operator that cannot be applied is an error, so that no
client believes in a change that did not happen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from bson import Decimal128, Int64, Timestamp

from alpw.database.embedded.errors import MongoError
from alpw.database.embedded.query import (
    Predicate,
    compile_filter,
    element_predicate,
    is_operator_document,
    sorted_documents,
)
from alpw.database.embedded.values import MISSING, copied, is_number, order_key

ARRAY_FILTER = re.compile(r"^\$\[([a-z][a-zA-Z0-9]*)\]$")


def validate_update(update: Any) -> None:
    """Refuse what MongoDB refuses before it looks at any document.

    Raises:
        MongoError: unknown operators, operands that are no documents, two operators on one path.
    """
    seen: list[str] = []
    for name, fields in update.items():
        if name not in OPERATORS:
            raise MongoError(
                9,
                f"Unknown modifier: {name}. Expected a valid update modifier or pipeline-style update "
                "specified as an array",
            )
        if not isinstance(fields, dict):
            raise MongoError(9, f"Modifiers operate on fields but we found type {type(fields).__name__}")
        for path, operand in fields.items():
            if not all(path.split(".")):
                raise MongoError(56, f"The update path '{path}' contains an empty field name")
            for touched in (path, operand) if name == "$rename" else (path,):
                if not isinstance(touched, str):
                    raise MongoError(2, "The 'to' field for $rename must be a string")
                for other in seen:
                    if f"{touched}.".startswith(f"{other}.") or f"{other}.".startswith(f"{touched}."):
                        raise MongoError(
                            40, f"Updating the path '{touched}' would create a conflict at '{other}'"
                        )
                seen.append(touched)


def apply_update(
    document: dict,
    update: Mapping[str, dict],
    *,
    query: Mapping,
    array_filters: list[dict] | None = None,
    inserting: bool = False,
) -> None:
    """Apply a validated update to the document in place.

    Args:
        document: a copy; undefined after an error.
        update: operators and their fields.
        query: the filter that chose the document, for the positional ``$``.
        array_filters: conditions of ``$[name]``.
        inserting: whether this is the insert of an upsert, which obeys ``$setOnInsert``.

    Raises:
        MongoError: where the operator does not fit the value that it meets.
    """
    named = _named_filters(array_filters or [])
    used: set[str] = set()
    for name, fields in update.items():
        if name == "$setOnInsert" and not inserting:
            continue
        for path, operand in fields.items():
            parts = path.split(".")
            used |= {match[1] for part in parts if (match := ARRAY_FILTER.match(part))}
            for concrete in list(_concrete(document, parts, (), query, named)):
                OPERATORS[name](document, concrete, operand)
    if unused := set(named) - used:
        raise MongoError(9, f"The array filter for identifier '{unused.pop()}' was not used in the update")


def _named_filters(filters: list[dict]) -> dict[str, Predicate]:
    named: dict[str, Predicate] = {}
    for spec in filters:
        names = {key.split(".", 1)[0] for key in spec}
        if len(names) != 1 or next(iter(names)).startswith("$"):
            raise MongoError(9, "Each array filter must use one top-level field name")
        name = names.pop()
        named[name] = _within(name, compile_filter(spec))
    return named


def _within(name: str, holds: Predicate) -> Predicate:
    """The predicate over values for one over documents that hold the value in a field."""
    return lambda item: holds({name: item})


def _concrete(
    value: Any, parts: list[str], done: tuple[str, ...], query: Mapping, named: dict[str, Callable]
) -> Iterator[list[str]]:
    """The path with ``$``, ``$[]`` and ``$[name]`` replaced by the array positions that they stand for."""
    for number, part in enumerate(parts):
        if not part.startswith("$"):
            continue
        array = _get(value, parts[:number])
        path = ".".join((*done, *parts[:number]))
        if not isinstance(array, list):
            raise MongoError(2, f"The path '{path}' must exist and be an array to apply '{part}' to it")
        if part == "$":
            positions = [_matched_position(array, path, query)]
        elif part == "$[]":
            positions = list(range(len(array)))
        else:
            match = ARRAY_FILTER.match(part)
            if match is None or match[1] not in named:
                raise MongoError(2, f"No array filter found for identifier '{part}' in path '{path}'")
            positions = [i for i, item in enumerate(array) if named[match[1]](item)]
        for position in positions:
            head = [*parts[:number], str(position)]
            for rest in _concrete(array[position], parts[number + 1 :], (*done, *head), query, named):
                yield head + rest
        return
    yield parts


def _matched_position(array: list, path: str, query: Mapping) -> int:
    """First element that satisfies the query's conditions on this array."""
    tests = []
    for key, condition in flat_conditions(query):
        if key == path:
            if isinstance(condition, dict) and "$elemMatch" in condition:
                tests.append(element_predicate(condition["$elemMatch"]))
            else:
                tests.append(_within("value", compile_filter({"value": condition})))
        elif key.startswith(f"{path}."):
            tests.append(element_predicate({key[len(path) + 1 :]: condition}))
    if tests:
        for position, item in enumerate(array):
            if all(test(item) for test in tests):
                return position
    raise MongoError(2, "The positional operator did not find the match needed from the query.")


def flat_conditions(query: Mapping) -> Iterator[tuple[str, Any]]:
    """The fields of a query and their conditions, those inside ``$and`` too."""
    for key, condition in query.items():
        if key == "$and":
            for part in condition:
                yield from flat_conditions(part)
        elif not key.startswith("$"):
            yield key, condition


def _get(value: Any, parts: list[str]) -> Any:
    for part in parts:
        if isinstance(value, dict):
            value = value.get(part, MISSING)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return MISSING
    return value


def put_at(document: dict, parts: list[str], value: Any) -> None:
    """Write at a path, creating documents on the way and padding arrays with null."""
    container: Any = document
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(container, dict):
            container[part] = value if last else container.get(part, {})
            container = container[part]
        elif isinstance(container, list) and part.isdigit():
            position = int(part)
            if position > 1_500_000:
                raise MongoError(2, f"can't backfill array to larger than 1500001 elements: {part}")
            created = position >= len(container)
            container.extend([None] * (position + 1 - len(container)))
            if last:
                container[position] = value
            elif created:
                container[position] = {}
            container = container[position]
        else:
            element = ".".join(parts[:depth])
            raise MongoError(28, f"Cannot create field '{part}' in element {{{element}: {container!r:.80}}}")


def _set(document: dict, parts: list[str], operand: Any) -> None:
    put_at(document, parts, copied(operand))


def _unset(document: dict, parts: list[str], operand: Any) -> None:
    container = _get(document, parts[:-1])
    if isinstance(container, dict):
        container.pop(parts[-1], None)
    elif _get(document, parts) is not MISSING:
        # MongoDB keeps the length of an array
        container[int(parts[-1])] = None


def _arithmetic(name: str, start: int, combine: Callable[[Any, Any], Any]) -> Callable:
    def apply(document: dict, parts: list[str], operand: Any) -> None:
        if not is_number(operand):
            raise MongoError(
                14, f"Cannot {name} with non-numeric argument: {{{'.'.join(parts)}: {operand!r:.80}}}"
            )
        found = _get(document, parts)
        if found is MISSING:
            # $mul of a missing field gives zero of the operand's type
            put_at(document, parts, operand if name == "$inc" else type(operand)(start))
            return
        if not is_number(found):
            raise MongoError(
                14,
                f"Cannot apply {name} to a value of non-numeric type: field '{'.'.join(parts)}' "
                f"holds {type(found).__name__}",
            )
        if isinstance(found, Decimal128) or isinstance(operand, Decimal128):
            left, right = (v.to_decimal() if isinstance(v, Decimal128) else v for v in (found, operand))
            if isinstance(left, float) or isinstance(right, float):
                raise MongoError(238, f"{name} of a decimal and a double is not implemented")
            put_at(document, parts, Decimal128(combine(left, right)))
            return
        result = combine(found, operand)
        if isinstance(result, int):
            if not -(2**63) <= result < 2**63:
                raise MongoError(2, f"Failed to apply {name} operations to current value: integer overflow")
            if isinstance(found, Int64) or isinstance(operand, Int64):
                result = Int64(result)
        put_at(document, parts, result)

    return apply


def _extreme(replaces: Callable[[Any, Any], bool]) -> Callable:
    def apply(document: dict, parts: list[str], operand: Any) -> None:
        found = _get(document, parts)
        if found is MISSING or replaces(order_key(operand), order_key(found)):
            _set(document, parts, operand)

    return apply


def _rename(document: dict, parts: list[str], operand: str) -> None:
    container = _get(document, parts[:-1])
    if isinstance(container, list):
        raise MongoError(2, "The source field of $rename cannot be an array element")
    value = _get(document, parts)
    if value is not MISSING:
        container.pop(parts[-1])
        put_at(document, operand.split("."), value)


def _current_date(document: dict, parts: list[str], operand: Any) -> None:
    now = datetime.now(timezone.utc)
    if operand == {"$type": "timestamp"}:
        put_at(document, parts, Timestamp(int(now.timestamp()), 1))
    elif operand is True or operand == {"$type": "date"}:
        stamp = now.replace(tzinfo=None, microsecond=now.microsecond // 1000 * 1000)
        put_at(document, parts, stamp)
    else:
        raise MongoError(2, "$currentDate takes true, {$type: 'date'} or {$type: 'timestamp'}")


def _array(document: dict, parts: list[str], name: str, *, create: bool) -> list | None:
    """The array at a path; a new one, or none, where the path ends early."""
    found = _get(document, parts)
    if found is MISSING:
        if not create:
            return None
        found = []
        put_at(document, parts, found)
    if not isinstance(found, list):
        raise MongoError(
            2,
            f"The field '{'.'.join(parts)}' must be an array for {name} but is {type(found).__name__}",
        )
    return found


def _each(operand: Any, name: str, allowed: set[str]) -> tuple[list, dict]:
    """The values to add, and the modifiers beside ``$each``."""
    if not (isinstance(operand, dict) and "$each" in operand):
        return [copied(operand)], {}
    if not isinstance(operand["$each"], list):
        raise MongoError(14, f"The argument to $each in {name} must be an array")
    if unknown := set(operand) - allowed - {"$each"}:
        raise MongoError(2, f"Unrecognized clause in {name}: {unknown.pop()}")
    return copied(operand["$each"]), operand


def _push(document: dict, parts: list[str], operand: Any) -> None:
    values, modifiers = _each(operand, "$push", {"$slice", "$sort", "$position"})
    array = _array(document, parts, "$push", create=True)
    assert array is not None
    position = modifiers.get("$position", len(array))
    if not isinstance(position, int):
        raise MongoError(2, "The value for $position must be an integer")
    array[position:position] = values
    order = modifiers.get("$sort")
    if isinstance(order, dict):
        array[:] = sorted_documents(array, order)
    elif order is not None:
        array.sort(key=order_key, reverse=order < 0)
    keep = modifiers.get("$slice")
    if keep is not None:
        array[:] = array[:keep] if keep >= 0 else array[keep:]


def _add_to_set(document: dict, parts: list[str], operand: Any) -> None:
    values, _ = _each(operand, "$addToSet", set())
    array = _array(document, parts, "$addToSet", create=True)
    assert array is not None
    present = {order_key(item) for item in array}
    for value in values:
        if (key := order_key(value)) not in present:
            present.add(key)
            array.append(value)


def _pull(document: dict, parts: list[str], operand: Any) -> None:
    array = _array(document, parts, "$pull", create=False)
    if array is None:
        return
    if isinstance(operand, dict) and not is_operator_document(operand):
        fields_hold = compile_filter(operand)
        array[:] = [item for item in array if not (isinstance(item, dict) and fields_hold(item))]
        return
    holds = compile_filter({"value": operand})
    array[:] = [item for item in array if not holds({"value": item})]


def _pull_all(document: dict, parts: list[str], operand: Any) -> None:
    if not isinstance(operand, list):
        raise MongoError(2, "$pullAll requires an array argument")
    array = _array(document, parts, "$pullAll", create=False)
    if array is not None:
        unwanted = {order_key(item) for item in operand}
        array[:] = [item for item in array if order_key(item) not in unwanted]


def _pop(document: dict, parts: list[str], operand: Any) -> None:
    if not is_number(operand) or operand not in (1, -1):
        raise MongoError(9, f"$pop expects 1 or -1, found: {operand}")
    array = _array(document, parts, "$pop", create=False)
    if array:
        array.pop(-1 if operand == 1 else 0)


OPERATORS: dict[str, Callable[[dict, list[str], Any], None]] = {
    "$set": _set,
    "$setOnInsert": _set,
    "$unset": _unset,
    "$inc": _arithmetic("$inc", 0, lambda a, b: a + b),
    "$mul": _arithmetic("$mul", 0, lambda a, b: a * b),
    "$min": _extreme(lambda new, old: new < old),
    "$max": _extreme(lambda new, old: new > old),
    "$rename": _rename,
    "$currentDate": _current_date,
    "$push": _push,
    "$addToSet": _add_to_set,
    "$pull": _pull,
    "$pullAll": _pull_all,
    "$pop": _pop,
}
