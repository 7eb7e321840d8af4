"""From the user's spelling of an input file to the fields of our models.

Keys are case-insensitive, known by several spellings, and may be comments (a leading underscore). A scalar
stands for a list of one. What the tables of :mod:`alpw.config.vocabulary` know is turned into notes and
problems here, so that the models only see fields of their own.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema

from alpw.config.section import Loc, Problem, Section, unknown_key
from alpw.config.vocabulary import (
    CHOICES_NOT_AVAILABLE,
    HOISTED,
    NO_EFFECT,
    NOT_AVAILABLE,
    SPELLINGS,
)


class JsonObject(dict[str, Any]):
    """A JSON object that remembers the keys given twice with different values."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        # A NaN differs from itself; identity keeps it from counting as a repetition.
        self.repeated = sorted({key for key, value in pairs if self[key] is not value and self[key] != value})


@dataclass
class Translation:
    """What one pass over a file found out."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    spelling: dict[Loc, str] = field(default_factory=dict)
    """how the user wrote the key at this place"""

    def path(self, loc: Loc) -> str:
        """The dotted path of a place in the user's own spelling, ``explore.md_jobs[0][1].temps[0]``."""
        text = ""
        for depth, part in enumerate(loc, start=1):
            if isinstance(part, int):
                text += f"[{part}]"
            else:
                text += ("." if text else "") + self.spelling.get(loc[:depth], part)
        return text


def is_derived(info: FieldInfo) -> bool:
    """Whether a field is filled by us and is no key of the file."""
    # For the type checker SkipJsonSchema is no class.
    return any(isinstance(mark, SkipJsonSchema) for mark in info.metadata)  # type: ignore[misc]


def keys_of(model: type[Section]) -> list[str]:
    """The keys that a user may write in a block, in the order of the model."""
    return [name for name, info in model.model_fields.items() if not is_derived(info)]


def unwrap(annotation: Any) -> Any:
    """The type below ``Annotated`` and ``| None``."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return unwrap(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return unwrap(next(arg for arg in get_args(annotation) if arg is not type(None)))
    return annotation


def translate(model: type[Section], raw: Any) -> tuple[Any, Translation]:
    """The content of a file with the keys of ``model``, and what was found on the way.

    Args:
        model: the model of the whole file.
        raw: parsed JSON; objects may be :class:`JsonObject`.
    """
    found = Translation()
    return _fit(model, raw, (), found), found


def _fit(annotation: Any, value: Any, loc: Loc, found: Translation) -> Any:
    annotation = unwrap(annotation)
    if get_origin(annotation) is list and value is not None:
        items = value if isinstance(value, list) else [value]
        return [_fit(get_args(annotation)[0], item, (*loc, i), found) for i, item in enumerate(items)]
    if isinstance(annotation, type) and issubclass(annotation, Section) and isinstance(value, dict):
        return _block(annotation, value, loc, found)
    return value


def _block(model: type[Section], block: dict[str, Any], loc: Loc, found: Translation) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for written, value in _entries(model.section, block, loc, found):
        lower = written.rsplit(".", 1)[-1].lower()
        key = SPELLINGS.get(model.section, {}).get(lower, lower)
        place = (*loc, key)
        if key in fields and fields[key] != value:
            others = f"'{found.spelling[place]}' and '{written}'"
            found.problems.append(
                Problem(place, f"{others} are the same key with different values; keep one")
            )
            continue
        found.spelling[place] = written
        if _is_field(model, key, value, place, found):
            fields[key] = value
    return {key: _fit(model.model_fields[key].annotation, fields[key], (*loc, key), found) for key in fields}


def _entries(section: str, block: dict[str, Any], loc: Loc, found: Translation) -> Iterator[tuple[str, Any]]:
    """Keys and values of a block without comments, with the content of hoisted blocks in their place."""
    for key in getattr(block, "repeated", ()):
        found.problems.append(Problem((*loc, key), "given twice with different values; keep one"))
    for key, value in block.items():
        if key.startswith("_"):
            continue
        if key.lower() in HOISTED.get(section, ()) and isinstance(value, dict):
            yield from ((f"{key}.{inner}", content) for inner, content in _entries("", value, loc, found))
        else:
            yield key, value


def _is_field(model: type[Section], key: str, value: Any, place: Loc, found: Translation) -> bool:
    """Whether ``key`` goes on to the model; otherwise the reason is in ``found``."""
    section = model.section
    if key in keys_of(model):
        advice = CHOICES_NOT_AVAILABLE.get(f"{section}.{key}", {})
        choice = value.strip().lower() if isinstance(value, str) else value
        if isinstance(choice, (str, bool)) and choice in advice:
            text = f"{json.dumps(value)} is not available in this version; {advice[choice]}"
            found.problems.append(Problem(place, text))
        return True
    if reason := NO_EFFECT.get(section, {}).get(key):
        found.notes.append(Problem(place, f"has no effect: {reason}"))
    elif absent := NOT_AVAILABLE.get(section, {}).get(key):
        if not any(type(value) is type(harmless) and value == harmless for harmless in absent.harmless):
            found.problems.append(Problem(place, f"not available in this version; {absent.advice}"))
    else:
        found.problems.append(
            Problem(place, unknown_key(key, [*keys_of(model), *SPELLINGS.get(section, {})]))
        )
    return False
