from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from alpw.structures.hash import same_atoms, structure_hash

SEEDS = st.integers(0, 2**32 - 1)


def random_crystal(seed: int) -> Atoms:
    """Up to seven atoms of three elements in a skewed cell."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 8))
    cell = np.diag(rng.uniform(4, 9, 3)) + rng.uniform(-1, 1, (3, 3))
    # Coordinates of three decimals, not of all digits, so that failures are readable.
    positions = np.round(rng.uniform(-5, 12, (n, 3)), 3)
    return Atoms(numbers=rng.choice([6, 8, 14], n), positions=positions, cell=np.round(cell, 3), pbc=True)


@given(SEEDS)
@settings(deadline=None, max_examples=60)
def test_the_order_of_atoms_does_not_matter(seed: int) -> None:
    atoms = random_crystal(seed)
    order = np.random.default_rng(seed + 1).permutation(len(atoms))
    assert structure_hash(atoms[order]) == structure_hash(atoms)


@given(SEEDS, st.sampled_from([14, 29, 47]))
@settings(deadline=None, max_examples=60)
def test_lattice_translations_of_single_atoms_do_not_matter(seed: int, number: int) -> None:
    # Special positions are where rounding could tell images apart: a face sits at 0 and at 1.
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (2, 1, 1)
    atoms.numbers[0] = number
    shifts = np.random.default_rng(seed).integers(-3, 4, (len(atoms), 3))
    moved = atoms.copy()
    moved.positions += shifts @ np.asarray(atoms.cell)
    assert structure_hash(moved) == structure_hash(atoms)


@given(SEEDS)
@settings(deadline=None, max_examples=60)
def test_numerical_noise_on_special_positions_does_not_matter(seed: int) -> None:
    atoms = bulk("Cu", "fcc", a=3.615001, cubic=True) * (3, 2, 1)
    noisy = atoms.copy()
    noisy.positions += np.random.default_rng(seed).uniform(-1e-10, 1e-10, (len(atoms), 3))
    noisy.wrap()
    assert structure_hash(noisy) == structure_hash(atoms)


@given(SEEDS, st.sampled_from(["position", "element", "cell", "pbc"]))
@settings(deadline=None, max_examples=80)
def test_any_real_difference_matters(seed: int, what: str) -> None:
    atoms = random_crystal(seed)
    other = atoms.copy()
    if what == "position":
        other.positions[0, seed % 3] += 1e-4
    elif what == "element":
        other.numbers[-1] += 1
    elif what == "cell":
        other.set_cell(np.asarray(atoms.cell) * (1 + 1e-5))
    else:
        other.pbc = [True, True, False]
    assert structure_hash(other) != structure_hash(atoms)


def test_swapping_two_elements_matters() -> None:
    atoms = Atoms("SiC", positions=[(0, 0, 0), (1.9, 0, 0)], cell=[5, 5, 5], pbc=True)
    swapped = Atoms("CSi", positions=atoms.positions, cell=atoms.cell, pbc=True)
    assert structure_hash(swapped) != structure_hash(atoms)


def test_molecules_without_a_cell_have_a_hash() -> None:
    water = Atoms("OH2", positions=[(0, 0, 0), (0.96, 0, 0), (-0.24, 0.93, 0)])
    assert structure_hash(water[[2, 0, 1]]) == structure_hash(water)
    moved = water.copy()
    moved.positions[0, 0] += 0.01
    assert structure_hash(moved) != structure_hash(water)


def test_a_structure_that_is_not_finite_has_no_hash() -> None:
    atoms = bulk("Si")
    atoms.positions[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        structure_hash(atoms)


@given(SEEDS)
def test_each_atom_finds_itself_in_another_order_and_image(seed: int) -> None:
    atoms = random_crystal(seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(atoms))
    other = atoms[order]
    other.positions += rng.integers(-2, 3, (len(atoms), 3)) @ np.asarray(atoms.cell)
    found = same_atoms(atoms, other)
    assert found is not None and (order[found] == np.arange(len(atoms))).all()


def test_atoms_in_one_place_and_other_structures_have_no_order() -> None:
    double = Atoms("Si2", cell=[4, 4, 4], pbc=True)
    assert same_atoms(double, double) is None
    assert same_atoms(bulk("Si"), bulk("Ge")) is None
