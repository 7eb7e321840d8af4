"""Point defects at random places: exchanged atoms (antisites) and vacancies."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from ase import Atoms

from alpw.errors import InputError
from alpw.structures.sanity import MINIMUM_FRACTION, first_physical


def most_pairs(populations: Mapping[str, int]) -> int:
    """Largest number of disjoint pairs of atoms of different elements.

    Every pair has an atom outside the commonest element, and two atoms; both bounds can be reached together.

    Args:
        populations: number of atoms by element.
    """
    total = sum(populations.values())
    return min(total // 2, total - max(populations.values(), default=0))


def swap_atoms(
    atoms: Atoms, rng: np.random.Generator, pairs: int, *, minimum_fraction: float = MINIMUM_FRACTION
) -> Atoms:
    """A copy in which random pairs of atoms of different elements have changed places.

    The atoms change places with all that they carry, such as magnetic moments; their order in the list, and
    so the order of the elements, stays. No atom is moved twice. Each pair is equally likely among those that
    leave enough atoms for the pairs still to be drawn.

    Args:
        atoms: the structure, of two elements or more.
        rng: source of the random numbers.
        pairs: how many pairs.
        minimum_fraction: smallest distance allowed, as a fraction of the sum of covalent radii; drawn again
            while atoms are closer.

    Raises:
        InputError: there are not so many pairs, or no draw was physical.
    """
    populations = _populations(atoms)
    if len(populations) < 2:
        raise InputError(f"{atoms.symbols} is of one element; a swap needs atoms of two, leave it out")
    if not 1 <= pairs <= most_pairs(populations):
        raise InputError(
            f"{pairs} pairs cannot be swapped in {atoms.symbols}; 1 to {most_pairs(populations)} can"
        )

    def draw() -> Atoms:
        first, second = _disjoint_pairs(atoms, rng, pairs)
        copy = atoms.copy()
        copy.positions[first + second] = atoms.positions[second + first]
        return copy

    what, remedy = f"swaps of {pairs} pairs in {atoms.symbols}", f"swap fewer pairs than {pairs}"
    return first_physical(draw, minimum_fraction, what=what, remedy=remedy)


def remove_atoms(
    atoms: Atoms,
    rng: np.random.Generator,
    number: int,
    element: str | None = None,
    *,
    minimum_fraction: float = MINIMUM_FRACTION,
) -> Atoms:
    """A copy without some atoms, each equally likely to be removed.

    Args:
        atoms: the structure.
        rng: source of the random numbers.
        number: how many atoms are removed.
        element: only atoms of this element are; ``None``: of any.
        minimum_fraction: smallest distance allowed, as a fraction of the sum of covalent radii; drawn again
            while atoms are closer.

    Raises:
        InputError: there are not so many atoms, none would remain, or no draw was physical.
    """
    there = np.flatnonzero([element in (None, symbol) for symbol in atoms.symbols])
    most = min(len(there), len(atoms) - 1)
    if not 1 <= number <= most:
        kind = f"{element} atoms" if element else "atoms"
        allowed = f"1 to {most} can, since one atom must remain" if most > 0 else "there are none to spare"
        raise InputError(f"{number} {kind} cannot be removed from {atoms.symbols}; {allowed}")

    def draw() -> Atoms:
        copy = atoms.copy()
        del copy[rng.choice(there, number, replace=False)]
        return copy

    what, remedy = f"vacancies in {atoms.symbols}", "correct the structure that they are made in"
    return first_physical(draw, minimum_fraction, what=what, remedy=remedy)


def _populations(atoms: Atoms) -> dict[str, int]:
    return {symbol: len(indices) for symbol, indices in atoms.symbols.indices().items()}


def _disjoint_pairs(atoms: Atoms, rng: np.random.Generator, pairs: int) -> tuple[list[int], list[int]]:
    """The first and the second atoms of random pairs of different elements, no atom twice."""
    places = {
        symbol: rng.permutation(indices).tolist() for symbol, indices in atoms.symbols.indices().items()
    }
    first, second = [], []
    for left in reversed(range(pairs)):
        populations = {symbol: len(indices) for symbol, indices in places.items()}
        # Si-Ge first would leave C-C alone in SiGeC2: only choices from which the rest can be drawn.
        choices = [
            (a, b)
            for a, b in combinations(populations, 2)
            if populations[a] and populations[b] and most_pairs(_without(populations, a, b)) >= left
        ]
        weights = np.array([populations[a] * populations[b] for a, b in choices], dtype=float)
        a, b = choices[rng.choice(len(choices), p=weights / weights.sum())]
        first.append(places[a].pop())
        second.append(places[b].pop())
    return first, second


def _without(populations: Mapping[str, int], *symbols: str) -> dict[str, int]:
    return {symbol: number - (symbol in symbols) for symbol, number in populations.items()}
