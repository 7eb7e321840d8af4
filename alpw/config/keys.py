"""From the user's spelling of an input file to the fields of our models.

Keys are case-insensitive, known by several spellings, and may be comments (a leading underscore). A scalar
stands for a list of one. A block may be spread over several places: ``train.model.descriptor``, ``Rmax``
directly in ``train``, and the file that ``train_input_file`` names all speak about ``train.descriptor``. What
the tables of :mod:`alpw.config.vocabulary` know is turned into notes and problems here, so that the
models only see fields of their own, and every finding keeps the place where the user wrote it.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema

from alpw.config.json_file import read_json
from alpw.config.section import Loc, Problem, Section, resolve, unknown_key
from alpw.config.vocabulary import (
    CHOICES_NOT_AVAILABLE,
    HOISTED,
    MOVED,
    NO_EFFECT,
    NOT_AVAILABLE,
    NOT_IMPORTED,
    SPELLINGS,
)
from alpw.errors import InputError


class Place(NamedTuple):
    """Where a user wrote something: a file and the dotted path in it, in the user's own spelling."""

    file: Path
    key: str

    def at(self, *parts: str | int) -> Place:
        """The place below, ``explore.md_jobs[0][1].temps[0]``."""
        key = self.key
        for part in parts:
            key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
        return Place(self.file, key)


class Finding(NamedTuple):
    """A problem or a note about the field at ``loc``, and where the user wrote it."""

    loc: Loc
    place: Place
    message: str

    def error(self) -> InputError:
        return InputError(self.message, self.place.file, self.place.key or None)

    def note(self, file: Path) -> str:
        """One line; the name of a file other than ``file`` comes first."""
        other = "" if self.place.file == file else f"{self.place.file.name}: "
        return f"{other}{self.place.key}: {self.message}"


@dataclass
class Translation:
    """What one pass over a file found out."""

    places: dict[Loc, Place]
    """where each field was written"""
    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def locate(self, problem: Problem) -> Finding:
        """A problem of the models with its place in the user's files."""
        loc = problem.loc
        known = next(depth for depth in range(len(loc), -1, -1) if loc[:depth] in self.places)
        return Finding(loc, self.places[loc[:known]].at(*loc[known:]), problem.message)


@dataclass(frozen=True)
class _Source:
    """A value, often a block, as one file has it."""

    value: Any
    place: Place
    imported: bool = False
    """whether another file names this one; that one's own keys win"""
    moved: bool = False
    """whether the value was written one block higher up"""


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


def translate(model: type[Section], raw: dict[str, Any], file: Path) -> tuple[dict[str, Any], Translation]:
    """The content of a file with the keys of ``model``, and what was found on the way.

    Args:
        model: the model of the whole file.
        raw: the parsed file; objects may be :class:`~alpw.config.json_file.JsonObject`.
        file: where it was read.
    """
    root = Place(file, "")
    found = Translation({(): root})
    return _block(model, [_Source(raw, root)], (), found), found


def _block(model: type[Section], sources: list[_Source], loc: Loc, found: Translation) -> dict[str, Any]:
    """The fields of a block that is the sum of ``sources``; earlier ones win over imported ones."""
    said: dict[str, list[_Source]] = {}
    for source in sources:
        _collect(model, source, loc, said, found)
    for source in _imports(said.get(model.imports, []), loc, found):
        _collect(model, source, loc, said, found)
    for key, values in said.items():
        _refuse_choice(f"{model.section}.{key}", values[0], (*loc, key), found)
    return {
        key: _fit(model.model_fields[key].annotation, values, (*loc, key), found)
        for key, values in said.items()
    }


def _imports(named: list[_Source], loc: Loc, found: Translation) -> Iterator[_Source]:
    """The further file that a block names, if it is there; that it is missing is told by the field."""
    for source in named[:1]:
        file = resolve(source.value, source.place.file.parent) if isinstance(source.value, str) else None
        if file is None or not file.is_file():
            return
        try:
            yield _Source(read_json(file), Place(file, ""), imported=True)
        except InputError as error:
            found.problems.append(Finding(loc, Place(file, error.key or ""), error.message))


def _collect(
    model: type[Section], source: _Source, loc: Loc, said: dict[str, list[_Source]], found: Translation
) -> None:
    """Sort the keys of one source by the field that they are about."""
    for written, value in _entries(model.section, source, loc, found):
        above, _, last = written.rpartition(".")
        lower = last.lower()
        if target := MOVED.get(model.section, {}).get(lower):
            place = source.place.at(above) if above else source.place
            said.setdefault(target, []).append(_Source({last: value}, place, source.imported, moved=True))
            continue
        key = SPELLINGS.get(model.section, {}).get(lower, lower)
        entry = _Source(value, source.place.at(written), source.imported)
        if _is_field(model, key, entry, (*loc, key), found):
            said.setdefault(key, []).append(entry)


def _entries(section: str, source: _Source, loc: Loc, found: Translation) -> Iterator[tuple[str, Any]]:
    """Keys and values of a block without comments, with the content of hoisted blocks in their place."""
    for key in getattr(source.value, "repeated", ()):
        text = "given twice with different values; keep one"
        found.problems.append(Finding((*loc, key), source.place.at(key), text))
    for key, value in source.value.items():
        if key.startswith("_"):
            continue
        if key.lower() in HOISTED.get(section, ()) and isinstance(value, dict):
            inner = replace(source, value=value, place=source.place.at(key))
            yield from ((f"{key}.{name}", content) for name, content in _entries("", inner, loc, found))
        else:
            yield key, value


def _fit(annotation: Any, said: list[_Source], loc: Loc, found: Translation) -> Any:
    """The value of a field, out of everything that was said about it."""
    takes_object = any(get_origin(unwrap(kind)) is dict for kind in get_args(annotation))
    annotation = unwrap(annotation)
    is_block = isinstance(annotation, type) and issubclass(annotation, Section)
    if is_block:
        said = [replace(source, value=annotation.shorthand(source.value)) for source in said]
    first = said[0]
    if written := [source.place for source in said if not source.moved]:
        found.places[loc] = written[0]
    if is_block and isinstance(first.value, dict):
        blocks: list[_Source] = []
        for source in said:
            if not isinstance(source.value, dict):
                _compare(first, source, loc, found)
            elif all(source.value != block.value for block in blocks):
                blocks.append(source)
        return _block(annotation, blocks, loc, found)
    for other in said[1:]:
        _compare(first, other, loc, found)
    as_it_is = first.value is None or (takes_object and isinstance(first.value, dict))
    if get_origin(annotation) is list and not as_it_is:
        items = first.value if isinstance(first.value, list) else [first.value]
        inner = get_args(annotation)[0]
        return [
            _fit(inner, [_Source(item, first.place.at(i), first.imported)], (*loc, i), found)
            for i, item in enumerate(items)
        ]
    return first.value


def _compare(first: _Source, other: _Source, loc: Loc, found: Translation) -> None:
    """Report a value that is not used because ``first`` says something else."""
    if first.value == other.value:
        return
    if other.imported and not first.imported:
        text = f"has no effect: {first.place.file.name} gives {first.place.key}"
        found.notes.append(Finding(loc, other.place, text))
        return
    one, two = first.place.key, other.place.key
    if one.rpartition(".")[0] == two.rpartition(".")[0]:
        one, two = one.rpartition(".")[2], two.rpartition(".")[2]
    text = f"'{one}' and '{two}' are the same key with different values; keep one"
    found.problems.append(Finding(loc, first.place, text))


def _is_field(model: type[Section], key: str, entry: _Source, loc: Loc, found: Translation) -> bool:
    """Whether ``key`` goes on to the model; otherwise the reason is in ``found``."""
    section, value = model.section, entry.value
    if entry.imported and (reason := NOT_IMPORTED.get(section, {}).get(key)):
        found.notes.append(Finding(loc, entry.place, f"has no effect: {reason}"))
        return False
    if key in keys_of(model):
        return True
    if reason := NO_EFFECT.get(section, {}).get(key):
        found.notes.append(Finding(loc, entry.place, f"has no effect: {reason}"))
    elif absent := NOT_AVAILABLE.get(section, {}).get(key):
        if not any(type(value) is type(harmless) and value == harmless for harmless in absent.harmless):
            text = f"not available in this version; {absent.advice}"
            found.problems.append(Finding(loc, entry.place, text))
    else:
        known = [*keys_of(model), *SPELLINGS.get(section, {}), *MOVED.get(section, {})]
        found.problems.append(Finding(loc, entry.place, unknown_key(key, known)))
    return False


def _refuse_choice(key: str, entry: _Source, loc: Loc, found: Translation) -> None:
    """Report a value that asks for something that this version does not have."""
    advice = CHOICES_NOT_AVAILABLE.get(key, {})
    choice = entry.value.strip().lower() if isinstance(entry.value, str) else entry.value
    if isinstance(choice, (str, bool)) and choice in advice:
        text = f"{json.dumps(entry.value)} is not available in this version; {advice[choice]}"
        found.problems.append(Finding(loc, entry.place, text))
