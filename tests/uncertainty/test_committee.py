"""Committee deviation is what DP-GEN, DeePMD-kit and PWMLFF define, and a collapsed committee is noticed."""

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
    committee_health,
    energy_deviation,
    force_deviation,
    predict_committee,
    stragglers,
    virial_deviation,
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
def test_legacy_deviation_is_the_distance_of_the_farthest_model(forces: np.ndarray) -> None:
    found, usual = force_deviation(forces, "legacy"), force_deviation(forces)
    expected = [
        max(np.linalg.norm(model[atom] - forces[:, atom].mean(axis=0)) for model in forces)
        for atom in range(forces.shape[1])
    ]
    assert found == pytest.approx(expected, abs=1e-10)
    assert (found >= usual - 1e-10).all()
    # Distances from the mean sum to zero, which leaves the farthest model less than sqrt(M).
    assert (found <= usual * (len(forces) - 1) ** 0.5 + 1e-10).all()


def test_numbers_by_hand() -> None:
    forces = np.zeros((3, 2, 3))
    forces[:, 1] = [[3, 0, 4], [-3, 0, -4], [0, 0, 0]]
    virials = np.zeros((3, 3, 3))
    virials[0, 0, 1] = 9.0
    energies = [10.0, 16.0, 13.0]
    usual, legacy = (
        committee_deviation(energies, forces, virials, definition) for definition in ("dpgen", "legacy")
    )
    assert (usual.definition, legacy.definition) == ("dpgen", "legacy")
    assert (legacy.max_f, legacy.mean_f, legacy.min_f) == (5.0, 2.5, 0.0)
    assert usual.max_f == pytest.approx((50 / 3) ** 0.5)
    for found in (usual, legacy):
        assert found.worst_atom == 1
        assert found.energy == pytest.approx(6**0.5 / 2)
        # 9, 0, 0 have the standard deviation sqrt(18); the mean over components is a root mean square.
        assert found.max_v == pytest.approx(18**0.5 / 2)
        assert found.mean_v == pytest.approx((18 / 9) ** 0.5 / 2)
        assert found.min_v == 0.0


def test_deviations_are_those_of_deepmd_kit() -> None:
    """Numbers from `calc_model_devi_f`, `_v` and `_e` of deepmd-kit 3.2.0 on the same arrays."""
    rng = np.random.default_rng(5)
    energies, forces, virials = rng.normal(size=4), rng.normal(size=(4, 6, 3)), rng.normal(size=(4, 3, 3))
    found = committee_deviation(energies, forces, virials)
    numbers = (found.max_f, found.min_f, found.mean_f, found.max_v, found.min_v, found.mean_v, found.energy)
    assert numbers == pytest.approx(
        (
            1.4970206204126113,
            0.9583412114971591,
            1.2159952104586926,
            0.1772992094411303,
            0.040538479856280216,
            0.12442881296650109,
            0.10803636844450754,
        ),
        rel=1e-14,
    )


@given(FORCES, st.floats(-10, 10))
def test_a_common_shift_or_another_order_of_models_changes_nothing(forces: np.ndarray, shift: float) -> None:
    other = forces[::-1] + shift
    assert np.allclose(force_deviation(other), force_deviation(forces), rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 4, 3), (4, 0, 3), (4, 3), (2, 4, 2)])
def test_other_shapes_of_forces_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"n_models >= 2"):
        force_deviation(np.zeros(shape))


def test_other_shapes_of_energies_and_virials_are_refused() -> None:
    for shape in ((1,), (2, 1), ()):
        with pytest.raises(InputError, match=r"energies have shape"):
            energy_deviation(np.zeros(shape), 2)
    for shape in ((1, 3, 3), (2, 9), (2, 3, 2)):
        with pytest.raises(InputError, match=r"virials have shape"):
            virial_deviation(np.zeros(shape), 2)
    for energies, virials in (((2,), (3, 3, 3)), ((3,), (2, 3, 3)), ((), (3, 3, 3))):
        with pytest.raises(InputError, match="allowed: 3, as many as forces"):
            committee_deviation(np.zeros(energies), np.zeros((3, 2, 3)), np.zeros(virials))


def test_unknown_definition_is_refused() -> None:
    with pytest.raises(InputError, match="deviation: found 'largest'; allowed: dpgen, legacy"):
        force_deviation(np.zeros((2, 1, 3)), "largest")


def test_numbers_that_are_not_finite_are_refused_and_the_model_named() -> None:
    forces, virials = np.zeros((3, 2, 3)), np.zeros((3, 3, 3))
    forces[1, 0, 2] = virials[2, 1, 1] = np.nan
    with pytest.raises(InputError, match=r"forces of models \[1\]"):
        force_deviation(forces)
    with pytest.raises(InputError, match=r"virials of models \[2\]"):
        virial_deviation(virials, 2)
    with pytest.raises(InputError, match=r"energies of models \[0, 2\]"):
        energy_deviation([np.inf, 1.0, np.nan], 2)


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
    for definition in ("dpgen", "legacy"):
        expected = committee_deviation(found.energies, found.forces, found.virials, definition)
        assert found.deviation(definition) == expected


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


def test_the_energy_of_atoms_in_the_last_bias_does_not_make_members_alike() -> None:
    models = [member(seed) for seed in range(3)]
    distances = weight_distances(models)
    with torch.no_grad():
        for model in models:
            list(model.parameters())[-1].fill_(-3000.0)
    assert np.array_equal(weight_distances(models), distances)
    check_committee(models)


def test_a_collapsed_committee_is_noticed_and_the_members_named() -> None:
    models = [member(1), member(2), member(1)]
    with pytest.raises(AlpwError, match=r"collapsed: members 0 and 2 \(0\) are less than 0.3 apart"):
        check_committee(models)
    assert committee_health(models) == (0.0, (0, 2), 0.3) and committee_health(models).collapsed
    with pytest.raises(AlpwError, match=r"collapsed: members a.pt and c.pt \(0\)"):
        check_committee(models, ["a.pt", "b.pt", "c.pt"])


@pytest.mark.parametrize(("moved", "collapsed"), [(1e-6, True), (0.15, True), (0.3, False)])
def test_members_that_have_left_one_start_by_little_are_still_collapsed(
    moved: float, collapsed: bool
) -> None:
    """Each moves by ``moved`` of its size in a direction of its own, so they are sqrt(2) times that apart."""
    models = [member(1), member(1)]
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for model in models:
            for weights in model.parameters():
                noise = torch.randn(weights.shape, generator=rng, dtype=weights.dtype)
                weights += moved * weights.norm() * noise / noise.norm()
    assert weight_distances(models)[0, 1] == pytest.approx(2**0.5 * moved, rel=0.15)
    assert committee_health(models).collapsed is collapsed
    if collapsed:
        with pytest.raises(AlpwError, match="collapsed"):
            check_committee(models)
    else:
        check_committee(models)


def test_a_member_that_learnt_far_less_is_noticed() -> None:
    assert stragglers([0.09, 0.11, 0.10, 1.17]) == [3]
    assert stragglers([0.09, 0.11, 0.10, float("nan")]) == [3]
    assert stragglers([0.09, 0.11, 0.10, 0.12]) == []


def test_models_that_cannot_form_a_committee_are_refused() -> None:
    with pytest.raises(InputError, match="two members"):
        check_committee([member(1)])
    with pytest.raises(InputError, match="different elements"):
        check_committee([member(1), member(2, elements=("Ge",))])
    with pytest.raises(InputError, match="the same number"):
        check_committee([member(1, elements=("Si", "Ge")), DeepPotential(DeepPotentialConfig(("Si", "Ge")))])
