"""A canonical hash of a structure, to find duplicates."""

from __future__ import annotations

import hashlib

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

TOLERANCE = 1e-6
"""Å; coordinates are compared on a grid of this spacing"""

# Grids whose number of points is a multiple of 2520 hold all of 1/2 ... 1/10, so that atoms on special
# positions, the ones that repeat exactly, lie on grid points and never half way between two.
_DIVISIBLE = 2520


def structure_hash(atoms: Atoms, tolerance: float = TOLERANCE) -> str:
    """SHA-256 (hexadecimal) of the species, cell, periodicity and wrapped positions.

    Independent of the order of the atoms and of translations of single atoms by lattice vectors. Equal
    hashes mean structures that agree within ``tolerance``. The converse has limits: structures that differ
    by less than ``tolerance`` may fall on different sides of a grid line, and rotated copies, copies shifted
    as a whole, other choices of the cell and supercells are different structures here.

    Args:
        atoms: any structure; non-periodic directions need no cell vector.
        tolerance: grid spacing in Å.

    Raises:
        ValueError: a coordinate or cell component is not finite.
    """
    cell = np.asarray(atoms.cell)
    if not (np.isfinite(atoms.positions).all() and np.isfinite(cell).all()):
        raise ValueError("a structure with coordinates that are not finite has no hash")
    rows = _rows(atoms, tolerance)
    rows = rows[_canonical(rows)]
    periodic = np.asarray(atoms.pbc)
    content = hashlib.sha256()
    for part in (np.rint(cell / tolerance).astype("<i8"), periodic.astype("u1"), rows.astype("<i8")):
        content.update(np.ascontiguousarray(part).tobytes())
    return content.hexdigest()


def same_atoms(atoms: Atoms, other: Atoms, tolerance: float = TOLERANCE) -> NDArray[np.intp] | None:
    """Which atom of another structure each atom is, where both have the same :func:`structure_hash`.

    Args:
        atoms: a structure.
        other: the same one, with its atoms in any order and shifted by lattice vectors.
        tolerance: of the hash, Å.

    Returns:
        Indices ``(n_atoms,)`` such that ``other[indices]`` has the order of ``atoms``; None when the
        structures differ, or two atoms of one species share a place, so that the order is not known.
    """
    if structure_hash(atoms, tolerance) != structure_hash(other, tolerance):
        return None
    rows, others = _rows(atoms, tolerance), _rows(other, tolerance)
    order, found = _canonical(rows), _canonical(others)
    ordered = rows[order]
    if (ordered[1:] == ordered[:-1]).all(axis=1).any():
        return None
    indices = np.empty(len(atoms), dtype=np.intp)
    indices[order] = found
    return indices


def _rows(atoms: Atoms, tolerance: float) -> NDArray[np.int64]:
    """Species and grid point of each atom, ``(n_atoms, 4)``."""
    complete = atoms.cell.complete()
    scaled = np.linalg.solve(complete.T, atoms.positions.T).T
    points = _DIVISIBLE * np.maximum(1, np.rint(complete.lengths() / (_DIVISIBLE * tolerance)))
    grid = np.rint(scaled * points).astype("<i8")
    periodic = np.asarray(atoms.pbc)
    grid[:, periodic] %= points[periodic].astype("<i8")
    return np.column_stack([np.asarray(atoms.numbers, dtype="<i8"), grid])


def _canonical(rows: NDArray[np.int64]) -> NDArray[np.intp]:
    """The order of the atoms that does not depend on how they were given."""
    return np.lexsort(rows.T[::-1])
