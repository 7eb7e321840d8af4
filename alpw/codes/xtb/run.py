"""``python -m alpw.codes.xtb.run``: one tight-binding task, ``xtb.json`` to ``result.json``.

A process of its own, so that a crash or a hang inside the library cannot take the worker with it. For a label
it imports NumPy, ASE's units and tblite, nothing else: start-up is a noticeable part of a one-second label.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import Bohr, Hartree, kB
from tblite import library
from tblite.exceptions import TBLiteRuntimeError, TBLiteValueError
from tblite.interface import Calculator

from alpw.codes.ase.documents import write_result
from alpw.errors import CalculationError

INPUT = "xtb.json"

_ITERATION = re.compile(r"\s*(\d+)\s+-?\d+\.\d+\s+-?\d\.\d+E")


def make_calculator(
    structure: dict[str, Any], theory: dict[str, Any], scf: dict[str, Any], listen: Callable[[str], None]
) -> Calculator:
    """tblite's calculator of a structure; ``listen`` is given each line of its output."""
    periodic = any(structure["pbc"])
    calculator = Calculator(
        theory["method"],
        np.array(structure["numbers"]),
        np.array(structure["positions"]) / Bohr,
        lattice=np.array(structure["cell"]) / Bohr if periodic else None,
        periodic=np.array(structure["pbc"]) if periodic else None,
        color=False,
        logger=listen,
    )
    calculator.set("accuracy", theory["accuracy"])
    calculator.set("temperature", theory["electronic_temperature"] * kB / Hartree)
    calculator.set("max-iter", scf["max_iterations"])
    calculator.set("mixer-damping", scf["mixer_damping"])
    return calculator


class IterationCounter:
    """Copies tblite's output to standard output, and counts the SCF iterations in it."""

    def __init__(self) -> None:
        self.iterations = 0

    def __call__(self, line: str) -> None:
        sys.stdout.write(line + "\n")
        if match := _ITERATION.match(line):
            self.iterations = max(self.iterations, int(match[1]))


def single_point(structure: dict[str, Any], theory: dict[str, Any], scf: dict[str, Any]) -> dict[str, Any]:
    """Energy, forces and virial of one structure.

    Args:
        structure: ``numbers``, ``positions`` (n, 3) in Å, ``cell`` (3, 3) in Å, ``pbc``.
        theory: ``method``, ``electronic_temperature`` in K, ``accuracy`` (tblite's, 1 is its default).
        scf: numerical path: ``max_iterations``, ``mixer_damping``.

    Returns:
        ``energy`` eV, ``forces`` eV/Å, ``virial`` eV (None if not periodic), ``iterations``.

    Raises:
        TBLiteRuntimeError: SCF not converged, or an unusable geometry.
        TBLiteValueError: inconsistent arrays.
    """
    listen = IterationCounter()
    result = make_calculator(structure, theory, scf, listen).singlepoint()
    return {
        "energy": float(result["energy"]) * Hartree,
        "forces": (-result["gradient"] * Hartree / Bohr).tolist(),
        "virial": (-result["virial"] * Hartree).tolist() if any(structure["pbc"]) else None,
        "iterations": listen.iterations,
    }


def main() -> int:
    """Run in the current directory; the exit status is 1 if it failed."""
    document = json.loads(Path(INPUT).read_text())
    version = ".".join(map(str, library.get_version()))
    record = {**document, "tblite": version, "error": None}
    try:
        if "task" in document:
            # ASE's optimisers and dynamics take a second to import, which a label need not pay.
            from alpw.codes.xtb.motion import run_steps

            record["complete"] = run_steps(document, version)
        else:
            record |= single_point(document["structure"], document["theory"], document["scf"])
    except (TBLiteRuntimeError, TBLiteValueError) as error:
        record["error"] = str(error)
    except CalculationError as error:
        record |= {"error": error.message, "kind": error.kind.value}
    write_result(record)
    return int(record["error"] is not None)


if __name__ == "__main__":
    sys.exit(main())
