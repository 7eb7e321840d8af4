"""CP2K's standard output, line by line: every energy and force evaluation in it, in the order of the run.

The forms of 2023.1 are understood, those of newer versions (``FORCES|``, ``[hartree]``, bar) and those before
8.1 (``STRESS TENSOR [GPa]``, ``(a.u.)``). Energies and forces are in atomic units there, converted with ASE's
CODATA 2014 constants; stress is in GPa or bar and positive under compression.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.geometry import cellpar_to_cell
from numpy.typing import NDArray

from alpw.config.units import BAR, GPA, HARTREE, HARTREE_PER_BOHR

Array = NDArray[np.float64]

ENDED = "PROGRAM ENDED AT"
CONVERGED = "SCF run converged in"
UNCONVERGED = "SCF run NOT converged"
STOPPED = "SCF run terminated by external request"

CELL_ROUNDING = 5e-4
"""Å: cell vectors are printed with three decimals, lengths and angles with six."""

_ENERGY = re.compile(r"ENERGY\| Total FORCE_EVAL.*energy [\[(](?:a\.u\.|hartree)[\])]:?\s+(\S+)")
_FORCES = re.compile(r"ATOMIC FORCES in \[a\.u\.\]|FORCES\| Atomic forces \[(?:a\.u\.|hartree/bohr)\]")
_FORCES_END = re.compile(r"SUM OF ATOMIC FORCES|FORCES\|\s+(?:Sum|Total)", re.IGNORECASE)
_STRESS = re.compile(r"STRESS\| (?:Analytical|Numerical) stress tensor \[(GPa|bar)\]|STRESS TENSOR \[(GPa)\]")
_CELL_ROW = re.compile(r"Vector [abc] \[angstrom\]?:?\s+(\S+)\s+(\S+)\s+(\S+)\s+\|[abc]\| =\s+(\S+)")
_STEP = re.compile(r"OPTIMIZATION STEP:\s+(\d+)")
_VERSION = re.compile(r"version string:\s+CP2K version (\S+)")
_ENSEMBLE = re.compile(r"Ensemble type\s+(\w+)", re.IGNORECASE)
_CLOSING = ("MD|", "MD_INI|", "OPT|", "OPTIMIZATION STEP", "Informations at step", "DBCSR STATISTICS", ENDED)

_PRESSURE_UNITS = {"GPa": GPA, "bar": BAR}


@dataclass
class Evaluation:
    """One energy and what came with it.

    Attributes:
        energy: eV; with smearing the free energy, of which the forces are the derivative.
        converged: whether its SCF was.
        electronic_steps: SCF iterations, None if it did not converge.
        interrupted: the SCF was ended by an EXIT file or a time limit, so that nothing of it can be used.
        step: number of the step of an optimisation; None in the first evaluation, after the end and in MD.
        cell: ``(3, 3)`` in Å as far as printed, None if no cell was.
        forces: ``(n_atoms, 3)`` in eV/Å, None if not printed.
        stress: ``(3, 3)`` in eV/Å^3, positive under compression, None if not printed.
        closed: the output goes on behind it, so that nothing of it can be missing.
    """

    energy: float
    converged: bool
    electronic_steps: int | None = None
    interrupted: bool = False
    step: int | None = None
    cell: Array | None = None
    forces: Array | None = None
    stress: Array | None = None
    closed: bool = False


class LogReader:
    """Reads a log once, from front to back; iterate over it for the evaluations.

    Args:
        lines: of standard output at PRINT_LEVEL MEDIUM.

    Attributes:
        version: of CP2K.
        project: name of the project, from which those of the files are made.
        run_type: as CP2K writes it, such as ``MD``.
        ensemble: of MD.
        converged: SCFs that did.
        unconverged: SCFs that did not; those that were interrupted not among them.
        ended: CP2K reached its regular end; in 2023.1 that says nothing about convergence.
        optimised: a geometry optimisation says that it is complete.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.version = self.project = self.run_type = self.ensemble = ""
        self.converged = self.unconverged = 0
        self.ended = self.optimised = False
        self._symbols: list[str] = []
        self._positions: list[list[float]] = []
        self._vectors: list[list[float]] = []
        self._lengths: list[float] = []
        self._angles: list[float] = []
        self._first_cell: tuple[Array, Array] | None = None
        self._step: int | None = None
        self._scf: dict[str, bool | int] = {}
        self._with_stress = False

    @property
    def structure(self) -> Atoms | None:
        """What the run began with, to the decimals printed.

        ``info["cellpar"]`` has lengths and angles, ``info["is_exact"]`` whether the orientation is known.
        """
        if not self._symbols or self._first_cell is None:
            return None
        cell, parameters = self._first_cell
        atoms = Atoms(self._symbols, self._positions, cell=cell, pbc=True)
        atoms.info["cellpar"] = parameters
        usual = np.asarray(cellpar_to_cell(parameters))
        atoms.info["is_exact"] = bool(np.abs(usual - cell).max() < 1e-9)
        return atoms

    @property
    def cell(self) -> Array | None:
        """The latest cell, ``(3, 3)`` in Å.

        Its shape comes from lengths and angles, its orientation from the vectors, which have fewer decimals:
        where it is not the usual one, A along x and B in the xy plane, it is known to 1e-4 rad only.
        """
        if len(self._vectors) < 3 or len(self._angles) < 3:
            return None
        printed = np.array(self._vectors)
        shape = np.asarray(cellpar_to_cell([*self._lengths, *self._angles]))
        if np.abs(shape - printed).max() <= CELL_ROUNDING + 1e-6:
            return shape
        left, _, right = np.linalg.svd(shape.T @ printed)
        return np.asarray(shape @ left @ right)

    def __iter__(self) -> Iterator[Evaluation]:
        """The evaluations; one that was cut short is left out."""
        current: Evaluation | None = None
        for line in self._lines:
            if found := _ENERGY.search(line) if "ENERGY|" in line else None:
                if current is not None and _is_whole(current, True, self._with_stress):
                    yield current
                current = self._begin(found[1])
            elif current is not None and ("FORCES" in line or "STRESS" in line):
                self._table(line, current)
            elif any(mark in line for mark in _CLOSING):
                if current is not None and _is_whole(current, True, self._with_stress):
                    yield current
                current = None
                self._note(line)
            else:
                self._note(line)
        if current is not None and _is_whole(current, False, self._with_stress):
            yield current

    def _begin(self, energy: str) -> Evaluation:
        converged, steps = bool(self._scf.get("converged")), self._scf.get("steps")
        interrupted = bool(self._scf.get("interrupted"))
        self._scf = {}
        self.converged += converged
        self.unconverged += not converged and not interrupted
        count = int(steps) if steps and converged else None
        return Evaluation(_number(energy) * HARTREE, converged, count, interrupted, self._step, self.cell)

    def _table(self, line: str, current: Evaluation) -> None:
        if _FORCES.search(line):
            current.forces = self._forces()
        elif (found := _STRESS.search(line)) and current.stress is None:
            rows = self._stress_rows()
            if rows is not None:
                current.stress = rows * _PRESSURE_UNITS[found[1] or found[2]]
                self._with_stress = True

    def _forces(self) -> Array | None:
        """The table up to the line of the sum; None if it is cut short."""
        rows: list[list[float]] = []
        for line in self._lines:
            if _FORCES_END.search(line):
                return np.array(rows).reshape(-1, 3) * HARTREE_PER_BOHR
            words = line.split()
            newer = words[:1] == ["FORCES|"]
            if words[int(newer) : int(newer) + 1] and words[int(newer)].isdigit():
                rows.append([_number(word) for word in (words[2:5] if newer else words[3:6])])
        return None

    def _stress_rows(self) -> Array | None:
        rows: list[list[float]] = []
        for line in self._lines:
            words = line.replace("STRESS|", "").split()
            if len(words) == 4 and words[0].lower() == "xyz"[len(rows)]:
                rows.append([_number(word) for word in words[1:]])
            elif words and words != ["x", "y", "z"] and words != ["X", "Y", "Z"]:
                return None
            if len(rows) == 3:
                return np.array(rows)
        return None

    def _note(self, line: str) -> None:
        """What else a line may tell."""
        if "SCF run" in line:
            self._note_scf(line)
        elif line.startswith(" CELL|"):
            self._note_cell(line)
        elif found := _STEP.search(line) if "OPTIMIZATION STEP" in line else None:
            self._step = int(found[1])
        elif "OPTIMIZATION COMPLETED" in line:
            self.optimised, self._step = True, None
        elif ENDED in line:
            self.ended = True
        elif not self._symbols and "ATOMIC COORDINATES IN ANGSTROM" in line.upper():
            self._note_coordinates()
        elif line.startswith(" GLOBAL| Project name"):
            self.project = line.split()[-1]
        elif line.startswith(" GLOBAL| Run type"):
            self.run_type = line.split()[-1]
        elif found := _VERSION.search(line) if "CP2K|" in line else None:
            self.version = found[1]
        elif found := _ENSEMBLE.search(line) if line.startswith((" MD_PAR|", " MD|")) else None:
            self.ensemble = found[1]

    def _note_scf(self, line: str) -> None:
        if CONVERGED in line:
            self._scf |= {"converged": True, "steps": int(line.split(CONVERGED)[1].split()[0])}
        elif UNCONVERGED in line:
            self._scf["converged"] = False
        elif STOPPED in line or "SCF run terminated" in line:
            self._scf["interrupted"] = True

    def _note_cell(self, line: str) -> None:
        if "CELL| Volume" in line:
            self._vectors, self._lengths, self._angles = [], [], []
        elif found := _CELL_ROW.search(line):
            self._vectors.append([_number(word) for word in found.groups()[:3]])
            self._lengths.append(_number(found[4]))
        elif "CELL| Angle" in line:
            self._angles.append(_number(line.split()[-1]))

    def _note_coordinates(self) -> None:
        """Rows ``number kind element Z x y z ...`` up to the first line behind them that is none."""
        if self.cell is not None:
            self._first_cell = self.cell, np.array([*self._lengths, *self._angles])
        for line in self._lines:
            words = line.split()
            if len(words) >= 7 and words[0].isdigit() and words[3].isdigit():
                self._symbols.append(words[2])
                self._positions.append([_number(word) for word in words[4:7]])
            elif self._symbols:
                break


def _is_whole(found: Evaluation, closed: bool, with_stress: bool) -> bool:
    """Whether nothing is missing: behind the last line of a log there may be a table that was cut short."""
    found.closed = closed
    return closed or found.stress is not None or (found.forces is not None and not with_stress)


def _number(word: str) -> float:
    """A number of Fortran's; NaN for the asterisks of one that did not fit."""
    try:
        return float(word.upper().replace("D", "E"))
    except ValueError:
        return float("nan")
