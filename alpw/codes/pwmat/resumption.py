"""Going on where the last attempt ended.

PWmat continues MD from an ``atom.config`` with a velocity section and one of the methods 11, 22, ..., 88,
which are the methods 1 to 8 with the velocities of the file in place of random ones. The last frame of
MOVEMENT is such a file, and so is final.config; either is taken as it is, with the time and the state of the
thermostat that it may hold.

What is needed to understand outputs that have been continued from is put on record before an input is
touched: a worker may die at any moment, and its successor finds inputs of one attempt beside outputs of
another.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from alpw.codes.protocol import Task
from alpw.codes.pwmat.corrections import STRUCTURE
from alpw.codes.pwmat.etot import INPUT, read_etot
from alpw.codes.pwmat.inputs import load, record, recorded
from alpw.codes.pwmat.motion import CONTINUE, md_detail
from alpw.codes.pwmat.steps import BAD_NUMBER, MOVEMENT, distances, places, read_frames
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.files import write_atomically
from alpw.structures.atom_config import MATRICES, read_atom_config
from alpw.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from alpw.config import Dft

logger = logging.getLogger(__name__)

FINAL = "final.config"
SAME_GEOMETRY = 1e-6
"""Å by which the structure of atom.config may differ from its copy in MOVEMENT."""
ROUNDING = 1e-4
"""Å by which final.config may differ from the last frame."""
_HEAD_BYTES = 4096
_DASHES = "----------"
_VELOCITY = re.compile(r"^\s*velocity", re.IGNORECASE | re.MULTILINE)
_MAGNETIC = re.compile(r"^\s*magnetic", re.IGNORECASE | re.MULTILINE)


def resumed(directory: Path) -> Mapping[str, Any]:
    """What is on record about the outputs from which the inputs go on; empty in a first attempt."""
    found: Mapping[str, Any] = recorded(directory).get("resumed", {})
    return found


def outputs_are_older(directory: Path) -> bool:
    """Whether MOVEMENT is still that of the attempt before, from which the inputs go on."""
    last = resumed(directory)
    return bool(last) and last["head"] == _head(directory)


def order_of_inputs(directory: Path, n_atoms: int) -> NDArray[np.intp]:
    """Which atom of the structure asked for stands in each place of atom.config."""
    return np.array(resumed(directory).get("order", range(n_atoms)), dtype=np.intp)


def begins_with(frames: LabelledFrames, positions: NDArray[np.float64]) -> bool:
    """Whether the first frame is the structure with which the run began.

    Args:
        frames: of a run.
        positions: of that structure in the order of the frames, ``(n_atoms, 3)`` in Å.
    """
    return float(distances(positions, frames.positions[0], frames.cells[0]).max()) < SAME_GEOMETRY


def resume(atoms: Atoms, directory: Path, dft: Dft, task: Task, done: int) -> list[str]:
    """Rewrite atom.config and, for AIMD, MD_DETAIL; see `alpw.codes.protocol.Code.resume`.

    Args:
        atoms: the structure asked for.
        directory: where the outputs lie.
        dft: settings; MD_DETAIL of ``dft.input`` says how many steps there are in all, ``dft.temperature``
            in K at what temperature if not at that of the control file.
        task: relaxation or AIMD.
        done: finished steps of all attempts.

    Raises:
        CalculationError: no complete step to go on from.
    """
    frames = read_frames(directory / MOVEMENT)
    if frames is None:
        raise CalculationError("no complete step to go on from", FailureKind.NODE, directory)
    last = resumed(directory)
    if not outputs_are_older(directory):
        last = _understood(directory, frames)
        record(directory, resumed=last)
    text, source = _last_structure(directory, frames, task)
    asked = atoms[last["order"]]
    write_atomically(directory / STRUCTURE, (text + _blocks_beside(asked, text)).encode())
    changes = [f"{STRUCTURE}: the last complete step, from {source}"]
    if task is Task.AIMD:
        changes += _shorten(directory, dft, done, bool(last["repeats"]))
    return changes


def _understood(directory: Path, frames: LabelledFrames) -> dict[str, Any]:
    """What must be known of the outputs after the inputs have been replaced.

    ``head`` tells these outputs from others, ``order`` names the atom in each place, ``repeats`` says whether
    this version of PWmat begins MOVEMENT with the structure that it was given, ``time`` is that of the last
    frame in ps.
    """
    start = read_atom_config(directory / STRUCTURE)
    in_frames = np.argsort(places(start, frames, directory))
    times = frames.extras.get("time")
    return {
        "head": _head(directory),
        "order": order_of_inputs(directory, len(start))[in_frames].tolist(),
        "repeats": begins_with(frames, start.positions[in_frames]),
        "time": None if times is None else float(times[-1]),
    }


def _blocks_beside(atoms: Atoms, text: str) -> str:
    """Magnetic moments and stress matrices of the structure asked for, as far as the text has none."""
    lines = []
    if atoms.has("initial_magmoms") and not _MAGNETIC.search(text):
        moments = atoms.get_initial_magnetic_moments().reshape(len(atoms), -1)
        lines.append(" MAGNETIC" if moments.shape[1] == 1 else " MAGNETIC_XYZ")
        rows = zip(atoms.numbers, moments, strict=True)
        lines += [f"{number:4d}" + "".join(f" {x:22.15g}" for x in row) for number, row in rows]
    for key, name in MATRICES.items():
        if key in atoms.info and name not in text.upper():
            lines.append(f" {name}")
            lines += [
                "".join(f" {x:22.15g}" for x in row) for row in np.asarray(atoms.info[key], dtype=float)
            ]
    return "".join(f"{line}\n" for line in lines)


def _shorten(directory: Path, dft: Dft, done: int, repeats: bool) -> list[str]:
    """Ask for the steps that are left, with velocities from the file and the rest of a temperature ramp."""
    method, steps, words = md_detail(load(dft), dft.temperature)
    left = max(steps - done, 1) + repeats
    if method < CONTINUE:
        method *= CONTINUE
    if len(words) > 2 and words[1] != words[2]:
        first, last = float(words[1]), float(words[2])
        words[1] = f"{first + (last - first) * min(done / steps, 1):.6g}"
    etot = read_etot(directory / INPUT)
    changes = etot.set("MD_DETAIL", " ".join([str(method), str(left), *words]))
    write_atomically(directory / INPUT, str(etot).encode())
    return changes


def _last_structure(directory: Path, frames: LabelledFrames, task: Task) -> tuple[str, str]:
    """Text of the last complete geometry and the file that it is from."""
    for source, text in ((FINAL, _read(directory / FINAL)), (MOVEMENT, _last_frame(directory / MOVEMENT))):
        if (
            text
            and not (task is Task.AIMD and not _VELOCITY.search(text))
            and _is_last(text, frames, directory)
        ):
            return text, source
    raise CalculationError(
        f"neither {FINAL} nor {MOVEMENT} holds the last step"
        + (" with its velocities" if task is Task.AIMD else ""),
        FailureKind.NODE,
        directory,
    )


def _is_last(text: str, frames: LabelledFrames, directory: Path) -> bool:
    """Whether a structure is finite and the very last step, atom for atom."""
    if BAD_NUMBER.search(text):
        return False
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / FINAL
        path.write_text(text)
        try:
            found = read_atom_config(path, velocities=True)
        except InputError as error:
            logger.info("%s: %s", directory, error)
            return False
    if not np.array_equal(found.numbers, frames.numbers):
        return False
    return float(distances(found.positions, frames.positions[-1], frames.cells[-1]).max()) < ROUNDING


def _last_frame(path: Path) -> str:
    """Text of the last complete frame of MOVEMENT without bad numbers, which is a structure file as it is."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        length = 1 << 16
        while True:
            file.seek(max(0, size - length))
            text = file.read().decode(errors="replace")
            pieces = re.split(rf"^\s*{_DASHES}.*\n", text, flags=re.MULTILINE)
            for piece in reversed(pieces[:-1]):
                begin = piece.rfind("\n", 0, piece.rfind("Iteration")) + 1
                if "Iteration" in piece and not BAD_NUMBER.search(piece[begin:]):
                    return piece[begin:]
            if length >= size:
                return ""
            length *= 4


def _head(directory: Path) -> str:
    path = directory / MOVEMENT
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(_HEAD_BYTES)).hexdigest()


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""
