"""One pass through a data set: what each frame says of itself, and what the checks of whole sets need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from sys import intern
from typing import Any, NamedTuple

from bson import ObjectId
from pymongo.database import Database

from alpw.database.configurations import COLLECTION, State
from alpw.database.reading import CHUNK
from alpw.dataset.dataset import Dataset

STEP = 100
"""documents between two signs of progress"""

FrameCheck = Callable[[Mapping[str, Any]], str | None]
"""what is the matter with a document, or None"""


class Row(NamedTuple):
    """A labelled frame without its arrays, about 0.5 kB.

    Attributes:
        id: of the configuration.
        campaign: to which it belongs.
        level: its code and the hash of its settings, each "" if not known.
        formula: of the cell.
        energy: per atom, eV.
        volume: per atom, Å^3; 0 where the structure does not fill space.
        structure: its structure_hash.
        label: its label_hash.
        shares: whether it belongs to a branch and its arrays to the parent.
    """

    id: ObjectId
    campaign: str
    level: tuple[str, str]
    formula: str
    energy: float
    volume: float
    structure: str
    label: str
    shares: bool


@dataclass
class Survey:
    """What a pass found.

    Attributes:
        dataset: that was looked at.
        words: the query, as it was written.
        rows: its labelled frames that can be read.
        defects: check -> what it says of which configurations.
        orphans: configurations whose arrays belong to another one that is gone.
        n: configurations that were looked at.
        progress: told how many frames have been seen to.
    """

    dataset: Dataset
    words: Sequence[str] = ()
    rows: list[Row] = field(default_factory=list)
    defects: dict[str, list[tuple[ObjectId, str]]] = field(default_factory=dict)
    orphans: list[tuple[ObjectId, str]] = field(default_factory=list)
    n: int = 0
    progress: Callable[[int], object] = lambda done: None


def survey(
    dataset: Dataset,
    readable: FrameCheck,
    of_all: Mapping[str, FrameCheck],
    of_labels: Mapping[str, FrameCheck],
    words: Sequence[str] = (),
    progress: Callable[[int], object] = lambda done: None,
) -> Survey:
    """Look at each configuration once.

    Args:
        dataset: to look at.
        readable: whether arrays are what they should be; what is not, is looked at no further.
        of_all: checks of every other configuration.
        of_labels: checks of labelled ones.
        words: the query as it was written.
        progress: told how many frames have been looked at.
    """
    found = Survey(dataset, words, progress=progress)
    found.orphans = list(_orphans(dataset))
    whole = (
        dataset.where({"_id": {"$nin": [which for which, _ in found.orphans]}}) if found.orphans else dataset
    )
    for document in whole.documents():
        found.n += 1
        if found.n % STEP == 0:
            progress(found.n)
        if why := readable(document):
            found.defects.setdefault("arrays", []).append((document["_id"], why))
            continue
        has_label = _has_label(document)
        checks = {**of_all, **(of_labels if has_label else {})}
        for name, check in checks.items():
            if why := check(document):
                found.defects.setdefault(name, []).append((document["_id"], why))
        if has_label:
            found.rows.append(_row(document))
    return found


def _has_label(document: Mapping[str, Any]) -> bool:
    """Whether it has a label that is trusted; one of another level in quarantine is not."""
    state = document["state"]
    if state == State.REMOVED.value:
        state = document.get("removed", {}).get("state")
    return bool(state == State.LABELLED.value)


def _row(document: Mapping[str, Any]) -> Row:
    n_atoms = document["n_atoms"]
    return Row(
        document["_id"],
        intern(str(document["campaign"])),
        (intern(document.get("code") or ""), intern(document.get("settings_hash") or "")),
        intern(document["formula"]),
        document["energy"] / n_atoms,
        document.get("volume", 0.0) / n_atoms,
        document["structure_hash"],
        document.get("label_hash", ""),
        "reference" in document,
    )


def _orphans(dataset: Dataset) -> Iterator[tuple[ObjectId, str]]:
    shared = dataset.where({"reference": {"$exists": True}})
    wanted = {row["_id"]: row["reference"] for row in shared.documents({"reference": 1})}
    there = existing(dataset.db, wanted.values())
    for identity, reference in wanted.items():
        if reference not in there:
            yield identity, f"its arrays are those of {reference}, which is gone"


def existing(db: Database, ids: Iterable[ObjectId]) -> set[ObjectId]:
    """Those of some ids that configurations have, in whatever state."""
    found: set[ObjectId] = set()
    remaining = iter(set(ids))
    while chunk := list(islice(remaining, CHUNK)):
        documents = db[COLLECTION].find({"_id": {"$in": chunk}}, {"_id": 1})
        found |= {document["_id"] for document in documents}
    return found
