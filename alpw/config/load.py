"""Reading param.json and resource.json: every error of a file in one go, each with its key."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from alpw.config.keys import JsonObject, translate, unwrap
from alpw.config.param import Param
from alpw.config.resource import Resource
from alpw.config.section import Loc, Problem, Section
from alpw.errors import InputError

File = TypeVar("File", bound=Section)

MESSAGES: dict[str, str] = {
    "missing": "required key is missing{unit}",
    "float_type": "{found} is not a number{unit}",
    "int_type": "{found} is not a whole number{unit}",
    "finite_number": "{found} is not a finite number{unit}",
    "bool_type": "{found} is not true or false",
    "string_type": "{found} is not text in quotes",
    "list_type": "{found} is not a list",
    "dict_type": "{found} is not a block {{...}}",
    "model_type": "{found} is not a block {{...}}",
    "greater_than": "{found} must be greater than {gt:g}{unit}",
    "greater_than_equal": "{found} must be at least {ge:g}{unit}",
    "less_than": "{found} must be less than {lt:g}{unit}",
    "less_than_equal": "{found} must be at most {le:g}{unit}",
    "literal_error": "{found} is not one of {expected}",
    "too_short": "has {actual_length} entries, at least {min_length} needed",
    "string_pattern_mismatch": "{found} does not have the form {pattern}",
    "value_error": "{error}",
}
"""pydantic's kinds of error in the words of an input file"""


class InputErrors(InputError):
    """All errors of one or more input files, one line each.

    Attributes:
        errors: each error by itself; ``message``, ``file`` and ``key`` are those of the first.
    """

    def __init__(self, errors: list[InputError]) -> None:
        self.errors = errors
        super().__init__(errors[0].message, errors[0].file, errors[0].key)

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


def load_param(path: str | Path) -> Param:
    """Reads and checks param.json completely.

    Raises:
        InputError: anything that is wrong with it (an :class:`InputErrors` that has every error).
    """
    return _load(Param, Path(path).expanduser())


def load_resource(path: str | Path) -> Resource:
    """Reads and checks resource.json completely.

    Raises:
        InputError: anything that is wrong with it (an :class:`InputErrors` that has every error).
    """
    return _load(Resource, Path(path).expanduser())


def load_inputs(param: str | Path, resource: str | Path) -> tuple[Param, Resource]:
    """Both input files, checked completely before either is used.

    Raises:
        InputError: the errors of both files together.
    """
    try:
        read_param = load_param(param)
    except InputErrors as first:
        try:
            load_resource(resource)
        except InputErrors as second:
            raise InputErrors([*first.errors, *second.errors]) from second
        raise
    return read_param, load_resource(resource)


def inputs_hash(param: Param, resource: Resource | None = None) -> str:
    """SHA-256 (hexadecimal) of what the inputs say, to notice that they changed.

    Spelling, order, comments and written-out defaults of the files do not matter. The content of structure
    and control files does; of data sets only the path.
    """
    said: dict[str, Any] = {
        name: model.model_dump(mode="json", exclude={"file", "source", "notes"})
        for name, model in (("param", param), ("resource", resource))
        if model is not None
    }
    dft = param.dft
    files = [path for entry in param.explore.sys_configs for path in entry.files]
    files += [Path(path) for path in (dft.input, dft.basis_set_file, dft.potential_file, *dft.pseudo) if path]
    said["files"] = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _load(model: type[File], path: Path) -> File:
    text = _text(path)
    raw = _parse(text, path)
    content, translation = translate(model, raw)
    problems = list(translation.problems)
    extra = {"file": path.resolve(), "source": json.loads(text)}
    try:
        loaded = model.model_validate({**content, **extra}, context={"folder": path.resolve().parent})
    except ValidationError as error:
        known = {problem.loc for problem in problems}
        problems += [p for details in error.errors() for p in _problems(model, details) if p.loc not in known]
    if problems:
        raise InputErrors([InputError(p.message, path, translation.path(p.loc)) for p in problems])
    notes = [f"{translation.path(p.loc)}: {p.message}" for p in (*translation.notes, *loaded.remarks())]
    return loaded.model_copy(update={"notes": notes})


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputErrors([InputError("no such file", path)]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputErrors([InputError(f"cannot be read: {error}", path)]) from error


def _parse(text: str, path: Path) -> JsonObject:
    try:
        raw = json.loads(text, object_pairs_hook=JsonObject)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputErrors([InputError(f"{place}: not valid JSON: {error.msg}", path)]) from error
    if not isinstance(raw, JsonObject):
        raise InputErrors([InputError("holds no JSON object {...}", path)])
    return raw


def _problems(model: type[Section], details: ErrorDetails) -> list[Problem]:
    loc: Loc = tuple(details["loc"])
    context = details.get("ctx", {})
    if details["type"] == "problems":
        return [Problem((*loc, *inner.loc), inner.message) for inner in context["problems"]]
    template = MESSAGES.get(
        details["type"], "{found}: " + details["msg"].replace("{", "{{").replace("}", "}}")
    )
    text = template.format(found=_short(details["input"]), unit=_unit(model, loc), **context)
    return [Problem(loc, text)]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unit(model: type[Section], loc: Loc) -> str:
    """The unit of the field at ``loc`` in brackets, or nothing."""
    annotation: Any = model
    unit = ""
    for part in loc:
        annotation = unwrap(annotation)
        if isinstance(part, int):
            annotation = annotation.__args__[0]
        elif info := getattr(annotation, "model_fields", {}).get(part):
            extra = info.json_schema_extra
            unit = f" ({extra['unit']})" if isinstance(extra, dict) else ""
            annotation = info.annotation
    return unit
