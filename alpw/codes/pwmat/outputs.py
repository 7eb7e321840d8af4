"""Reader of what PWmat leaves: labels from OUT.MLMD, ionic steps from MOVEMENT, convergence from REPORT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from alpw.codes.geometry import check_same_structure
from alpw.codes.handlers import tail
from alpw.codes.protocol import Task
from alpw.codes.pwmat.corrections import STRUCTURE
from alpw.codes.pwmat.etot import INPUT, read_etot
from alpw.codes.pwmat.motion import md_detail
from alpw.codes.pwmat.report import Report, read_report
from alpw.codes.pwmat.resumption import begins_with, order_of_inputs, outputs_are_older, resumed
from alpw.codes.pwmat.steps import BAD_NUMBER, MLMD, MOVEMENT, nearest_images, places, read_frames, unwrapped
from alpw.errors import CalculationError, FailureKind
from alpw.structures.atom_config import read_atom_config
from alpw.structures.frame import Label
from alpw.structures.frames import LabelledFrames

FORCE, RELAXSTEPS = "OUT.FORCE", "RELAXSTEPS"

FORCE_ROUNDING = 1e-4
"""eV/Å by which OUT.FORCE and OUT.MLMD may differ: versions of PWmat print them with few digits."""
NOT_FINITE = "holds no finite numbers"
ENERGY_ROUNDING = 1e-9
"""Relative difference of one energy in REPORT and in MOVEMENT, which have ten digits or more."""


def read_label(directory: Path, atoms: Atoms) -> Label:
    """Label of ``atoms``, after making sure that the SCF converged and that the label is theirs.

    Raises:
        CalculationError: unconverged, incomplete, of another structure, or two files that disagree.
    """
    report = read_report(directory)
    if not report.ended:
        raise CalculationError("REPORT is cut short", FailureKind.NODE, directory)
    if not (converged := report.converged(read_etot(directory / INPUT))) or not all(converged):
        reason = report.steps[-1].reason if report.steps else "no SCF at all"
        raise CalculationError(f"the SCF did not converge: {reason}", FailureKind.SCF, directory)
    frames = read_frames(directory / MLMD)
    if frames is None:
        raise CalculationError(f"{MLMD} holds no complete frame", FailureKind.NODE, directory)
    if len(frames) > 1:
        raise CalculationError(f"{MLMD} holds {len(frames)} frames", FailureKind.UNKNOWN, directory)
    forces = read_forces(directory, len(atoms))
    if forces is not None and forces.shape == frames.forces[0].shape:
        difference = float(np.abs(forces - frames.forces[0]).max())
        if not difference <= FORCE_ROUNDING:
            raise CalculationError(
                f"{FORCE} and {MLMD} differ by {difference:.2g} eV/Å", FailureKind.UNKNOWN, directory
            )
    frames = frames.reordered(places(atoms, frames, directory))
    found = frames[0]
    found.atoms.positions = nearest_images(found.atoms.positions, atoms.positions, np.asarray(atoms.cell))
    check_same_structure(atoms, found.atoms, directory)
    return found.label


def read_forces(directory: Path, n_atoms: int) -> NDArray[np.float64] | None:
    """``(n_atoms, 3)`` eV/Å from OUT.FORCE, which holds the gradient; None if missing or incomplete."""
    path = directory / FORCE
    if not path.is_file():
        return None
    rows = []
    for line in path.read_text(errors="replace").splitlines():
        words = line.split()
        try:
            row = [float(word.replace("D", "E")) for word in words]
        except ValueError:
            continue
        if len(row) == 4:
            rows.append(row[1:])
    return -np.array(rows) if len(rows) == n_atoms else None


def read_steps(directory: Path, atoms: Atoms, task: Task) -> LabelledFrames | None:
    """The complete ionic steps of the last attempt, in the order of ``atoms``; None without any.

    Left out are the frame that was being written, the structure with which a continued run begins, which is
    the last step of the attempt before, and the second copy of the last step that a relaxation writes.

    Raises:
        CalculationError: they belong to other atoms.
    """
    if outputs_are_older(directory):
        return None
    frames = read_frames(directory / MOVEMENT)
    if frames is None:
        return None
    start = read_atom_config(directory / STRUCTURE)
    order = np.argsort(order_of_inputs(directory, len(start)))
    to_inputs = places(start, frames, directory)
    converged = _convergence(frames, read_report(directory), directory)
    frames = replace(frames, converged=frames.converged & converged)
    continued = resumed(directory)
    if continued and begins_with(frames, start.positions[np.argsort(to_inputs)]):
        frames = frames.select(slice(1, None))
    if task is Task.RELAX and len(frames) > 1 and _same_step(frames, -1, -2):
        frames = frames.select(slice(None, -1))
    if not len(frames):
        return None
    frames = _later(frames, continued.get("time")).reordered(to_inputs[order])
    if not np.array_equal(frames.numbers, atoms.numbers):
        raise CalculationError("the output is for other atoms", FailureKind.UNKNOWN, directory)
    return replace(frames, positions=unwrapped(frames, atoms.positions))


def complete(directory: Path, task: Task) -> bool:
    """Whether the last attempt did all that was asked: ``*END`` in RELAXSTEPS, or all MD steps made."""
    if outputs_are_older(directory):
        return False
    if task is Task.RELAX:
        path = directory / RELAXSTEPS
        return path.is_file() and "*END" in path.read_text(errors="replace")
    frames = read_frames(directory / MOVEMENT)
    if task is Task.LABEL or frames is None:
        return False
    _, steps, _ = md_detail(read_etot(directory / INPUT))
    return len(frames) >= steps


def _convergence(frames: LabelledFrames, report: Report, directory: Path) -> NDArray[np.bool_]:
    """Whether the SCF of each frame converged, ``(n_frames,)``.

    REPORT has one SCF for each ionic step and, in MD, one for the first structure, which MOVEMENT lacks; the
    SCF of a frame is known by its energy. Where energies do not help (they are printed with another zero), a
    frame counts as converged if its SCF did under either count.
    """
    verdicts = report.converged(read_etot(directory / INPUT))
    energies = np.array([scf.energy for scf in report.steps])
    found = np.zeros(len(frames), dtype=bool)
    place, matched = 0, 0
    for i, energy in enumerate(frames.energies):
        tolerance = ENERGY_ROUNDING * abs(energy) + 1e-8
        near = np.flatnonzero(np.abs(energies - energy) <= tolerance)
        # The second copy of a relaxation's last step has the SCF of the first.
        if len(near := near[near >= place] if (near >= place).any() else near[near == place - 1]):
            found[i] = verdicts[near[0]]
            place = int(near[0]) + 1
            matched += 1
    if matched:
        return found
    for i in range(len(frames)):
        both = verdicts[i : i + 2]
        found[i] = bool(both) and all(both)
    return found


def _same_step(frames: LabelledFrames, first: int, second: int) -> bool:
    return bool(
        frames.energies[first] == frames.energies[second]
        and np.array_equal(frames.positions[first], frames.positions[second])
        and np.array_equal(frames.forces[first], frames.forces[second])
    )


def _later(frames: LabelledFrames, time: float | None) -> LabelledFrames:
    """The same frames with times after ``time`` (ps): some versions count anew when they continue."""
    times = frames.extras.get("time")
    if time is None or times is None or not len(times) or times[0] > time:
        return frames
    return replace(frames, extras={**frames.extras, "time": times + time})


def missing(directory: Path, task: Task) -> str:
    """Which result of a run that ended regularly is not there, in words; empty if all are."""
    if task is Task.LABEL:
        frames = read_frames(directory / MLMD)
        if frames is None:
            return f"{MLMD} {_defect(directory / MLMD)}"
        return (
            ""
            if read_forces(directory, len(frames.numbers)) is not None
            else f"{FORCE} is missing or cut short"
        )
    if read_frames(directory / MOVEMENT) is None:
        return f"{MOVEMENT} {_defect(directory / MOVEMENT)}"
    if task is Task.AIMD and not complete(directory, task):
        return f"{MOVEMENT} holds fewer frames than MD_DETAIL asks for"
    return ""


def _defect(path: Path) -> str:
    """Why a file gave no frame."""
    if not path.is_file():
        return "is missing"
    return NOT_FINITE if BAD_NUMBER.search(tail(path)) else "holds no complete frame"
