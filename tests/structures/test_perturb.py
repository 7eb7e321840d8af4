from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.geometry import minkowski_reduce
from hypothesis import given, settings
from hypothesis import strategies as st

from alpw.errors import InputError
from alpw.structures.perturb import lower_triangular, perturb, scale, strain_matrix, supercell
from alpw.structures.sanity import lowest_distance_fraction

SEEDS = st.integers(0, 2**32 - 1)


def silicon() -> Atoms:
    return bulk("Si", "diamond", a=5.431, cubic=True)


def test_strain_is_symmetric_with_half_the_shear_off_the_diagonal() -> None:
    strain = strain_matrix([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    assert np.allclose(strain, [[1.01, 0.03, 0.025], [0.03, 1.02, 0.02], [0.025, 0.02, 1.03]], atol=1e-15)


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_the_same_seed_gives_the_same_structure(seed: int) -> None:
    first, second = (perturb(silicon(), np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(first.positions, second.positions)
    assert np.array_equal(np.asarray(first.cell), np.asarray(second.cell))


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_the_strain_is_symmetric_and_bounded(seed: int) -> None:
    f = 0.03
    atoms = silicon()
    copy = perturb(atoms, np.random.default_rng(seed), cell_pert_fraction=f, atom_pert_distance=0.0)
    # The rotation hides E, but not E^2: h' h'^T = h E E^T h^T.
    inverse = np.linalg.inv(np.asarray(atoms.cell))
    squared = inverse @ np.asarray(copy.cell) @ np.asarray(copy.cell).T @ inverse.T
    values, vectors = np.linalg.eigh(squared)
    strain = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    assert np.abs(np.diag(strain) - 1).max() <= f + 1e-12
    assert np.abs(strain - np.diag(np.diag(strain))).max() <= f / 2 + 1e-12


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_without_displacement_fractional_coordinates_stay(seed: int) -> None:
    atoms = silicon()
    copy = perturb(atoms, np.random.default_rng(seed), atom_pert_distance=0.0)
    assert np.allclose(
        copy.get_scaled_positions(wrap=False), atoms.get_scaled_positions(wrap=False), atol=1e-12
    )


def test_the_root_mean_square_displacement_is_the_distance_asked_for() -> None:
    atoms = silicon() * (5, 5, 5)
    copy = perturb(atoms, np.random.default_rng(1), cell_pert_fraction=0.0, atom_pert_distance=0.01)
    displacements = copy.positions - atoms.positions
    # 3000 numbers: the sample's standard deviation is within 5 % of the true one at four sigma.
    assert displacements.std() == pytest.approx(0.01 / np.sqrt(3), rel=0.05)
    assert np.sqrt((displacements**2).sum(axis=1).mean()) == pytest.approx(0.01, rel=0.05)


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_the_cell_is_lower_triangular_and_right_handed(seed: int) -> None:
    cell = np.asarray(perturb(bulk("Si"), np.random.default_rng(seed), cell_pert_fraction=0.1).cell)
    assert np.abs(np.triu(cell, k=1)).max() < 1e-12
    # bulk("Si") is right-handed; a rotation keeps that and makes the diagonal positive.
    assert (np.diag(cell) > 0).all()


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_rotation_to_lower_triangular_keeps_distances_and_handedness(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell = rng.normal(size=(3, 3)) + 4 * np.eye(3)[rng.permutation(3)]
    atoms = Atoms("SiC", positions=rng.uniform(0, 4, (2, 3)), cell=cell, pbc=True)
    rotated = lower_triangular(atoms)
    assert np.linalg.det(rotated.cell) == pytest.approx(np.linalg.det(cell))
    assert np.allclose(rotated.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=1e-9)


def test_a_draw_with_atoms_too_close_is_drawn_again() -> None:
    rng = np.random.default_rng(0)
    copies = [perturb(silicon(), rng, atom_pert_distance=0.8, minimum_fraction=0.7) for _ in range(20)]
    assert min(map(lowest_distance_fraction, copies)) >= 0.7
    # With this displacement some first draws are closer, so that the check had work to do.
    rng = np.random.default_rng(0)
    unchecked = [perturb(silicon(), rng, atom_pert_distance=0.8, minimum_fraction=0.01) for _ in range(20)]
    assert min(map(lowest_distance_fraction, unchecked)) < 0.7


def test_impossible_displacements_are_an_error() -> None:
    with pytest.raises(InputError, match=r"none of 100 perturbations .* lower cell_pert_fraction"):
        perturb(silicon() * (2, 2, 2), np.random.default_rng(0), atom_pert_distance=10.0)


def test_the_parent_is_left_alone() -> None:
    atoms = silicon()
    perturb(atoms, np.random.default_rng(0))
    scale(atoms, 0.9)
    assert np.array_equal(atoms.positions, silicon().positions)
    assert np.array_equal(np.asarray(atoms.cell), np.asarray(silicon().cell))


@given(st.floats(0.5, 2))
@settings(deadline=None, max_examples=30)
def test_scale_is_a_factor_of_lengths_not_of_volume(factor: float) -> None:
    atoms = silicon()
    scaled = scale(atoms, factor)
    assert scaled.get_volume() == pytest.approx(factor**3 * atoms.get_volume(), rel=1e-12)
    assert np.allclose(scaled.get_scaled_positions(), atoms.get_scaled_positions(), atol=1e-12)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_scale_must_be_positive(factor: float) -> None:
    with pytest.raises(InputError, match="must be positive"):
        scale(silicon(), factor)


@pytest.mark.parametrize(
    "repeats", [(1, 2, 1), (1, 0, 0, 0, 2, 0, 0, 0, 1), [[1, 0, 0], [0, 2, 0], [0, 0, 1]]]
)
def test_three_forms_of_a_supercell_are_the_same(repeats: list[int]) -> None:
    cell = supercell(silicon(), repeats)
    assert len(cell) == 16
    assert np.allclose(cell.cell.lengths(), [5.431, 10.862, 5.431], atol=1e-12)


def has_volume(matrix: list[int]) -> bool:
    return abs(np.linalg.det(np.reshape(matrix, (3, 3)))) > 0.5


@given(st.lists(st.integers(-2, 2), min_size=9, max_size=9).filter(has_volume))
@settings(deadline=None, max_examples=30)
def test_a_supercell_has_as_many_atoms_as_its_volume_says(matrix: list[int]) -> None:
    primitive = bulk("Si")
    made = supercell(primitive, matrix)
    assert len(made) == round(abs(np.linalg.det(np.reshape(matrix, (3, 3))))) * len(primitive)
    assert lowest_distance_fraction(made) == pytest.approx(lowest_distance_fraction(primitive), abs=1e-9)
    assert abs(np.linalg.det(minkowski_reduce(made.cell)[0])) == pytest.approx(made.get_volume())


@pytest.mark.parametrize("repeats", [(1, 2), (1.5, 1, 1), (1, 1, 0), "1 1 1"])
def test_other_supercells_are_errors(repeats: object) -> None:
    with pytest.raises(InputError, match="supercell"):
        supercell(silicon(), repeats)  # type: ignore[arg-type]
