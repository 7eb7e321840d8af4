"""Committee deviation is DP-GEN's definition, and a collapsed committee is noticed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alpw.errors import AlpwError, InputError
from alpw.potential import DeepPotential, DeepPotentialConfig
from alpw.uncertainty.committee import (
    check_committee,
    committee_deviation,
    force_deviation,
    largest_force_deviation,
    predict_committee,
    weight_distances,
)

FORCES = st.tuples(st.integers(2, 5), st.integers(1, 6)).flatmap(
    lambda shape: arrays(float, (*shape, 3), elements=st.floats(-50, 50, width=32))
)


def member(seed: int, rcut: float = 4.0, elements: tuple[str, ...] = ("Si",)) -> DeepPotential:
    config = DeepPotentialConfig(elements, rcut=rcut, neuron=(6, 12), axis_neuron=4, sel=20, seed=seed)
    return DeepPotential(config)


@given(FORCES)
def test_deviation_is_the_root_mean_square_distance_from_the_mean_model(forces: np.ndarray) -> None:
    for atom, found in enumerate(force_deviation(forces)):
        mean = [sum(model[atom][axis] for model in forces) / len(forces) for axis in range(3)]
        squares = [sum((model[atom][axis] - mean[axis]) ** 2 for axis in range(3)) for model in forces]
        assert found == pytest.approx((sum(squares) / len(forces)) ** 0.5, abs=1e-10)


@given(FORCES)
def test_the_predecessors_deviation_is_the_distance_of_the_farthest_model(forces: np.ndarray) -> None:
    found, usual = largest_force_deviation(forces), force_deviation(forces)
    expected = [
        max(np.linalg.norm(model[atom] - forces[:, atom].mean(axis=0)) for model in forces)
        for atom in range(forces.shape[1])
    ]
    assert found == pytest.approx(expected, abs=1e-10)
    assert (found >= usual - 1e-10).all()
    assert (found <= usual * len(forces) ** 0.5 + 1e-10).all()


def test_a_number_by_hand() -> None:
    forces = np.zeros((2, 2, 3))
    forces[0, 1], forces[1, 1] = [3.0, 0, 4.0], [-3.0, 0, -4.0]
    found = committee_deviation([10.0, 14.0], forces)
    assert (found.max_f, found.mean_f, found.min_f, found.energy) == (5.0, 2.5, 0.0, 1.0)


@given(FORCES, st.floats(-10, 10))
def test_a_common_shift_or_another_order_of_models_changes_nothing(forces: np.ndarray, shift: float) -> None:
    other = forces[::-1] + shift
    assert np.allclose(force_deviation(other), force_deviation(forces), rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 4, 3), (4, 0, 3), (4, 3), (2, 4, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    for function in (force_deviation, largest_force_deviation):
        with pytest.raises(InputError, match=r"n_models >= 2"):
            function(np.zeros(shape))


def test_numbers_that_are_not_finite_are_refused_and_the_model_named() -> None:
    forces = np.zeros((3, 2, 3))
    forces[1, 0, 2] = np.nan
    with pytest.raises(InputError, match=r"models \[1\]"):
        force_deviation(forces)
    for energies in ([1.0, 2.0], [1.0, 2.0, np.inf]):
        with pytest.raises(InputError, match="3 finite numbers"):
            committee_deviation(energies, np.zeros((3, 2, 3)))


def test_a_committee_is_its_members_one_by_one() -> None:
    # Members of different cutoff share the longest neighbour list.
    models = [member(1), member(2, rcut=4.6), member(3)]
    atoms = bulk("Si")
    atoms.rattle(0.2, seed=1)
    found = predict_committee(models, atoms)
    for k, model in enumerate(models):
        alone = model.predict(atoms)
        assert found.energies[k] == pytest.approx(alone.energy, abs=1e-10)
        assert np.allclose(found.forces[k], alone.forces, rtol=0, atol=1e-10)
        assert np.allclose(found.virials[k], alone.virial, rtol=0, atol=1e-10)
    assert found.deviation == committee_deviation(found.energies, found.forces)


def test_a_committee_without_members_predicts_nothing() -> None:
    with pytest.raises(InputError, match="no members"):
        predict_committee([], Atoms("Si"))


def test_independent_members_are_far_apart_in_weight_space() -> None:
    models = [member(seed) for seed in range(4)]
    distances = weight_distances(models)
    assert np.allclose(distances, distances.T, rtol=0, atol=1e-12)
    assert np.allclose(np.diag(distances), 0)
    off_diagonal = distances[~np.eye(4, dtype=bool)]
    # sqrt(2) for independent draws; 500 weights leave a few per cent.
    assert off_diagonal == pytest.approx(2**0.5, rel=0.15)
    check_committee(models)


def test_a_collapsed_committee_is_noticed_and_the_members_named() -> None:
    models = [member(1), member(2), member(1)]
    with pytest.raises(AlpwError, match=r"members \[\(0, 2\)\] have the same weights"):
        check_committee(models)
    with torch.no_grad():
        for parameter in models[2].parameters():
            parameter += 1e-6 * torch.randn_like(parameter)
    with pytest.raises(AlpwError, match="collapsed"):
        check_committee(models)


def test_models_that_cannot_form_a_committee_are_refused() -> None:
    with pytest.raises(InputError, match="two members"):
        check_committee([member(1)])
    with pytest.raises(InputError, match="different elements"):
        check_committee([member(1), member(2, elements=("Ge",))])
    with pytest.raises(InputError, match="the same number"):
        check_committee([member(1, elements=("Si", "Ge")), DeepPotential(DeepPotentialConfig(("Si", "Ge")))])
