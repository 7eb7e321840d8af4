"""How far a VASP run has come; nothing here fails on files that are being written."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from alpw.codes.handlers import tail
from alpw.codes.protocol import Task
from alpw.errors import InputError
from alpw.formats.outcar import is_finished, read_outcar
from alpw.structures.frames import LabelledFrames

POSITIVE_ENERGY = 1.0
"""eV per atom above which a total energy means that the SCF went astray; bound matter lies below zero."""

STEP_DONE = b"LOOP+:"

_CLOSED = "</modeling>"
_END_BYTES = 8_000
_OSZICAR_BYTES = 200_000
_ELECTRONIC = re.compile(r"^\s*[A-Z]{2,4}\s*:\s*(\d+)\s", re.MULTILINE)


def is_complete(directory: Path, task: Task) -> bool:
    """Whether the files are whole: OUTCAR has its closing lines, and for a label vasprun.xml its last tag."""
    return is_finished(directory / "OUTCAR") and (
        task is not Task.LABEL or _CLOSED in tail(directory / "vasprun.xml", _END_BYTES)
    )


def has_steps(directory: Path) -> bool:
    """Whether OUTCAR holds a finished ionic step."""
    return _holds(directory / "OUTCAR", STEP_DONE)


def recent_electronic_steps(directory: Path) -> list[int]:
    """Number of electronic steps of each of the latest finished ionic steps, the latest one last."""
    lines = tail(directory / "OSZICAR", _OSZICAR_BYTES).splitlines()
    counts, last = [], 0
    for line in lines:
        if row := _ELECTRONIC.match(line):
            last = int(row[1])
        elif " F= " in line and last:
            counts.append(last)
            last = 0
    return counts


def scf_failed(directory: Path) -> bool:
    """Whether a label came to its end without a converged self-consistency loop."""
    step = _last_step(directory)
    return step is not None and not step.converged[-1]


def is_positive(directory: Path) -> bool:
    """Whether a label came to its end with an energy that no SCF can mean."""
    step = _last_step(directory)
    return step is not None and bool(step.energies[-1] > POSITIVE_ENERGY * len(step.numbers))


def _last_step(directory: Path) -> LabelledFrames | None:
    if not is_complete(directory, Task.LABEL):
        return None
    try:
        return next(reversed(list(read_outcar(directory / "OUTCAR"))), None)
    except InputError:
        return None


def _holds(path: Path, mark: bytes) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(mark) >= 0
