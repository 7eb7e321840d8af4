"""Readers of ``result.json`` and ``steps.jsonl``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from alpw.codes.corrections import is_numerical
from alpw.codes.geometry import check_same_structure
from alpw.codes.xtb.corrections import INPUT, RULES
from alpw.codes.xtb.jobs import RESULT, STEPS
from alpw.errors import CalculationError, FailureKind
from alpw.structures.frame import Label
from alpw.structures.frames import LabelledFrames


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
        CalculationError: no result, an SCF error, or a result for another structure.
    """
    result = read_result(directory)
    if result is None:
        raise CalculationError(f"no {RESULT}", FailureKind.UNKNOWN, directory)
    if result["error"]:
        raise CalculationError(result["error"], FailureKind.UNKNOWN, directory)
    check_same_structure(atoms, _structure(result["structure"]), directory)
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
        check_same_structure(atoms, _structure(heading | records[0]), directory)
    elif heading["numbers"] != atoms.numbers.tolist():
        raise CalculationError(f"the steps are not those of {atoms.symbols}", FailureKind.UNKNOWN, directory)
    extras = {
        name: np.array([record[name] for record in records])
        for name in ("time", "temperature", "velocities")
        if name in records[0]
    }
    has_virial = records[0]["virial"] is not None
    x, y, z = (bool(axis) for axis in atoms.pbc)
    return LabelledFrames(
        numbers=atoms.numbers.astype(np.int64),
        cells=np.array([record["cell"] for record in records]),
        positions=np.array([record["positions"] for record in records]),
        energies=np.array([record["energy"] for record in records]),
        forces=np.array([record["forces"] for record in records]),
        virials=np.array([record["virial"] for record in records]) if has_virial else None,
        converged=np.ones(len(records), dtype=bool),
        pbc=(x, y, z),
        extras=extras | {"electronic_steps": np.array([float(record["iterations"]) for record in records])},
    )


def resume(directory: Path) -> list[str]:
    """Let ``xtb.json`` begin at the last finished step: its geometry, velocities and random numbers.

    Raises:
        CalculationError: there is no finished step.
    """
    found = read_records(directory)
    if found is None or not found[1]:
        raise CalculationError("no finished step to go on from", FailureKind.UNKNOWN, directory)
    last = found[1][-1]
    document = json.loads((directory / INPUT).read_text())
    document["structure"] |= {"positions": last["positions"], "cell": last["cell"]}
    document["start"] = {key: last[key] for key in ("step", "velocities", "random") if key in last}
    (directory / INPUT).write_text(json.dumps(document, indent=1))
    return [f"goes on from step {last['step']}"]


def settings(directory: Path) -> dict[str, Any]:
    """Level of theory as run: method, electronic temperature in K, accuracy, k-points, version of tblite."""
    result: dict[str, Any] | None = read_result(directory)
    if result is None and (found := read_records(directory)) is not None:
        result = found[0]
    if result is None:
        raise CalculationError(f"neither {RESULT} nor {STEPS}", FailureKind.UNKNOWN, directory)
    entries = {
        key: value
        for block in ("theory", "scf")
        for key, value in result[block].items()
        if not is_numerical(RULES, f"{INPUT}/{block}/{key}")
    }
    return {"code": "tblite", "version": result["tblite"], "kpoints": "gamma", "charge": 0, **entries}


def _structure(document: dict[str, Any]) -> Atoms:
    return Atoms(document["numbers"], document["positions"], cell=document["cell"], pbc=document["pbc"])
