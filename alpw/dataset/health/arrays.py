"""Whether a document is what was stored: arrays of the right shape, hashes and scalars of its data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpw.database.arrays import decode
from alpw.database.documents import SCHEMA, atoms_of, frame_of, label_document, structure_document
from alpw.dataset.health.problem import Problem, removable
from alpw.dataset.health.survey import Survey
from alpw.errors import DatabaseError
from alpw.findings import Severity

ROUNDING = 1e-9
"""relative; scalars are computed from the arrays in double precision"""

HASHES = {"structure_hash": "structure", "label_hash": "label"}

SCALARS = (
    *("structure_hash", "formula", "chemical_system", "volume", "density"),
    *("energy_per_atom", "max_force", "pressure", "label_hash"),
)
"""What arrays determine, the more telling ones first."""


def unreadable(document: Mapping[str, Any]) -> str | None:
    """Which array of a configuration has another shape than its atoms need, or holds what is no number."""
    n_atoms = document["n_atoms"]
    structure = document.get("structure") or {}
    needed = {
        "structure.numbers": (structure.get("numbers"), (n_atoms,)),
        "structure.cell": (structure.get("cell"), (3, 3)),
        "structure.positions": (structure.get("positions"), (n_atoms, 3)),
    }
    if "energy" in document or "forces" in document:
        if not _is_number(document.get("energy")):
            return f"energy is {document.get('energy')}"
        needed["forces"] = document.get("forces"), (n_atoms, 3)
    if "virial" in document:
        needed["virial"] = document["virial"], (3, 3)
    for name, (stored, shape) in needed.items():
        if why := _array_defect(stored, shape):
            return f"{name} {why}"
    return None


def _array_defect(stored: Any, shape: tuple[int, ...]) -> str | None:
    if stored is None:
        return "is missing"
    try:
        array: NDArray[Any] = decode(stored)
    except DatabaseError as error:
        return str(error)
    if array.shape != shape:
        return f"has shape {array.shape}, not {shape}"
    broken = int(np.count_nonzero(~np.isfinite(array)))
    return f"holds {broken} values that are no numbers" if broken else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def altered(document: Mapping[str, Any]) -> str | None:
    """Which hash or scalar of a configuration is not that of its arrays."""
    computed = structure_document(atoms_of(dict(document)))
    if "forces" in document:
        computed |= label_document(*frame_of(dict(document)))
    for name in SCALARS:
        stored, right = document.get(name), computed.get(name)
        is_older = stored is None and document.get("schema") != SCHEMA
        if is_older or _agree(stored, right):
            continue
        if name in HASHES:
            return f"{name} is that of another {HASHES[name]}" if stored else f"{name} is missing"
        return f"{name} is {stored}, that of its arrays {right}"
    return None


def _agree(stored: Any, right: Any) -> bool:
    if isinstance(right, float) and _is_number(stored):
        return math.isclose(stored, right, rel_tol=ROUNDING, abs_tol=ROUNDING)
    return bool(stored == right)


def older(document: Mapping[str, Any]) -> str | None:
    """Whether a configuration was stored by an older ALPW and never brought up to date."""
    return None if document.get("schema") == SCHEMA else f"schema {document.get('schema', 1)}"


def array_problems(found: Survey) -> Iterator[Problem]:
    """Configurations that cannot be read."""
    if defects := found.defects.get("arrays"):
        text = f"{len(defects)} configurations have arrays that cannot be what they were; training would end"
        yield removable("arrays", Severity.FAIL, text, defects, "broken arrays", found.words)


def reference_problems(found: Survey) -> Iterator[Problem]:
    """Configurations of a branch whose parent's are gone."""
    if found.orphans:
        text = f"{len(found.orphans)} configurations share the arrays of one that is gone"
        yield removable("references", Severity.FAIL, text, found.orphans, "arrays are gone", found.words)


def altered_problems(found: Survey) -> Iterator[Problem]:
    """Configurations that something else than ALPW has written to."""
    if defects := found.defects.get("altered"):
        text = f"{len(defects)} configurations were changed after ALPW had stored them: hashes do not match"
        yield removable("altered", Severity.FAIL, text, defects, "altered data", found.words)


def schema_problems(found: Survey) -> Iterator[Problem]:
    """Configurations without the scalars of today, which queries by them do not find."""
    if defects := found.defects.get("schema"):
        text = f"{len(defects)} configurations lack fields of schema {SCHEMA}: queries do not find them"
        yield Problem("schema", Severity.WARN, text, tuple(defects), "alpw dataset migrate")
