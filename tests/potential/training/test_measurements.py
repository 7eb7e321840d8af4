"""Each measurement is the mean absolute error of its labels, and its gradient's value that of the errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from ase import Atoms

from alpw.potential import DeepPotential
from alpw.potential.dataset import Batch, join, prepare
from alpw.potential.training.batches import epoch_batches
from alpw.potential.training.measurements import (
    energy_measurement,
    force_measurement,
    select_atoms,
    virial_measurement,
)
from alpw.structures.frame import Label, LabelledFrame

MakeModel = Callable[..., DeepPotential]
COUNTS = (3, 1, 3)


@pytest.fixture
def batch(make_model: MakeModel) -> Batch:
    """Three frames of two sizes; the first has no virial."""
    rng = np.random.default_rng(0)
    frames = []
    for index, count in enumerate(COUNTS):
        atoms = Atoms(f"Si{count}", positions=rng.uniform(0, 4, (count, 3)) + 3 * np.arange(count)[:, None])
        virial = rng.normal(size=(3, 3)) if index else None
        virial = virial if virial is None else virial + virial.T
        frames.append(LabelledFrame(atoms, Label(rng.normal(), rng.normal(size=(count, 3)), virial)))
    return join(prepare(make_model(), frames))


def predictions(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=shape)).requires_grad_()


def test_energies_are_per_atom_and_averaged_with_the_root_of_the_number_of_frames(batch: Batch) -> None:
    energy = predictions(3)
    found = energy_measurement(energy, batch, prefactor=1.5)
    error = (batch.energy - energy.detach()).numpy() / COUNTS
    assert float(found.error) == pytest.approx(np.sqrt(3) * np.mean(1.5 * abs(error)), rel=1e-14)
    (gradient,) = torch.autograd.grad(found.value, energy)
    assert np.allclose(gradient, 1.5 * np.sign(error) / COUNTS, rtol=1e-14)


@pytest.mark.parametrize("scale_by_atoms", [False, True])
def test_forces_of_a_group_of_atoms_are_averaged(batch: Batch, scale_by_atoms: bool) -> None:
    forces = predictions(7, 3)
    # Atoms 2, 2 and 0 of the frames of three atoms; the only atom of the other.
    atoms = select_atoms(batch, torch.tensor([[0.9, 0.7, 0.1]], dtype=torch.float64))[0]
    assert atoms.tolist() == [[2, 2, 0], [3, 3, 3], [6, 6, 4]]
    found = force_measurement(forces, batch, atoms, 2.0, scale_by_atoms)
    scale = 2.0 / np.array(COUNTS if scale_by_atoms else (1, 1, 1))[:, None, None]
    error = (batch.forces - forces.detach()).numpy()[atoms.numpy()]
    assert float(found.error) == pytest.approx(np.sqrt(3) * np.mean(scale * abs(error)), rel=1e-14)
    (gradient,) = torch.autograd.grad(found.value, forces)
    expected = np.zeros((7, 3))
    np.add.at(expected, atoms.numpy(), scale * np.sign(error) / 9)
    assert np.allclose(gradient, expected, rtol=1e-14)


def test_six_components_of_the_virial_of_the_frames_that_have_one(batch: Batch) -> None:
    virial = predictions(3, 3, 3)
    found = virial_measurement(virial, batch, prefactor=0.5)
    upper = np.triu_indices(3)
    error = (batch.virial - virial.detach()).numpy() / np.array(COUNTS)[:, None, None]
    error = error[1:, upper[0], upper[1]]
    assert float(found.error) == pytest.approx(np.sqrt(2) * np.mean(0.5 * abs(error)), rel=1e-14)
    (gradient,) = torch.autograd.grad(found.value, virial)
    expected = np.zeros((3, 3, 3))
    expected[1:, upper[0], upper[1]] = 0.5 * np.sign(error) / 6 / np.array(COUNTS)[1:, None]
    assert np.allclose(gradient, expected, rtol=1e-14)


def test_measurements_are_mapped_over_the_members_of_a_committee(batch: Batch) -> None:
    atoms = select_atoms(batch, torch.rand(1, 2, dtype=torch.float64))[0]
    forces, virials = predictions(4, 7, 3).detach(), predictions(4, 3, 3, 3).detach()
    for function, inputs in (
        (lambda f: force_measurement(f, batch, atoms, 1.0, False), forces),
        (lambda v: virial_measurement(v, batch, 1.0), virials),
    ):
        mapped = torch.func.vmap(function)(inputs)
        single = [function(one) for one in inputs]
        assert torch.allclose(mapped.error, torch.stack([one.error for one in single]), rtol=1e-14)
        assert torch.allclose(mapped.value, torch.stack([one.value for one in single]), rtol=1e-13)


def test_every_frame_is_once_in_an_epoch_beside_frames_of_its_size() -> None:
    sizes = np.array([8, 64, 8, 8, 64, 2, 64, 8, 64, 2])
    batches = epoch_batches(sizes, 2, np.random.default_rng(0))
    assert sorted(np.concatenate(batches)) == list(range(10))
    assert all(len(set(sizes[batch])) == 1 for batch in batches)
    orders = {tuple(np.concatenate(epoch_batches(sizes, 2, np.random.default_rng(k)))) for k in range(20)}
    assert len(orders) == 20


def test_frames_of_one_size_meet_in_every_pairing() -> None:
    pairs = set()
    for seed in range(60):
        for batch in epoch_batches(np.full(4, 8), 2, np.random.default_rng(seed)):
            pairs.add(frozenset(batch.tolist()))
    assert len(pairs) == 6
