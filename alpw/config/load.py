"""Reading param.json and resource.json: every error of a file in one go, each with its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from alpw.config.amounts import MEMORY, WALLTIME
from alpw.config.commands import command_names
from alpw.config.flags import flag_text, take_all_flags
from alpw.config.init_bulk import InitBulk
from alpw.config.json_file import InputErrors, read_json
from alpw.config.keys import Translation, translate, unwrap
from alpw.config.param import CAMPAIGN_NAME, FUNCTION, Param
from alpw.config.resource import CARD, InitResource, Resource
from alpw.config.section import Loc, Problem, Section

File = TypeVar("File", bound=Section)
OtherFile = TypeVar("OtherFile", bound=Section)

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
    "string_pattern_mismatch": "{found} is not {form}",
    "value_error": "{error}",
}
"""pydantic's kinds of error in the words of an input file"""

FORMS: dict[str, str] = {
    WALLTIME: "HH:MM:SS or D-HH:MM:SS, e.g. 24:00:00",
    MEMORY: "a whole number with K, M, G or T, e.g. 16G",
    CARD: "one word of letters, digits, '_', '.' and '-', e.g. a100",
    CAMPAIGN_NAME: "a name of letters, digits, '_', '.' and '-', e.g. silicon",
    FUNCTION: "the import path of a function, e.g. mypackage.checks.volume",
}
"""Patterns in words."""


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


def load_init(path: str | Path) -> InitBulk:
    """Reads and checks init_param.json completely.

    Raises:
        InputError: anything that is wrong with it (an :class:`InputErrors` that has every error).
    """
    return _load(InitBulk, Path(path).expanduser())


def load_init_inputs(param: str | Path, resource: str | Path) -> tuple[InitBulk, InitResource]:
    """Both input files of init_bulk, checked completely before either is used.

    Raises:
        InputError: the errors of both files together.
    """
    first, second = _both(load_init, param, load_init_resource, resource)
    return first, second.model_copy(update={"commands": command_names(first)})


def load_init_resource(path: str | Path) -> InitResource:
    """Reads and checks resource.json as init_bulk uses it.

    Raises:
        InputError: anything that is wrong with it (an :class:`InputErrors` that has every error).
    """
    return _load(InitResource, Path(path).expanduser())


def load_inputs(param: str | Path, resource: str | Path) -> tuple[Param, Resource]:
    """Both input files, checked completely before either is used.

    Raises:
        InputError: the errors of both files together.
    """
    first, second = _both(load_param, param, load_resource, resource)
    return first, beside(first, second)


def beside(first: Param, second: Resource) -> Resource:
    """resource.json as a param.json that was read uses it: names of commands, and notes that hold."""
    names, notes = command_names(first), second.notes
    # What has no effect with our own trainer is what calls another one.
    used = tuple(f"{block}.command: has no effect" for block in names)
    notes = [note for note in notes if not note.startswith(used)]
    if second.kpu is not None and not first.strategy.has_kpu:
        notes.append(f"kpu: has no effect: strategy.uncertainty is '{first.strategy.uncertainty}'")
    return second.model_copy(update={"notes": notes, "commands": names})


def _both(
    read_first: Callable[[str | Path], File],
    first_path: str | Path,
    read_second: Callable[[str | Path], OtherFile],
    second_path: str | Path,
) -> tuple[File, OtherFile]:
    """Two files, or the errors of both."""
    try:
        first = read_first(first_path)
    except InputErrors as errors:
        try:
            read_second(second_path)
        except InputErrors as more:
            raise InputErrors([*errors.errors, *more.errors]) from more
        raise
    return first, read_second(second_path)


def inputs_hash(param: Param | InitBulk, resource: Resource | None = None) -> str:
    """SHA-256 (hexadecimal) of what the inputs say, to notice that they changed.

    Spelling, order, comments and written-out defaults of the files do not matter, nor whether a key of the
    train block stands in a file of its own. The content of structure files, control files and start models
    does; of data sets only the path.
    """
    without: dict[str, Any] = {
        "file": True,
        "source": True,
        "notes": True,
        "commands": True,
        "train": {"train_input_file": True},
    }
    said: dict[str, Any] = {
        name: model.model_dump(mode="json", exclude=without)
        for name, model in (("param", param), ("resource", resource))
        if model is not None
    }
    said["files"] = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in param.input_files
        if path.is_file()
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _load(model: type[File], path: Path) -> File:
    return parsed(model, read_json(path), path)


def parsed(model: type[File], raw: dict[str, Any], path: Path) -> File:
    """The content of an input file as it would be read at ``path``, where it need not lie yet.

    Raises:
        InputErrors: everything that is wrong with it.
    """
    content, translation = translate(model, raw, path)
    if issubclass(model, Resource):
        for name, flag, key in take_all_flags(content):
            problem = Problem((name, "custom_flags"), flag_text(flag, key))
            translation.notes.append(translation.locate(problem))
    loaded = validated(model, {**content, "file": path.resolve(), "source": raw}, translation, path)
    findings = (*translation.notes, *map(translation.locate, loaded.remarks()))
    return loaded.model_copy(update={"notes": [finding.note(path) for finding in findings]})


def validated(model: type[File], content: dict[str, Any], translation: Translation, path: Path) -> File:
    """The model of a translated file.

    Raises:
        InputErrors: what the translation and the models found wrong, each with its file and key.
    """
    found = list(translation.problems)
    try:
        loaded = model.model_validate(content, context={"folder": path.resolve().parent})
    except ValidationError as error:
        known = {finding.loc for finding in found}
        problems = [problem for details in error.errors() for problem in _problems(model, details)]
        found += [translation.locate(problem) for problem in problems if problem.loc not in known]
    if found:
        raise InputErrors([finding.error() for finding in found])
    return loaded


def _problems(model: type[Section], details: ErrorDetails) -> list[Problem]:
    loc: Loc = tuple(details["loc"])
    context = details.get("ctx", {})
    if details["type"] == "problems":
        return [Problem((*loc, *inner.loc), inner.message) for inner in context["problems"]]
    template = MESSAGES.get(
        details["type"], "{found}: " + details["msg"].replace("{", "{{").replace("}", "}}")
    )
    form = FORMS.get(pattern := context.get("pattern", ""), pattern)
    text = template.format(found=_short(details["input"]), unit=_unit(model, loc), form=form, **context)
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
