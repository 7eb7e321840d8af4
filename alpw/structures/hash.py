"""A canonical hash of a structure, to find duplicates."""

from __future__ import annotations

import hashlib

import numpy as np
from ase import Atoms

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
    complete = atoms.cell.complete()
    points = _DIVISIBLE * np.maximum(1, np.rint(complete.lengths() / (_DIVISIBLE * tolerance)))
    grid = np.rint(complete.scaled_positions(atoms.positions) * points).astype("<i8")
    periodic = np.asarray(atoms.pbc)
    grid[:, periodic] %= points[periodic].astype("<i8")
    rows = np.column_stack([np.asarray(atoms.numbers, dtype="<i8"), grid])
    rows = rows[np.lexsort(rows.T[::-1])]
    content = hashlib.sha256()
    for part in (np.rint(cell / tolerance).astype("<i8"), periodic.astype("u1"), rows.astype("<i8")):
        content.update(np.ascontiguousarray(part).tobytes())
    return content.hexdigest()
