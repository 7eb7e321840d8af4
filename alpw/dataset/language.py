"""What a user asks for, as a MongoDB filter: JSON, or shorthand such as ``chemsys=Si max_force>5``.

Shorthand is terms side by side, which must all hold: ``FIELD OP VALUE`` without blanks, or in quotes.

| term | means |
| --- | --- |
| `max_force>5`, `>=`, `<`, `<=` | larger, smaller |
| `state=labelled`, `!=` | equal, not equal or absent |
| `state=labelled,quarantined` | one of several |
| `formula~^Si` | matches a regular expression |
| `pressure?`, `!pressure` | is there, is not there |
| `element=O`, `element=C,O` | has this element, has one of these |
| `snapshot=NAME` | belongs to a named snapshot |
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from ase.data import atomic_numbers
from ase.formula import Formula
from bson import ObjectId, json_util
from bson.errors import InvalidId

from alpw.database.configurations import Role, State
from alpw.dataset.fields import FIELDS, NAMES
from alpw.errors import InputError

SNAPSHOT = "$snapshot"
"""Key of a filter that `alpw.dataset.Dataset` replaces by the ids of the snapshot of that name."""

ELEMENT = "element"

ARRAYS = ("structure", "forces", "virial")
"""fields that a document may have or lack, and nothing else can be asked of them"""

_OPERATORS = {">=": "$gte", "<=": "$lte", "!=": "$ne", "=": "$eq", ">": "$gt", "<": "$lt", "~": "$regex"}
_TERM = re.compile(r"(?P<field>[\w.]+)\s*(?P<operator>>=|<=|!=|==|=|>|<|~)\s*(?P<value>.*)", re.DOTALL)
_PRESENCE = re.compile(r"(?P<absent>!?)(?P<field>[\w.]+)(?P<present>\??)")


def parse(*texts: str) -> dict[str, Any]:
    """A MongoDB filter from what users write; several texts must all hold, none means everything.

    JSON may be MongoDB's extended one (``{"$oid": ...}``, ``{"$date": ...}``).

    Raises:
        InputError: no JSON object, no term, an unknown field, or a value that the field cannot have.
    """
    parts: list[dict[str, Any]] = []
    for text in texts:
        if text.lstrip().startswith(("{", "[")):
            parts.append(_from_json(text))
        else:
            parts += [_term(word) for word in _words(text)]
    return _joined([part for part in parts if part])


def unknown_fields(query: dict[str, Any]) -> dict[str, str]:
    """Fields in a filter that no configuration has -> a hint; a typing error there finds nothing."""
    found: dict[str, str] = {}
    for key, value in query.items():
        if key.startswith("$"):
            for part in value if isinstance(value, list) else ():
                found |= unknown_fields(part) if isinstance(part, dict) else {}
        elif key not in FIELDS and not any(path.startswith(f"{key}.") for path in FIELDS) and "." not in key:
            found[key] = _hint(key)
    return found


def field(name: str) -> str:
    """The field of a document that a name means.

    Raises:
        InputError: there is no such field; names the nearest.
    """
    # Below `source` lies whatever the one that chose the structure knew of it.
    if name in NAMES or name in ARRAYS or name.startswith(("source.", "settings.", "error.", "removed.")):
        return NAMES.get(name, name)
    if name.lower() in NAMES:
        return NAMES[name.lower()]
    raise InputError(f"there is no field {name!r}; {_hint(name)}", key="query")


def _hint(name: str) -> str:
    near = get_close_matches(name.lower(), NAMES, n=1)
    return f"did you mean {near[0]!r}?" if near else "docs/data.md lists them"


def _from_json(text: str) -> dict[str, Any]:
    try:
        query = json_util.loads(text, json_options=json_util.RELAXED_JSON_OPTIONS)
    except json.JSONDecodeError as error:
        where = text[: error.pos].count("\n") + 1, error.colno
        raise InputError(
            f"is no JSON: {error.msg} at line {where[0]}, column {where[1]}; "
            "in a shell, single quotes go around the whole query",
            key="query",
        ) from error
    except (TypeError, ValueError, InvalidId) as error:
        raise InputError(f"holds a value that MongoDB does not know: {error}", key="query") from error
    if not isinstance(query, dict):
        raise InputError(f"a query is an object {{...}}, not a {type(query).__name__}", key="query")
    return query


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(f"{text!r}: {error}", key="query") from error


def _term(word: str) -> dict[str, Any]:
    if match := _TERM.fullmatch(word):
        return _comparison(match["field"], match["operator"].replace("==", "="), match["value"])
    match = _PRESENCE.fullmatch(word)
    if match and bool(match["absent"]) != bool(match["present"]):
        return {field(match["field"]): {"$exists": not match["absent"]}}
    raise InputError(
        f"{word!r} is no term; write FIELD=VALUE without blanks, with =, !=, >, >=, <, <= or ~",
        key="query",
    )


def _comparison(name: str, operator: str, text: str) -> dict[str, Any]:
    if name == "snapshot":
        if operator != "=":
            raise InputError("snapshot takes '=' only", key="query")
        return {SNAPSHOT: text}
    if name == ELEMENT:
        return _element(operator, text)
    path = field(name)
    kind = FIELDS[path].kind if path in FIELDS else "any"
    if operator == "~":
        _regular(text)
        return {path: {"$regex": text}}
    values = [_value(name, kind, part) for part in text.split(",")] if operator in ("=", "!=") else []
    if path in _SPELLINGS:
        values = [_SPELLINGS[path](written) for written in values]
    if wrong := [one for one in values if path in _CHOICES and one not in _CHOICES[path]]:
        raise InputError(f"{name} is one of {', '.join(_CHOICES[path])}, not {wrong[0]!r}", key="query")
    if len(values) > 1:
        return {path: {"$in" if operator == "=" else "$nin": values}}
    value = values[0] if values else _value(name, kind, text)
    return {path: value if operator == "=" else {_OPERATORS[operator]: value}}


def _element(operator: str, text: str) -> dict[str, Any]:
    symbols = text.split(",")
    if unknown := [symbol for symbol in symbols if symbol not in atomic_numbers]:
        raise InputError(f"{unknown[0]!r} is no element", key="query")
    has_one = {"chemical_system": {"$regex": rf"\b({'|'.join(symbols)})\b"}}
    if operator == "=":
        return has_one
    if operator == "!=":
        return {"$nor": [has_one]}
    raise InputError("element takes '=' and '!=' only", key="query")


def _regular(text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise InputError(f"{text!r} is no regular expression: {error}", key="query") from error


def _formula(text: str) -> str:
    """A formula as documents have it, in Hill's order; what is none stays as it is."""
    try:
        return str(Formula(text).convert("hill"))
    except ValueError:
        return text


_SPELLINGS: dict[str, Callable[[str], str]] = {
    "chemical_system": lambda text: "-".join(sorted(text.split("-"))),
    "formula": _formula,
}
"""how documents write what people write in several ways"""

_CHOICES = {
    "state": tuple(state.value for state in State),
    "role": tuple(role.value for role in Role),
}


def _value(name: str, kind: str, text: str) -> Any:
    """A value of the kind that a field has."""
    try:
        return _READERS[kind](text)
    except (ValueError, InvalidId) as error:
        raise InputError(f"{name} is {_KINDS[kind]}, not {text!r}", key="query") from error


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _integer(text: str) -> int | float:
    # n_atoms<10.5 makes sense.
    value = _number(text)
    return int(value) if value == int(value) else value


def _anything(text: str) -> Any:
    for read in (_integer, ObjectId):
        try:
            return read(text)
        except (ValueError, InvalidId):
            continue
    return {"true": True, "false": False, "null": None}.get(text, text)


_READERS: dict[str, Callable[[str], Any]] = {
    "number": _number,
    "integer": _integer,
    "text": str,
    "texts": str,
    "id": ObjectId,
    "date": datetime.fromisoformat,
    "any": _anything,
}
_KINDS = {
    "number": "a number",
    "integer": "a whole number",
    "id": "an id of 24 hexadecimal digits",
    "date": "a date such as 2026-11-29",
}


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One filter for all parts; comparisons of one field are put side by side, as people write them."""
    joined: dict[str, Any] = {}
    for part in parts:
        clash = [key for key in part if key in joined]
        if not clash:
            joined |= part
        elif all(_are_bounds(joined[key], part[key]) for key in clash):
            joined |= {key: {**joined[key], **part[key]} for key in clash}
            joined |= {key: value for key, value in part.items() if key not in clash}
        else:
            return {"$and": parts}
    return joined


def _are_bounds(one: Any, other: Any) -> bool:
    """Whether both are comparisons by different operators."""
    return isinstance(one, dict) and isinstance(other, dict) and not set(one) & set(other)
