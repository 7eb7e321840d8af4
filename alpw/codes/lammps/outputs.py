"""What a trajectory leaves on disk, and how it is read back, also after a ``kill -9``.

``frames.bin`` is a sequence of records of one fixed size, appended and flushed frame by frame. Whatever ends
the process, the file holds whole records and at most one torn one, which the reader drops. ``model_devi.out``
is the same numbers for the eye.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from alpw.codes.lammps.inputs import ExplorationTask, bare

TASK_FILE = "task.json"
FRAMES_FILE = "frames.bin"
TABLE_FILE = "model_devi.out"
END_FILE = "end.json"
RESTART_STEM = "restart."
"""Followed by the step; LAMMPS's own binary format."""

Array = NDArray[np.float64]

_COLUMNS = (
    ("temperature", "K"),
    ("potential_energy", "eV"),
    ("pressure", "bar"),
    ("max_f", "eV/A"),
    ("mean_f", "eV/A"),
    ("min_f", "eV/A"),
    ("energy_deviation", "eV/atom"),
)


class EndReason(str, Enum):
    """Why a trajectory ended; the value is what the database stores."""

    COMPLETED = "completed"
    LOST_ATOMS = "lost_atoms"
    NAN = "nan"
    TEMPERATURE = "temperature"
    TOO_CLOSE = "too_close"
    FORCE = "force"
    EXPANSION = "expansion"
    LAMMPS_ERROR = "lammps_error"
    TIMEOUT = "timeout"


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
    """

    reason: EndReason
    message: str
    steps_done: int
    wall_time: float

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
        deviations: per-frame committee deviations by name, each ``(n,)``: ``max_f``, ``mean_f`` and ``min_f``
            in eV/Å, ``energy`` in eV/atom, ``worst_atom`` the atom of ``max_f``. None for a single model.
        end: how it ended; None if the process was killed.
    """

    template: Atoms
    steps: NDArray[np.int64]
    positions: Array
    cells: Array
    temperatures: Array
    potential_energies: Array
    pressures: Array
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


def record_type(n_atoms: int) -> np.dtype[np.void]:
    """Layout of one record of ``frames.bin``: little-endian, 8 bytes per number."""
    return np.dtype(
        [
            ("step", "<i8"),
            *((name, "<f8") for name, _ in _COLUMNS),
            ("worst_atom", "<i8"),
            ("cell", "<f8", (3, 3)),
            ("positions", "<f8", (n_atoms, 3)),
        ]
    )


def read_records(directory: Path, n_atoms: int, stride: int) -> NDArray[np.void]:
    """Whole records of ``frames.bin``, up to the first out of sequence (a torn or zero-filled block)."""
    path, dtype = directory / FRAMES_FILE, record_type(n_atoms)
    if not path.exists():
        return np.empty(0, dtype)
    records = np.fromfile(path, dtype, count=path.stat().st_size // dtype.itemsize)
    in_sequence = records["step"] == stride * np.arange(len(records))
    return records[: len(records) if in_sequence.all() else int(np.argmin(in_sequence))]


def read_result(directory: str | Path) -> ExplorationResult:
    """The valid prefix of the trajectory in ``directory``, at any time during or after the run.

    Raises:
        InputError: the folder holds no task.
    """
    folder = Path(directory)
    task = ExplorationTask.read(folder / TASK_FILE)
    records = read_records(folder, len(task.atoms), task.stride)
    names = {"max_f": "max_f", "mean_f": "mean_f", "min_f": "min_f", "energy": "energy_deviation"}
    deviations = {name: records[column] for name, column in {**names, "worst_atom": "worst_atom"}.items()}
    return ExplorationResult(
        template=bare(task.atoms),
        steps=records["step"],
        positions=records["positions"],
        cells=records["cell"],
        temperatures=records["temperature"],
        potential_energies=records["potential_energy"],
        pressures=records["pressure"],
        deviations=deviations if len(task.models) > 1 else None,
        end=End.read(folder),
    )


def restart_steps(directory: Path) -> list[int]:
    """Steps of the restart files in ``directory``, ascending."""
    suffixes = (path.name[len(RESTART_STEM) :] for path in directory.glob(RESTART_STEM + "*"))
    return sorted(int(suffix) for suffix in suffixes if suffix.isdecimal())


class TrajectoryWriter:
    """Appends frames to ``frames.bin`` and ``model_devi.out``.

    Frames up to the latest restart file are kept, later ones dropped: they will be made again. Without a
    restart file the trajectory starts afresh.

    Args:
        directory: where they lie.
        n_atoms: atoms of a frame.
        stride: steps between frames.

    Attributes:
        n_frames: frames on disk.
        last: the record to go on from, None for a fresh start.
    """

    def __init__(self, directory: Path, n_atoms: int, stride: int) -> None:
        self._dtype = record_type(n_atoms)
        records = read_records(directory, n_atoms, stride)
        resumable = [step for step in restart_steps(directory) if step in records["step"]]
        kept = records[records["step"] <= (resumable[-1] if resumable else -1)]
        self.n_frames = len(kept)
        self.last = kept[-1] if len(kept) else None
        self._frames = (directory / FRAMES_FILE).open("ab")
        os.truncate(directory / FRAMES_FILE, kept.nbytes)
        self._table = (directory / TABLE_FILE).open("w")
        titles = (f"{name}({unit})" for name, unit in _COLUMNS)
        self._table.write(
            f"# {'step':>10} " + " ".join(f"{title:>22}" for title in titles) + "  worst_atom\n"
        )
        for record in kept:
            self._table.write(_line(record))
        self._table.flush()

    def append(self, step: int, cell: Array, positions: Array, worst_atom: int, **values: float) -> None:
        """Add one frame; it is in the kernel's hands when this returns.

        Args:
            step: time step.
            cell: ``(3, 3)`` in Å.
            positions: ``(n_atoms, 3)`` in Å.
            worst_atom: index of the atom with the largest deviation, -1 for a single model.
            values: the scalar columns, by name.
        """
        record = np.zeros((), self._dtype)
        record["step"], record["cell"], record["positions"], record["worst_atom"] = (
            step,
            cell,
            positions,
            worst_atom,
        )
        for name, _ in _COLUMNS:
            record[name] = values[name]
        self._frames.write(record.tobytes())
        self._frames.flush()
        self._table.write(_line(record))
        self._table.flush()
        self.n_frames += 1

    def __enter__(self) -> TrajectoryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._frames.close()
        self._table.close()


def _line(record: Any) -> str:
    values = " ".join(f"{float(record[name]):22.10e}" for name, _ in _COLUMNS)
    return f"  {int(record['step']):>10} {values} {int(record['worst_atom']):>11}\n"
