"""What an INCAR needs to be a label, a relaxation or AIMD; the user's own tags stay where they fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alpw.codes.protocol import Task
from alpw.codes.vasp.incar import Incar, plain
from alpw.errors import InputError

if TYPE_CHECKING:
    from alpw.config import Dft

RELAXATIONS = (1, 2, 3)
DEFAULT_RELAX_STEPS = 100
DEFAULT_TIME_STEP = 1.0
"""fs; safe for all but hydrogen at high temperature."""

LARGEST_SEED = 900_000_000
"""of the first number of RANDOM_SEED, https://www.vasp.at/wiki/index.php/RANDOM_SEED"""


def make_task(incar: Incar, dft: Dft, task: Task) -> list[str]:
    """Set in the INCAR what the task needs and nothing else; returns the changes in words.

    Args:
        incar: the user's, changed in place.
        dft: ``stress`` for all tasks; ``temperature`` in K and ``seed`` for AIMD.
        task: what to do.

    Raises:
        InputError: the INCAR asks for something else.
    """
    changes = {Task.LABEL: _make_label, Task.RELAX: _make_relaxation, Task.AIMD: _make_dynamics}[task](incar)
    if task is Task.AIMD:
        changes += _set_temperature(incar, dft.temperature) + _set_seed(incar, dft.seed)
    # VASP leaves out the stress in AIMD and for hybrids. Below 2, ISIF moves nothing else than 2 does.
    default = 0 if task is Task.AIMD or incar.logical("LHFCALC") else 2
    if dft.stress and incar.integer("ISIF", default) < 2:
        changes += incar.set("ISIF", "2")
    if incar.integer("NWRITE", 2) < 2:
        changes += incar.set("NWRITE", "2")
    if "LCHARG" not in incar:
        changes += incar.set("LCHARG", ".FALSE.")
    return changes


def _make_label(incar: Incar) -> list[str]:
    return incar.set("NSW", "0") + incar.set("IBRION", "-1")


def _make_relaxation(incar: Incar) -> list[str]:
    changes = [] if "IBRION" in incar else incar.set("IBRION", "2")
    if incar.integer("IBRION", 2) not in RELAXATIONS:
        raise incar.error("IBRION", f"is no relaxation; one of {', '.join(map(str, RELAXATIONS))} is")
    if "NSW" not in incar:
        changes += incar.set("NSW", str(DEFAULT_RELAX_STEPS))
    if incar.integer("NSW", 0) < 1:
        raise incar.error("NSW", f"leaves a relaxation no step; NSW = {DEFAULT_RELAX_STEPS} is usual")
    return changes


def _make_dynamics(incar: Incar) -> list[str]:
    changes = [] if "IBRION" in incar else incar.set("IBRION", "0")
    if incar.integer("IBRION", 0) != 0:
        raise incar.error("IBRION", "is no molecular dynamics; 0 is")
    if incar.integer("NSW", 0) < 1:
        raise InputError("AIMD needs its number of steps", incar.file, "NSW")
    if "POTIM" not in incar:
        changes += incar.set("POTIM", plain(DEFAULT_TIME_STEP))
    if "ISYM" not in incar:
        changes += incar.set("ISYM", "0")
    elif incar.integer("ISYM", 0) > 0:
        changes.append(f"INCAR/ISYM: {incar.get('ISYM')} kept, although dynamics breaks every symmetry")
    return changes


def _set_temperature(incar: Incar, temperature: float | None) -> list[str]:
    """One temperature in K from the first step to the last, in place of that or of the ramp in the INCAR."""
    if temperature is None:
        return []
    if "TSUBSYS" in incar:
        raise incar.error("TSUBSYS", "gives groups of atoms their own temperatures; remove it, or temps")
    wanted = plain(temperature)
    told = incar.set("TEBEG", wanted) + incar.set("TEEND", wanted)
    return [f"INCAR/TEBEG = TEEND = {wanted} K: asked for by temps"] if told else []


def _set_seed(incar: Incar, seed: int | None) -> list[str]:
    """The seed of the first velocities and of the thermostat, unless the INCAR has its own.

    RANDOM_SEED takes three integers. A VASP that was built without ``-Dtbdyn`` does without it.
    """
    if seed is None or "RANDOM_SEED" in incar:
        return []
    return incar.set("RANDOM_SEED", f"{seed % LARGEST_SEED} 0 0")
