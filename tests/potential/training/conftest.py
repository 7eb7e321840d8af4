"""Labelled frames that cost nothing, and a small model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from alpw.potential import DeepPotential, DeepPotentialConfig
from alpw.structures.frame import Label, LabelledFrame


def _labelled(atoms: Atoms, calculator: Calculator) -> LabelledFrame:
    copy = atoms.copy()
    copy.calc = calculator
    virial = -copy.get_stress(voigt=False) * copy.get_volume()
    return LabelledFrame(atoms, Label(copy.get_potential_energy(), copy.get_forces(), virial))


def _crystal(rng: np.random.Generator, formula: str, a: float, amplitude: float) -> Atoms:
    """A strained, rattled fcc cell; four atoms, or more along x if the formula has more."""
    n_cells = len(Atoms(formula)) // 4
    atoms = bulk("Cu", "fcc", a=a, cubic=True).repeat((n_cells, 1, 1))
    atoms.symbols = formula
    atoms.set_cell(atoms.cell @ (np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0, amplitude, atoms.positions.shape)
    return atoms


@pytest.fixture(scope="session")
def emt_frames() -> Callable[..., list[LabelledFrame]]:
    """Copper and gold, labelled with ASE's effective medium theory."""

    def make(number: int, seed: int, formulas: tuple[str, ...] = ("Cu4",)) -> list[LabelledFrame]:
        rng = np.random.default_rng(seed)
        structures = [_crystal(rng, formulas[k % len(formulas)], 3.75, 0.15) for k in range(number)]
        return [_labelled(atoms, EMT()) for atoms in structures]

    return make


@pytest.fixture(scope="session")
def lennard_jones_frames() -> Callable[..., list[LabelledFrame]]:
    """Eight atoms and a pair potential that ends within the model's cutoff, so that it can be learnt."""

    def make(number: int, seed: int) -> list[LabelledFrame]:
        rng = np.random.default_rng(seed)
        pair = {"sigma": 2.3, "epsilon": 0.15, "rc": 4.4, "ro": 3.0, "smooth": True}
        structures = [_crystal(rng, "Cu8", 3.65, amplitude=0.07) for _ in range(number)]
        return [_labelled(atoms, LennardJones(**pair)) for atoms in structures]

    return make


@pytest.fixture(scope="session")
def copper_model() -> Callable[..., DeepPotential]:
    def make(**settings: Any) -> DeepPotential:
        defaults: dict[str, Any] = {
            "elements": ("Cu",),
            "rcut": 4.5,
            "rcut_smth": 2.0,
            "neuron": (8, 16),
            "axis_neuron": 4,
            "fitting_neuron": (16, 16),
            "type_one_side": True,
            "seed": 5,
        }
        return DeepPotential(DeepPotentialConfig(**{**defaults, **settings}))

    return make
