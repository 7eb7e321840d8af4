from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.geometry import minkowski_reduce
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.io.ase import AseAtomsAdaptor
from scipy.stats import kstest

from alpw.errors import InputError
from alpw.structures.perturb import (
    lower_triangular,
    perturb,
    scale,
    strain_matrix,
    supercell,
    supercell_matrix,
)
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


@pytest.fixture(scope="module")
def ten_thousand() -> tuple[np.ndarray, np.ndarray]:
    """Deformation matrices ``(10000, 3, 3)`` and displacements in Å ``(10000, 2, 3)``, undoing the rotation.

    A rotation changes neither the metric h' h'^T = h E^2 h^T, of which E is the positive root, nor fractional
    coordinates.
    """
    atoms, rng = bulk("Si"), np.random.default_rng(7)
    with pytest.MonkeyPatch.context() as patch:
        # So small perturbations are never drawn again, and finding that out takes most of the time.
        patch.setattr("alpw.structures.sanity.defect", lambda *_: None)
        copies = [perturb(atoms, rng) for _ in range(10_000)]
    h, cells = np.asarray(atoms.cell), np.array([np.asarray(copy.cell) for copy in copies])
    squared = np.linalg.inv(h) @ cells @ cells.transpose(0, 2, 1) @ np.linalg.inv(h).T
    values, vectors = np.linalg.eigh(squared)
    deformation = (vectors * np.sqrt(values)[:, None]) @ vectors.transpose(0, 2, 1)
    fractions = np.array([copy.positions for copy in copies]) @ np.linalg.inv(cells)
    return deformation, fractions @ h @ deformation - atoms.positions @ deformation


def test_strains_are_uniform_within_their_bounds(ten_thousand: tuple[np.ndarray, np.ndarray]) -> None:
    f, deformation = 0.03, ten_thousand[0]
    for (i, j), bound in {
        (0, 0): f,
        (1, 1): f,
        (2, 2): f,
        (1, 2): f / 2,
        (0, 2): f / 2,
        (0, 1): f / 2,
    }.items():
        strain = deformation[:, i, j] - (i == j)
        # The root of the metric loses at most half of the digits; the largest draw is close to the bound.
        assert bound * 0.999 < np.abs(strain).max() < bound + 1e-8
        # A fixed seed; of uniform numbers one in a thousand would fail.
        assert kstest(strain, "uniform", (-bound, 2 * bound)).pvalue > 1e-3


def test_strains_are_independent(ten_thousand: tuple[np.ndarray, np.ndarray]) -> None:
    i, j = np.triu_indices(3)
    correlation = np.corrcoef(ten_thousand[0][:, i, j].T)
    # Correlations of 10,000 independent pairs have a standard deviation of 0.01.
    assert np.abs(correlation - np.eye(6)).max() < 0.04


def test_displacements_are_normal_with_the_distance_asked_for(
    ten_thousand: tuple[np.ndarray, np.ndarray],
) -> None:
    displacements = ten_thousand[1]
    # 60,000 numbers: the standard deviation of their standard deviation is 0.3 %.
    assert displacements.std() == pytest.approx(0.01 / np.sqrt(3), rel=0.02)
    assert np.sqrt((displacements**2).sum(axis=2).mean()) == pytest.approx(0.01, rel=0.02)
    assert kstest(displacements.ravel() / (0.01 / np.sqrt(3)), "norm").pvalue > 1e-3


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


@given(st.floats(0.5, 2))
def test_scaled_by_volume_the_lengths_get_the_cube_root(factor: float) -> None:
    scaled = scale(silicon(), factor, by="volume")
    assert scaled.get_volume() == pytest.approx(factor * 5.431**3, rel=1e-12)
    assert scaled.cell.cellpar() == pytest.approx([5.431 * np.cbrt(factor)] * 3 + [90] * 3, rel=1e-12)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_scale_must_be_positive(factor: float) -> None:
    with pytest.raises(InputError, match="must be positive"):
        scale(silicon(), factor)


def test_only_lengths_and_volumes_are_scaled() -> None:
    with pytest.raises(InputError, match="'area' cannot be scaled; known are length, volume"):
        scale(silicon(), 1.1, by="area")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "repeats", [(1, 2, 1), (1, 0, 0, 0, 2, 0, 0, 0, 1), [[1, 0, 0], [0, 2, 0], [0, 0, 1]]]
)
def test_three_forms_of_a_supercell_are_the_same(repeats: list[int]) -> None:
    cell = supercell(silicon(), repeats)
    assert len(cell) == 16
    assert np.allclose(cell.cell.lengths(), [5.431, 10.862, 5.431], atol=1e-12)


def is_right_handed(matrix: list[int]) -> bool:
    return np.linalg.det(np.reshape(matrix, (3, 3))) > 0.5


MATRICES = st.lists(st.integers(-2, 2), min_size=9, max_size=9).filter(is_right_handed)


@given(MATRICES)
@settings(max_examples=30)
def test_a_supercell_has_as_many_atoms_as_its_volume_says(matrix: list[int]) -> None:
    primitive = bulk("Si")
    made = supercell(primitive, matrix)
    assert len(made) == round(np.linalg.det(np.reshape(matrix, (3, 3)))) * len(primitive)
    assert lowest_distance_fraction(made) == pytest.approx(lowest_distance_fraction(primitive), abs=1e-9)
    assert abs(np.linalg.det(minkowski_reduce(made.cell)[0])) == pytest.approx(made.get_volume())


def rock_salt() -> Atoms:
    """NaCl with different bonds along x, y and z, so that no axis can be mistaken for another."""
    return Atoms(
        "NaCl",
        scaled_positions=[(0, 0, 0), (0.5, 0.45, 0.4)],
        cell=[(0, 3, 3.1), (3.2, 0, 3), (3, 3.1, 0)],
        pbc=True,
    )


@given(MATRICES)
@settings(max_examples=15)
def test_supercells_are_those_of_pymatgen(matrix: list[int]) -> None:
    ours = AseAtomsAdaptor.get_structure(supercell(rock_salt(), matrix))
    theirs = AseAtomsAdaptor.get_structure(rock_salt()).make_supercell(
        np.reshape(matrix, (3, 3)), in_place=False
    )
    assert np.allclose(ours.lattice.matrix, theirs.lattice.matrix, atol=1e-12)
    matcher = StructureMatcher(primitive_cell=False, scale=False, ltol=1e-6, stol=1e-6, angle_tol=1e-4)
    assert matcher.fit(ours, theirs)
    # The matcher would accept a rotated or shifted copy; sites are compared one by one.
    apart = ours.lattice.get_all_distances(ours.frac_coords, theirs.frac_coords)
    apart[np.array(ours.atomic_numbers)[:, None] != np.array(theirs.atomic_numbers)[None, :]] = np.inf
    assert apart.min(axis=0).max() < 1e-9 and apart.min(axis=1).max() < 1e-9


def test_atoms_of_a_supercell_are_sorted_by_atomic_number_and_stay_in_order_otherwise() -> None:
    atoms = Atoms(
        "ClNaCl", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0), (0, 0.5, 0.5)], cell=[5, 5, 5], pbc=True
    )
    atoms.set_tags([0, 1, 2])
    made = supercell(atoms, (1, 1, 2))
    assert made.get_chemical_formula("reduce") == "Na2Cl4"
    assert made.get_tags().tolist() == [1, 1, 0, 2, 0, 2]


def test_atoms_are_wrapped_along_the_vectors_asked_for_and_no_other() -> None:
    outside = Atoms("Ar", scaled_positions=[(1.25, -0.25, 1.75)], cell=[5, 5, 5], pbc=True)
    made = supercell(outside, (1, 1, 1), wrap=(True, False, True))
    assert np.allclose(made.get_scaled_positions(wrap=False), [(0.25, -0.25, 0.75)], atol=1e-12)


def test_atoms_are_not_wrapped_along_vectors_without_periodicity() -> None:
    outside = Atoms("Ar", scaled_positions=[(1.25, -0.25, 1.75)], cell=[5, 5, 5], pbc=(True, True, False))
    made = supercell(outside, (1, 1, 1))
    assert np.allclose(made.get_scaled_positions(wrap=False), [(0.25, 0.75, 1.75)], atol=1e-12)


@pytest.mark.parametrize(("below", "wrapped"), [(0.9e-5, -0.9e-5), (1.1e-5, 1 - 1.1e-5)])
def test_an_atom_within_the_tolerance_below_the_cell_stays(below: float, wrapped: float) -> None:
    made = supercell(Atoms("Ar", scaled_positions=[(-below, 0, 0)], cell=[5, 5, 5], pbc=True), (1, 1, 1))
    assert made.get_scaled_positions(wrap=False)[0, 0] == pytest.approx(wrapped, abs=1e-12)


@pytest.mark.parametrize(
    "repeats", [(-1, 1, 1), (0, 1, 0, 1, 0, 0, 0, 0, 1), [[1, 0, 0], [0, 0, 1], [0, 1, 0]]]
)
def test_negative_determinants_are_refused(repeats: list[int]) -> None:
    with pytest.raises(InputError, match=r"negative determinant \(-1\).*swap two of its rows"):
        supercell(silicon(), repeats)


def test_swapping_two_rows_helps() -> None:
    left_handed = [[0, 1, 0], [1, 0, 0], [0, 0, 2]]
    with pytest.raises(InputError, match="negative determinant"):
        supercell(silicon(), left_handed)
    assert len(supercell(silicon(), [left_handed[1], left_handed[0], left_handed[2]])) == 16


def test_a_matrix_of_a_supercell_is_read_by_rows() -> None:
    assert supercell_matrix([3, 2, 1]).tolist() == [[3, 0, 0], [0, 2, 0], [0, 0, 1]]
    assert supercell_matrix([1, 2, 0, 0, 1, 0, 0, 0, 1]).tolist() == [[1, 2, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("repeats", [(1, 2), (1.5, 1, 1), (1, 1, 0), "1 1 1", [[1, 0], [0, 1, 0], [1]]])
def test_other_supercells_are_errors(repeats: object) -> None:
    with pytest.raises(InputError, match="supercell"):
        supercell(silicon(), repeats)  # type: ignore[arg-type]
