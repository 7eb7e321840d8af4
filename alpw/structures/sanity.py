"""Whether a structure can be matter: finite numbers, a cell with volume, atoms apart from each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from alpw.errors import InputError

MINIMUM_FRACTION = 0.6
"""Smallest distance as a fraction of the sum of covalent radii. Bonds under pressure and atoms that meet in a
hot liquid stay above it; below, pseudopotential cores overlap and a label means nothing."""

MINIMUM_VOLUME = 1.0
"""Å^3 per atom; hydrogen at the centre of Jupiter has 1.5"""

ATTEMPTS = 100
"""draws before :func:`first_physical` gives up"""


class Contact(NamedTuple):
    """Two atoms (or an atom and its own image) and their distance."""

    i: int
    j: int
    distance: float
    """Å"""
    fraction: float
    """of the sum of the covalent radii"""


def closest_contact(atoms: Atoms, within: float = 2.0) -> Contact | None:
    """The pair with the smallest distance relative to the sum of its covalent radii.

    Args:
        atoms: a structure; periodic images count.
        within: pairs farther apart than this fraction are not looked at.

    Returns:
        The pair, or ``None`` when all atoms are farther apart.
    """
    # Late: it brings SciPy, for which no command should wait.
    from ase.neighborlist import neighbor_list

    radii = covalent_radii[atoms.numbers]
    first, second, distance = neighbor_list("ijd", atoms, list(within * radii))
    if len(distance) == 0:
        return None
    fraction = distance / (radii[first] + radii[second])
    k = int(np.argmin(fraction))
    return Contact(int(first[k]), int(second[k]), float(distance[k]), float(fraction[k]))


def lowest_distance_fraction(atoms: Atoms) -> float:
    """Smallest distance over the sum of covalent radii; infinite when no atoms are within twice that sum."""
    contact = closest_contact(atoms)
    return contact.fraction if contact else float("inf")


def defect(atoms: Atoms, minimum_fraction: float = MINIMUM_FRACTION) -> str | None:
    """Why a structure is not physical, in one line, or ``None`` when nothing is wrong.

    Args:
        atoms: the structure.
        minimum_fraction: smallest distance allowed, as a fraction of the sum of covalent radii.
    """
    if len(atoms) == 0:
        return "it has no atoms"
    if not np.isfinite(np.asarray(atoms.cell)).all():
        return "a cell vector is not finite"
    if broken := np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1)).tolist():
        return f"the position of atom {broken[0]} is not finite"
    if atoms.pbc.any():
        volume = abs(np.linalg.det(atoms.cell.complete())) if atoms.cell[atoms.pbc].any(axis=1).all() else 0.0
        if volume / len(atoms) < MINIMUM_VOLUME:
            return f"the cell has {volume / len(atoms):.3g} Å^3 per atom, less than {MINIMUM_VOLUME}"
    contact = closest_contact(atoms, within=minimum_fraction)
    if contact is not None:
        first, second = atoms.symbols[contact.i], atoms.symbols[contact.j]
        return (
            f"{first}{contact.i} and {second}{contact.j} are {contact.distance:.3f} Å apart, "
            f"{contact.fraction:.2f} of the sum of their covalent radii (at least {minimum_fraction})"
        )
    return None


def first_physical(
    draw: Callable[[], Atoms], minimum_fraction: float = MINIMUM_FRACTION, *, what: str, remedy: str
) -> Atoms:
    """The first physical structure among :data:`ATTEMPTS` draws.

    Args:
        draw: makes a structure, another one with each call.
        minimum_fraction: smallest distance allowed, as a fraction of the sum of covalent radii.
        what: the draws in words, in the plural.
        remedy: what the user can do when there is none.

    Raises:
        InputError: there is none.
    """
    reason = None
    for _ in range(ATTEMPTS):
        drawn = draw()
        reason = defect(drawn, minimum_fraction)
        if reason is None:
            return drawn
    raise InputError(f"none of {ATTEMPTS} {what} was physical ({reason}); {remedy}")
