"""Relaxation and molecular dynamics by ASE's optimisers and integrators, resumable to the step.

Each step that is kept is one line of ``steps.jsonl``, on disk before the next step begins, with all that is
needed to go on: velocities, the state of the random numbers and of the barostat. The first line says how the
steps were made. With a stride, what follows the last line is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.md.md import MolecularDynamics
from ase.optimize import BFGS, FIRE

from alpw.codes.ase.documents import STEPS, STOP_FILE, structure_document
from alpw.codes.ase.integrators import restart_state, start_dynamics
from alpw.codes.ase.limits import check_step
from alpw.codes.ase.records import properties, write_line
from alpw.errors import CalculationError, FailureKind

_OPTIMIZERS = {"bfgs": BFGS, "fire": FIRE}

MAX_RELAX_FIRST = 1000
"""steps of the relaxation before MD"""

Extras = Callable[[], dict[str, Any]]
"""What else is known of the present step."""


def run_steps(atoms: Atoms, document: dict[str, Any], heading: dict[str, Any], extras: Extras = dict) -> bool:
    """Do the ``task`` of a document in the current directory.

    Args:
        atoms: the structure of the document, with a calculator.
        document: with ``task`` (see `alpw.codes.ase.control`) and, to go on, ``start``.
        heading: what the first line says of the calculator, beside the structure.
        extras: called after each step that is kept.

    Returns:
        Whether it was done to the end; False if the limit of steps or a file ``STOP`` ended it.

    Raises:
        CalculationError: a step is no structure any more; those before it are kept.
        Exception: whatever the calculator raises; the steps before are kept.
    """
    task, start = document["task"], document.get("start", {"step": -1})
    with Path(STEPS).open("w") as file:
        write_line(file, heading | structure_document(atoms))
        return _TASKS[task["name"]](atoms, task, start, partial(_keep, file, atoms, extras))


Keep = Callable[[int, dict[str, Any]], None]


def _relax(atoms: Atoms, task: dict[str, Any], start: dict[str, Any], keep: Keep) -> bool:
    mobile = FrechetCellFilter(atoms) if task["cell"] and atoms.pbc.all() else atoms
    volume = atoms.get_volume() if mobile is not atoms else 0.0
    optimizer = _OPTIMIZERS[task["optimizer"]](mobile, logfile="-")
    converged = False
    first = max(start["step"], 0)
    for number, found in enumerate(optimizer.irun(fmax=task["fmax"], steps=task["steps"]), first):
        converged = bool(found)
        check_step(atoms, number, volume=volume)
        if number > start["step"]:
            keep(number, {})
        if _asked_to_stop():
            break
    return converged


def _dynamics(atoms: Atoms, task: dict[str, Any], start: dict[str, Any], keep: Keep) -> bool:
    # A trajectory with a step has been relaxed.
    if task["relax_first"] and "velocities" not in start and not _relaxed(atoms, task["fmax"]):
        return False
    dynamics, random = start_dynamics(atoms, task, start)
    volume = atoms.get_volume() if task["ensemble"] == "npt" else 0.0
    last = max(int(start["step"]), 0)
    for number in _numbers(dynamics, last, task["steps"]):
        check_step(atoms, number, task["temperature"], volume)
        if number > start["step"] and number % task["stride"] == 0:
            measured = {
                "time": number * task["timestep"] / 1000,
                "temperature": float(atoms.get_temperature()),
            }
            keep(number, measured | restart_state(atoms, dynamics, random))
        else:
            # A sign of life, for whoever watches for silence.
            Path(STEPS).touch()
        last = number
        if _asked_to_stop():
            break
    return last >= int(task["steps"])


_TASKS: dict[str, Callable[..., bool]] = {"relax": _relax, "aimd": _dynamics}


def _relaxed(atoms: Atoms, fmax: float) -> bool:
    """Relax ``atoms`` at their cell to ``fmax`` (eV/Å); False if it was asked to stop before."""
    optimizer = FIRE(atoms, logfile="-")
    for number, converged in enumerate(optimizer.irun(fmax=fmax, steps=MAX_RELAX_FIRST)):
        check_step(atoms, number)
        if converged:
            return True
        if _asked_to_stop():
            return False
    largest = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    raise CalculationError(
        f"relax_first: {MAX_RELAX_FIRST} steps leave {largest:.3g} eV/Å, above fmax {fmax:g}; raise fmax",
        FailureKind.GEOMETRY,
    )


def _numbers(dynamics: MolecularDynamics, first: int, last: int) -> Iterator[int]:
    """The number of each step, once it is made; the first geometry counts as one."""
    if first < last:
        yield from (number for number, _ in enumerate(dynamics.irun(last - first), first))


def _asked_to_stop() -> bool:
    return Path(STOP_FILE).exists()


def _keep(file: TextIO, atoms: Atoms, extras: Extras, number: int, measured: dict[str, Any]) -> None:
    geometry = {"positions": atoms.positions.tolist(), "cell": np.asarray(atoms.cell).tolist()}
    write_line(file, {"step": number, **geometry, **properties(atoms), **extras(), **measured})
