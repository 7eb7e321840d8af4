"""Reader of ``result.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from alpw.codes.geometry import check_same_structure
from alpw.errors import CalculationError, FailureKind
from alpw.structures.frame import Label

RESULT = "result.json"


def read_result(directory: Path) -> dict[str, Any] | None:
    """The driver's record, or None if it was never finished.

    It appears whole or not at all, but a disk that fills up or loses power can still tear it.
    """
    try:
        return json.loads((directory / RESULT).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def read_label(directory: Path, atoms: Atoms) -> Label:
    """Label of ``atoms``, after making sure that it is theirs.

    Raises:
        CalculationError: no result, an SCF error, or a result for another structure.
    """
    result = read_result(directory)
    if result is None:
        raise CalculationError(f"no {RESULT}", FailureKind.OUTPUT, directory)
    if result["error"]:
        raise CalculationError(result["error"], FailureKind.OTHER, directory)
    structure = result["structure"]
    computed = Atoms(
        structure["numbers"], structure["positions"], cell=structure["cell"], pbc=structure["pbc"]
    )
    check_same_structure(atoms, computed, directory)
    virial = None if result["virial"] is None else np.array(result["virial"])
    return Label(energy=result["energy"], forces=np.array(result["forces"]), virial=virial)


def settings(directory: Path) -> dict[str, Any]:
    """Level of theory as run: method, electronic temperature in K, accuracy, k-points, version of tblite."""
    result = read_result(directory)
    if result is None:
        raise CalculationError(f"no {RESULT}", FailureKind.OUTPUT, directory)
    return {
        "code": "tblite",
        "version": result["tblite"],
        "kpoints": "gamma",
        "charge": 0,
        **result["theory"],
    }
