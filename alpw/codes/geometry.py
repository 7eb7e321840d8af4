"""Geometry submitted is geometry labelled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.geometry import cell_to_cellpar

from alpw.errors import CalculationError, FailureKind

TOLERANCE = 1e-4
"""Å. Above the rounding of any output table (1e-6 Å), far below any change of structure that matters."""


def check_same_structure(asked: Atoms, computed: Atoms, directory: Path, cell_rounding: float = 0.0) -> None:
    """Raise if an output belongs to another structure than the one asked for, or to another atom order.

    Cells are compared twice: lengths and angles to 1e-4 (Å, degrees), which fixes the shape, and the vectors
    to 1e-4 Å plus the rounding of a code that prints few decimals, which fixes the orientation.

    Args:
        asked: the structure that was submitted.
        computed: species, positions in Å, cell in Å as the output tells them.
        directory: for the message.
        cell_rounding: half a unit of the last decimal in Å with which the output prints cell vectors.

    Raises:
        CalculationError: of kind ``output``.
    """
    if asked.get_chemical_symbols() != computed.get_chemical_symbols():
        raise CalculationError(
            f"asked for {asked.symbols}, the output is for {computed.symbols}", FailureKind.UNKNOWN, directory
        )
    shift = np.abs(asked.positions - computed.positions).max(axis=1)
    if not shift.max() < TOLERANCE:
        atom = int(np.argmax(shift))
        raise CalculationError(
            f"atom {atom} was labelled {shift[atom]:.2g} Å away from where it was submitted",
            FailureKind.UNKNOWN,
            directory,
        )
    if not (asked.pbc.any() or computed.pbc.any()):
        return
    shape = np.abs(asked.cell.cellpar() - computed.info.get("cellpar", cell_to_cellpar(computed.cell))).max()
    vectors = np.abs(np.asarray(asked.cell) - np.asarray(computed.cell)).max()
    if not (shape < TOLERANCE and vectors < TOLERANCE + cell_rounding):
        raise CalculationError(
            f"the cell labelled differs from the cell submitted by {vectors:.2g} Å",
            FailureKind.UNKNOWN,
            directory,
        )
