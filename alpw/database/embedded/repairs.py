"""What mongomock 4.3 lacks or gets wrong and a few lines mend; `checks` refuses the rest."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import bson
from mongomock import aggregate, collection, filtering

from alpw.database.embedded.errors import MongoError, not_implemented

_date_operator = aggregate._Parser._handle_date_operator
_comparison_operator = aggregate._Parser._handle_comparison_operator
_sort_key, _project = filtering.resolve_sort_key, collection._project_by_spec
_operators = filtering._filterer_inst._operator_map
_regex_in = _operators["$in"]


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _equal(found: Any, wanted: Any) -> bool:
    """True and 1 are equal for Python, and not for MongoDB."""
    if found is filtering.NOTHING:
        return wanted is None
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)


def _in(found: Any, wanted: list) -> bool:
    if any(isinstance(value, (re.Pattern, bson.Regex)) for value in wanted):
        return _regex_in(found, wanted)
    values = [found, *found] if isinstance(found, list) else [found]
    return any(_equal(value, other) for value in values for other in wanted)


def _comparison(parser: Any, operator: str, values: list) -> Any:
    if operator not in ("$eq", "$ne"):
        return _comparison_operator(parser, operator, values)
    one, other = map(parser.parse, values)
    return _equal(one, other) is (operator == "$eq")


def _nothing_of_nothing(stage: Callable) -> Callable:
    """$count and $group with a constant _id give no document where they get none."""
    return lambda documents, database, options: stage(documents, database, options) if documents else []


def _projected(value: Any, spec: Any, is_include: bool, container: type) -> Any:
    if not isinstance(value, dict):
        raise not_implemented("a field of the documents in an array that holds other things too")
    return _project(value, spec, is_include, container)


def _modulo(found: Any, arguments: list) -> bool:
    divisor, remainder = map(int, arguments)
    values = found if isinstance(found, list) else [found]
    return any(is_number(value) and int(value) % divisor == remainder for value in values)


def _distinct(values: list) -> list:
    return [value for n, value in enumerate(values) if not any(_equal(value, o) for o in values[:n])]


def _of_numbers(operation: Callable) -> Callable:
    return lambda values: operation([value for value in values if not isinstance(value, bool)])


def _checked_sort_key(path: str, document: dict[str, Any]) -> Any:
    found = filtering.iter_key_candidates(path, document)
    if len(found) > 1 or any(isinstance(value, list) and len(value) > 1 for value in found):
        raise not_implemented(f"sorting by {path}, which holds an array,")
    return _sort_key(path, document)


def _date(parser: Any, operator: str, options: Any) -> Any:
    if operator != "$dateFromString":
        return _date_operator(parser, operator, options)
    if set(options) - {"dateString", "onError"}:
        raise not_implemented("an option of $dateFromString beyond dateString and onError")
    text = parser._parse_or_nothing(options["dateString"])
    if text is None or text is filtering.NOTHING:
        return None
    try:
        date = datetime.fromisoformat(str.replace(text, "Z", "+00:00"))
    except (ValueError, TypeError) as error:
        if "onError" in options:
            return parser.parse(options["onError"])
        raise MongoError(241, f"Error parsing date string {text!r}") from error
    return date.astimezone(timezone.utc).replace(tzinfo=None) if date.tzinfo else date


def install() -> None:
    """Put the repairs into mongomock, for this process."""
    _operators["$eq"] = filtering._list_expand(_equal)
    _operators["$ne"] = filtering._list_expand(lambda found, other: not _equal(found, other), negative=True)
    _operators["$in"] = _in
    _operators["$nin"] = lambda found, wanted: not _in(found, wanted)
    _operators["$size"] = lambda found, size: isinstance(found, list) and len(found) == size
    _operators["$mod"] = _modulo
    filtering.TYPE_MAP["int"] = lambda found: type(found) is int
    filtering.TYPE_MAP["long"] = lambda found: isinstance(found, bson.Int64)
    filtering.resolve_sort_key = _checked_sort_key
    aggregate._GROUPING_OPERATOR_MAP["$addToSet"] = _distinct
    for name in ("$sum", "$avg"):
        aggregate._GROUPING_OPERATOR_MAP[name] = _of_numbers(aggregate._GROUPING_OPERATOR_MAP[name])
    collection._project_by_spec = _projected
    for name in ("$count", "$group"):
        aggregate._PIPELINE_HANDLERS[name] = _nothing_of_nothing(aggregate._PIPELINE_HANDLERS[name])
    aggregate._Parser._handle_comparison_operator = _comparison
    aggregate._Parser._handle_date_operator = _date
