"""Input files of PWact and DP-GEN as ours: recognised, translated, checked, written."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alpw.config.init_bulk import InitBulk
from alpw.config.json_file import InputErrors, read_json
from alpw.config.keys import keys_of
from alpw.config.load import beside, parsed
from alpw.config.param import Param
from alpw.config.resource import InitResource, Resource
from alpw.errors import InputError
from alpw.files import write_atomically
from alpw.legacy.dpgen_machine import convert_machine
from alpw.legacy.dpgen_param import convert_param
from alpw.legacy.notes import Converted, Note, Rebase
from alpw.legacy.pwact_input import Model, convert_pwact
from alpw.legacy.recognise import INIT, PARAM, RESOURCE, recognise_input

NAMES = {"pwact": "PWact", "dpgen": "DP-GEN (`dpgen run`)"}


@dataclass
class Conversion:
    """What came of a set of source files.

    Attributes:
        family: ``pwact`` or ``dpgen``.
        files: content by name of the file to write.
        notes: on each key of each source file.
        remarks: what is new here, and what the check of the new files has to say.
        errors: why the new files cannot be used; empty if they can.
    """

    family: str
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    errors: list[InputError] = field(default_factory=list)


def convert(
    files: Sequence[Path], folder: Path, family: str | None = None, trainer: str = "deepmd"
) -> Conversion:
    """Translate input files and check what came of them; nothing is written.

    Args:
        files: those of one campaign, in any order.
        folder: where the new ones will lie; paths that are relative begin there.
        family: whose they are; None recognises them.
        trainer: who trains a campaign of DP-GEN, ``deepmd`` or ``alpw``.

    Raises:
        InputError: a file that is no input of a known kind, or two of one kind or of both families.
    """
    read = {file: read_json(file) for file in files}
    kinds = {file: _kind(file, raw, family) for file, raw in read.items()}
    families = {whose for whose, _ in kinds.values()}
    if len(families) > 1:
        raise InputError("some files are PWact's and others DP-GEN's; convert them one after the other")
    made = Conversion(families.pop())
    for file, raw in read.items():
        name = kinds[file][1]
        if name in made.files:
            raise InputError(
                f"becomes {name}, and so does another file; convert them one after the other", file
            )
        converted = _one(raw, file, kinds[file], _rebase(file, folder), trainer)
        made.files |= {name: _ordered(name, converted.content), **converted.files}
        made.notes += converted.notes
        made.remarks += converted.remarks
    _check(made, folder)
    return made


def _kind(file: Path, raw: dict[str, Any], family: str | None) -> tuple[str, str]:
    found = recognise_input(raw)
    if found is None or (family is not None and found[0] != family):
        what = f"an input of {NAMES[family]}" if family else "known"
        raise InputError(
            f"is not {what}; param.json, resource.json and init_param.json of PWact are, and param.json "
            "and machine.json of `dpgen run`",
            file,
        )
    return found


def _one(raw: dict[str, Any], file: Path, kind: tuple[str, str], rebase: Rebase, trainer: str) -> Converted:
    if kind == ("dpgen", PARAM):
        return convert_param(raw, file.name, rebase, trainer)
    if kind == ("dpgen", RESOURCE):
        return convert_machine(raw, file.name)
    return convert_pwact(raw, _model(kind[1], raw), file, rebase)


def _model(name: str, content: Mapping[str, Any]) -> Model:
    if name == PARAM:
        return Param
    if name == INIT:
        return InitBulk
    # A file of init_bulk alone has no block for training.
    loops = {"train", "explore"} & {key.lower() for key in content}
    return Resource if loops else InitResource


def _ordered(name: str, content: dict[str, Any]) -> dict[str, Any]:
    """Keys as the documentation has them."""
    known = keys_of(_model(name, content))
    return dict(sorted(content.items(), key=lambda item: known.index(item[0]) if item[0] in known else 99))


def _rebase(file: Path, folder: Path) -> Rebase:
    """Relative paths of a file as paths from another folder; names that are no file stay."""
    source, target = file.resolve().parent, folder.resolve()

    def rebased(path: str) -> str:
        if path.startswith("~") or Path(path).is_absolute():
            return path
        return os.path.relpath(source / path, target)

    return rebased


def _check(made: Conversion, folder: Path) -> None:
    """Read the new files as a command would, from where they will lie."""
    read: dict[str, Any] = {}
    with TemporaryDirectory() as temporary:
        others = made.files.keys() - {PARAM, INIT, RESOURCE}
        beside_it = {name: Path(temporary) / name for name in others}
        for name, file in beside_it.items():
            file.write_text(json.dumps(made.files[name]))
        for name in (PARAM, INIT, RESOURCE):
            if name not in made.files:
                continue
            content = copy.deepcopy(made.files[name])
            train = content.get("train") or {}
            if train.get("deepmd_input") in others:
                train["deepmd_input"] = str(beside_it[train["deepmd_input"]])
            try:
                read[name] = parsed(_model(name, content), content, folder.resolve() / name)
            except InputErrors as errors:
                made.errors += errors.errors
    if PARAM in read and isinstance(read.get(RESOURCE), Resource):
        read[RESOURCE] = beside(read[PARAM], read[RESOURCE])
    made.remarks += [f"{name}: {note}" for name, content in read.items() for note in content.notes]


def write(made: Conversion, folder: Path, *, force: bool = False) -> list[Path]:
    """Write the new files.

    Args:
        made: the result of :func:`convert`, without errors.
        folder: which is made.
        force: whether files that are there already are replaced.

    Raises:
        InputError: a file is there already.
    """
    paths = [folder / name for name in made.files]
    for path in paths:
        if path.exists() and not force:
            raise InputError("is there already; give another folder, or --force to replace it", path)
    for path in paths:
        write_atomically(path, (json.dumps(made.files[path.name], indent=4) + "\n").encode())
    return paths
