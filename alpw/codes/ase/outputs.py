"""Readers of ``result.json`` and ``steps.jsonl``, and how to go on from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from alpw.codes.ase.documents import RESULT, STEPS, atoms_of
from alpw.codes.geometry import check_same_structure
from alpw.errors import CalculationError, FailureKind
from alpw.structures.frame import Label
from alpw.structures.frames import LabelledFrames

RESTART = ("step", "velocities", "random", "barostat")
"""Of a step, what the next attempt needs to go on exactly; a relaxation has the first only."""


def read_result(directory: Path) -> dict[str, Any] | None:
    """The driver's record, or None if it was never finished.

    It appears whole or not at all, but a disk that fills up or loses power can still tear it.
    """
    try:
        found: dict[str, Any] = json.loads((directory / RESULT).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return found


def read_label(directory: Path, atoms: Atoms) -> Label:
    """Label of ``atoms``, after making sure that it is theirs.

    Raises:
        CalculationError: no result, an error of the calculator, or a result for another structure.
    """
    result = read_result(directory)
    if result is None:
        raise CalculationError(f"no {RESULT}", FailureKind.UNKNOWN, directory)
    if result["error"]:
        raise CalculationError(result["error"], FailureKind.UNKNOWN, directory)
    check_same_structure(atoms, atoms_of(result["structure"]), directory)
    virial = None if result["virial"] is None else np.array(result["virial"])
    return Label(energy=result["energy"], forces=np.array(result["forces"]), virial=virial)


def read_records(directory: Path) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """The heading of ``steps.jsonl`` and the records of its complete lines; None without a heading."""
    path = directory / STEPS
    if not path.is_file():
        return None
    records = []
    with path.open() as file:
        for line in file:
            if not line.endswith("\n"):
                break
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return (records[0], records[1:]) if records else None


def read_steps(directory: Path, atoms: Atoms) -> LabelledFrames | None:
    """The finished steps of the last attempt; None without any.

    Raises:
        CalculationError: they belong to other atoms.
    """
    found = read_records(directory)
    if found is None or not found[1]:
        return None
    heading, records = found
    if records[0]["step"] == 0:
        check_same_structure(atoms, atoms_of(heading), directory)
    elif heading["numbers"] != atoms.numbers.tolist():
        raise CalculationError(f"the steps are not those of {atoms.symbols}", FailureKind.UNKNOWN, directory)
    x, y, z = (bool(axis) for axis in atoms.pbc)
    return LabelledFrames(
        numbers=atoms.numbers.astype(np.int64),
        cells=_column(records, "cell"),
        positions=_column(records, "positions"),
        energies=_column(records, "energy"),
        forces=_column(records, "forces"),
        virials=None if records[0]["virial"] is None else _column(records, "virial"),
        converged=np.ones(len(records), dtype=bool),
        pbc=(x, y, z),
        extras={extra: _column(records, key) for extra, key in _EXTRAS.items() if key in records[0]},
    )


_EXTRAS = {
    "time": "time",
    "temperature": "temperature",
    "velocities": "velocities",
    "electronic_steps": "iterations",
}
"""name among the extras of the frames -> in a record"""


def _column(records: list[dict[str, Any]], key: str) -> Any:
    return np.array([record[key] for record in records], dtype=float)


def resume(directory: Path, name: str) -> list[str]:
    """Let the document ``name`` begin at the last finished step: its geometry and `RESTART`.

    Raises:
        CalculationError: there is no finished step.
    """
    found = read_records(directory)
    if found is None or not found[1]:
        raise CalculationError("no finished step to go on from", FailureKind.UNKNOWN, directory)
    last = found[1][-1]
    path = directory / name
    document = json.loads(path.read_text())
    document["structure"] |= {"positions": last["positions"], "cell": last["cell"]}
    document["start"] = {key: last[key] for key in RESTART if key in last}
    path.write_text(json.dumps(document, indent=1))
    return [f"goes on from step {last['step']}"]


def described(directory: Path) -> dict[str, Any]:
    """The record that says how a calculation was made: the result, else the heading of the steps.

    Raises:
        CalculationError: there is neither.
    """
    if (result := read_result(directory)) is not None:
        return result
    if (found := read_records(directory)) is not None:
        return found[0]
    raise CalculationError(f"neither {RESULT} nor {STEPS}", FailureKind.UNKNOWN, directory)
