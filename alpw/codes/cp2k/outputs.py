"""What a run of our own has left: the label, the finished steps, how it ended.

The numbers are read by `alpw.formats.cp2k`; here they are tied to the structure that was asked for.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from alpw.codes.cp2k.corrections import INPUT
from alpw.codes.cp2k.jobs import OUTPUT
from alpw.codes.cp2k.sections import Section, read
from alpw.codes.geometry import check_same_structure
from alpw.codes.protocol import INPUTS_FILE
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.formats.cp2k import read_cp2k_md
from alpw.formats.cp2k_files import Geometry, read_xyz
from alpw.formats.cp2k_log import CELL_ROUNDING, CONVERGED, ENDED, STOPPED, UNCONVERGED, LogReader
from alpw.structures.frame import Label
from alpw.structures.frames import LabelledFrames

SAME_PLACE = 1e-8
"""Å: trajectory files have ten decimals."""

POSITIONS, VELOCITIES = "run-pos-1.xyz", "run-vel-1.xyz"

_ABORT = re.compile(r"\[ABORT\](.*?)\n[ *]*/ \\", re.DOTALL)
_STICK_FIGURE = re.compile(r"\\___/|O/\||/\| \||[*|]")
_VERSION = re.compile(r"CP2K\| version string:\s+CP2K version (\S+)")
_HEAD = 20_000


@dataclass(frozen=True)
class Cp2kOutput:
    """The text of one CP2K run, and how it ended.

    Attributes:
        text: standard output.
        directory: where it lies, for messages.
    """

    text: str
    directory: Path

    @property
    def ended(self) -> bool:
        """CP2K reached its regular end; in 2023.1 that says nothing about convergence."""
        return ENDED in self.text

    @property
    def unconverged(self) -> bool:
        """An SCF gave up. CP2K 2023.1 warns and goes on; newer ones abort with the same words."""
        return UNCONVERGED in self.text and STOPPED not in self.text

    @property
    def converged(self) -> bool:
        """An SCF converged."""
        return CONVERGED in self.text

    @property
    def abort(self) -> str:
        """The text of CP2K's ``[ABORT]`` box in one line, without the stick figure; may be empty."""
        match = _ABORT.search(self.text)
        words = _STICK_FIGURE.sub(" ", match[1]) if match else ""
        return " ".join(words.split())


def read_output(directory: Path, last: int | None = None) -> Cp2kOutput:
    """The run in a directory; an empty text if CP2K wrote nothing.

    Args:
        directory: of the run.
        last: so many bytes of its end; None for all of it.
    """
    path = directory / OUTPUT
    if not path.is_file():
        return Cp2kOutput("", directory)
    with path.open("rb") as file:
        if last is not None:
            file.seek(max(0, path.stat().st_size - last))
        return Cp2kOutput(file.read().decode(errors="replace"), directory)


def read_version(directory: Path) -> str:
    """Version of CP2K, from the beginning of its output.

    Raises:
        CalculationError: it does not say.
    """
    path = directory / OUTPUT
    head = ""
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(_HEAD).decode(errors="replace")
    if (found := _VERSION.search(head)) is None:
        raise CalculationError("the output holds no version", FailureKind.UNKNOWN, directory)
    return found[1]


def read_label(directory: Path, atoms: Atoms) -> Label:
    """Label of ``atoms``, after making sure that the SCF converged and that the label is theirs.

    Raises:
        CalculationError: of kind ``scf`` or ``unknown``.
    """
    if not (directory / OUTPUT).is_file():
        raise CalculationError(f"no {OUTPUT}", FailureKind.UNKNOWN, directory)
    with (directory / OUTPUT).open(errors="replace") as lines:
        reader = LogReader(lines)
        found = list(reader)
    if reader.unconverged or (not reader.converged and UNCONVERGED in read_output(directory).text):
        raise CalculationError("the SCF did not converge", FailureKind.SCF, directory)
    if not reader.ended or not found:
        raise CalculationError("the output is truncated", FailureKind.UNKNOWN, directory)
    structure, last = reader.structure, found[-1]
    if structure is None:
        raise CalculationError("the output holds no structure", FailureKind.UNKNOWN, directory)
    check_same_structure(atoms, structure, directory, CELL_ROUNDING)
    if last.forces is None or len(last.forces) != len(atoms):
        n_forces = 0 if last.forces is None else len(last.forces)
        raise CalculationError(f"forces of {n_forces} of {len(atoms)} atoms", FailureKind.UNKNOWN, directory)
    virial = None if last.stress is None else last.stress * atoms.get_volume()
    return Label(energy=last.energy, forces=last.forces, virial=virial)


def read_steps(directory: Path, atoms: Atoms) -> LabelledFrames | None:
    """The finished steps of the last attempt; None without any.

    Raises:
        CalculationError: they belong to other atoms, or the files contradict each other.
    """
    if not (directory / OUTPUT).is_file():
        return None
    try:
        parts = list(read_cp2k_md(directory / OUTPUT, start=atoms))
    except InputError as error:
        if "no *-pos-1.xyz" in error.message or "holds no structure" in error.message:
            return None
        raise CalculationError(str(error), FailureKind.UNKNOWN, directory) from error
    return LabelledFrames.join(parts) if parts else None


def without_start(frames: LabelledFrames | None, directory: Path) -> LabelledFrames | None:
    """The steps without the geometry that a resumed attempt began with: the attempt before has it.

    CP2K itself leaves it out except where it goes on from step 0.
    """
    root = read(directory / INPUT)
    if frames is None or not _is_resumed(directory):
        return frames
    rows = [[float(x) for x in rest.split()[:3]] for _, rest in root.need("FORCE_EVAL/SUBSYS/COORD").keywords]
    begins_there = np.abs(frames.positions[0] - np.array(rows)).max() < SAME_PLACE
    return frames.select(slice(1, None)) if begins_there else frames


def mark_resumed(directory: Path) -> None:
    """Note that the inputs are those of an attempt that goes on."""
    path = directory / INPUTS_FILE
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "resumed": True}, indent=1))


def _is_resumed(directory: Path) -> bool:
    return bool(json.loads((directory / INPUTS_FILE).read_text()).get("resumed"))


def last_step(directory: Path, frames: LabelledFrames | None) -> Geometry | None:
    """The trajectory's record of the last of the finished steps; None if that is the first structure."""
    path = directory / POSITIONS
    if frames is None or not len(frames) or not path.is_file():
        return None
    found = None
    for geometry in read_xyz(path):
        if np.abs(geometry.rows - frames.positions[-1]).max() < 1e-9:
            found = geometry
    return found


def read_velocities(directory: Path, step: int) -> NDArray[np.float64] | None:
    """``(n_atoms, 3)`` in atomic units at a step, as CP2K's input takes them; None if they were not
    written."""
    path = directory / VELOCITIES
    if not path.is_file():
        return None
    return next((geometry.rows for geometry in read_xyz(path) if geometry.step == step), None)


def steps_wanted(root: Section) -> int:
    """The step at which the MD of an input ends, those of earlier attempts counted."""
    motion = root.need("MOTION/MD")
    return int(motion.get("STEP_START_VAL", "0")) + int(motion.get("STEPS", "3"))


def md_is_complete(directory: Path) -> bool:
    """Whether all steps of an MD were made."""
    root = read(directory / INPUT)
    if int(root.need("MOTION/MD").get("STEPS", "3")) <= 0:
        return True
    if not (directory / OUTPUT).is_file() or not (directory / POSITIONS).is_file():
        return False
    frames = None
    for part in read_cp2k_md(directory / OUTPUT):
        frames = part
    last = last_step(directory, frames)
    return last is not None and last.step >= steps_wanted(root)


def optimisation_is_complete(directory: Path) -> bool:
    """Whether a geometry optimisation reached its criteria, with a converged SCF in the end."""
    path = directory / OUTPUT
    if not path.is_file():
        return False
    with path.open(errors="replace") as lines:
        reader = LogReader(lines)
        converged = False
        for evaluation in reader:
            converged = evaluation.converged
    return reader.optimised and converged
