from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from alpw.errors import InputError
from alpw.structures.defects import most_pairs, remove_atoms, swap_atoms

SEEDS = st.integers(0, 2**32 - 1)
POPULATIONS = st.dictionaries(st.sampled_from(["Si", "Ge", "C", "Sn"]), st.integers(1, 6), min_size=2)


def row(populations: dict[str, int]) -> Atoms:
    """Atoms 3 Å apart, each with its number as tag."""
    symbols = [symbol for symbol, number in populations.items() for _ in range(number)]
    return Atoms(symbols, [(3 * i, 0, 0) for i in range(len(symbols))], tags=range(len(symbols)))


def most_by_elimination(populations: dict[str, int]) -> int:
    """Pairs that can be taken when the two commonest elements give one atom each, until one is left."""
    left, pairs = Counter(populations), 0
    while len(+left) > 1:
        left.subtract(symbol for symbol, _ in left.most_common(2))
        pairs += 1
    return pairs


@given(POPULATIONS)
def test_most_pairs_are_what_taking_from_the_commonest_elements_gives(populations: dict[str, int]) -> None:
    assert most_pairs(populations) == most_by_elimination(populations)


@given(POPULATIONS, st.integers(1, 12), SEEDS)
def test_a_swap_moves_twice_as_many_atoms_as_pairs_each_to_a_place_of_another_element(
    populations: dict[str, int], pairs: int, seed: int
) -> None:
    assume(pairs <= most_pairs(populations))
    atoms = row(populations)
    swapped = swap_atoms(atoms, np.random.default_rng(seed), pairs)
    assert np.array_equal(swapped.numbers, atoms.numbers)
    assert np.array_equal(swapped.get_tags(), atoms.get_tags())
    assert sorted(swapped.positions.tolist()) == sorted(atoms.positions.tolist())
    came_from = np.rint(swapped.positions[:, 0] / 3).astype(int)
    moved = np.flatnonzero(came_from != np.arange(len(atoms)))
    assert len(moved) == 2 * pairs
    # Two atoms that changed places are each in the other's.
    assert (came_from[came_from] == np.arange(len(atoms))).all()
    assert (atoms.numbers[came_from[moved]] != atoms.numbers[moved]).all()


def test_every_pair_is_equally_likely() -> None:
    atoms, rng = row({"Si": 2, "Ge": 3}), np.random.default_rng(3)
    drawn = Counter(
        tuple(np.flatnonzero(np.abs(swap_atoms(atoms, rng, 1).positions - atoms.positions).any(axis=1)))
        for _ in range(600)
    )
    assert len(drawn) == 6
    # A fixed seed; of equally likely pairs one in a thousand would fail.
    assert chisquare(list(drawn.values())).pvalue > 1e-3


def test_magnetic_moments_move_with_their_atoms() -> None:
    atoms = row({"Fe": 1, "O": 1})
    atoms.set_initial_magnetic_moments([4.0, 0.0])
    swapped = swap_atoms(atoms, np.random.default_rng(0), 1)
    iron = swapped[0]
    assert (iron.symbol, iron.magmom, iron.x) == ("Fe", 4.0, 3.0)


def test_a_swap_needs_two_elements() -> None:
    with pytest.raises(InputError, match="Si8 is of one element"):
        swap_atoms(bulk("Si", cubic=True), np.random.default_rng(0), 1)


@pytest.mark.parametrize("pairs", [0, 3])
def test_more_pairs_than_there_are_cannot_be_swapped(pairs: int) -> None:
    with pytest.raises(InputError, match=rf"{pairs} pairs cannot be swapped in Si2Ge3; 1 to 2 can"):
        swap_atoms(row({"Si": 2, "Ge": 3}), np.random.default_rng(0), pairs)


def test_swaps_that_bring_atoms_too_close_are_drawn_again() -> None:
    # In the place of H or C, whose bond is 1.09 Å long, Si and Li would be below 0.8 of their own.
    atoms = Atoms("HCSiLi", positions=[(0, 0, 0), (1.09, 0, 0), (5, 0, 0), (9, 0, 0)])
    moved = set()
    for seed in range(20):
        swapped = swap_atoms(atoms, np.random.default_rng(seed), 1, minimum_fraction=0.8)
        moved.add("".join(atoms.symbols[(swapped.positions != atoms.positions).any(axis=1)]))
    assert moved == {"HC", "SiLi"}


def test_swaps_that_are_always_too_close_are_an_error() -> None:
    atoms = Atoms("HC", positions=[(0, 0, 0), (0.5, 0, 0)])
    with pytest.raises(InputError, match=r"none of 100 swaps of 1 pairs in HC was physical .*; swap fewer"):
        swap_atoms(atoms, np.random.default_rng(0), 1)


@given(st.integers(1, 7), SEEDS)
def test_vacancies_leave_all_other_atoms_where_they_are(number: int, seed: int) -> None:
    atoms = row({"Si": 4, "Ge": 4})
    left = remove_atoms(atoms, np.random.default_rng(seed), number)
    assert len(left) == 8 - number
    assert np.array_equal(left.positions, atoms.positions[left.get_tags()])
    assert np.array_equal(left.numbers, atoms.numbers[left.get_tags()])


@given(st.integers(1, 4), SEEDS)
def test_vacancies_of_an_element_take_no_other(number: int, seed: int) -> None:
    left = remove_atoms(row({"Si": 4, "Ge": 4}), np.random.default_rng(seed), number, "Ge")
    assert Counter(left.symbols) == +Counter({"Si": 4, "Ge": 4 - number})


@pytest.mark.parametrize(
    ("number", "element", "message"),
    [
        (0, None, "0 atoms cannot be removed from Si2Ge; 1 to 2 can"),
        (3, None, "3 atoms cannot be removed from Si2Ge; 1 to 2 can, since one atom must remain"),
        (2, "Ge", "2 Ge atoms cannot be removed from Si2Ge; 1 to 1 can"),
        (1, "C", "1 C atoms cannot be removed from Si2Ge; there are none to spare"),
    ],
)
def test_vacancies_that_cannot_be(number: int, element: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        remove_atoms(row({"Si": 2, "Ge": 1}), np.random.default_rng(0), number, element)


def test_the_last_atom_stays() -> None:
    with pytest.raises(InputError, match="none to spare"):
        remove_atoms(bulk("Cu"), np.random.default_rng(0), 1)
