"""A Deep Potential as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from alpw.potential.model import DeepPotential
from alpw.potential.neighbors import NeighborList


class DeepPotentialCalculator(Calculator):
    """Energy, forces and stress for ASE's optimisers and dynamics.

    Args:
        model: a trained model.
        skin: in Å; the pair list is rebuilt only after atoms or cell have moved by about half of it.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]

    def __init__(self, model: DeepPotential, *, skin: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model, self.skin = model, skin
        self.neighbors: NeighborList | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Energies in eV, forces in eV/Å, stress in eV/Å^3 (ASE's sign: negative under compression).

        Raises:
            InputError: an unknown element.
            PropertyNotImplementedError: the stress of a structure without a three-dimensional cell.
        """
        super().calculate(atoms, properties, system_changes)
        has_volume = self.atoms.cell.rank == 3
        if "stress" in properties and not has_volume:
            raise PropertyNotImplementedError("stress needs three cell vectors")
        if (
            self.neighbors is None
            or {"numbers", "pbc"} & set(system_changes)
            or not self.neighbors.covers(self.atoms.positions, self.atoms.cell)
        ):
            self.neighbors = self.model.neighbors(self.atoms, self.skin)
        prediction = self.model.energy_forces_virial(self.neighbors, self.atoms.positions, self.atoms.cell)
        self.results = {
            "energy": prediction.energy,
            "free_energy": prediction.energy,
            "energies": prediction.atomic_energies,
            "forces": prediction.forces,
        }
        if has_volume:
            stress = -np.asarray(prediction.virial) / self.atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)
