"""What LAMMPS with a pair style has written, as the result of an exploration.

Frames come from the dump, thermodynamics from ``log.lammps``, deviations from ``model_devi.out``; a frame
needs all three. The frames handed back are those before the first that crosses a limit of the task.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from alpw.codes.handlers import tail
from alpw.codes.lammps.cell import LammpsCell
from alpw.codes.lammps.checks import StepCheck, TrajectoryEnded, require_finite
from alpw.codes.lammps.forces import search_close_pairs
from alpw.codes.lammps.inputs import ExplorationTask, bare
from alpw.codes.lammps.outputs import LAMMPS_MESSAGES, TASK_FILE, End, EndReason, ExplorationResult
from alpw.codes.lammps_pair.deviations import Deviations, layout_of, read_deviations
from alpw.codes.lammps_pair.inputs import DUMP_FILE, elements_of
from alpw.codes.lammps_pair.styles import TABLE_FILE
from alpw.errors import InputError
from alpw.formats.lammps_dump import read_lammps_dump

LOG_FILE = "log.lammps"
STYLE_FILE = "pair_style.json"
FINISHED = "Total wall time:"
"""What LAMMPS prints last."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prefix:
    """A trajectory up to where it stops being physical.

    Attributes:
        result: its frames; `ExplorationResult.end` is None.
        ended: why it stops there, with the step; None if nothing crossed a limit.
        last_step: the last step that LAMMPS has written.
    """

    result: ExplorationResult
    ended: tuple[EndReason, str] | None
    last_step: int


def style_record(task: ExplorationTask, style: str) -> str:
    """What is kept beside a trajectory: its pair style, which tells the table's meaning, and its models."""
    models = [sha256(model.read_bytes()).hexdigest() for model in task.models]
    return json.dumps({"pair_style": style, "models": models}) + "\n"


def read_result(directory: str | Path) -> ExplorationResult:
    """The valid prefix of the trajectory in ``directory``, at any time during or after the run.

    Raises:
        InputError: the folder holds no task, or files that make no sense; names file and line.
    """
    folder = Path(directory)
    found = read_prefix(folder).result
    return ExplorationResult(**{**vars(found), "end": End.read(folder)})


def read_prefix(folder: Path) -> Prefix:
    """The frames in ``folder`` and why they end; raises what `read_result` raises."""
    task = ExplorationTask.read(folder / TASK_FILE)
    style = json.loads((folder / STYLE_FILE).read_text())["pair_style"]
    dumped = _dumped(folder / DUMP_FILE, task)
    thermo = read_thermo(folder / LOG_FILE)
    deviations = _deviations(folder, task, style)
    steps = [int(atoms.info["timestep"]) for atoms in dumped]
    if deviations is not None and deviations.layout.counted:
        rows = dict(zip(steps, range(len(deviations)), strict=False))
    else:
        rows = {step: k for k, step in enumerate(steps if deviations is None else deviations.steps.tolist())}
    whole = 0
    while whole < len(steps) and steps[whole] in thermo and steps[whole] in rows:
        whole += 1
    numbers = np.array([thermo[step] for step in steps[:whole]]).reshape(-1, 3)
    order = [rows[step] for step in steps[:whole]]
    values = {} if deviations is None else {name: v[order] for name, v in deviations.values.items()}
    cells, positions = _unrotated(task, dumped[:whole])
    forces = np.array([atoms.get_forces() for atoms in dumped[:whole]]).reshape(whole, len(task.atoms), 3)
    n, ended = _valid(task, steps, cells, positions, numbers, forces, values)
    result = ExplorationResult(
        template=bare(task.atoms),
        steps=np.array(steps[:n], dtype=np.int64),
        positions=positions[:n],
        cells=cells[:n],
        temperatures=numbers[:n, 0],
        potential_energies=numbers[:n, 1],
        pressures=numbers[:n, 2],
        max_forces=np.linalg.norm(forces[:n], axis=2).max(axis=1, initial=0.0),
        deviation=None if deviations is None else deviations.layout.definition,
        deviations=None if deviations is None else {name: v[:n] for name, v in values.items()},
        end=None,
    )
    return Prefix(result, ended, steps[whole - 1] if whole else 0)


def read_thermo(path: Path) -> dict[int, tuple[float, float, float]]:
    """Temperature (K), potential energy (eV) and pressure (bar) by step, from LAMMPS's log."""
    found: dict[int, tuple[float, float, float]] = {}
    names: list[str] = []
    for line in tail(path, path.stat().st_size if path.is_file() else 0).splitlines():
        words = line.split()
        if words[:2] == ["Step", "Temp"]:
            names = words
        elif line.startswith("Loop time"):
            names = []
        elif names and len(words) == len(names):
            row = dict(zip(names, words, strict=True))
            try:
                numbers = [float(row[name]) for name in ("Temp", "PotEng", "Press")]
                found[int(row["Step"])] = (numbers[0], numbers[1], numbers[2])
            except ValueError:
                continue  # a warning of as many words
    return found


def lammps_error(folder: Path) -> tuple[EndReason, str] | None:
    """The error with which LAMMPS stopped, in its own words; None if it told of none."""
    for name in (LOG_FILE, "job.out", "job.err"):
        for line in reversed(tail(folder / name).splitlines()):
            if line.lstrip().startswith("ERROR"):
                words = " ".join(line.split())
                reason = next((reason for text, reason in LAMMPS_MESSAGES if text in words), None)
                return reason or EndReason.LAMMPS_ERROR, words
    return None


def is_finished(folder: Path) -> bool:
    """Whether LAMMPS came to its own end, by an error or at the last step."""
    return FINISHED in tail(folder / LOG_FILE) or lammps_error(folder) is not None


def _dumped(path: Path, task: ExplorationTask) -> list[Atoms]:
    if not path.is_file() or not path.stat().st_size:
        return []
    try:
        return list(read_lammps_dump(path, elements_of(task)))
    except InputError as error:
        if "no complete frame" in error.message:
            return []
        raise


def _deviations(folder: Path, task: ExplorationTask, style: str) -> Deviations | None:
    if len(task.models) < 2:
        return None
    if not (folder / TABLE_FILE).is_file():
        layout = layout_of(style)
        empty = {name: np.empty(0) for name in layout.columns.values()}
        return Deviations(layout, np.empty(0, dtype=np.int64), empty)
    return read_deviations(folder / TABLE_FILE, style)


def _unrotated(task: ExplorationTask, frames: list[Atoms]) -> tuple[Array, Array]:
    """Cells and unwrapped positions in the orientation of the task's structure."""
    atoms = task.atoms
    cell = LammpsCell(atoms.cell.array, atoms.pbc, atoms.positions)
    cells, positions = [], []
    for frame in frames:
        cell.follow(frame.cell.array)
        cells.append(cell.cell)
        positions.append((frame.positions - frame.get_celldisp().ravel()) @ cell.rotation.T)
    return np.array(cells).reshape(-1, 3, 3), np.array(positions).reshape(-1, len(atoms), 3)


def _valid(
    task: ExplorationTask,
    steps: list[int],
    cells: Array,
    positions: Array,
    numbers: Array,
    forces: Array,
    values: dict[str, Array],
) -> tuple[int, tuple[EndReason, str] | None]:
    """How many frames are within the limits, and what the next one crosses."""
    check = StepCheck(task)
    atoms = bare(task.atoms)
    for k in range(len(cells)):
        atoms.cell[:], atoms.positions = cells[k], positions[k]
        try:
            require_finite("positions, energy, pressure or forces", positions[k], numbers[k], forces[k])
            require_finite("deviation", *(float(series[k]) for series in values.values()))
            check.temperature(numbers[k, 0])
            check.volume(abs(atoms.get_volume()))
            check.distances(search_close_pairs(atoms, check.reach))
            check.forces(forces[k])
        except TrajectoryEnded as ended:
            return k, (ended.reason, f"step {steps[k]}: {ended}")
        try:
            if "max_f" in values:
                check.uncertainty({"max_f": values["max_f"][: k + 1].tolist()})
        except TrajectoryEnded as ended:
            return k + 1, (ended.reason, f"step {steps[k]}: {ended}")
    return len(cells), None
