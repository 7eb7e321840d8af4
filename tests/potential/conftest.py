"""Structures that potentials get wrong, and small models to try on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from alpw.potential import DeepPotential, DeepPotentialConfig

RCUT = 4.0


def _triclinic() -> Atoms:
    """Four atoms in a skewed cell whose vectors are shorter than the cutoff: many images of each pair."""
    cell = [[2.9, 0.0, 0.0], [1.3, 3.1, 0.0], [-0.9, 0.8, 3.4]]
    fractional = [[0.02, 0.05, 0.01], [0.45, 0.52, 0.08], [0.55, 0.03, 0.49], [0.08, 0.47, 0.58]]
    return Atoms("SiGeGeSi", scaled_positions=fractional, cell=cell, pbc=True)


def _slab() -> Atoms:
    slab = Atoms("Si2Ge", positions=[[0, 0, 0], [1.2, 1.3, 1.7], [0.1, 2.2, -1.8]], cell=[3.0, 3.3, 0.0])
    slab.pbc = [True, True, False]
    return slab


def _bulk() -> Atoms:
    crystal = bulk("Si", cubic=True)
    crystal.symbols[::3] = "Ge"
    crystal.rattle(0.15, seed=3)
    return crystal


def _molecule() -> Atoms:
    cluster = molecule("C6H6")
    cluster.numbers = np.where(cluster.numbers == 6, 14, 32)
    cluster.positions *= 1.5
    return cluster


STRUCTURES: dict[str, Callable[[], Atoms]] = {
    "triclinic cell smaller than the cutoff": _triclinic,
    "slab, mixed boundaries, no third vector": _slab,
    "crystal with an atom far outside its box": _bulk,
    "molecule without a cell": _molecule,
    "isolated atom": lambda: Atoms("Ge", positions=[[7.0, 1.0, -2.0]]),
    "two atoms beyond the cutoff": lambda: Atoms("SiGe", positions=[[0, 0, 0], [0, 0, 4.5]]),
    "one element of two": lambda: bulk("Si").repeat((2, 1, 1)),
    "one atom, its own images as neighbours": lambda: bulk("Si", "fcc", a=3.9),
}


@pytest.fixture(params=STRUCTURES)
def structure(request: pytest.FixtureRequest) -> Atoms:
    atoms = STRUCTURES[request.param]()
    if request.param.startswith("crystal"):
        atoms.positions[2] += 3 * atoms.cell[0] - 2 * atoms.cell[2]
    return atoms


@pytest.fixture
def triclinic() -> Atoms:
    return _triclinic()


@pytest.fixture
def make_model() -> Callable[..., DeepPotential]:
    """A small model of Si and Ge with a visible normalisation and energy bias, and lively weights."""

    def make(**settings: Any) -> DeepPotential:
        defaults: dict[str, Any] = {
            "elements": ("Si", "Ge"),
            "rcut": RCUT,
            "rcut_smth": 1.0,
            "neuron": (6, 12, 12),
            "axis_neuron": 5,
            "fitting_neuron": (14, 14, 14),
            "seed": 7,
        }
        model = DeepPotential(DeepPotentialConfig(**{**defaults, **settings}))
        with torch.no_grad():
            if model.config.sel is None:
                model.descriptor.sel.fill_(20 // len(model.descriptor.sel))
                model.descriptor.normaliser.fill_(20.0)
            for index in range(len(model.config.elements)):
                model.descriptor.dstd[index] = torch.tensor([0.3, 0.2, 0.2, 0.2]) * (1 + 0.1 * index)
                model.energy_bias[index] = -100.0 - 7 * index
        return model

    return make
