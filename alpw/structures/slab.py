"""Slabs: a few layers of a crystal with two surfaces, periodic in the plane, vacuum above and below."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build.general_surface import ext_gcd
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray
from pymatgen.core import Structure
from pymatgen.core.surface import SlabGenerator
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer, SymmetryUndeterminedError

from alpw.errors import InputError
from alpw.structures.miller import reduced_miller
from alpw.structures.perturb import lower_triangular, sorted_by_element

SYMMETRY_TOLERANCE = 0.01
"""Å; how far atoms may be from the symmetric positions of the crystal that they are taken for"""

_ROUNDING = 1e-6
"""Å; the last digits of a lattice constant do not add a layer to a thickness of whole layers"""


def cut_slab(
    atoms: Atoms, miller: Sequence[int], thickness: float, vacuum: float, termination: int = 0
) -> Atoms:
    """A slab with surfaces (hkl) of the crystal that a structure is.

    The structure may be any cell of the crystal: its symmetry gives the conventional cell (with the
    structure's own lattice constants), to which the indices refer. The slab has the smallest cell in its
    plane and as many whole repeat units of the crystal as the thickness needs. The cell is lower-triangular,
    a and b in the plane, c along its normal and as long as the slab (from the lowest to the highest atom) and
    the vacuum. Atoms are sorted by atomic number; along c, too, the slab is periodic, as plane waves want it.

    Args:
        atoms: a crystal, periodic in all directions.
        miller: (h, k, l), whole numbers.
        thickness: at least, in Å; a slab of n repeat units counts as n times their height, although one gap
            between planes of it belongs to the vacuum.
        vacuum: from the highest atom to the image of the lowest, in Å; the slab is in its middle.
        termination: which of the inequivalent places to cut at; 0 is between the planes farthest apart, where
            the fewest bonds are expected.

    Raises:
        InputError: no plane, no thickness or vacuum, a structure that is not crystalline, magnetic moments
            that differ within an element, or a termination that does not exist.
    """
    plane = reduced_miller(miller)
    if not (thickness > 0 and vacuum > 0):
        raise InputError(f"thickness ({thickness} Å) and vacuum ({vacuum} Å) of a slab must be positive")
    moments = _moments(atoms)
    crystal = _oriented(_conventional(atoms), plane)
    generator = SlabGenerator(crystal, (0, 0, 1), thickness - _ROUNDING, vacuum, primitive=False)
    slabs = sorted((_upright(s, vacuum) for s in generator.get_slabs(tol=SYMMETRY_TOLERANCE)), key=_profile)
    if not 0 <= termination < len(slabs):
        raise InputError(
            f"termination {termination} of the plane {plane} does not exist in {atoms.symbols}; "
            f"there are {len(slabs)}, counted from 0"
        )
    slab = slabs[termination]
    if moments:
        slab.set_initial_magnetic_moments([moments[symbol] for symbol in slab.symbols])
    return slab


def _conventional(atoms: Atoms) -> Structure:
    """The conventional cell as Setyawan and Curtarolo (Comput. Mater. Sci. 49, 299, 2010) define it."""
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise InputError(f"{atoms.symbols} is not periodic in all directions; a slab is cut from a crystal")
    structure = Structure(atoms.cell.array, atoms.numbers, atoms.positions, coords_are_cartesian=True)
    try:
        symmetry = SpacegroupAnalyzer(structure, symprec=SYMMETRY_TOLERANCE)
        group = symmetry.get_space_group_number()
    except SymmetryUndeterminedError as error:
        raise InputError(f"{atoms.symbols} has no symmetry that could be found: {error}") from error
    if group == 1:
        raise InputError(
            f"{atoms.symbols} is not crystalline: it has no symmetry within {SYMMETRY_TOLERANCE} Å, and so "
            "no conventional cell to which Miller indices could refer; cut the slab from the perfect crystal "
            "and swap, remove or displace atoms afterwards"
        )
    return symmetry.get_conventional_standard_structure()


def _oriented(conventional: Structure, plane: tuple[int, int, int]) -> Structure:
    """The primitive cell with a and b in the plane, as short as can be, and c one lattice plane further.

    pymatgen finds such a cell in multiples of the conventional one, of hundreds of atoms for high indices,
    and takes minutes to make it small again.
    """
    primitive = conventional.get_primitive_structure(SYMMETRY_TOLERANCE)
    # Indices transform as the cell vectors; centred cells have halves, thirds and quarters.
    indices = np.rint(12 * primitive.lattice.matrix @ conventional.lattice.inv_matrix @ plane).astype(int)
    basis = _plane_basis(*reduced_miller(indices))
    _, reduction = minkowski_reduce(basis @ primitive.lattice.matrix, pbc=(True, True, False))
    return primitive.make_supercell(reduction @ basis, in_place=False)


def _plane_basis(h: int, k: int, l: int) -> NDArray[np.int64]:  # noqa: E741
    """Two lattice vectors in the plane (hkl) and one to the next plane, ``(3, 3)``; determinant 1."""
    if k == l == 0:
        return np.array([[0, 1, 0], [0, 0, h], [h, 0, 0]])
    g = math.gcd(k, l)
    p, q = _bezout(k, l)
    r, s = _bezout(h, g)
    return np.array([[0, -l // g, k // g], [g, -h * p, -h * q], [r, s * p, s * q]])


def _bezout(a: int, b: int) -> tuple[int, int]:
    """Two numbers x and y with ``x a + y b`` the greatest common divisor of a and b, which is positive."""
    x, y = ext_gcd(a, b)
    return (x, y) if x * a + y * b > 0 else (-x, -y)


def _moments(atoms: Atoms) -> dict[str, float | NDArray[np.float64]]:
    """Initial magnetic moment by element in Bohr magnetons; empty without moments."""
    if not atoms.has("initial_magmoms"):
        return {}
    moments = atoms.get_initial_magnetic_moments()
    for symbol, indices in atoms.symbols.indices().items():
        if not np.allclose(moments[indices], moments[indices[0]]):
            raise InputError(
                f"the magnetic moments of {symbol} differ, and a slab cannot inherit them atom by atom; "
                "remove them, or start from a file with the slab"
            )
    return {symbol: moments[indices[0]] for symbol, indices in atoms.symbols.indices().items()}


def _upright(slab: Structure, vacuum: float) -> Atoms:
    """The same slab with c along the normal and the vacuum asked for.

    Nothing connects images along c, which may therefore be shifted against each other in the plane.
    """
    fractions = slab.frac_coords % 1
    heights = np.sort(fractions[:, 2])
    # The slab begins above the widest gap, wherever the cell's face lies.
    lowest = heights[np.argmax(np.diff(heights, prepend=heights[-1] - 1))]
    fractions[:, 2] = (fractions[:, 2] - lowest) % 1
    a, b, c = slab.lattice.matrix
    if np.linalg.det(slab.lattice.matrix) < 0:
        a, b = b, a
        fractions[:, [0, 1]] = fractions[:, [1, 0]]
    atoms = Atoms(
        numbers=[site.specie.Z for site in slab],
        positions=fractions @ np.array([a, b, c]),
        cell=[a, b, np.cross(a, b)],
        pbc=True,
    )
    atoms.center(vacuum=vacuum / 2, axis=2)
    atoms.wrap(pbc=(True, True, False))
    return sorted_by_element(lower_triangular(atoms))


def _profile(slab: Atoms) -> tuple[float, list[tuple[float, int]]]:
    """Order of terminations that does not depend on the cell they were cut from; a wide cut, a thin slab.

    Slabs of one extent are told apart by heights and elements of their atoms, from the side that comes first.
    """
    heights = slab.positions[:, 2]
    upwards, downwards = heights - heights.min(), heights.max() - heights
    rows = (
        sorted(zip(np.round(z, 2).tolist(), slab.numbers.tolist(), strict=True)) for z in (upwards, downwards)
    )
    return round(float(np.ptp(heights)), 2), min(rows)
