"""Reader of CP2K's standard output at PRINT_LEVEL MEDIUM, of 2023.1 and of newer ones (``FORCES|``).

Energies and forces are in atomic units, converted with ASE's CODATA 2014 constants; stress in GPa or bar is
positive under compression, so ``virial = stress * volume``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr as bohr
from ase.units import GPa, Hartree, bar
from numpy.typing import NDArray

from alpw.codes.cp2k.jobs import OUTPUT
from alpw.codes.geometry import check_same_structure
from alpw.errors import CalculationError, FailureKind
from alpw.structures.frame import Label

ENDED = "PROGRAM ENDED AT"
CONVERGED = "SCF run converged in"
UNCONVERGED = "SCF run NOT converged"

# Cell vectors are printed with three decimals, lengths and angles with six.
CELL_ROUNDING = 5e-4

_FLOAT = r"[-+]?\d+\.\d+(?:[EeDd][-+]?\d+)?"
_ROW = rf"\s+({_FLOAT})\s+({_FLOAT})\s+({_FLOAT})"
_VERSION = re.compile(r"CP2K\| version string:\s+CP2K version (\S+)")
_ENERGY = re.compile(rf"ENERGY\| Total FORCE_EVAL.*energy \[(?:a\.u\.|hartree)\]:?\s+({_FLOAT})")
_FORCES = re.compile(r"ATOMIC FORCES in \[a\.u\.\]|FORCES\| Atomic forces \[(?:a\.u\.|hartree/bohr)\]")
_FORCE_ROW = re.compile(rf"^\s*(?:FORCES\|\s+\d+|\d+\s+\d+\s+\w+){_ROW}", re.MULTILINE)
_FORCES_END = re.compile(r"SUM OF ATOMIC FORCES|FORCES\| (?:Sum|Total)")
_STRESS = re.compile(r"STRESS\| (?:Analytical|Numerical) stress tensor \[(GPa|bar)\]")
_STRESS_ROW = re.compile(rf"STRESS\|\s+[xyz]{_ROW}")
_COORDINATES = re.compile(r"ATOMIC COORDINATES IN ANGSTROM")
_COORDINATE_ROW = re.compile(rf"^\s*\d+\s+\d+\s+([A-Z][a-z]?)\s+\d+{_ROW}", re.MULTILINE)
_CELL_ROW = re.compile(rf"^ CELL\| Vector [abc] \[angstrom\S*{_ROW}\s+\|[abc]\| =\s+({_FLOAT})", re.MULTILINE)
_ANGLE_ROW = re.compile(rf"^ CELL\| Angle .*\[degree\]:\s+({_FLOAT})", re.MULTILINE)
_ABORT = re.compile(r"\[ABORT\](.*?)\n[ *]*/ \\", re.DOTALL)
_STICK_FIGURE = re.compile(r"\\___/|O/\||/\| \||[*|]")

_VOLUME = re.compile(rf"^ CELL\| Volume \[angstrom\^3\]:\s+({_FLOAT})", re.MULTILINE)

_PRESSURE_UNITS = {"GPa": GPa, "bar": bar}


@dataclass(frozen=True)
class Cp2kOutput:
    """The text of one CP2K run, and what can be read from it.

    Attributes:
        text: standard output.
        directory: where it lies, for messages.
    """

    text: str
    directory: Path

    @property
    def ended(self) -> bool:
        """CP2K reached its regular end; in 2023.1 that says nothing about convergence."""
        return ENDED in self.text

    @property
    def unconverged(self) -> bool:
        """An SCF gave up. CP2K 2023.1 warns and goes on; newer ones abort with the same words."""
        return UNCONVERGED in self.text

    @property
    def version(self) -> str:
        return self._first(_VERSION, "version")

    @property
    def energy(self) -> float:
        """Total energy in eV; with smearing the free energy, of which the forces are the derivative."""
        return float(self._first(_ENERGY, "energy")) * Hartree

    @property
    def forces(self) -> NDArray[np.float64]:
        """``(n_atoms, 3)`` in eV/Å."""
        head = self._need(_FORCES, "forces")
        end = _FORCES_END.search(self.text, head.end())
        table = self.text[head.end() : end.start() if end else None]
        return np.array([_floats(row) for row in _FORCE_ROW.findall(table)]) * (Hartree / bohr)

    @property
    def virial(self) -> NDArray[np.float64]:
        """``(3, 3)`` in eV."""
        head = self._need(_STRESS, "stress")
        rows = _STRESS_ROW.findall(self.text[head.end() :])[:3]
        stress = np.array([_floats(row) for row in rows]) * _PRESSURE_UNITS[head[1]]
        return stress * float(self._first(_VOLUME, "volume"))

    @property
    def structure(self) -> Atoms:
        """The structure that was computed; ``info["cellpar"]`` holds lengths and angles to six decimals."""
        head = self._need(_COORDINATES, "coordinates")
        atoms = []
        for line in self.text[head.end() :].splitlines():
            if match := _COORDINATE_ROW.match(line):
                atoms.append(match.groups())
            elif atoms:
                break
        cell, angles = _CELL_ROW.findall(self.text)[:3], _ANGLE_ROW.findall(self.text)[:3]
        if len(cell) < 3 or len(angles) < 3:
            raise CalculationError("the output holds no cell", FailureKind.OUTPUT, self.directory)
        parameters = np.array([*(float(row[3]) for row in cell), *map(float, angles)])
        symbols = [symbol for symbol, *_ in atoms]
        positions = [_floats(row) for _, *row in atoms]
        structure = Atoms(symbols, positions, cell=[_floats(row[:3]) for row in cell], pbc=True)
        structure.info["cellpar"] = parameters
        return structure

    @property
    def abort(self) -> str:
        """The text of CP2K's ``[ABORT]`` box in one line, without the stick figure; may be empty."""
        match = _ABORT.search(self.text)
        words = _STICK_FIGURE.sub(" ", match[1]) if match else ""
        return " ".join(words.split())

    def _need(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        match = pattern.search(self.text)
        if match is None:
            raise CalculationError(f"the output holds no {what}", FailureKind.OUTPUT, self.directory)
        return match

    def _first(self, pattern: re.Pattern[str], what: str) -> str:
        return self._need(pattern, what)[1]


def _floats(words: tuple[str, ...] | list[str]) -> list[float]:
    return [float(word.replace("D", "E").replace("d", "e")) for word in words]


def read_output(directory: Path) -> Cp2kOutput:
    """The run in a directory; an empty text if CP2K wrote nothing."""
    path = directory / OUTPUT
    return Cp2kOutput(path.read_text(errors="replace") if path.is_file() else "", directory)


def read_label(directory: Path, atoms: Atoms) -> Label:
    """Label of ``atoms``, after making sure that the SCF converged and that the label is theirs.

    Raises:
        CalculationError: of kind ``scf`` or ``output``.
    """
    output = read_output(directory)
    if output.unconverged or CONVERGED not in output.text:
        raise CalculationError("the SCF did not converge", FailureKind.SCF, directory)
    if not output.ended:
        raise CalculationError("the output is truncated", FailureKind.OUTPUT, directory)
    check_same_structure(atoms, output.structure, directory, CELL_ROUNDING)
    forces = output.forces
    if len(forces) != len(atoms):
        raise CalculationError(
            f"finite forces of {len(forces)} of {len(atoms)} atoms", FailureKind.OUTPUT, directory
        )
    return Label(energy=output.energy, forces=forces, virial=output.virial)
