"""How a relaxation or AIMD goes on where it ended.

After each ionic step VASP moves the ions and writes CONTCAR. It holds the geometry of the *next* step and,
in dynamics, the velocities of the half step before it and the state of some thermostats. So CONTCAR becomes
POSCAR as it stands. A run that was killed may leave it cut short, or one step behind; the step that is
missing is then made here from the last one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.geometry import find_mic
from numpy.typing import NDArray

from alpw.codes.protocol import Task
from alpw.codes.vasp import inputs
from alpw.codes.vasp.incar import Incar, plain
from alpw.codes.vasp.jobs import STOPCAR
from alpw.codes.vasp.tasks import DEFAULT_TIME_STEP, LARGEST_SEED, make_task
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.files import write_atomically
from alpw.formats.outcar import read_outcar
from alpw.formats.poscar import read_poscar, write_poscar
from alpw.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from alpw.config import Dft

SAME = 2e-5
"""Å. OUTCAR gives positions with five decimals."""

REACH = 2.0
"""Å that an atom can move in one step of a relaxation; a CONTCAR further away is not of this run."""

DEVIATION = 0.5
"""Largest difference, relative to its length, between a step of dynamics and what is expected of it. A
thermostat changes a velocity by less in one step; two steps instead of one differ by 1."""


def resume(atoms: Atoms, directory: Path, dft: Dft, task: Task, done: int) -> list[str]:
    """Rewrite POSCAR and INCAR so that the next attempt goes on where the last one ended.

    Args:
        atoms: the structure that the calculation began with.
        directory: the run; its outputs are still there.
        dft: its ``input`` says how many steps were asked for, its ``temperature`` and ``seed`` at what.
        task: relaxation or AIMD.
        done: finished steps of all attempts.

    Returns:
        What was done, in words.

    Raises:
        CalculationError: no finished step to go on from, or no step left to make.
    """
    changes = [_geometry(directory, task)]
    if task is Task.AIMD:
        changes += _rest_of_dynamics(directory, dft, done)
    (directory / STOPCAR).unlink(missing_ok=True)
    return changes


def _geometry(directory: Path, task: Task) -> str:
    """Write the POSCAR of the next attempt; returns where it comes from."""
    frames = _last_frames(directory)
    last = frames[-1].atoms
    found, reason = _contcar(directory, frames, task)
    if found is not None and (task is Task.RELAX or np.abs(_displacement(last, found)).max() > SAME):
        write_atomically(directory / "POSCAR", (directory / "CONTCAR").read_bytes())
        return "POSCAR: goes on from CONTCAR"
    if found is not None:
        last, velocities = found, found.get_velocities() * 1000 * units.fs
        reason = "CONTCAR is one step behind"
    else:
        last.set_constraint(read_poscar(directory / "POSCAR").constraints)
        velocities = _half_step_velocities(frames, directory) if task is Task.AIMD else None
    if velocities is None:
        write_poscar(directory / "POSCAR", last)
        new = " with new velocities" if task is Task.AIMD else ""
        return f"POSCAR: goes on from the last step in OUTCAR{new}, because {reason}"
    moved, velocities = _leapfrog(last, frames.forces[-1], velocities, directory)
    write_poscar(directory / "POSCAR", moved, velocities)
    return f"POSCAR: one step beyond the last one in OUTCAR, because {reason}"


def _last_frames(directory: Path) -> LabelledFrames:
    """The last two steps of OUTCAR, or the only one, in VASP's order."""
    try:
        frames = LabelledFrames.join(list(read_outcar(directory / "OUTCAR")))
    except (InputError, ValueError) as error:
        raise CalculationError(f"no step to go on from: {error}", FailureKind.UNKNOWN, directory) from error
    return frames.select(slice(-2, None))


def _contcar(directory: Path, frames: LabelledFrames, task: Task) -> tuple[Atoms | None, str]:
    """CONTCAR if it is whole and belongs to the last step, else the reason why not."""
    last = frames[-1].atoms
    try:
        found = read_poscar(directory / "CONTCAR")
    except InputError as error:
        return None, f"of CONTCAR: {error.message}"
    if found.get_chemical_symbols() != last.get_chemical_symbols():
        return None, "CONTCAR is of other atoms"
    shift = _displacement(last, found)
    if task is Task.RELAX:
        near = bool(np.linalg.norm(shift, axis=1).max() < REACH)
        return (found, "") if near else (None, "CONTCAR is far from the last step")
    if not found.has("momenta"):
        return None, "CONTCAR has no velocities"
    before = _half_step_velocities(frames, directory)
    if before is None:
        expected = found.get_velocities() * 1000 * units.fs * _time_step(directory)
    else:
        expected = _leapfrog(last, frames.forces[-1], before, directory)[1] * _time_step(directory)
    deviation = np.linalg.norm(shift - expected) / max(float(np.linalg.norm(expected)), SAME)
    if np.abs(shift).max() > SAME and deviation > DEVIATION:
        return None, "CONTCAR does not follow the last step"
    return found, ""


def _displacement(old: Atoms, new: Atoms) -> NDArray[np.float64]:
    """Å, ``(n_atoms, 3)``; a change of the cell alone moves nothing."""
    fractions = new.get_scaled_positions(wrap=False) - old.get_scaled_positions(wrap=False)
    shift, _ = find_mic(fractions @ np.asarray(old.cell), old.cell, True)
    return np.asarray(shift)


def _half_step_velocities(frames: LabelledFrames, directory: Path) -> NDArray[np.float64] | None:
    """Å/ps, half a step before the last one: the difference of its positions to those before."""
    if len(frames) < 2:
        return None
    before, last = frames[0].atoms, frames[1].atoms
    return _displacement(before, last) / _time_step(directory)


def _leapfrog(
    atoms: Atoms, forces: NDArray[np.float64], velocities: NDArray[np.float64], directory: Path
) -> tuple[Atoms, NDArray[np.float64]]:
    """The next step without a thermostat: ``v += a dt``, then ``x += v dt``; Å and Å/ps."""
    step = _time_step(directory)
    pull = forces.copy()
    for constraint in atoms.constraints:
        constraint.adjust_forces(atoms, pull)
    acceleration = pull / atoms.get_masses()[:, None] * (1000 * units.fs) ** 2
    half = velocities + acceleration * step
    moved = atoms.copy()
    moved.set_positions(atoms.positions + half * step, apply_constraint=False)
    return moved, half


def _time_step(directory: Path) -> float:
    """ps"""
    return Incar.read(directory / "INCAR").real("POTIM", DEFAULT_TIME_STEP) / 1000


def _rest_of_dynamics(directory: Path, dft: Dft, done: int) -> list[str]:
    """Steps that are left, the temperature of the moment, and random numbers that were not drawn before."""
    asked = inputs.load(dft)
    make_task(asked, dft, Task.AIMD)
    steps = asked.integer("NSW", 0)
    if done >= steps:
        raise CalculationError(
            f"{done} of {steps} steps are done, nothing is left to do", FailureKind.UNKNOWN, directory
        )
    incar = Incar.read(directory / "INCAR")
    changes = incar.set("NSW", str(steps - done))
    start = asked.real("TEBEG", 0.0)
    end = asked.real("TEEND", start)
    if end != start:
        changes += incar.set("TEBEG", plain(round(start + (end - start) * done / max(steps - 1, 1), 4)))
    if "RANDOM_SEED" in asked:
        first, *others = asked.get("RANDOM_SEED").split()
        seed = (int(first) + done) % LARGEST_SEED
        changes += incar.set("RANDOM_SEED", " ".join([str(seed), *others]))
    write_atomically(directory / "INCAR", str(incar).encode())
    return changes
