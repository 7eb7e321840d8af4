"""Which frames the database has already: the same structure with the same label, or with another one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from bson import ObjectId
from pymongo.database import Database

from alpw.database import reading
from alpw.database.arrays import decode
from alpw.database.configurations import COLLECTION
from alpw.database.documents import atoms_of
from alpw.structures.hash import same_atoms

ENERGY_TOLERANCE = 1e-6
"""eV/atom, within which two labels are the same"""

FORCE_TOLERANCE = 1e-5
"""eV/Å, any component"""

_OUTLINE = dict.fromkeys(
    (
        "structure_hash",
        "label_hash",
        "settings_hash",
        "energy_per_atom",
        "max_force",
        "campaign",
        "state",
        "source.file",
        "source.frame",
        "directory",
    ),
    1,
)
_LONGEST = 3**0.5 * FORCE_TOLERANCE
"""how much the length of a force differs at most if its components do by the tolerance"""


class Kind(Enum):
    """What a frame is beside those that are there."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


class Verdict(NamedTuple):
    """A frame, what it is, and the document that it is compared with."""

    document: dict[str, Any]
    kind: Kind
    other: Mapping[str, Any] | None = None


class Known:
    """Labelled frames that a new one is compared with: those of the database, and new ones of a dry run.

    Args:
        db: the database.
        scope: a filter on those that count.
    """

    def __init__(self, db: Database, scope: Mapping[str, Any]) -> None:
        self.db, self.scope = db, scope
        self._promised: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def promise(self, document: Mapping[str, Any]) -> None:
        """Count a frame as there although it is not stored."""
        outline = {name: document[name] for name in ("_id", *_OUTLINE) if name in document}
        file, frame = (document["source"][name] for name in ("file", "frame"))
        outline |= {"source": {"file": file, "frame": frame}, "promised": True}
        self._promised[document["structure_hash"]].append(outline)

    def judge(self, documents: Sequence[dict[str, Any]]) -> Iterator[Verdict]:
        """What each document is, in order; among themselves the first one stands.

        A label is the same one if energy and forces agree within :data:`ENERGY_TOLERANCE` and
        :data:`FORCE_TOLERANCE`, whatever its level of theory is called. A conflict is another label of the
        same structure at the same level.
        """
        wanted = {
            "structure_hash": {"$in": sorted({document["structure_hash"] for document in documents})},
            "energy": {"$exists": True},
        }
        there: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for found in self.db[COLLECTION].find({**self.scope, **wanted}, _OUTLINE).sort("_id", 1):
            there[found["structure_hash"]].append(found)
        for structure in {document["structure_hash"] for document in documents} & self._promised.keys():
            there[structure] += self._promised[structure]
        self._fetch(documents, there)
        for document in documents:
            others = there[document["structure_hash"]]
            verdict = _verdict(document, others)
            if verdict.kind is Kind.NEW:
                others.append(document)
            yield verdict

    def _fetch(self, documents: Iterable[dict[str, Any]], there: Mapping[str, list[dict[str, Any]]]) -> None:
        """Get the arrays of those whose scalars leave it open whether they are the same."""
        unclear: dict[ObjectId, dict[str, Any]] = {}
        for document in documents:
            for other in there.get(document["structure_hash"], ()):
                is_open = document["label_hash"] != other.get("label_hash") and _alike(document, other)
                if is_open and not other.get("promised"):
                    unclear[other["_id"]] = other
        for whole in reading.by_ids(self.db, list(unclear)):
            unclear[whole["_id"]].update({name: whole[name] for name in ("structure", "forces")})


def _verdict(document: dict[str, Any], others: Sequence[Mapping[str, Any]]) -> Verdict:
    for other in others:
        if same_label(document, other):
            return Verdict(document, Kind.DUPLICATE, other)
    for other in others:
        if document["settings_hash"] == other.get("settings_hash"):
            return Verdict(document, Kind.CONFLICT, other)
    return Verdict(document, Kind.NEW)


def same_label(document: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two documents of the same structure have the same label.

    Args:
        document: with structure and forces.
        other: perhaps without; then energy and largest force decide.
    """
    if document["label_hash"] == other.get("label_hash"):
        return True
    if not _alike(document, other):
        return False
    if "forces" not in other:
        return True
    order = same_atoms(atoms_of(dict(document)), atoms_of(dict(other)))
    # Without an order two atoms share a place; their forces cannot be told apart.
    if order is None:
        return True
    difference = decode(document["forces"]) - decode(other["forces"])[order]
    return bool(np.abs(difference).max() <= FORCE_TOLERANCE)


def _alike(document: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    energies = abs(document["energy_per_atom"] - other["energy_per_atom"])
    forces = abs(document["max_force"] - other["max_force"])
    return bool(energies <= ENERGY_TOLERANCE and forces <= _LONGEST)
