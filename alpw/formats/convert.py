"""Conversion of any number of files to one data set, split into training and validation frames."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ase import Atoms

from alpw.errors import InputError
from alpw.formats import deepmd, pwdata
from alpw.formats.registry import (
    FORMATS,
    NOTHING_SAID,
    Format,
    LabelledFormat,
    Options,
    StructureFormat,
    recognise,
)
from alpw.formats.spool import FrameSpool
from alpw.structures.frames import LabelledFrames

SEED = 2024
"""the predecessor's"""


@dataclass(frozen=True)
class Settings:
    """How frames are chosen and divided.

    Attributes:
        ratio: part of the frames of each composition that is for training: ``ceil(n * ratio)`` frames.
        shuffle: divide at random instead of the first against the last.
        seed: of the shuffling.
        merge: write frames of one composition into one data set, not into a folder by composition.
        gap: take every so many frames, counted across a file from its first.
        keep_unconverged: take frames whose SCF did not converge.
        options: what the files leave open.
    """

    ratio: float = 0.8
    shuffle: bool = True
    seed: int = SEED
    merge: bool = False
    gap: int = 1
    keep_unconverged: bool = False
    options: Options = NOTHING_SAID

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise InputError(f"found {self.ratio:g}; allowed: above 0, up to 1", key="train_valid_ratio")
        if self.gap < 1:
            raise InputError(f"found {self.gap}; allowed: 1 and more", key="gap")


@dataclass
class Report:
    """What a conversion did; frames are counted.

    Attributes:
        inputs: frames by file.
        read: frames in the files.
        skipped: left out by the gap.
        unconverged: left out, or kept if that was asked for.
        duplicates: left out, because structure and label are those of another frame.
        outputs: files and folders written.
        left: data sets from before that lie beside them.
    """

    inputs: dict[str, int] = field(default_factory=dict)
    read: int = 0
    skipped: int = 0
    unconverged: int = 0
    duplicates: int = 0
    train: int = 0
    valid: int = 0
    outputs: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


_BEGINNINGS = {("pwmat/config", "pwmat/movement")}
"""a format, and another whose files begin as its do: PWmat ends dynamics with such a final.config"""
_FOLDERS = ("pwmlff/npy", "deepmd/npy", "deepmd/mixed")

Progress = Callable[[Path, int], None]
"""called with a file and the number of frames read from it"""


def expand(text: str, folder: Path = Path()) -> list[Path]:
    """The files of a shell pattern, sorted, or the one of that name.

    Args:
        text: a path or pattern.
        folder: where relative ones begin.

    Raises:
        InputError: no file fits a pattern.
    """
    path = folder / Path(text).expanduser()
    if path.exists() or not any(sign in text for sign in "*?["):
        return [path]
    base = Path(path.anchor or ".")
    hits = sorted(base.glob(os.fspath(path.relative_to(base)) if path.anchor else os.fspath(path)))
    if not hits:
        raise InputError("no file fits this pattern", text)
    return hits


def find_inputs(paths: Sequence[Path], form: Format | None) -> list[tuple[Path, Format]]:
    """The files and data sets that are meant, each with its format.

    Args:
        paths: files, data sets, or folders that are searched for files of the format.
        form: the format; None recognises each file by its content.

    Raises:
        InputError: no such file, an unknown or another format, or nothing in a folder.
    """
    found: dict[Path, Format] = {}
    for path in paths:
        known = recognise(path)
        meant = form is None or known is None or _fits(form.name, known.name) or form.name in _FOLDERS
        if path.is_dir() and (known is None or not meant):
            # A data set, perhaps written here before, may lie beside the files that are meant.
            found |= _in_folder(path, form)
        elif known is not None and form is not None and not _fits(form.name, known.name):
            raise InputError(f"is {known.name}, not {form.name}; name it with --format {known.name}", path)
        elif known is None and form is None:
            raise InputError("in none of the known formats; name it with --format", path)
        else:
            found[path] = form or known  # type: ignore[assignment]
    return list(found.items())


def _fits(named: str, found: str) -> bool:
    """Whether a file that looks like one format may be read as another that the user names."""
    return named == found or (named, found) in _BEGINNINGS


def _in_folder(folder: Path, form: Format | None) -> dict[Path, Format]:
    found: dict[Path, Format] = {}
    formats: dict[Path, Format] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        known = recognise(path)
        if known is None or (known.name != form.name if form else not known.labelled):
            continue
        other = formats.setdefault(path.parent, known)
        if other.name != known.name:
            raise InputError(
                f"holds {other.name} and {known.name}, perhaps of the same run; choose one with --format",
                path.parent,
            )
        found[path] = known
    if not found:
        raise InputError(f"holds no file in {form.name if form else 'a labelled format'}", folder)
    return found


def convert_frames(
    inputs: Sequence[tuple[Path, Format]],
    target: LabelledFormat,
    savepath: Path,
    settings: Settings,
    progress: Progress | None = None,
) -> Report:
    """Labelled frames of all inputs as one data set in another format; what was there before is replaced.

    Args:
        inputs: files and their formats, see :func:`find_inputs`.
        target: format to write.
        savepath: a folder, which gets training and validation data; or for a format of single files a name
            with a suffix, which gets all frames.
        settings: which frames.
        progress: told how far it is.

    Raises:
        InputError: an input without labels, or one that cannot be read; nothing is written then.
    """
    if target.write is None:
        writable = ", ".join(form.name for form in FORMATS if form.write)
        raise InputError(f"{target.name} is only read; formats that are written: {writable}", key="to")
    is_file = target.is_one(savepath)
    if is_file and settings.ratio < 1:
        raise InputError(
            "one file takes no validation frames; use --train_valid_ratio 1 or a folder", savepath
        )
    report = Report()
    home = savepath.parent if is_file else savepath
    with _made(home), TemporaryDirectory(prefix=".frames.", dir=home) as scratch:
        spool = FrameSpool(Path(scratch))
        for path, form in inputs:
            for batch in _chosen(path, form, settings, report, progress):
                spool.append(batch)
        report.duplicates = spool.n_duplicates
        if not len(spool):
            raise _none_left(report)
        _write(spool, target, savepath, settings, report, is_file=is_file)
    report.left = _left(savepath, report.outputs) if not is_file else []
    return report


def _none_left(report: Report) -> InputError:
    told = f"{report.read} were read, {report.unconverged} of them without a converged SCF"
    return InputError(f"no frames are left to write: {told}")


@contextmanager
def _made(home: Path) -> Iterator[None]:
    """A folder that is made if need be, and removed again, empty, if what is done in it fails."""
    made = [folder for folder in (home, *home.parents) if not folder.exists()]
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"this folder cannot be made: {error.strerror}", home, "savepath") from error
    try:
        yield
    except BaseException:
        for folder in made:
            if not any(folder.iterdir()):
                folder.rmdir()
        raise


def _chosen(
    path: Path, form: Format, settings: Settings, report: Report, progress: Progress | None
) -> Iterator[LabelledFrames]:
    if not isinstance(form, LabelledFormat):
        raise InputError(f"is {form.name}, which has no energies and forces", path)
    n_read = 0
    for batch in form.read(path, settings.options):
        if settings.options.energy == "sigma0":
            batch = at_zero_smearing(batch, path)
        taken = np.arange(n_read, n_read + len(batch)) % settings.gap == 0
        report.skipped += int((~taken).sum())
        report.unconverged += int((taken & ~batch.converged).sum())
        if not settings.keep_unconverged:
            taken &= batch.converged
        n_read += len(batch)
        if progress:
            progress(path, n_read)
        if taken.any():
            yield batch if taken.all() else batch.select(taken)
    report.inputs[str(path)] = n_read
    report.read += n_read


def at_zero_smearing(batch: LabelledFrames, path: Path) -> LabelledFrames:
    """The same frames, their energies those extrapolated to zero smearing.

    Raises:
        InputError: the file does not have them.
    """
    if "energy_sigma0" not in batch.extras:
        raise InputError("has no energy extrapolated to zero smearing; leave --energy out", path)
    return replace(batch, energies=batch.extras["energy_sigma0"])


def _write(
    spool: FrameSpool,
    target: LabelledFormat,
    savepath: Path,
    settings: Settings,
    report: Report,
    *,
    is_file: bool,
) -> None:
    train, valid = _split(spool, settings)
    report.train, report.valid = len(train), len(valid)
    assert target.write is not None
    if target.name == "pwmlff/npy":
        held_out = spool.frames(valid) if settings.ratio < 1 else None
        written = pwdata.write_pwdata(savepath, spool.frames(train), held_out, merge=settings.merge)
        report.outputs = [str(folder) for folder in written]
        return
    if is_file:
        target.write(savepath, spool.frames(train))
        report.outputs = [str(savepath)]
        return
    for name, indices in (("train", train), ("valid", valid)):
        place = savepath / f"{name}{target.suffix}"
        if len(indices):
            written_to = target.write(place, spool.frames(indices))
            folders = written_to if isinstance(written_to, list) else [place]
            report.outputs += [str(folder) for folder in folders]
        elif place.is_dir() and target.recognise(place):
            shutil.rmtree(place)
        elif target.suffix:
            place.unlink(missing_ok=True)


def _split(spool: FrameSpool, settings: Settings) -> tuple[list[int], list[int]]:
    """Indices for training and for validation, composition by composition."""
    train: list[int] = []
    valid: list[int] = []
    for indices in spool.by_composition():
        if settings.shuffle:
            # The legacy generator: its stream for a seed is frozen, that of the newer ones is not.
            indices = indices[np.random.RandomState(settings.seed).permutation(len(indices))]
        n_train = math.ceil(round(len(indices) * settings.ratio, 9))
        train += indices[:n_train].tolist()
        valid += indices[n_train:].tolist()
    return train, valid


def _left(savepath: Path, outputs: Sequence[str]) -> list[str]:
    """Data sets below the folder that were there before."""
    sets = {
        folder.parent if folder.name in ("train", "valid") else folder
        for folder in pwdata.data_sets(savepath)
    }
    systems = set(deepmd.systems(savepath))
    return sorted(str(folder) for folder in sets | systems if str(folder) not in outputs)


def convert_structures(
    inputs: Sequence[tuple[Path, Format]],
    target: StructureFormat,
    savepath: Path,
    settings: Settings,
    progress: Progress | None = None,
) -> Report:
    """Structures of all inputs in another format, labels left out.

    A format with one structure in a file gets files ``000000.<suffix>``, ... in the folder ``savepath``, or
    the file ``savepath`` if that has a suffix and there is one structure.
    """
    if target.write is None:
        raise InputError(f"{target.name} is only read", key="to")
    report = Report()
    is_file = bool(savepath.suffix) and not savepath.is_dir()
    structures = _structures(inputs, settings, report, progress)
    place = savepath if is_file else savepath / f"frames{target.suffix}"
    with _made(place.parent):
        if is_file or not target.single:
            target.write(place, structures, settings.options)
            report.outputs = [str(place)]
        else:
            _write_one_by_one(structures, target, savepath, settings, report)
    return report


def _write_one_by_one(
    structures: Iterator[Atoms], target: StructureFormat, savepath: Path, settings: Settings, report: Report
) -> None:
    """One file for each structure, put in place when all are written."""
    assert target.write is not None
    with TemporaryDirectory(prefix=".frames.", dir=savepath) as scratch:
        names = (f"{k:06d}{target.suffix}" for k in count())
        for name, atoms in zip(names, structures, strict=False):
            target.write(Path(scratch) / name, iter((atoms,)), settings.options)
            report.outputs.append(str(savepath / name))
        if not report.outputs:
            raise _none_left(report)
        for written in report.outputs:
            (Path(scratch) / Path(written).name).replace(written)
    for old in savepath.glob(f"*{target.suffix}"):
        if re.fullmatch(r"\d{6}", old.stem) and int(old.stem) >= len(report.outputs):
            old.unlink()


def _structures(
    inputs: Sequence[tuple[Path, Format]], settings: Settings, report: Report, progress: Progress | None
) -> Iterator[Atoms]:
    for path, form in inputs:
        n_read = 0
        for atoms in form.read_structures(path, settings.options):
            n_read += 1
            report.read += 1
            if (n_read - 1) % settings.gap:
                report.skipped += 1
                continue
            report.train += 1
            if progress and n_read % 100 == 0:
                progress(path, n_read)
            yield atoms
        report.inputs[str(path)] = n_read
