"""Between the user's cell and LAMMPS's box.

LAMMPS wants the first box vector along x, the second in the xy plane and small tilts. The user's cell may
point anywhere, be left-handed, or be strongly skewed, and must come back as it was given. With row vectors,

    box = lattice @ cell @ rotation          r_box = r @ rotation

========  ===============================================================================================
symbol    meaning
========  ===============================================================================================
cell      ``(3, 3)`` in the user's orientation, rows are cell vectors, Å
box       ``(3, 3)`` lower triangular, what LAMMPS integrates, Å
rotation  ``(3, 3)`` orthogonal, constant; improper for a left-handed cell, which no energy can notice
lattice   ``(3, 3)`` integer, determinant 1: which lattice vectors LAMMPS uses. It changes when LAMMPS flips a
          box that has sheared too far
========  ===============================================================================================

Under NPT LAMMPS keeps its box lower triangular, so the rotation stays constant and frames hang together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.formats.lammps import to_box

Matrix = NDArray[np.float64]


class LammpsCell:
    """Follows one simulation box, and unwraps its atoms.

    Args:
        cell: ``(3, 3)`` in Å, rows are cell vectors.
        pbc: ``(3,)`` periodicity along the cell vectors.
        positions: ``(n_atoms, 3)`` in Å at the start; atoms are followed from here, through any wrapping.
    """

    def __init__(self, cell: Matrix, pbc: NDArray[np.bool_], positions: Matrix) -> None:
        box, self.rotation = to_box(cell, pbc)
        self.pbc = np.asarray(pbc, dtype=bool)
        self.resume(box, np.array(cell, dtype=float), positions)

    def resume(self, box: Matrix, cell: Matrix, positions: Matrix) -> None:
        """Go on from a frame saved earlier: LAMMPS's box of that step, its cell and its positions."""
        self.box, self.cell = box, cell
        self._lattice = np.rint(box @ np.linalg.inv(cell @ self.rotation))
        self._to_scaled = np.linalg.inv(cell @ self.rotation)
        self._scaled = np.linalg.solve(cell.T, positions.T).T

    def follow(self, box: Matrix) -> None:
        """Take over the box of the present step; a flip shows as an integer change of basis.

        Raises:
            InputError: the box grew or shrank so much that it could be another lattice.
        """
        if np.array_equal(box, self.box):
            return
        change = np.rint(box @ np.linalg.inv(self.box))
        if round(np.linalg.det(change)) != 1:
            text = "the box changed by half its size or more in one step; change it in several smaller ones"
            raise InputError(text, key="change_box")
        self._lattice = change @ self._lattice
        self.box = box
        self.cell = np.linalg.solve(self._lattice, box) @ self.rotation.T
        self._to_scaled = np.linalg.inv(self.cell @ self.rotation)

    def unwrap(self, in_box: Matrix) -> Matrix:
        """Continuous positions in the user's orientation.

        Each atom is put at the periodic image nearest to where it last was in fractional coordinates, so that
        LAMMPS's wrapping, which happens whenever it re-neighbours, cannot be seen.

        Args:
            in_box: ``(n_atoms, 3)`` in Å relative to the box's origin, box orientation.
        """
        scaled = in_box @ self._to_scaled
        images = np.rint(self._scaled - scaled) * self.pbc
        self._scaled = scaled + images
        return in_box @ self.rotation.T + images @ self.cell

    def wrap(self, positions: Matrix) -> Matrix:
        """Positions, ``(n_atoms, 3)``, turned into the box, wrapped, and relative to its origin."""
        scaled = np.linalg.solve(self.box.T, (positions @ self.rotation).T).T
        return (scaled - np.floor(scaled) * self.pbc) @ self.box

    def vectors_to_box(self, vectors: Matrix) -> Matrix:
        """Forces or positions, ``(n, 3)``, turned into the box orientation."""
        return vectors @ self.rotation

    def tensor_to_box(self, tensor: Matrix) -> Matrix:
        """A virial, ``(3, 3)``, turned into the box orientation."""
        return self.rotation.T @ tensor @ self.rotation
