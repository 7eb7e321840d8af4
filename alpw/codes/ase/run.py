"""``python -m alpw.codes.ase.run``: one task of an ASE calculator, ``ase.json`` to ``result.json``.

A process of its own, so that a crash or a hang inside somebody else's calculator cannot take the worker with
it, and so that the calculator is built once for all steps of a relaxation or MD.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from alpw.codes.ase.calculators import build, in_words, kind_of, level_of_theory, sha256
from alpw.codes.ase.documents import atoms_of, structure_document, write_result
from alpw.codes.ase.motion import run_steps
from alpw.codes.ase.records import properties

INPUT = "ase.json"

logger = logging.getLogger(__name__)


def level_and_calculator(theory: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The level of theory of a document, and the calculator that computes at it.

    Raises:
        InputError: the import path or the model file leads nowhere.
        CalculationError: the calculator cannot be built.
    """
    if "model" in theory:
        # torch takes seconds to import, and only models of our own need it.
        from alpw.codes.ase.models import calculator_of

        return {"model": f"sha256:{sha256(Path(theory['model']))}"}, calculator_of(theory["model"])
    chosen = theory["calculator"], theory["arguments"]
    return level_of_theory(*chosen), build(*chosen)


def main() -> int:
    """Run in the current directory; the exit status is 1 if it failed."""
    document = json.loads(Path(INPUT).read_text())
    record: dict[str, Any] = {**document, "error": None, "kind": None}
    try:
        record["level"], calculator = level_and_calculator(document["theory"])
        atoms = atoms_of(document["structure"])
        atoms.calc = calculator
        if "task" in document:
            record["complete"] = run_steps(atoms, document, {"level": record["level"]})
        else:
            record |= properties(atoms) | {"structure": structure_document(atoms)}
    # Other people's code may raise anything; what it said becomes the reason of the failure.
    except Exception as error:
        logger.exception("failed")
        record |= {"error": in_words(error), "kind": kind_of(error).value}
    write_result(record)
    return int(record["error"] is not None)


if __name__ == "__main__":
    sys.exit(main())
