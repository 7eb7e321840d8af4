"""The aggregation pipeline: mongomock's stages and expressions, completed and made strict.

The stages below replace mongomock's where it changes its input, where its answer differs from MongoDB's,
or where it lacks the stage. Names of stages and expressions are checked before the first document is read,
so that an unknown one is an error on an empty collection too.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

from mongomock import aggregate as engine

from alpw.database.embedded.errors import MongoError, not_implemented
from alpw.database.embedded.query import compile_filter, sorted_documents
from alpw.database.embedded.values import MISSING, copied, is_number, order_key

UPDATE_STAGES = {"$addFields", "$set", "$unset", "$project", "$replaceRoot", "$replaceWith"}


class Database(Protocol):
    """What stages that reach other collections need."""

    def get_collection(self, name: str) -> Any: ...
    def replace_collection(self, name: str, documents: list[dict]) -> None: ...


def run_pipeline(documents: Iterable[dict], pipeline: Any, database: Database | None = None) -> list[dict]:
    """The documents that leave the pipeline; the ones that enter it are not changed.

    Raises:
        MongoError: for unknown or missing stages and expressions.
    """
    check_pipeline(pipeline)
    stream = list(documents)
    for stage in pipeline:
        [(name, options)] = stage.items()
        stream = engine._PIPELINE_HANDLERS[name](stream, database, options)
    return stream


def update_by_pipeline(document: dict, pipeline: list) -> dict:
    """The document after an update that is written as a pipeline."""
    for stage in pipeline:
        if isinstance(stage, Mapping) and (names := set(stage) - UPDATE_STAGES):
            raise MongoError(72, f"{names.pop()} is not allowed to be used within an update")
    [changed] = run_pipeline([copied(document)], pipeline)
    return changed


def check_pipeline(pipeline: Any) -> None:
    """Refuse a pipeline with stages or expressions that MongoDB or this server does not know."""
    if not isinstance(pipeline, list):
        raise MongoError(14, "'pipeline' option must be specified as an array")
    for position, stage in enumerate(pipeline):
        if not isinstance(stage, Mapping) or len(stage) != 1:
            raise MongoError(40323, "A pipeline stage specification object must contain exactly one field.")
        [(name, options)] = stage.items()
        if name not in engine._PIPELINE_HANDLERS:
            raise MongoError(40324, f"Unrecognized pipeline stage name: '{name}'")
        if engine._PIPELINE_HANDLERS[name] is None:
            raise not_implemented(f"the stage {name}")
        if name == "$out" and position != len(pipeline) - 1:
            raise MongoError(40601, "$out can only be the final stage in the pipeline")
        if name == "$match":
            compile_filter(options)
        elif name == "$facet":
            for part in options.values():
                check_pipeline(part)
        elif name == "$group":
            _check_accumulators({field: item for field, item in options.items() if field != "_id"})
            _check_expression(options.get("_id"))
        elif name == "$bucket":
            _check_accumulators(options.get("output", {}))
            _check_expression(options.get("groupBy"))
        elif name not in ("$sort", "$lookup", "$graphLookup"):
            _check_expression(options)
            if name in ("$project", "$addFields", "$set"):
                _check_flat(name, options)


def _check_flat(stage: str, fields: Any) -> None:
    """Refuse nested documents of fields, which mongomock takes for values and MongoDB for paths."""
    if not isinstance(fields, Mapping) or not fields:
        raise MongoError(40272, f"{stage} specification stage must be an object")
    for name, value in fields.items():
        if isinstance(value, Mapping) and value and not next(iter(value)).startswith("$"):
            raise not_implemented(
                f"the nested document {name!r} in {stage} (write its fields as dotted paths)"
            )


def _check_accumulators(fields: Mapping[str, Any]) -> None:
    for name, accumulation in fields.items():
        if not isinstance(accumulation, Mapping) or len(accumulation) != 1:
            raise MongoError(40234, f"The field '{name}' must be an accumulator object")
        [(accumulator, expression)] = accumulation.items()
        if accumulator not in ACCUMULATORS:
            raise MongoError(15952, f"unknown group operator '{accumulator}'")
        _check_expression(expression)


def _check_expression(expression: Any) -> None:
    if isinstance(expression, list):
        for item in expression:
            _check_expression(item)
    elif isinstance(expression, Mapping):
        for name, operand in expression.items():
            if name.startswith("$") and name not in EXPRESSIONS:
                raise MongoError(168, f"Unrecognized expression '{name}'")
            if name != "$literal":
                _check_expression(operand)


EXPRESSIONS = {
    *engine.arithmetic_operators,
    *engine.project_operators,
    *engine.projection_operators,
    *engine.comparison_operators,
    *engine.date_operators,
    *engine.array_operators,
    *engine.conditional_operators,
    *engine.control_flow_operators,
    *engine.set_operators,
    *engine.string_operators,
    *engine.type_convertion_operators,
    *engine.type_operators,
    *engine.boolean_operators,
}


def evaluate(expression: Any, document: dict) -> Any:
    """Value of an aggregation expression; ``MISSING`` for a field that the document does not have."""
    try:
        return engine._parse_expression(expression, document, ignore_missing_keys=True)
    except KeyError:
        return MISSING


def _match(stream: list[dict], database: Database | None, query: Any) -> list[dict]:
    holds = compile_filter(query)
    return [document for document in stream if holds(document)]


def _sort(stream: list[dict], database: Database | None, sort: Any) -> list[dict]:
    if not isinstance(sort, Mapping) or not sort:
        raise MongoError(15973, "the $sort key specification must be an object")
    return sorted_documents(stream, sort)


def _limit(stream: list[dict], database: Database | None, count: Any) -> list[dict]:
    if not is_number(count) or count <= 0:
        raise MongoError(15958, "the limit must be positive")
    return stream[: int(count)]


def _skip(stream: list[dict], database: Database | None, count: Any) -> list[dict]:
    if not is_number(count) or count < 0:
        raise MongoError(15956, "Argument to $skip cannot be negative")
    return stream[int(count) :]


def _count(stream: list[dict], database: Database | None, name: Any) -> list[dict]:
    if not isinstance(name, str) or not name or name.startswith("$") or "." in name:
        raise MongoError(40156, "the count field must be a non-empty string without '$' and '.'")
    return [{name: len(stream)}] if stream else []


def _group(stream: list[dict], database: Database | None, options: Any) -> list[dict]:
    if not isinstance(options, Mapping) or "_id" not in options:
        raise MongoError(15955, "a group specification must include an _id")
    groups: dict[tuple, tuple[Any, list[dict]]] = {}
    for document in stream:
        identifier = evaluate(options["_id"], document)
        identifier = None if identifier is MISSING else identifier
        groups.setdefault(order_key(identifier), (identifier, []))[1].append(document)
    return [{"_id": identifier} | _accumulated(options, members) for identifier, members in groups.values()]


def _accumulated(fields: Mapping[str, Any], members: list[dict]) -> dict:
    """Values of the accumulator fields of a group."""
    return {
        name: ACCUMULATORS[accumulator]([evaluate(expression, member) for member in members])
        for name, accumulation in fields.items()
        if name != "_id"
        for accumulator, expression in accumulation.items()
    }


def _numbers(values: list) -> list:
    return [value for value in values if is_number(value)]


def _present(values: list) -> list:
    return [value for value in values if value is not MISSING]


def _null(value: Any) -> Any:
    return None if value is MISSING else value


def _distinct(values: list) -> list:
    return list({order_key(value): value for value in _present(values)}.values())


def _extreme(choose: Callable) -> Callable[[list], Any]:
    def accumulate(values: list) -> Any:
        found = [value for value in _present(values) if value is not None]
        return choose(found, key=order_key) if found else None

    return accumulate


def _merged(values: list) -> dict:
    return {name: item for value in values if isinstance(value, dict) for name, item in value.items()}


ACCUMULATORS: dict[str, Callable[[list], Any]] = {
    "$sum": lambda values: engine._sum_operation(_numbers(values)),
    "$avg": lambda values: engine._avg_operation(_numbers(values)),
    "$min": _extreme(min),
    "$max": _extreme(max),
    "$first": lambda values: _null(values[0]),
    "$last": lambda values: _null(values[-1]),
    "$push": _present,
    "$addToSet": _distinct,
    "$mergeObjects": _merged,
    "$count": len,
}


def _unwind(stream: list[dict], database: Database | None, options: Any) -> list[dict]:
    options = options if isinstance(options, Mapping) else {"path": options}
    path = options.get("path")
    if not isinstance(path, str) or not path.startswith("$"):
        raise MongoError(28818, f"path option to $unwind stage should be prefixed with a '$': {path}")
    parts, keeps_empty = path[1:].split("."), options.get("preserveNullAndEmptyArrays", False)
    position_field = options.get("includeArrayIndex")
    result = []
    for document in stream:
        found: Any = document
        for part in parts:
            found = found.get(part, MISSING) if isinstance(found, dict) else MISSING
        if isinstance(found, list):
            items: list[tuple[Any, int | None]] = [(item, number) for number, item in enumerate(found)]
        else:
            items = [] if found is MISSING or found is None else [(found, None)]
        if not items and keeps_empty:
            items = [(MISSING if found == [] else found, None)]
        for item, number in items:
            unwound = _replaced(document, parts, item)
            if position_field:
                unwound = _replaced(unwound, position_field.split("."), number)
            result.append(unwound)
    return result


def _replaced(document: dict, parts: list[str], value: Any) -> dict:
    """The document with another value at a path, sharing everything else with the original."""
    result = dict(document)
    if len(parts) > 1:
        inner = result.get(parts[0])
        result[parts[0]] = _replaced(inner if isinstance(inner, dict) else {}, parts[1:], value)
    elif value is MISSING:
        result.pop(parts[0], None)
    else:
        result[parts[0]] = value
    return result


def _unset(stream: list[dict], database: Database | None, names: Any) -> list[dict]:
    paths = [names] if isinstance(names, str) else names
    return engine._handle_project_stage(stream, database, dict.fromkeys(paths, 0))


def _replace_with(stream: list[dict], database: Database | None, expression: Any) -> list[dict]:
    return engine._handle_replace_root_stage(stream, database, {"newRoot": expression})


def _sort_by_count(stream: list[dict], database: Database | None, expression: Any) -> list[dict]:
    groups = _group(stream, database, {"_id": expression, "count": {"$sum": 1}})
    return sorted_documents(groups, {"count": -1})


def _facet(stream: list[dict], database: Database | None, options: Any) -> list[dict]:
    return [{name: run_pipeline(stream, pipeline, database) for name, pipeline in options.items()}]


def _out(stream: list[dict], database: Database | None, target: Any) -> list[dict]:
    if not isinstance(target, str) or database is None:
        raise not_implemented("$out to another database")
    database.replace_collection(target, stream)
    return []


def _on_copies(handler: Callable, copy: Callable[[dict], dict]) -> Callable:
    """The stage for a mongomock handler that writes into the documents that it is given."""
    return lambda stream, database, options: handler([copy(doc) for doc in stream], database, options)


def _date_from_string(parser: Any, operand: Any) -> Any:
    """``$dateFromString`` of ISO 8601 dates, which is what FireWorks stores."""
    if not isinstance(operand, Mapping) or "dateString" not in operand:
        raise MongoError(40540, "$dateFromString needs an object with 'dateString'")
    if unknown := set(operand) - {"dateString", "onError", "onNull"}:
        raise not_implemented(f"{unknown.pop()!r} of $dateFromString")
    text = parser._parse_or_nothing(operand["dateString"])
    if text is None or text is engine.NOTHING:
        return parser.parse(operand["onNull"]) if "onNull" in operand else None
    try:
        if not isinstance(text, str):
            raise ValueError("not a string")
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        if "onError" in operand:
            return parser.parse(operand["onError"])
        raise MongoError(241, f"Error parsing date string {text!r}") from error
    if found.tzinfo:
        found = found.astimezone(timezone.utc).replace(tzinfo=None)
    return found - timedelta(microseconds=found.microsecond % 1000)


COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$cmp": lambda a, b: (a > b) - (a < b),
}


def _comparison(parser: Any, name: str, operands: Any) -> Any:
    """A comparison of two expressions in BSON's order, in which a missing value precedes null."""
    if not isinstance(operands, list) or len(operands) != 2:
        raise MongoError(16020, f"Expression {name} takes exactly 2 arguments")
    keys = []
    for operand in operands:
        value = parser._parse_or_nothing(operand)
        keys.append((0,) if value is engine.NOTHING else order_key(value))
    return COMPARISONS[name](*keys)


_date_operator_of_mongomock = engine._Parser._handle_date_operator


def _date_operator(parser: Any, name: str, operand: Any) -> Any:
    if name == "$dateFromString":
        return _date_from_string(parser, operand)
    return _date_operator_of_mongomock(parser, name, operand)


engine._Parser._handle_date_operator = _date_operator
engine._Parser._handle_comparison_operator = _comparison
engine._accumulate_group = _accumulated
engine._PIPELINE_HANDLERS.update(
    {
        "$match": _match,
        "$sort": _sort,
        "$limit": _limit,
        "$skip": _skip,
        "$count": _count,
        "$group": _group,
        "$unwind": _unwind,
        "$unset": _unset,
        "$replaceWith": _replace_with,
        "$sortByCount": _sort_by_count,
        "$facet": _facet,
        "$out": _out,
        "$addFields": _on_copies(engine._handle_add_fields_stage, copied),
        "$set": _on_copies(engine._handle_add_fields_stage, copied),
        "$lookup": _on_copies(engine._handle_lookup_stage, dict),
        "$graphLookup": _on_copies(engine._handle_graph_lookup_stage, dict),
    }
)
