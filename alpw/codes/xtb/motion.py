"""Relaxation and molecular dynamics with tblite, by the driver that all ASE calculators share."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import Bohr, Hartree

from alpw.codes.ase import motion
from alpw.codes.ase.documents import atoms_of
from alpw.codes.xtb.run import IterationCounter, make_calculator


class Tblite(Calculator):
    """tblite for ASE, with our settings; each SCF starts from the density of the step before.

    Args:
        document: ``theory`` and ``scf`` of ``xtb.json``.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__()
        self._theory, self._scf = document["theory"], document["scf"]
        self._calculator: Any = None
        self._density: Any = None
        self.iterations = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        periodic = bool(atoms.pbc.all())
        if self._calculator is None:
            structure = {
                "numbers": atoms.numbers,
                "positions": atoms.positions,
                "cell": np.asarray(atoms.cell),
                "pbc": atoms.pbc.tolist(),
            }
            self._listen = IterationCounter()
            self._calculator = make_calculator(structure, self._theory, self._scf, self._listen)
        else:
            lattice = np.asarray(atoms.cell) / Bohr if periodic else None
            self._calculator.update(atoms.positions / Bohr, lattice)
        self._listen.iterations = 0
        self._density = self._calculator.singlepoint(self._density)
        self.iterations = self._listen.iterations
        self.results = {
            "energy": float(self._density["energy"]) * Hartree,
            "forces": -self._density["gradient"] * Hartree / Bohr,
        }
        if periodic:
            stress = self._density["virial"] * Hartree / atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)


def run_steps(document: dict[str, Any], version: str) -> bool:
    """Do the ``task`` of ``xtb.json`` in the current directory; see `alpw.codes.ase.motion.run_steps`.

    Args:
        document: with ``structure``, ``theory``, ``scf``, ``task`` and, to go on, ``start``.
        version: of tblite.

    Returns:
        Whether it was done to the end; False if the limit of steps or a file ``STOP`` ended it.

    Raises:
        TBLiteRuntimeError: an SCF did not converge; the steps before it are kept.
        CalculationError: a step is unphysical; the steps before it are kept.
    """
    atoms = atoms_of(document["structure"])
    calculator = atoms.calc = Tblite(document)
    heading = {"tblite": version, "theory": document["theory"], "scf": document["scf"]}
    return motion.run_steps(atoms, document, heading, lambda: {"iterations": calculator.iterations})
