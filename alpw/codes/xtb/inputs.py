"""Input of a tight-binding single point: ``xtb.json``, and what it may hold."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from alpw.errors import InputError

if TYPE_CHECKING:
    from alpw.config import Dft

INPUT = "xtb.json"

METHODS = ("GFN1-xTB", "GFN2-xTB", "IPEA1-xTB")
HEAVIEST_ELEMENT = 86
SMALLEST_PERIODIC_CELL = 16

THEORY = {"electronic_temperature": 300.0, "accuracy": 1.0}
"""Physics beside the method: Fermi smearing in K, and tblite's accuracy, which scales its thresholds."""

SCF = {"max_iterations": 250, "mixer_damping": 0.4}
"""Numerical path: tblite's own defaults, which the error handlers may change."""


def check(dft: Dft, elements: Iterable[str]) -> None:
    """Raise `InputError` unless the method is known and parametrised for every element."""
    if dft.method not in METHODS:
        raise InputError(f"{dft.method!r} is not known; use one of {', '.join(METHODS)}", key="dft.method")
    for symbol in elements:
        if not 1 <= atomic_numbers.get(symbol, 0) <= HEAVIEST_ELEMENT:
            raise InputError(
                f"{dft.method} has no parameters for {symbol}; it covers H (1) to Rn (86)",
                key="dft.dft_style",
            )


def check_structure(atoms: Atoms, dft: Dft) -> None:
    """Raise `InputError` for partly periodic structures and for periodic cells too small for the Γ point."""
    pbc = atoms.pbc
    if pbc.any() and not pbc.all():
        raise InputError(
            f"{dft.method} needs a structure periodic in all directions or in none, not pbc={pbc}"
        )
    if pbc.all() and len(atoms) < SMALLEST_PERIODIC_CELL:
        raise InputError(
            f"{len(atoms)} atoms in a periodic cell: tblite samples the Brillouin zone at the Γ point only, "
            f"which needs {SMALLEST_PERIODIC_CELL} atoms or more; build a supercell or use dft_style cp2k"
        )


def structure_document(atoms: Atoms) -> dict[str, Any]:
    """Species, positions in Å, cell in Å and periodicity as plain lists."""
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": np.asarray(atoms.positions).tolist(),
        "cell": np.asarray(atoms.cell).tolist(),
        "pbc": atoms.pbc.tolist(),
    }


def write_inputs(atoms: Atoms, directory: Path, dft: Dft) -> list[str]:
    """Write ``xtb.json``; there is no control file of the user's that could be changed."""
    document = {
        "structure": structure_document(atoms),
        "theory": {"method": dft.method, **THEORY},
        "scf": SCF,
    }
    (directory / INPUT).write_text(json.dumps(document, indent=1))
    return []
