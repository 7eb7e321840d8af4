"""Input of a tight-binding run: ``xtb.json``, and what it may hold."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

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

RELAX = {"optimizer": "bfgs", "fmax": 0.02, "steps": 200, "cell": False}
"""``optimizer`` bfgs or fire, ``fmax`` in eV/Å, largest number of ``steps``, whether the ``cell`` relaxes."""

AIMD = {
    "ensemble": "nvt",
    "temperature": 300.0,
    "timestep": 1.0,
    "steps": 100,
    "friction": 0.01,
    "seed": 1,
}
"""``ensemble`` nvt (Langevin) or nve (velocity Verlet), K, fs, number of steps, 1/fs, seed of all draws."""

DEFAULTS: dict[Task, dict[str, Any]] = {Task.RELAX: RELAX, Task.AIMD: AIMD}

_CHOICES = {"optimizer": ("bfgs", "fire"), "ensemble": ("nvt", "nve")}
_POSITIVE = ("fmax", "temperature", "timestep", "friction")

CELL_WARNING = (
    "the cell is relaxed with GFN-xTB, whose pressure is off by several GPa in silicon and by tens in metals:"
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
    read_control(dft, task)


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


def read_control(dft: Dft, task: Task) -> dict[str, Any]:
    """What to do, from the control file ``dft.input``, a JSON object, over the defaults; empty for a label.

    Raises:
        InputError: no JSON object, an unknown key, or a value that cannot be.
    """
    if task is Task.LABEL:
        return {}
    defaults = DEFAULTS[task]
    given: Any = {}
    if dft.input is not None:
        try:
            given = json.loads(Path(dft.input).read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise InputError(f"a JSON object wanted: {error}", dft.input, "dft.input") from error
    if not isinstance(given, dict):
        raise InputError("a JSON object wanted", dft.input, "dft.input")
    given = {key: value for key, value in given.items() if not key.startswith("_")}
    for key, value in given.items():
        if key not in defaults:
            raise InputError(f"unknown; allowed are {', '.join(defaults)}", dft.input, key)
        _check_value(key, value, dft.input)
    return {"name": task.value, **defaults, **given}


def _check_value(key: str, value: object, file: Path | None) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if key in _CHOICES and value not in _CHOICES[key]:
        raise InputError(f"{value!r}; one of {', '.join(_CHOICES[key])} wanted", file, key)
    if key in _POSITIVE and not (is_number and float(value) > 0):  # type: ignore[arg-type]
        raise InputError(f"{value!r}; a positive number wanted", file, key)
    if key in {"steps", "seed"} and not (isinstance(value, int) and is_number and value >= (key == "steps")):
        raise InputError(f"{value!r}; a whole number wanted", file, key)
    if key == "cell" and not isinstance(value, bool):
        raise InputError(f"{value!r}; true or false wanted", file, key)


def structure_document(atoms: Atoms) -> dict[str, Any]:
    """Species, positions in Å, cell in Å and periodicity as plain lists."""
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": np.asarray(atoms.positions).tolist(),
        "cell": np.asarray(atoms.cell).tolist(),
        "pbc": atoms.pbc.tolist(),
    }


def write_inputs(atoms: Atoms, directory: Path, dft: Dft, task: Task = Task.LABEL) -> list[str]:
    """Write ``xtb.json``; returns what the control file left open, and a warning where the cell relaxes."""
    document: dict[str, Any] = {
        "structure": structure_document(atoms),
        "theory": {"method": dft.method, **THEORY},
        "scf": SCF,
    }
    changes = []
    if control := read_control(dft, task):
        document["task"] = control
        changes = [f"{key}: {control[key]} by default" for key in _left_open(dft, task)]
        if control.get("cell") and atoms.pbc.all():
            logger.warning("%s: %s", directory, CELL_WARNING)
            changes.append(CELL_WARNING)
    (directory / INPUT).write_text(json.dumps(document, indent=1))
    return changes


def _left_open(dft: Dft, task: Task) -> list[str]:
    given = json.loads(Path(dft.input).read_text()) if dft.input is not None else {}
    return [key for key in DEFAULTS[task] if key not in given]
