r"""Scaled, repeated and randomly perturbed copies of a structure.

    E  =  [[1+e0, e5/2, e4/2], [e5/2, 1+e1, e3/2], [e4/2, e3/2, 1+e2]],   e_k uniform in [-f, f)
    h' =  h E,     r' = r E + d g / sqrt(3),   g standard normal

| symbol | variable |
| --- | --- |
| h, r | cell (rows are vectors) and positions, Å |
| f | ``cell_pert_fraction`` |
| d | ``atom_pert_distance``, Å: the root mean square displacement of an atom |

This is what AL-PWMLFF computes (its manual says something else). The cell is rotated to lower-triangular form
afterwards, as LAMMPS wants it; positions follow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from numpy.typing import ArrayLike, NDArray

from alpw.errors import InputError
from alpw.structures.sanity import MINIMUM_FRACTION, defect

ATTEMPTS = 100
"""draws before :func:`perturb` gives up"""


def strain_matrix(components: ArrayLike) -> NDArray[np.float64]:
    """The symmetric deformation matrix ``(3, 3)`` of six engineering strains, xx yy zz yz xz xy."""
    xx, yy, zz, yz, xz, xy = np.asarray(components, dtype=float)
    return np.array([[1 + xx, xy / 2, xz / 2], [xy / 2, 1 + yy, yz / 2], [xz / 2, yz / 2, 1 + zz]])


def lower_triangular(atoms: Atoms) -> Atoms:
    """A rotated copy whose cell is lower-triangular; handedness and all distances are kept."""
    rotated = atoms.copy()
    cell, rotation = atoms.cell.standard_form()
    rotated.set_cell(cell)
    rotated.positions = atoms.positions @ rotation.T
    return rotated


def perturb(
    atoms: Atoms,
    rng: np.random.Generator,
    *,
    cell_pert_fraction: float = 0.03,
    atom_pert_distance: float = 0.01,
    minimum_fraction: float = MINIMUM_FRACTION,
) -> Atoms:
    """A randomly strained copy with randomly displaced atoms; draws again while atoms are too close.

    Args:
        atoms: the structure.
        rng: source of the random numbers.
        cell_pert_fraction: largest component of the strain.
        atom_pert_distance: root mean square displacement of an atom in Å.
        minimum_fraction: smallest distance allowed, as a fraction of the sum of covalent radii.

    Raises:
        InputError: no draw of :data:`ATTEMPTS` was physical.
    """
    reason = None
    for _ in range(ATTEMPTS):
        strain = strain_matrix(rng.uniform(-cell_pert_fraction, cell_pert_fraction, 6))
        copy = atoms.copy()
        copy.set_cell(np.asarray(atoms.cell) @ strain)
        displacements = atom_pert_distance / np.sqrt(3) * rng.standard_normal((len(atoms), 3))
        copy.positions = atoms.positions @ strain + displacements
        reason = defect(copy, minimum_fraction)
        if reason is None:
            return lower_triangular(copy)
    raise InputError(
        f"none of {ATTEMPTS} perturbations of {atoms.symbols} was physical ({reason}); "
        f"lower cell_pert_fraction ({cell_pert_fraction}) or atom_pert_distance ({atom_pert_distance} Å)"
    )


def scale(atoms: Atoms, factor: float) -> Atoms:
    """A copy with all lengths times ``factor`` and the same fractional coordinates; volume times its cube."""
    if not factor > 0:
        raise InputError(f"{factor} is not a factor of lengths; it must be positive")
    copy = atoms.copy()
    copy.set_cell(np.asarray(atoms.cell) * factor, scale_atoms=True)
    return copy


def supercell(atoms: Atoms, repeats: Sequence[int] | Sequence[Sequence[int]]) -> Atoms:
    """The supercell with cell vectors ``M h``, positions wrapped.

    Args:
        atoms: the structure.
        repeats: three repetitions, or the matrix M as nine numbers by row or ``(3, 3)``; whole numbers.

    Raises:
        InputError: other shapes, or a matrix without volume.
    """
    matrix = np.asarray(repeats)
    if matrix.size not in (3, 9) or matrix.dtype.kind not in "iu":
        raise InputError(f"{repeats!r} is no supercell; give 3 or 9 whole numbers")
    matrix = np.diag(matrix) if matrix.size == 3 else matrix.reshape(3, 3)
    if round(abs(np.linalg.det(matrix))) == 0:
        raise InputError(f"the supercell {matrix.tolist()} has no volume")
    return make_supercell(atoms, matrix)
