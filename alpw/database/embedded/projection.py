"""Projections of ``find`` and ``findAndModify``: inclusion, exclusion, ``$slice`` and ``$elemMatch``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from alpw.database.embedded.errors import MongoError, not_implemented
from alpw.database.embedded.query import element_predicate
from alpw.database.embedded.values import is_number

Projection = Callable[[dict], dict]


def compile_projection(spec: Mapping[str, Any] | None) -> Projection:
    """A function from a document to what the projection leaves of it; the document itself is not changed.

    Raises:
        MongoError: for mixed inclusion and exclusion, colliding paths and expressions.
    """
    if not spec:
        return lambda document: document
    tree: dict[str, Any] = {}
    operators: dict[str, Callable[[dict], None]] = {}
    modes = set()
    for path, value in spec.items():
        if isinstance(value, dict):
            operators[path] = _operator(path, value)
            if "$elemMatch" in value:
                modes.add(True)
        elif isinstance(value, bool) or is_number(value):
            _plant(tree, path, bool(value))
            if path != "_id":
                modes.add(bool(value))
        else:
            raise not_implemented("an expression in a projection")
    if len(modes) == 2:
        raise MongoError(31254, "Cannot do inclusion and exclusion in one projection")
    including = modes.pop() if modes else bool(tree.get("_id", False))
    if including:
        tree.setdefault("_id", True)
        for path in operators:
            _plant(tree, path, True)
    elif tree.get("_id"):
        del tree["_id"]

    def project(document: dict) -> dict:
        result = _included(document, tree) if including else _excluded(document, tree)
        for apply in operators.values():
            apply(result)
        return result

    return project


def _plant(tree: dict[str, Any], path: str, value: bool) -> None:
    parts = path.split(".")
    if any(not part for part in parts):
        raise MongoError(40353, f"FieldPath must not contain an empty field name: {path!r}")
    if any(part.startswith("$") for part in parts):
        raise not_implemented("a positional projection")
    for part in parts[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise MongoError(31249, f"Path collision at {path}")
    if parts[-1] in tree:
        raise MongoError(31250, f"Path collision at {path}")
    tree[parts[-1]] = value


def _included(value: Any, tree: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_included(item, tree) for item in value if isinstance(item, (dict, list))]
    result = {}
    for name, item in value.items():
        branch = tree.get(name)
        if isinstance(branch, dict):
            if isinstance(item, (dict, list)):
                result[name] = _included(item, branch)
        elif branch:
            result[name] = item
    return result


def _excluded(value: Any, tree: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_excluded(item, tree) for item in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for name, item in value.items():
        branch = tree.get(name)
        if isinstance(branch, dict):
            result[name] = _excluded(item, branch)
        elif branch is None:
            result[name] = item
    return result


def _operator(path: str, value: dict) -> Callable[[dict], None]:
    """Function that narrows the array at ``path`` of an already projected document."""
    parts = path.split(".")
    if len(value) == 1 and "$slice" in value:
        cut = _slice(value["$slice"])
    elif len(value) == 1 and "$elemMatch" in value:
        holds = element_predicate(value["$elemMatch"])

        def cut(items: list) -> list:
            return next(([item] for item in items if holds(item)), [])
    else:
        raise not_implemented("an expression in a projection")

    def apply(document: dict) -> None:
        for part in parts[:-1]:
            # the containers on the way belong to the stored document: change copies
            inner = document.get(part)
            if not isinstance(inner, dict):
                return
            document[part] = document = dict(inner)
        found = document.get(parts[-1])
        if isinstance(found, list):
            document[parts[-1]] = cut(found)
        if "$elemMatch" in value and not document.get(parts[-1]):
            document.pop(parts[-1], None)

    return apply


def _slice(operand: Any) -> Callable[[list], list]:
    if isinstance(operand, list) and len(operand) == 2 and all(is_number(item) for item in operand):
        skip, limit = (int(item) for item in operand)
        if limit <= 0:
            raise MongoError(28724, "the limit of $slice must be positive")
        return lambda items: items[max(len(items) + skip, 0) if skip < 0 else skip :][:limit]
    if not is_number(operand):
        raise MongoError(28667, "$slice takes a number or an array of two numbers")
    count = int(operand)
    return lambda items: items[:count] if count >= 0 else items[count:]
