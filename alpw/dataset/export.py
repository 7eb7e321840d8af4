"""The data set as files of other programs: written aside, and put in place when all of it is there."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from bson import ObjectId

from alpw.database import reading
from alpw.database.documents import frame_of
from alpw.dataset.dataset import Dataset
from alpw.dataset.split import part_of
from alpw.errors import AlpwError, InputError
from alpw.formats import pwdata
from alpw.formats.registry import FORMATS, LabelledFormat, find
from alpw.structures.frame import LabelledFrame
from alpw.structures.frames import PROVENANCE

TARGETS = tuple(form.name for form in FORMATS if isinstance(form, LabelledFormat) and form.write)
_TOLD_EVERY = 500
_PARTS = ("train", "valid", "validation", "test")
_IN_FOLDERS = re.compile(r".+\.npy|type\.raw|type_map\.raw|nopbc|data\.mdb|lock\.mdb")
"""files of data sets that are folders"""

Progress = Callable[[int], None]
"""called with the number of frames so far"""


@dataclass
class Exported:
    """What an export wrote.

    Attributes:
        frames: how many.
        compositions: chemical formula -> how many of them.
        parts: part of a division -> how many of them; empty without one.
        files: files and folders written.
    """

    frames: int = 0
    compositions: Counter[str] = field(default_factory=Counter)
    parts: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


def target(name: str) -> LabelledFormat:
    """The format of that name or synonym.

    Raises:
        InputError: there is none, or it holds no labels or is only read.
    """
    form = find(name)
    if not isinstance(form, LabelledFormat) or form.write is None:
        raise InputError(f"{form.name} takes no labelled frames; allowed: {', '.join(TARGETS)}", key="--to")
    return form


def export(
    dataset: Dataset,
    form: LabelledFormat,
    path: Path,
    *,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    by_frame: bool = False,
    replace: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write the labelled frames of a data set; memory does not grow with them.

    Args:
        dataset: what to write, by ascending id.
        form: the format.
        path: a file, or a folder for formats of folders and for a division.
        shares: name of a part -> share, as :meth:`Dataset.split` divides; parts are files or folders in
            ``path`` of these names, or for PWdata the folders ``train`` and ``valid`` of each composition.
        seed: of the division.
        by_frame: divide frames, even of one trajectory.
        replace: replace what is there, if it is a data set and nothing else.
        progress: told how far it is.

    Raises:
        InputError: ``path`` is taken, or a frame that the format has no words for.
        AlpwError: no labelled frame matches, or none is left for a part. Nothing is written then.
    """
    given, path = path, path.absolute()
    _check_place(path, form, shares, replace)
    if form.name == "pwmlff/npy" and shares and not set(shares) <= {"train", "valid"}:
        raise InputError(f"PWdata has the parts train and valid, not {', '.join(shares)}", key="--split")
    exported = Exported()
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as stage:
        made = Path(stage) / path.name
        with _named_as(Path(stage), path.parent):
            if shares:
                _write_parts(dataset, form, made, exported, progress, shares, seed, by_frame)
            else:
                _write(form, made, _frames(dataset.labelled.documents(), exported, progress))
        if not exported.frames:
            raise AlpwError("no labelled frame matches; nothing is written")
        _put(made, path)
    parts = exported.parts if shares and form.name != "pwmlff/npy" else ()
    exported.files = [str(given / f"{part}{form.suffix}") for part in parts] or [str(given)]
    return exported


def _write_parts(
    dataset: Dataset,
    form: LabelledFormat,
    made: Path,
    exported: Exported,
    progress: Progress | None,
    shares: Mapping[str, float],
    seed: int,
    by_frame: bool,
) -> None:
    members: dict[str, list[ObjectId]] = {name: [] for name in shares}
    for document in dataset.labelled.documents({"source": 1, "structure_hash": 1}):
        members[part_of(document, shares, seed=seed, by_frame=by_frame)].append(document["_id"])
    exported.parts = {name: len(ids) for name, ids in members.items()}
    empty = [name for name, ids in members.items() if not ids]
    if empty and len(empty) < len(members):
        raise InputError(
            f"{', '.join(empty)} would be empty: too few trajectories; --by-frame divides single frames"
        )
    frames = {
        name: _frames(reading.by_ids(dataset.db, ids), exported, progress) for name, ids in members.items()
    }
    if form.name == "pwmlff/npy":
        pwdata.write_pwdata(made, frames.get("train", ()), frames.get("valid", ()))
        return
    for name, part in frames.items():
        _write(form, made / f"{name}{form.suffix}", part)


def _write(form: LabelledFormat, path: Path, frames: Iterator[LabelledFrame]) -> None:
    assert form.write is not None
    form.write(path, frames)


def _frames(
    documents: Iterator[dict[str, Any]], exported: Exported, progress: Progress | None
) -> Iterator[LabelledFrame]:
    """Frames that know where they are from; they are counted on their way."""
    for document in documents:
        frame = frame_of(document)
        origin = document | {"id": str(document["_id"])}
        frame.atoms.info |= {name: origin[name] for name in PROVENANCE if origin.get(name) is not None}
        exported.frames += 1
        exported.compositions[document["formula"]] += 1
        if progress and exported.frames % _TOLD_EVERY == 0:
            progress(exported.frames)
        yield frame


def _check_place(path: Path, form: LabelledFormat, shares: Mapping[str, float] | None, replace: bool) -> None:
    if not path.parent.is_dir():
        raise InputError(f"no folder {path.parent} to write it to", path)
    is_folder = bool(shares) or not form.suffix or form.name == "lmdb"
    if not path.exists() or (is_folder and path.is_dir() and not any(path.iterdir())):
        return
    if is_folder != path.is_dir():
        kind = ("a folder", "a file") if path.is_dir() else ("a file", "a folder")
        raise InputError(f"is {kind[0]}, and {kind[1]} is to be written; -o gives another name", path)
    if not replace:
        raise InputError("exists already; --force replaces it, -o gives another name", path)
    if path.is_dir() and (other := _no_data(path, form, tuple(shares or ()))):
        raise InputError(f"holds {other}, which is no part of a data set; -o gives another name", path)


def _no_data(folder: Path, form: LabelledFormat, parts: Sequence[str]) -> Path | None:
    """A file in a folder that no export to the format has written."""
    ours = {f"{part}{form.suffix}" for part in (*_PARTS, *parts)} if form.suffix else set()
    files = (file for file in sorted(folder.rglob("*")) if not file.is_dir() or file.is_symlink())
    found = (file.relative_to(folder) for file in files)
    return next((file for file in found if not (_IN_FOLDERS.fullmatch(file.name) or str(file) in ours)), None)


def _put(made: Path, path: Path) -> None:
    """Put a file or folder in its place; a folder that it replaces is whole until then."""
    if not (path.is_dir() and any(path.iterdir())):
        made.replace(path)
        return
    old = path.with_name(f".{path.name}.old.{uuid4().hex}")
    path.rename(old)
    try:
        made.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old)


@contextmanager
def _named_as(stage: Path, home: Path) -> Iterator[None]:
    """Errors name the file that the user wants, not the one beside it."""
    try:
        yield
    except InputError as error:
        if error.file is None or not Path(error.file).is_relative_to(stage):
            raise
        raise InputError(error.message, home / Path(error.file).relative_to(stage), error.key) from error
