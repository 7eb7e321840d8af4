"""``frames.bin`` and ``model_devi.out``: the saved frames of a trajectory, readable after a ``kill -9``.

``frames.bin`` begins with one line of JSON that says what follows: records of one fixed size, appended and
flushed frame by frame. Whatever ends the process, the file holds whole records and at most one torn one,
which the reader drops. ``model_devi.out`` is the same numbers for the eye.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.uncertainty.definition import Definition

FRAMES_FILE = "frames.bin"
TABLE_FILE = "model_devi.out"
RESTART_STEM = "restart."
"""Followed by the step; LAMMPS's own binary format."""

VERSION = 3
"""Of the layout of ``frames.bin``; version 1 had no line of JSON, version 2 one kind of uncertainty only, and
no ``max_force``."""

Array = NDArray[np.float64]


class Column(NamedTuple):
    """One number of a frame: its name, its unit and how it is stored."""

    name: str
    unit: str
    kind: str = "<f8"

    @property
    def title(self) -> str:
        """What the table calls it."""
        return f"{self.name}({self.unit})" if self.unit else self.name


_THERMODYNAMICS = (
    Column("temperature", "K"),
    Column("potential_energy", "eV"),
    Column("pressure", "bar"),
    Column("max_force", "eV/A"),
)
COMMITTEE_COLUMNS = (
    Column("max_f", "eV/A"),
    Column("mean_f", "eV/A"),
    Column("min_f", "eV/A"),
    Column("worst_atom", "", "<i8"),
    Column("energy_deviation", "eV/atom"),
    Column("max_v", "eV/atom"),
    Column("mean_v", "eV/atom"),
    Column("min_v", "eV/atom"),
)
"""How far several models disagree about a frame."""

KPU_COLUMNS = (
    Column("max_kpu", "eV/A"),
    Column("mean_kpu", "eV/A"),
    Column("min_kpu", "eV/A"),
    Column("worst_atom_kpu", "", "<i8"),
    Column("energy_kpu", "eV/atom"),
)
"""How far draws of one model's weights do."""

CRITERIA = {"max_f": "deviation", "mean_kpu": "KPU"}
"""The columns that a trajectory may be ended by, and what a message calls them."""


@dataclass(frozen=True)
class Layout:
    """What a frame consists of.

    Attributes:
        n_atoms: atoms of a frame.
        stride: steps between frames.
        deviation: definition of a committee's force deviation; None for a single model, which has none.
        members: models that were compared.
        draws: of the driving model's weights that were compared; 0 for none.
    """

    n_atoms: int
    stride: int
    deviation: Definition | None = None
    members: int = 1
    draws: int = 0

    @property
    def uncertainty_columns(self) -> tuple[Column, ...]:
        """The numbers of a frame that tell how uncertain it is; none for a single model without draws."""
        return (COMMITTEE_COLUMNS if self.deviation else ()) + (KPU_COLUMNS if self.draws else ())

    @property
    def columns(self) -> tuple[Column, ...]:
        """All numbers of a frame besides step, cell and positions."""
        return _THERMODYNAMICS + self.uncertainty_columns

    @property
    def record(self) -> np.dtype[np.void]:
        """Layout of one record: little-endian, 8 bytes per number."""
        return np.dtype(
            [
                ("step", "<i8"),
                *((column.name, column.kind) for column in self.columns),
                ("cell", "<f8", (3, 3)),
                ("positions", "<f8", (self.n_atoms, 3)),
            ]
        )

    def header(self) -> bytes:
        """The first line of ``frames.bin``."""
        line = {"version": VERSION, **asdict(self), "columns": self.columns}
        return json.dumps(line).encode() + b"\n"

    @classmethod
    def from_header(cls, line: bytes, path: Path) -> Layout:
        """The layout of a file that begins with ``line``.

        Raises:
            InputError: it is not a file of this version.
        """
        try:
            values = json.loads(line)
            layout = cls(**{field.name: values[field.name] for field in fields(cls)})
            if layout.header() == line:
                return layout
        except (ValueError, TypeError, KeyError):
            pass
        raise InputError(f"not the frames of a trajectory in version {VERSION} of the format", file=path)


def read_records(directory: Path) -> tuple[Layout, NDArray[np.void]] | None:
    """Whole records of ``frames.bin``, up to the first out of sequence (a torn or zero-filled block).

    Returns:
        None if there is no file, or only the torn beginning of one.

    Raises:
        InputError: a file that holds something else.
    """
    path = directory / FRAMES_FILE
    if not path.exists():
        return None
    with path.open("rb") as file:
        line = file.readline()
        if not line.endswith(b"\n"):
            return None
        layout = Layout.from_header(line, path)
        size = path.stat().st_size - len(line)
        records = np.fromfile(file, layout.record, count=size // layout.record.itemsize)
    in_sequence = records["step"] == layout.stride * np.arange(len(records))
    return layout, records[: len(records) if in_sequence.all() else int(np.argmin(in_sequence))]


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
        layout: what a frame consists of.

    Raises:
        InputError: restart files, but frames of another layout.

    Attributes:
        n_frames: frames on disk.
        criteria: of each frame, by those columns of `CRITERIA` that there are.
        last: the record to go on from, None for a fresh start.
    """

    def __init__(self, directory: Path, layout: Layout) -> None:
        self._layout = layout
        kept = _resumable(directory, layout)
        self.n_frames = len(kept)
        names = [column.name for column in layout.columns if column.name in CRITERIA]
        self.criteria: dict[str, list[float]] = {name: kept[name].tolist() for name in names}
        self.last = kept[-1] if len(kept) else None
        header = layout.header()
        self._frames = (directory / FRAMES_FILE).open("ab")
        os.truncate(directory / FRAMES_FILE, len(header) + kept.nbytes if len(kept) else 0)
        self._table = (directory / TABLE_FILE).open("w")
        draws = f"; draws: {layout.draws}" if layout.draws else ""
        self._table.write(f"# deviation: {layout.deviation or 'none'}; members: {layout.members}{draws}\n")
        titles = " ".join(f"{column.title:>{_width(column)}}" for column in layout.columns)
        self._table.write(f"# {'step':>10} {titles}\n")
        if not len(kept):
            self._frames.write(header)
        for record in kept:
            self._table.write(self._line(record))
        self._flush()

    def append(self, step: int, cell: Array, positions: Array, **values: float) -> None:
        """Add one frame; it is in the kernel's hands when this returns.

        Args:
            step: time step.
            cell: ``(3, 3)`` in Å.
            positions: ``(n_atoms, 3)`` in Å.
            values: the numbers, by name.
        """
        record = np.zeros((), self._layout.record)
        record["step"], record["cell"], record["positions"] = step, cell, positions
        for column in self._layout.columns:
            record[column.name] = values[column.name]
        self._frames.write(record.tobytes())
        self._table.write(self._line(record))
        self._flush()
        self.n_frames += 1
        for name, series in self.criteria.items():
            series.append(values[name])

    def _flush(self) -> None:
        self._frames.flush()
        self._table.flush()

    def _line(self, record: Any) -> str:
        words = [f"  {int(record['step']):>10}"]
        for column in self._layout.columns:
            number = record[column.name].item()
            form = "d" if isinstance(number, int) else ".10e"
            words.append(f"{number:{_width(column)}{form}}")
        return " ".join(words) + "\n"

    def __enter__(self) -> TrajectoryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._frames.close()
        self._table.close()


def _width(column: Column) -> int:
    return max(len(column.title), 17)


def _resumable(directory: Path, layout: Layout) -> NDArray[np.void]:
    """Frames up to the latest restart file that belongs to one of them."""
    nothing = np.empty(0, layout.record)
    restarts = restart_steps(directory)
    stored = read_records(directory) if restarts else None
    if stored is None:
        return nothing
    found, records = stored
    if found != layout:
        raise InputError(f"found {found}; this task writes {layout}", file=directory / FRAMES_FILE)
    usable = [step for step in restarts if step in records["step"]]
    return records[records["step"] <= usable[-1]] if usable else nothing
