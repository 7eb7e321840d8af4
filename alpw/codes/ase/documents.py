"""The files between a code and its driver process, and structures as plain lists.

Imported by every driver: nothing here may be slow to import.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

RESULT, STEPS, STOP_FILE = "result.json", "steps.jsonl", "STOP"
"""What a driver writes when it ends, what it writes on the way, and what ends it after its present step."""


def structure_document(atoms: Atoms) -> dict[str, Any]:
    """Species, positions in Å, cell in Å and periodicity as plain lists."""
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": np.asarray(atoms.positions).tolist(),
        "cell": np.asarray(atoms.cell).tolist(),
        "pbc": atoms.pbc.tolist(),
    }


def atoms_of(document: dict[str, Any]) -> Atoms:
    """The structure that `structure_document` wrote."""
    return Atoms(document["numbers"], document["positions"], cell=document["cell"], pbc=document["pbc"])


def write_result(record: dict[str, Any]) -> None:
    """Write ``result.json`` in the current directory, whole or not at all."""
    partial = Path(RESULT + ".part")
    partial.write_text(json.dumps(record))
    partial.replace(RESULT)
