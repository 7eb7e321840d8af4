r"""Scaled, repeated and randomly perturbed copies of a structure.

    E  =  [[1+e0, e5/2, e4/2], [e5/2, 1+e1, e3/2], [e4/2, e3/2, 1+e2]],   e_k uniform in [-f, f)
    h' =  h E,     r' = r E + d g / sqrt(3),   g standard normal

| symbol | variable |
| --- | --- |
| h, r | cell (rows are vectors) and positions, Å |
| f | ``cell_pert_fraction`` |
| d | ``atom_pert_distance``, Å: the root mean square displacement of an atom |

This is what AL-PWMLFF computes (its manual says something else). The cell is rotated to lower-triangular form
afterwards, as LAMMPS wants it; positions follow. A supercell with the matrix M has the cell M h.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from alpw.errors import InputError
from alpw.structures.sanity import MINIMUM_FRACTION, first_physical

WRAP_TOLERANCE = 1e-5
"""Fraction of a cell vector by which an atom may lie below the cell's face and stay there."""

ScaleBy = Literal["length", "volume"]

_LENGTH_EXPONENT: dict[str, float] = {"length": 1, "volume": 1 / 3}
"""what is multiplied -> power of the factor that multiplies lengths"""


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


def sorted_by_element(atoms: Atoms) -> Atoms:
    """A copy with the atoms in the order of atomic numbers, atoms of one element in their old order."""
    return atoms[np.argsort(atoms.numbers, kind="stable")]


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
        InputError: no draw was physical.
    """

    def draw() -> Atoms:
        strain = strain_matrix(rng.uniform(-cell_pert_fraction, cell_pert_fraction, 6))
        copy = atoms.copy()
        copy.set_cell(np.asarray(atoms.cell) @ strain)
        displacements = atom_pert_distance / np.sqrt(3) * rng.standard_normal((len(atoms), 3))
        copy.positions = atoms.positions @ strain + displacements
        return copy

    what = f"perturbations of {atoms.symbols}"
    remedy = f"lower cell_pert_fraction ({cell_pert_fraction}) or atom_pert_distance ({atom_pert_distance} Å)"
    return lower_triangular(first_physical(draw, minimum_fraction, what=what, remedy=remedy))


def scale(atoms: Atoms, factor: float, by: ScaleBy = "length") -> Atoms:
    """A copy with all lengths, or the volume, times ``factor``; fractional coordinates stay.

    Args:
        atoms: the structure.
        factor: dimensionless. Lengths are multiplied by it, the volume by its cube; with ``by="volume"``
            the volume is multiplied by it, lengths by its cube root.
        by: what the factor multiplies.

    Raises:
        InputError: the factor is not a positive number, or ``by`` is neither of the two.
    """
    if not (factor > 0 and np.isfinite(factor)):
        raise InputError(f"{factor} cannot scale a {by}; it must be positive")
    if by not in _LENGTH_EXPONENT:
        raise InputError(f"{by!r} cannot be scaled; known are {', '.join(_LENGTH_EXPONENT)}")
    copy = atoms.copy()
    copy.set_cell(np.asarray(atoms.cell) * factor ** _LENGTH_EXPONENT[by], scale_atoms=True)
    return copy


def supercell_matrix(repeats: Sequence[int] | Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """The matrix M ``(3, 3)`` of a supercell, whose vectors are ``M h``.

    Args:
        repeats: three repetitions, or M as nine numbers by row or ``(3, 3)``; whole numbers.

    Raises:
        InputError: other shapes or numbers, or a determinant that is not positive.
    """
    try:
        matrix = np.asarray(repeats)
    except ValueError as error:
        raise InputError(f"{repeats!r} is no supercell: its rows differ in length") from error
    if matrix.size not in (3, 9) or matrix.dtype.kind not in "iu":
        raise InputError(f"{repeats!r} is no supercell; give 3 or 9 whole numbers")
    matrix = np.diag(matrix.ravel()) if matrix.size == 3 else matrix.reshape(3, 3)
    determinant = round(np.linalg.det(matrix))
    if determinant == 0:
        raise InputError(f"the supercell {matrix.tolist()} has no volume: its rows lie in one plane")
    if determinant < 0:
        raise InputError(
            f"the supercell {matrix.tolist()} has a negative determinant ({determinant}): its vectors would "
            "be left-handed where the cell's are right-handed; swap two of its rows"
        )
    return matrix.astype(np.int64)


def supercell(
    atoms: Atoms,
    repeats: Sequence[int] | Sequence[Sequence[int]],
    wrap: Sequence[bool] = (True, True, True),
) -> Atoms:
    """The supercell with cell vectors ``M h``, of det M times as many atoms, sorted by atomic number.

    Args:
        atoms: the structure.
        repeats: what :func:`supercell_matrix` takes.
        wrap: along which cell vectors atoms outside the supercell are moved into it, as far as the structure
            is periodic along them; those that are less than :data:`WRAP_TOLERANCE` below it stay.

    Raises:
        InputError: ``repeats`` is no supercell.
    """
    # ASE raises if the number of atoms is not that of the determinant.
    # Late: it brings SciPy's integrators, for which no command should wait.
    from ase.build import make_supercell

    made = make_supercell(atoms, supercell_matrix(repeats), wrap=False)
    made.wrap(pbc=np.logical_and(wrap, atoms.pbc), eps=WRAP_TOLERANCE)
    return sorted_by_element(made)
