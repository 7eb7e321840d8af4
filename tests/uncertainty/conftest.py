"""Small models with lively weights, their brute-force derivatives, and a trained one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from torch import Tensor

from alpw.potential import DeepPotential, DeepPotentialConfig, TrainingOptions, train
from alpw.potential.covariance import Covariance
from alpw.potential.weights import block_sizes, fingerprint, to_vector
from alpw.structures.frame import Label, LabelledFrame


@pytest.fixture
def make_model() -> Callable[..., DeepPotential]:
    """A small model of copper and gold with a visible normalisation."""

    def make(**settings: Any) -> DeepPotential:
        defaults: dict[str, Any] = {
            "elements": ("Cu", "Au"),
            "rcut": 4.0,
            "rcut_smth": 1.0,
            "neuron": (5, 10, 10),
            "axis_neuron": 4,
            "fitting_neuron": (9, 9),
            "sel": 20,
            "seed": 7,
        }
        model = DeepPotential(DeepPotentialConfig(**{**defaults, **settings}))
        with torch.no_grad():
            for index in range(len(model.config.elements)):
                model.descriptor.dstd[index] = torch.tensor([0.3, 0.2, 0.2, 0.2]) * (1 + 0.1 * index)
                if not model.config.set_davg_zero:
                    model.descriptor.davg[index, 0] = 0.05 + 0.03 * index
        return model

    return make


def _triclinic() -> Atoms:
    """Vectors shorter than the cutoff: many images of each pair, and atoms that see themselves."""
    cell = [[2.9, 0.0, 0.0], [1.3, 3.1, 0.0], [-0.9, 0.8, 3.4]]
    fractional = [[0.02, 0.05, 0.01], [0.45, 0.52, 0.08], [0.55, 0.03, 0.49], [0.08, 0.47, 0.58]]
    return Atoms("CuAuAuCu", scaled_positions=fractional, cell=cell, pbc=True)


def _alloy() -> Atoms:
    atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
    atoms.symbols[::3] = "Au"
    atoms.rattle(0.15, seed=3)
    return atoms


def _slab() -> Atoms:
    atoms = fcc111("Cu", (2, 1, 3), vacuum=5.0)
    atoms.symbols[2] = "Au"
    atoms.rattle(0.1, seed=4)
    return atoms


def _cluster() -> Atoms:
    atoms = molecule("C6H6")
    atoms.numbers = np.where(atoms.numbers == 6, 29, 79)
    atoms.positions *= 1.6
    atoms.rattle(0.05, seed=5)
    return atoms


STRUCTURES: dict[str, Callable[[], Atoms]] = {
    "triclinic cell smaller than the cutoff": _triclinic,
    "periodic alloy": _alloy,
    "slab": _slab,
    "cluster without a cell": _cluster,
}


@pytest.fixture(params=STRUCTURES)
def structure(request: pytest.FixtureRequest) -> Atoms:
    return STRUCTURES[request.param]()


@pytest.fixture
def alloy() -> Atoms:
    return _alloy()


@pytest.fixture
def brute_force() -> Callable[[DeepPotential, Atoms], tuple[Tensor, Tensor]]:
    """dE/dw ``(n_weights,)`` and dF/dw ``(n_atoms, 3, n_weights)``, one backward pass per component."""

    def derivatives(model: DeepPotential, atoms: Atoms) -> tuple[Tensor, Tensor]:
        weights = list(model.parameters())
        result = model.evaluate(model.neighbors(atoms).graph(), create_graph=True)

        def gradient(value: Tensor) -> Tensor:
            grads = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
            return to_vector(grads, weights).detach()

        forces = torch.stack([gradient(component) for component in result.forces.flatten()])
        return gradient(result.energy[0]), forces.view(len(atoms), 3, -1)

    return derivatives


@pytest.fixture
def make_covariance() -> Callable[..., Covariance]:
    """A covariance with correlations, and variances over several orders of magnitude."""

    def make(model: DeepPotential, block_size: int = 200, seed: int = 1) -> Covariance:
        rng = torch.Generator().manual_seed(seed)
        blocks = []
        for size in block_sizes([parameter.numel() for parameter in model.parameters()], block_size):
            directions, _ = torch.linalg.qr(torch.randn(size, size, generator=rng, dtype=torch.float64))
            blocks.append(directions * torch.logspace(-5, -1, size, dtype=torch.float64) @ directions.T)
        blocks = [(block + block.T) / 2 for block in blocks]
        return Covariance.from_blocks(blocks, fingerprint(model), "lkf")

    return make


def labelled(atoms: Atoms) -> LabelledFrame:
    """The frame with the energy and forces of the effective medium theory."""
    atoms.calc = EMT()
    return LabelledFrame(atoms, Label(atoms.get_potential_energy(), atoms.get_forces()))


def copper(seed: int, rattle: float, strain: float = 0.0) -> LabelledFrame:
    """Eight atoms of crystalline copper."""
    atoms = bulk("Cu").repeat(2)
    atoms.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
    atoms.rattle(rattle, seed=seed)
    return labelled(atoms)


@pytest.fixture
def make_copper() -> Callable[..., LabelledFrame]:
    return copper


@pytest.fixture(scope="session")
def trained() -> tuple[DeepPotential, list[LabelledFrame], Covariance]:
    """A model of warm copper, its training set, and the covariance that its Kalman filter ended with."""
    frames = [copper(seed, rattle=0.06) for seed in range(12)]
    config = DeepPotentialConfig(
        elements=("Cu",), rcut=4.5, rcut_smth=2.0, neuron=(8, 16), axis_neuron=4, fitting_neuron=(16, 16)
    )
    model = DeepPotential(config)
    report = train(model, frames, options=TrainingOptions(optimizer="lkf", epochs=8, threads=1))
    assert report.covariance is not None
    return model, frames, report.covariance
