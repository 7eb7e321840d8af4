"""CP2K's results as labelled frames: a single point, and the steps of MD, GEO_OPT and CELL_OPT.

The log tells energy, stress and whether the SCF converged; the files beside it tell the geometry of each step
with ten decimals. Files and log are matched by the forces, which stand in both: line searches evaluate
geometries that are written nowhere, and a log may hold more or fewer steps than the files. The energy in the
heading of a frame is not used where there are forces: after a line search it is that of the best geometry on
the line, and the frame that of the last one tried.

The stress comes from the ``STRESS|`` blocks of the log. The file ``-1.stress`` holds that of MD with its
kinetic part, which is no label.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.geometry import cell_to_cellpar, cellpar_to_cell
from numpy.typing import NDArray

from alpw.config.units import BOHR, HARTREE, HARTREE_PER_BOHR, PS
from alpw.errors import InputError
from alpw.formats.batches import frames_per_batch
from alpw.formats.cp2k_files import ByStep, Geometry, beside, read_rows, read_table, read_xyz
from alpw.formats.cp2k_log import CELL_ROUNDING, Evaluation, LogReader
from alpw.formats.omissions import left_out
from alpw.structures.frames import LabelledFrames

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

VELOCITY = BOHR / units.AUT * PS
"""Å/ps per atomic unit of velocity."""

ENERGY_ROUNDING = 2e-10 * HARTREE
"""eV: trajectory files print energies in hartree with ten decimals."""

FORCE_ROUNDING = 2e-8 * HARTREE_PER_BOHR
"""eV/Å: the log prints forces in hartree/bohr with eight decimals."""

LOOK_AHEAD = 200
"""Evaluations after the latest match among which that of the next geometry is looked for."""

SAME_PLACE = 1e-8
"""Å: an optimisation ends with a second evaluation of the same geometry."""

ORIENTATION = (
    "the orientation of the cell is known to 1e-4 rad only, which is an error of about 1e-3 eV/Å; keep the"
    " input file beside the log"
)

_VARIABLE_CELL = re.compile(r"NPT|NPE|MSST|HYDROSTATIC|ISOKIN_NPT", re.IGNORECASE)
_CELL_VECTOR = re.compile(r"^\s*([ABC])\s+([-+.\dEeDd]+)\s+([-+.\dEeDd]+)\s+([-+.\dEeDd]+)\s*$", re.MULTILINE)


@dataclass
class Step:
    """One labelled step."""

    evaluation: Evaluation
    positions: Array
    cell: Array
    forces: Array
    time: float = np.nan
    temperature: float = np.nan
    velocities: Array | None = None


def looks_like_cp2k(head: str) -> bool:
    """Whether the beginning of a file is that of CP2K's standard output."""
    return "DBCSR|" in head or "CP2K|" in head or ("PROGRAM STARTED AT" in head and "**** **" in head)


def read_cp2k_single(path: str | Path) -> Iterator[LabelledFrames]:
    """The single point in a log, with cell and positions to the six decimals printed there.

    Args:
        path: standard output, or a folder that holds one.

    Raises:
        InputError: no log, or none with a structure, an energy and forces.
    """
    log = _log_in(Path(path))
    with log.open(encoding="utf-8", errors="replace") as lines:
        reader = LogReader(lines)
        found = list(reader)
    structure = _with_cell_of_input(reader.structure, log)
    if structure is None or not found or found[-1].forces is None:
        missing = "structure" if structure is None else "energy and forces"
        raise InputError(f"holds no complete {missing}; CP2K must print them (PRINT_LEVEL MEDIUM)", log)
    last = found[-1]
    _check_end(reader, log)
    if len(found) > 1:
        raise InputError(f"holds {len(found)} evaluations, not a single point", log)
    assert last.forces is not None
    if last.forces.shape != structure.positions.shape:
        raise InputError(f"forces of {len(last.forces)} of {len(structure)} atoms", log)
    if not structure.info["is_exact"]:
        logger.warning("%s: %s", log, ORIENTATION)
    step = Step(last, structure.positions, np.asarray(structure.cell), last.forces)
    yield _batch(structure.numbers, [step])


def read_cp2k_md(path: str | Path, start: Atoms | None = None) -> Iterator[LabelledFrames]:
    """The steps of MD, GEO_OPT or CELL_OPT in batches; unconverged ones are marked.

    A step that was being written when the program died is left out, and so is the second evaluation of the
    geometry with which an optimisation ends. The first structure of an optimisation is in the log only: it is
    left out where the orientation of its cell is not known well enough (see `LogReader.cell`). CELL_OPT turns
    the cell, atoms and all, so that its first vector lies along x.

    Args:
        path: the log, or the folder of log, ``*-pos-1.xyz``, ``*-frc-1.xyz``, ``*-1.cell``, ``*-vel-1.xyz``
        and
            ``*-1.ener``; of these files only the first is needed.
        start: what the run began with, where it is known better than the log prints it.

    Raises:
        InputError: no log, no trajectory, other atoms, or a variable cell that was not written.
    """
    log = _log_in(Path(path))
    with log.open(encoding="utf-8", errors="replace") as lines:
        reader = LogReader(lines)
        numbers: NDArray[np.int64] | None = None
        gathered: list[Step] = []
        for step in _steps(reader, log, start):
            if numbers is None:
                structure = start if start is not None else reader.structure
                assert structure is not None
                numbers = structure.numbers.astype(np.int64)
            gathered.append(step)
            if len(gathered) >= frames_per_batch(len(numbers)):
                yield _batch(numbers, gathered)
                gathered = []
    if numbers is not None and gathered:
        yield _batch(numbers, gathered)
    _check_end(reader, log)


def _check_end(reader: LogReader, log: Path) -> None:
    if not reader.ended:
        left_out(log, "ends before CP2K came to its end")


def _log_in(path: Path) -> Path:
    """The log itself, or the only one in a folder."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError("no such file or folder", path)
    found = [file for file in sorted(path.iterdir()) if file.is_file() and looks_like_cp2k(_head(file))]
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise InputError(f"one log of CP2K wanted, found {names}; name the file", path)
    return found[0]


def _with_cell_of_input(structure: Atoms | None, log: Path) -> Atoms | None:
    """The structure of a log with all digits of its cell, if an input or restart file beside it has them."""
    if structure is None or structure.info["is_exact"]:
        return structure
    for path in sorted([*log.parent.glob("*.inp"), *log.parent.glob("*.restart")]):
        text = path.read_text(errors="replace")
        found = {name.upper(): [_number(x) for x in rest] for name, *rest in _CELL_VECTOR.findall(text)}
        if sorted(found) != ["A", "B", "C"]:
            continue
        cell = np.array([found[name] for name in "ABC"])
        if np.abs(cell - np.asarray(structure.cell)).max() < 2 * CELL_ROUNDING:
            near = np.abs(cell_to_cellpar(cell) - structure.info["cellpar"]).max() < 2e-6
            if near:
                structure.set_cell(cell)
                structure.info["is_exact"] = True
                return structure
    return structure


def _number(word: str) -> float:
    try:
        return float(word.upper().replace("D", "E"))
    except ValueError:
        return np.nan


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(4096).decode(errors="replace")


def _steps(reader: LogReader, log: Path, start: Atoms | None) -> Iterator[Step]:
    """Each geometry of the trajectory file with the evaluation that belongs to it."""
    evaluations = iter(reader)
    first = next(evaluations, None)
    structure = _with_cell_of_input(reader.structure, log)
    if first is None:
        return
    if structure is None:
        raise InputError("holds no structure; CP2K must print it (PRINT_LEVEL MEDIUM)", log)
    if start is not None and start.get_chemical_symbols() != structure.get_chemical_symbols():
        raise InputError(f"belongs to {structure.symbols}, not to {start.symbols}", log)
    known = start if start is not None and _same_place(start, structure) else structure
    positions = beside(log, reader.project, "-pos-1.xyz")
    is_md = reader.run_type.upper() in {"MD", "MOLECULAR_DYNAMICS"} or bool(reader.ensemble)
    if positions is None and is_md:
        raise InputError("no *-pos-1.xyz beside it: the log of MD holds no geometries", log)
    previous: Array | None = None
    begins_here = start is None or known is start
    if not is_md and begins_here and first.forces is not None and not first.interrupted:
        begin = _as_evaluated(known, first.cell)
        if begin is not None and known.info.get("is_exact", True):
            previous = begin.positions
            yield Step(first, begin.positions, np.asarray(begin.cell), first.forces)
    if positions is None:
        return
    files = _Files(log, reader, structure, known, is_md)
    matches = _Matches(first, evaluations, is_md)
    for geometry in read_xyz(positions):
        forces = files.forces(geometry.step)
        evaluation = matches.find(geometry, forces)
        if evaluation is None or evaluation.interrupted:
            continue
        if geometry.rows.shape != structure.positions.shape:
            raise InputError(f"{len(geometry.rows)} atoms, the log has {len(structure)}", positions)
        repeated = previous is not None and np.abs(geometry.rows - previous).max() < SAME_PLACE
        if not is_md and repeated:
            continue
        previous = geometry.rows
        yield files.step(geometry, evaluation, forces)


class _Files:
    """What lies beside the log, read in step with the trajectory."""

    def __init__(self, log: Path, reader: LogReader, structure: Atoms, known: Atoms, is_md: bool) -> None:
        self._log, self._reader, self._is_md = log, reader, is_md
        self._constant = np.asarray(known.cell)
        self._n_atoms = len(structure)
        paths = {
            end: beside(log, reader.project, end)
            for end in ("-frc-1.xyz", "-vel-1.xyz", "-1.cell", "-1.ener")
        }
        self._forces = ByStep(read_rows(paths["-frc-1.xyz"]))
        self._velocities = ByStep(read_rows(paths["-vel-1.xyz"]))
        self._cells = ByStep(read_table(paths["-1.cell"], 12))
        self._energies = ByStep(read_table(paths["-1.ener"], 6))
        self._has_cells = paths["-1.cell"] is not None

    def forces(self, step: int) -> Array | None:
        """eV/Å; None if they are not in a file."""
        found = self._forces.at(step)
        return None if found is None or len(found) != self._n_atoms else found * HARTREE_PER_BOHR

    def step(self, geometry: Geometry, evaluation: Evaluation, forces: Array | None) -> Step:
        chosen = forces if forces is not None else evaluation.forces
        if chosen is None:
            raise InputError("forces are printed neither in the log nor in *-frc-1.xyz", self._log)
        velocities, row = self._velocities.at(geometry.step), self._energies.at(geometry.step)
        return Step(
            evaluation,
            geometry.rows,
            self._cell(geometry.step, evaluation),
            chosen,
            geometry.time / 1000,
            float(row[3]) if row is not None else np.nan,
            None if velocities is None else velocities * VELOCITY,
        )

    def _cell(self, step: int, evaluation: Evaluation) -> Array:
        row = self._cells.at(step)
        if row is not None:
            return row[2:11].reshape(3, 3)
        if self._is_md and _VARIABLE_CELL.search(self._reader.ensemble):
            raise InputError(
                f"{self._reader.ensemble} changes the cell, and no *-1.cell tells that of step {step}; "
                "print MOTION/PRINT/CELL at every step",
                self._log,
            )
        printed = evaluation.cell
        if self._is_md or printed is None or np.abs(printed - self._constant).max() < 2 * CELL_ROUNDING:
            return self._constant
        return printed


class _Matches:
    """Finds the evaluation of a geometry, in order; evaluations without a geometry are passed over."""

    def __init__(self, first: Evaluation, rest: Iterator[Evaluation], is_md: bool) -> None:
        self._ahead = deque([first])
        self._rest = rest
        self._is_md = is_md
        self._latest: Evaluation | None = None

    def find(self, geometry: Geometry, forces: Array | None) -> Evaluation | None:
        """That of the geometry, which uses it up with all before it; None if there is none, or no telling."""
        for place in range(LOOK_AHEAD):
            candidate = self._peek(place)
            if candidate is None:
                return None
            if self._fits(candidate, geometry, forces, place):
                for _ in range(place):
                    self._ahead.popleft()
                self._latest = self._ahead.popleft()
                return self._latest
        return None

    def _peek(self, place: int) -> Evaluation | None:
        while len(self._ahead) <= place:
            following = next(self._rest, None)
            if following is None:
                return None
            self._ahead.append(following)
        return self._ahead[place]

    def _fits(self, candidate: Evaluation, geometry: Geometry, forces: Array | None, place: int) -> bool:
        if forces is not None and candidate.forces is not None:
            tolerance = FORCE_ROUNDING + 1e-7 * np.abs(forces)
            return candidate.forces.shape == forces.shape and bool(
                (np.abs(candidate.forces - forces) <= tolerance).all()
            )
        if abs(candidate.energy - geometry.energy * HARTREE) > ENERGY_ROUNDING:
            return False
        return self._is_md or self._is_alone(candidate, place)

    def _is_alone(self, candidate: Evaluation, place: int) -> bool:
        """Whether a step of an optimisation had no other evaluation, hence no line search."""
        before = self._ahead[place - 1] if place else self._latest
        after = self._peek(place + 1)
        return candidate.step is None or all(
            other is None or other.step != candidate.step for other in (before, after)
        )


def _same_place(one: Atoms, other: Atoms) -> bool:
    """Whether two structures are the same to the decimals of a log, cells to those of its vectors."""
    near = np.abs(one.positions - other.positions).max(initial=0.0) < 1e-5
    return bool(near and np.abs(np.asarray(one.cell) - np.asarray(other.cell)).max() < 2 * CELL_ROUNDING)


def _as_evaluated(start: Atoms, cell: Array | None) -> Atoms | None:
    """The first structure of an optimisation in the orientation in which it was computed.

    CELL_OPT turns cell and atoms, but the log prints the atoms as they were; None if it cannot be known.
    """
    if cell is None or np.abs(cell - np.asarray(start.cell)).max() < 2 * CELL_ROUNDING:
        return start
    turned = Atoms(start, cell=cellpar_to_cell(start.cell.cellpar()))
    if np.abs(cell - np.asarray(turned.cell)).max() > 2 * CELL_ROUNDING:
        return None
    turned.positions = start.cell.scaled_positions(start.positions) @ np.asarray(turned.cell)
    return turned


def _batch(numbers: NDArray[np.int64], steps: list[Step]) -> LabelledFrames:
    missing = np.full((3, 3), np.nan)
    virials = np.array(
        [
            missing if s.evaluation.stress is None else s.evaluation.stress * abs(np.linalg.det(s.cell))
            for s in steps
        ]
    )
    extras: dict[str, Array] = {
        "time": np.array([step.time for step in steps]),
        "temperature": np.array([step.temperature for step in steps]),
        "electronic_steps": np.array([step.evaluation.electronic_steps or np.nan for step in steps]),
    }
    extras = {name: array for name, array in extras.items() if np.isfinite(array).all()}
    velocities = [step.velocities for step in steps if step.velocities is not None]
    if len(velocities) == len(steps):
        extras["velocities"] = np.array(velocities)
    return LabelledFrames(
        numbers=np.asarray(numbers, dtype=np.int64),
        cells=np.array([step.cell for step in steps]),
        positions=np.array([step.positions for step in steps]),
        energies=np.array([step.evaluation.energy for step in steps]),
        forces=np.array([step.forces for step in steps]),
        virials=None if np.isnan(virials).all() else virials,
        converged=np.array([step.evaluation.converged for step in steps]),
        extras=extras,
    )
