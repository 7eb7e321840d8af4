"""Checks of queries, updates and pipelines before mongomock sees them; each raises `MongoError`.

mongomock looks at an operator when a document reaches it, and passes over some that it does not know. Here
an unknown operator is an error whatever the collection holds, and what mongomock gets wrong is refused.
"""

from __future__ import annotations

import re
from typing import Any

from mongomock import aggregate, filtering

from alpw.database.embedded.errors import MongoError, not_implemented
from alpw.database.embedded.repairs import install, is_number

install()

LOGICAL = {"$and", "$or", "$nor"}
CONDITIONS = {*filtering._filterer_inst._operator_map, "$not", "$options"}
UPDATES = {"$set", "$unset", "$inc", "$min", "$max", "$push", "$pull", "$pop", "$addToSet", "$setOnInsert"}
# these pass over an element of an array without a word
FIELDS_ONLY = {"$max", "$min", "$unset"}
MODIFIERS = {"$push": {"$each", "$position", "$slice"}, "$addToSet": set(), "$pull": CONDITIONS}
REFUSED = {"$where", "$text", "$jsonSchema", "$geoIntersects", "$geoWithin", "$near", "$nearSphere", "$bit"}
REFUSED |= {"$bitsAllClear", "$bitsAllSet", "$bitsAnyClear", "$bitsAnySet", "$pullAll", "$mul", "$rename"}
REFUSED |= {"$currentDate", "$each", "$sort"}
# the stages that mongomock gets right; the latter change the documents that they are given
READING = {"$bucket", "$count", "$group", "$limit", "$match", "$project", "$replaceRoot", "$sample", "$skip"}
READING |= {"$sort", "$unwind"}
CHANGING = {"$addFields", "$lookup", "$set"}
TABLES = [table for name, table in vars(aggregate).items() if name.endswith("_operators")]
EXPRESSIONS = set().union(*TABLES)


def _known(operator: str, table: set[str], what: str, code: int = 2) -> None:
    if operator in REFUSED - table:
        raise not_implemented(operator)
    if operator not in table:
        raise MongoError(code, f"unknown {what}: {operator}")


def has_operators(value: Any) -> bool:
    return isinstance(value, dict) and next(iter(value), "").startswith("$")


def check_query(query: Any) -> None:
    """Also rewrites ``{field: number}`` as ``{field: {"$eq": number}}``."""
    if not isinstance(query, dict):
        raise MongoError(14, "Expected field filter to be of type object")
    for key, value in query.items():
        if key in LOGICAL:
            if not isinstance(value, list) or not value:
                raise MongoError(2, f"{key} argument must be a non-empty array")
            for part in value:
                check_query(part)
        elif key == "$expr":
            _check_expression(value)
        elif key.startswith("$"):
            _known(key, {"$comment"}, "top level operator")
        elif has_operators(value):
            _check_condition(value)
        elif isinstance(value, (bool, int, float)):
            # mongomock's comparison without an operator takes True for 1
            query[key] = {"$eq": value}


def _check_condition(condition: dict[str, Any]) -> None:
    for operator, argument in condition.items():
        _known(operator, CONDITIONS, "operator")
        if operator in ("$in", "$nin", "$all", "$mod") and not isinstance(argument, list):
            raise MongoError(2, f"{operator} needs an array")
        if operator == "$all" and not argument:
            raise not_implemented("an empty $all")
        if operator == "$regex" and isinstance(argument, str):
            re.compile(argument)
        if operator == "$not" and has_operators(argument):
            _check_condition(argument)
        if operator == "$elemMatch":
            (_check_condition if next(iter(argument), "") in CONDITIONS else check_query)(argument)


def _check_expression(value: Any) -> None:
    for key in value if isinstance(value, dict) else ():
        if key.startswith("$"):
            _known(key, EXPRESSIONS, "expression", 168)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_expression(item)


def check_pipeline(pipeline: list[dict[str, Any]]) -> None:
    for stage in pipeline:
        if len(stage) != 1:
            raise MongoError(40323, "A pipeline stage specification object must contain exactly one field.")
        ((name, options),) = stage.items()
        if name in aggregate._PIPELINE_HANDLERS.keys() - READING - CHANGING:
            raise not_implemented(name)
        _known(name, READING | CHANGING, "pipeline stage name", 40324)
        if name == "$project" and any(isinstance(v, dict) and not has_operators(v) for v in options.values()):
            raise not_implemented("a nested document in $project")
        for field, accumulator in options.items() if name == "$group" else ():
            if field != "_id" and not has_operators(accumulator):
                raise MongoError(40234, f"The field {field!r} must be an accumulator object")
            for operator in accumulator if field != "_id" else ():
                _known(operator, set(aggregate.group_operators), "group operator", 15952)
        (check_query if name == "$match" else _check_expression)(options)


def check_projection(projection: dict[str, Any]) -> None:
    plain = {path for path, value in projection.items() if is_number(value) or isinstance(value, bool)}
    if len({bool(projection[path]) for path in plain - {"_id"}}) > 1:
        raise MongoError(31254, "Cannot do exclusion and inclusion of fields in one projection")
    for path, value in projection.items():
        if path in plain:
            projection[path] = int(bool(value))
        elif not isinstance(value, dict) or len(value) != 1 or not value.keys() <= {"$slice", "$elemMatch"}:
            raise not_implemented("a computed field in a projection")
        elif "$elemMatch" in value:
            check_query({path: value})
        elif not plain - {"_id"}:
            raise not_implemented("$slice alone in a projection")
        if "." in path and (path not in plain or not value):
            raise not_implemented(f"leaving out, slicing or matching the nested field {path} in a projection")


def check_sort(sort: Any) -> None:
    if not isinstance(sort, dict) or any(direction not in (1, -1) for direction in sort.values()):
        raise MongoError(2, "a sort takes 1 or -1 for each field")


def check_update(update: Any, query: dict[str, Any], *, multi: bool = False, upsert: bool = False) -> None:
    if upsert and LOGICAL & query.keys():
        raise not_implemented("an upsert with $and, $or or $nor in its query")
    if isinstance(update, list):
        return check_pipeline(update)
    if not isinstance(update, dict) or (multi and not has_operators(update)):
        raise MongoError(9, "an update must have operators, or replace one document")
    changed = []
    for operator, fields in update.items() if has_operators(update) else ():
        _known(operator, UPDATES, "modifier", 9)
        for path, value in fields.items():
            changed.append(path.split("."))
            if "$" in path or "" in changed[-1]:
                raise not_implemented(f"the path {path!r} of an update")
            if operator == "$inc" and not is_number(value):
                raise MongoError(14, f"Cannot increment with a non-numeric argument: {path}")
            if operator == "$push" and has_operators(value) and "$each" not in value:
                raise MongoError(2, "$push with modifiers needs $each")
            for modifier in value if operator in MODIFIERS and has_operators(value) else ():
                _known(modifier, MODIFIERS[operator], f"clause of {operator}")
    for one, other in zip(sorted(changed), sorted(changed)[1:], strict=False):
        if other[: len(one)] == one:
            raise MongoError(40, f"Updating the path '{'.'.join(other)}' would create a conflict")
    return None


def check_places(update: dict[str, Any], document: dict[str, Any]) -> None:
    """Whether this document has, or can be given, the places that an update changes."""
    if not has_operators(update):
        return
    for operator, path in ((operator, path) for operator, fields in update.items() for path in fields):
        value: Any = document
        for part in path.split("."):
            if isinstance(value, dict):
                value = value.get(part, {})
            elif isinstance(value, list) and part.isdigit():
                if operator in FIELDS_ONLY:
                    raise not_implemented(f"{operator} of an element of an array")
                value = value[int(part)] if int(part) < len(value) else {}
            elif isinstance(value, list) or operator != "$unset":
                raise MongoError(28, f"Cannot use the part ({part}) of ({path}) to traverse the element")
