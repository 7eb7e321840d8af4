"""A labelled frame: one structure with the energy, forces and virial that a calculation gave it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray


@dataclass(frozen=True)
class Label:
    """Result of a single-point calculation.

    Attributes:
        energy: total energy in eV.
        forces: ``(n_atoms, 3)`` in eV/Å.
        virial: ``(3, 3)`` in eV, positive under compression (minus ASE's stress times the volume);
            ``None`` when the code gave none. A missing virial is never a number.
    """

    energy: float
    forces: NDArray[np.float64]
    virial: NDArray[np.float64] | None = None


class LabelledFrame(NamedTuple):
    """A structure and its label, in the same atom order."""

    atoms: Atoms
    label: Label

    def to_ase(self) -> Atoms:
        """A copy that carries the label as ASE's single-point results (stress in eV/Å^3)."""
        atoms = self.atoms.copy()
        results = {"energy": self.label.energy, "forces": self.label.forces}
        if self.label.virial is not None:
            results["stress"] = full_3x3_to_voigt_6_stress(-self.label.virial / atoms.get_volume())
        atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms
