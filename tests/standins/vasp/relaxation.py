"""Relaxations, IBRION = 1, 2, 3, with ASE's optimisers.

| ISIF | moves |
| --- | --- |
| 0, 1, 2 | atoms |
| 3 | atoms and cell, under PSTRESS |
| 4 | atoms and cell at constant volume |
| 5, 6 | the cell, without and with its volume |
| 7 | the volume |
| 8 | atoms and volume |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms, FixCartesian
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE
from ase.stress import full_3x3_to_voigt_6_stress

from vasp.results import KBAR, NumericalBreakdown

if TYPE_CHECKING:
    from vasp.calculation import Calculation


class LastStep(Exception):
    """NSW steps have been made, or STOPCAR asks for an end."""


class _Recorded(Calculator):
    """Each evaluation is an ionic step of the calculation."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, calculation: Calculation, n_steps: int) -> None:
        super().__init__()
        self.calculation, self.n_steps = calculation, n_steps

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        if self.calculation.steps >= self.n_steps or self.calculation.stopped:
            raise LastStep
        bare = self.atoms.copy()
        bare.set_constraint()
        result = self.calculation.step(bare)
        if not np.isfinite(result.forces).all():
            raise NumericalBreakdown
        self.results = {"energy": result.energy, "free_energy": result.energy, "forces": result.forces}
        if result.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(result.stress)


def run_relaxation(calculation: Calculation) -> None:
    """Relax until EDIFFG is reached or NSW steps are made."""
    setup = calculation.setup
    parameters = setup.parameters
    n_steps, limit = int(parameters["NSW"]), float(parameters["EDIFFG"])
    atoms = setup.atoms.copy()
    atoms.set_constraint(_constraints(setup.poscar.movable))
    atoms.calc = _Recorded(calculation, n_steps)
    moved = _degrees_of_freedom(atoms, int(parameters["ISIF"]), float(parameters["PSTRESS"]) / KBAR)
    optimiser = {1: BFGS, 2: BFGS, 3: FIRE}[parameters["IBRION"]](moved, logfile=None)
    before = None
    try:
        for _ in optimiser.irun(fmax=-1.0, steps=n_steps):
            forces = np.asarray(moved.get_forces()).reshape(-1, 3)
            energy = atoms.get_potential_energy()
            if limit < 0:
                calculation.reached = np.linalg.norm(forces, axis=1).max() < -limit
            else:
                calculation.reached = before is not None and abs(energy - before) < limit
            if calculation.reached:
                return
            before = energy
    except LastStep:
        return


def _constraints(movable: np.ndarray) -> list[FixAtoms | FixCartesian]:
    """Flags of selective dynamics belong to lattice vectors; here, as to most users, to x, y and z."""
    fixed = [index for index, row in enumerate(movable) if not row.any()]
    partly = [index for index, row in enumerate(movable) if row.any() and not row.all()]
    found: list[FixAtoms | FixCartesian] = [FixCartesian(index, ~movable[index]) for index in partly]
    return ([FixAtoms(fixed)] if fixed else []) + found


class _CellOnly(FrechetCellFilter):
    """The cell moves and takes the atoms along."""

    def get_forces(self, *arguments, **options) -> np.ndarray:
        forces = super().get_forces(*arguments, **options)
        forces[:-3] = 0.0
        return forces


def _degrees_of_freedom(atoms: Atoms, isif: int, pressure: float) -> Atoms | FrechetCellFilter:
    """What the optimiser moves."""
    if isif < 3:
        return atoms
    kind = _CellOnly if isif in (5, 6, 7) else FrechetCellFilter
    return kind(
        atoms,
        scalar_pressure=pressure,
        constant_volume=isif in (4, 5),
        hydrostatic_strain=isif in (7, 8),
    )
