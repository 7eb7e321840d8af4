"""The LAMMPS commands of an exploration task."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from alpw.codes.lammps.inputs import Ensemble, ExplorationTask
from alpw.codes.lammps.script import FORCE_FIX, Command, Run, Script, Step

_SKIN = 1.0
"""Å an atom may travel, twice over, before LAMMPS sorts atoms back into its box."""

_MAX_SEED = 900_000_000


def general_commands() -> Iterator[str]:
    """What must be said before there are atoms, and is not kept in a restart file."""
    yield "units metal"
    yield "atom_style atomic"
    yield "atom_modify map yes sort 0 0.0"
    yield "box tilt large"


def box_commands(box: NDArray[np.float64], pbc: NDArray[np.bool_], n_types: int) -> Iterator[str]:
    """An empty triclinic box.

    Args:
        box: ``(3, 3)`` lower triangular, rows are box vectors, Å.
        pbc: ``(3,)``; a direction without periodicity is a fixed boundary.
        n_types: number of atom types.
    """
    yield "boundary " + " ".join("p" if periodic else "f" for periodic in pbc)
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = box.tolist()
    yield f"region alpw_cell prism 0 {lx!r} 0 {ly!r} 0 {lz!r} {xy!r} {xz!r} {yz!r} units box"
    yield f"create_box {n_types} alpw_cell"
    yield "region alpw_cell delete"


def force_commands() -> Iterator[str]:
    """Forces, energy and virial from Python; no pair style, hence no ghost atoms and no cutoff to respect."""
    yield "pair_style none"
    yield f"fix {FORCE_FIX} all external pf/callback 1 1"
    yield f"fix_modify {FORCE_FIX} energy yes virial yes"


def velocity_command(task: ExplorationTask) -> Command:
    """Maxwell-Boltzmann velocities at exactly the task's temperature, total momentum zero."""
    text = f"velocity all create {task.temperature!r} {_seed(task)} mom yes rot no dist gaussian"
    return Command(text, once=True)


def _seed(task: ExplorationTask) -> int:
    """LAMMPS takes seeds from 1 to 900 million; larger ones are folded into that range."""
    return task.seed % _MAX_SEED + 1


def script_of(task: ExplorationTask, box: NDArray[np.float64]) -> Script:
    """The dynamics of a task: its ensemble, or the user's own commands.

    Args:
        task: the task.
        box: ``(3, 3)`` of the start structure, lower triangular, Å.
    """
    general = (Command(text) for text in _output_commands(task))
    if task.template is None:
        integrator = (Command(text) for text in _ensemble_commands(task, box))
        run = Run(0, task.n_steps, (0, task.n_steps))
        return Script((*general, *integrator, velocity_command(task), run))
    variables = {"DUMP_FREQ": task.stride, "THERMO_FREQ": task.stride, "restart": 0, "SEED": _seed(task)}
    given = (Command(f"variable {name} equal {value}") for name, value in variables.items())
    parsed = task.template.parsed
    steps: list[Step] = list(parsed.script.steps)
    if not parsed.draws:
        first = next(index for index, step in enumerate(steps) if isinstance(step, Run))
        steps.insert(first, velocity_command(task))
    return Script((*general, *given, *steps), parsed.script.resumable)


def _output_commands(task: ExplorationTask) -> Iterator[str]:
    yield f"neighbor {_SKIN} bin"
    yield f"neigh_modify every 1 delay {task.neigh_modify} check yes"
    yield "thermo_style custom step temp pe ke etotal press vol"
    yield "thermo_modify lost error norm no flush yes"
    yield f"thermo {task.stride}"


def _ensemble_commands(task: ExplorationTask, box: NDArray[np.float64]) -> Iterator[str]:
    end = task.temperature if task.temperature_end is None else task.temperature_end
    thermostat = f"temp {task.temperature!r} {end!r} {task.taut!r}"
    barostat = f"{task.ensemble.barostat} {task.pressure!r} {task.pressure!r} {task.taup!r}"
    match task.ensemble:
        case Ensemble.NVE:
            yield "fix integrate all nve"
        case Ensemble.NVT:
            yield f"fix integrate all nvt {thermostat}"
        case _:
            # The default, but the same after a restart too, when the box has another size.
            centre = " ".join(repr(length) for length in (0.5 * np.diag(box)).tolist())
            yield f"fix integrate all npt {thermostat} {barostat} fixedpoint {centre}"
    yield f"timestep {task.timestep!r}"
