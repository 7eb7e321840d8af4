"""How a trajectory ended, and how it is read back, also after a ``kill -9``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from alpw.codes.lammps.frames import Layout, read_records
from alpw.codes.lammps.inputs import ExplorationTask, bare
from alpw.uncertainty.definition import Definition

TASK_FILE = "task.json"
END_FILE = "end.json"

Array = NDArray[np.float64]


class EndReason(str, Enum):
    """Why a trajectory ended; the value is what the database stores."""

    COMPLETED = "completed"
    LOST_ATOMS = "lost_atoms"
    NAN = "nan"
    TEMPERATURE = "temperature"
    TOO_CLOSE = "too_close"
    FORCE = "force"
    EXPANSION = "expansion"
    UNCERTAIN = "uncertain"
    LAMMPS_ERROR = "lammps_error"
    TIMEOUT = "timeout"


UNPHYSICAL = frozenset(
    {
        EndReason.LOST_ATOMS,
        EndReason.NAN,
        EndReason.TEMPERATURE,
        EndReason.TOO_CLOSE,
        EndReason.FORCE,
        EndReason.EXPANSION,
    }
)
"""Ends of trajectories that the model drove where no atoms go."""

LAMMPS_MESSAGES = (
    ("Lost atoms", EndReason.LOST_ATOMS),
    ("Non-numeric", EndReason.NAN),
)
"""Words in a LAMMPS error, and the reason that they stand for; any other error is ``lammps_error``."""


@dataclass(frozen=True)
class End:
    """How a trajectory ended.

    Attributes:
        reason: why.
        message: in words, with the step and the value that crossed a limit.
        steps_done: time steps integrated.
        wall_time: s, of the attempt that ended it.
        deviation: definition of the committee's force deviation; None for a single model.
    """

    reason: EndReason
    message: str
    steps_done: int
    wall_time: float
    deviation: str | None = None

    def write(self, directory: Path) -> None:
        """Record it in one piece: either the whole file is there or none."""
        partial = directory / (END_FILE + ".tmp")
        partial.write_text(json.dumps({**asdict(self), "reason": self.reason.value}) + "\n")
        partial.replace(directory / END_FILE)

    @classmethod
    def read(cls, directory: Path) -> End | None:
        """The recorded end, None while the run goes on or after it was killed."""
        path = directory / END_FILE
        if not path.exists():
            return None
        values = json.loads(path.read_text())
        return cls(**{**values, "reason": EndReason(values["reason"])})


@dataclass(frozen=True)
class ExplorationResult:
    """The valid prefix of a trajectory: every saved frame before the step that ended it.

    Positions are unwrapped and, like the cell, in the orientation of the task's structure.

    Attributes:
        template: the task's structure: species, masses, periodicity.
        steps: ``(n,)`` time step of each frame: 0, stride, 2 stride, ...
        positions: ``(n, n_atoms, 3)`` in Å.
        cells: ``(n, 3, 3)`` in Å.
        temperatures: ``(n,)`` in K.
        potential_energies: ``(n,)`` in eV, of the driving model.
        pressures: ``(n,)`` in bar, kinetic part included.
        max_forces: ``(n,)`` in eV/Å, of the driving model, the largest on one atom.
        deviation: definition of the committee's force deviation, ``dpgen`` or ``legacy``; None for a single
            model.
        deviations: the uncertainty by name, each ``(n,)``. Of a committee ``max_f``, ``mean_f`` and ``min_f``
            over atoms in eV/Å, ``worst_atom`` the atom of ``max_f``, ``energy_deviation`` in eV/atom,
            ``max_v``, ``mean_v`` and ``min_v`` over components of the virial in eV/atom. Of draws of the
            weights ``max_kpu``, ``mean_kpu``, ``min_kpu``, ``worst_atom_kpu`` and ``energy_kpu``, likewise.
            None without either.
        end: how it ended; None if the process was killed.
    """

    template: Atoms
    steps: NDArray[np.int64]
    positions: Array
    cells: Array
    temperatures: Array
    potential_energies: Array
    pressures: Array
    max_forces: Array
    deviation: Definition | None
    deviations: dict[str, NDArray[Any]] | None
    end: End | None

    def __len__(self) -> int:
        return len(self.steps)

    def atoms(self, frame: int) -> Atoms:
        """One frame, counted from 0."""
        atoms = self.template.copy()
        atoms.set_cell(self.cells[frame])
        atoms.positions = self.positions[frame]
        return atoms

    def frames(self) -> list[Atoms]:
        """Every frame."""
        return [self.atoms(frame) for frame in range(len(self))]


def read_result(directory: str | Path) -> ExplorationResult:
    """The valid prefix of the trajectory in ``directory``, at any time during or after the run.

    Raises:
        InputError: the folder holds no task, or ``frames.bin`` was not written by this version.
    """
    folder = Path(directory)
    task = ExplorationTask.read(folder / TASK_FILE)
    # Without frames it is only known whether there are draws, which decides about the columns.
    draws = int(task.samples is not None)
    layout = Layout(len(task.atoms), task.stride, task.definition, len(task.models), draws)
    layout, records = read_records(folder) or (layout, np.empty(0, layout.record))
    return ExplorationResult(
        template=bare(task.atoms),
        steps=records["step"],
        positions=records["positions"],
        cells=records["cell"],
        temperatures=records["temperature"],
        potential_energies=records["potential_energy"],
        pressures=records["pressure"],
        max_forces=records["max_force"],
        deviation=layout.deviation,
        deviations={column.name: records[column.name] for column in layout.uncertainty_columns} or None,
        end=End.read(folder),
    )
