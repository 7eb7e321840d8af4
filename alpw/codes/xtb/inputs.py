"""Input of a tight-binding run: ``xtb.json``, and what it may hold."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.data import atomic_numbers

from alpw.codes.ase.control import changes_of, check_cell, check_motion, moves_cell, read_control
from alpw.codes.ase.documents import structure_document
from alpw.codes.protocol import Task
from alpw.codes.xtb.corrections import INPUT
from alpw.errors import InputError

if TYPE_CHECKING:
    from alpw.config import Dft

logger = logging.getLogger(__name__)

METHODS = ("GFN1-xTB", "GFN2-xTB", "IPEA1-xTB")
HEAVIEST_ELEMENT = 86
SMALLEST_PERIODIC_CELL = 16

THEORY = {"electronic_temperature": 300.0, "accuracy": 1.0}
"""Physics beside the method: Fermi smearing in K, and tblite's accuracy, which scales its thresholds."""

SCF = {"max_iterations": 250, "mixer_damping": 0.4}
"""Numerical path: tblite's own defaults, which the error handlers may change."""

CELL_WARNING = (
    "the cell moves by the pressure of GFN-xTB, which is off by several GPa in silicon and by tens in metals:"
    " the cell will be wrong"
)


def check(dft: Dft, elements: Iterable[str], task: Task = Task.LABEL) -> None:
    """Raise `InputError` unless the method is parametrised for every element and the control file is
    right."""
    if dft.method not in METHODS:
        raise InputError(f"{dft.method!r} is not known; use one of {', '.join(METHODS)}", key="dft.method")
    for symbol in elements:
        if not 1 <= atomic_numbers.get(symbol, 0) <= HEAVIEST_ELEMENT:
            raise InputError(
                f"{dft.method} has no parameters for {symbol}; it covers H (1) to Rn (86)",
                key="dft.dft_style",
            )
    check_motion(dft, task)


def check_structure(atoms: Atoms, dft: Dft, task: Task = Task.LABEL) -> None:
    """Raise `InputError` for partly periodic structures, for periodic cells too small for the Γ point, and
    for npt without a cell."""
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
    check_cell(atoms, read_control(dft, task), dft.input)


def write_inputs(atoms: Atoms, directory: Path, dft: Dft, task: Task = Task.LABEL) -> list[str]:
    """Write ``xtb.json``; returns what the control file left open, what went before it, and a warning where
    the cell moves."""
    document: dict[str, Any] = {
        "structure": structure_document(atoms),
        "theory": {"method": dft.method, **THEORY},
        "scf": SCF,
    }
    control, changes = read_control(dft, task), changes_of(dft, task)
    if control:
        document["task"] = control
    if moves_cell(control) and atoms.pbc.all():
        logger.warning("%s: %s", directory, CELL_WARNING)
        changes.append(CELL_WARNING)
    (directory / INPUT).write_text(json.dumps(document, indent=1))
    return changes
