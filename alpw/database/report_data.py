"""What a report on a campaign needs beyond its summary: data set, failures, models, versions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray
from pymongo.database import Database

from alpw.database import blobs, calculations, configurations, models, trajectories
from alpw.database.configurations import Role, State
from alpw.database.iteration_view import measures_of
from alpw.errors import FailureKind

Floats = NDArray[np.float64]

MODEL_FIELDS = (
    *("campaign", "iteration", "member", "weights", "size", "errors", "wall_time", "warm_start", "trainer"),
    "training_set.hash",
)
"""Of a model, what tables show; not the ids of its training set nor its epochs."""


@dataclass(frozen=True)
class Row:
    """A configuration without its arrays.

    Attributes:
        role: ``train`` or ``validation``.
        state: of its label.
        iteration: -1 for the initial data set.
        formula: of the cell.
        n_atoms: in the cell.
        origin: where the structure comes from, in words.
        temperature: K, of the dynamics that it is from; None for any other origin.
        code: that labelled it; None if it was imported.
        version: of ALPW that stored the label.
    """

    role: str
    state: str
    iteration: int
    formula: str
    n_atoms: int
    origin: str
    temperature: float | None
    code: str | None
    version: str | None

    @property
    def labelled(self) -> bool:
        """Whether it belongs to the data set."""
        return self.state == State.LABELLED.value


FIELDS = (
    *("role", "state", "iteration", "formula", "n_atoms", "code", "alpw_version"),
    *("source.file", "source.trajectory", "source.calculation", "source.temperature", "source.structure"),
)


def rows(db: Database, campaign: str) -> list[Row]:
    """A campaign's configurations, oldest first."""
    found = db[configurations.COLLECTION].find({"campaign": campaign}, dict.fromkeys(FIELDS, 1))
    return [_row(document) for document in found.sort("_id", 1)]


def _row(document: dict[str, Any]) -> Row:
    source = document.get("source") or {}
    return Row(
        role=document["role"],
        state=document["state"],
        iteration=document["iteration"],
        formula=document["formula"],
        n_atoms=document["n_atoms"],
        origin=_origin(source),
        temperature=source.get("temperature"),
        code=document.get("code"),
        version=document.get("alpw_version"),
    )


def _origin(source: dict[str, Any]) -> str:
    if "file" in source:
        return f"imported from {Path(source['file']).name}"
    if "trajectory" in source:
        return "exploration"
    if "calculation" in source:
        return "dynamics of init_bulk"
    return "perturbed start structure"


Composition = dict[str, tuple[int, int]]
"""Frames for training and for validation, by what they are."""


def composition(found: Iterable[Row], key: Callable[[Row], str | None]) -> Composition:
    """Labelled frames by a property; those without it are left out.

    Args:
        found: the configurations.
        key: the property.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in found:
        name = key(row)
        if row.labelled and name is not None:
            counts[name][row.role] += 1
    return {name: (c[Role.TRAIN.value], c[Role.VALIDATION.value]) for name, c in counts.items()}


@dataclass(frozen=True)
class Failures:
    """Calculations without a result for one reason.

    Attributes:
        kind: class of the failure.
        count: of them.
        example: diagnosis of the newest one.
    """

    kind: FailureKind
    count: int
    example: str


def failures(db: Database, campaign: str) -> list[Failures]:
    """Quarantined labels and calculations by class, the most frequent one first."""
    errors = configurations.diagnoses(db, campaign) + calculations.diagnoses(db, campaign)
    found = []
    for kind in FailureKind:
        diagnoses = [error["diagnosis"] for error in errors if error["kind"] == kind.value]
        if diagnoses:
            found.append(Failures(kind, len(diagnoses), diagnoses[0]))
    return sorted(found, key=lambda failure: -failure.count)


def mended(db: Database, campaign: str) -> int:
    """Labels that came after a failure that was tried again."""
    query = {"campaign": campaign, "state": State.LABELLED.value, "errors.0": {"$exists": True}}
    return db[configurations.COLLECTION].count_documents(query)


def corrections(db: Database, campaign: str) -> int:
    """Labels that an error handler repaired on the way."""
    query = {"campaign": campaign, "state": State.LABELLED.value, "corrections.0": {"$exists": True}}
    return db[configurations.COLLECTION].count_documents(query)


@dataclass(frozen=True)
class Explored:
    """Uncertainties of one group of trajectories of an iteration.

    Attributes:
        group: block and structure.
        values: ``(n_frames,)`` in eV/Å.
    """

    group: str
    values: Floats


def explored(db: Database, campaign: str, index: int) -> dict[str, list[Explored]]:
    """Per-frame uncertainties of an iteration by measure."""
    found: defaultdict[str, list[Explored]] = defaultdict(list)
    course = trajectories.whole_course(db, campaign)
    query = {"$and": [course, {"iteration": index, "n_frames": {"$gt": 0}}]}
    for run in db[trajectories.COLLECTION].find(query, {"series": 1, "group": 1, "deviation": 1}):
        for measure, values in measures_of(run).items():
            found[measure].append(Explored(str(run.get("group", "")), values))
    return dict(found)


def runs(db: Database, campaign: str) -> list[dict[str, Any]]:
    """What the trajectories of a campaign were, without their frames: settings, length, end."""
    course = trajectories.whole_course(db, campaign)
    return list(db[trajectories.COLLECTION].find(course, trajectories.WITHOUT_FRAMES).sort("_id", 1))


def members(db: Database, campaign: str) -> list[dict[str, Any]]:
    """Models in the order of iteration and member, without curves, with the SHA-256 of the weights."""
    # Those that were put aside belong to no iteration.
    query = {"campaign": campaign, "put_aside": {"$exists": False}}
    found = list(db[models.COLLECTION].find(query, dict.fromkeys(MODEL_FIELDS, 1)))
    names = {
        file["_id"]: file["filename"]
        for file in db[f"{blobs.BUCKET}.files"].find(
            {"_id": {"$in": [model.get("weights") for model in found]}}, {"filename": 1}
        )
    }
    for model in found:
        model["sha256"] = names.get(model.get("weights"))
    return sorted(found, key=lambda model: (model["iteration"], model["member"]))


def curves(db: Database, campaign: str, index: int) -> dict[int, list[dict[str, Any]]]:
    """The epochs of an iteration's trainings by member."""
    return {
        model["member"]: model.get("learning_curve") or [] for model in models.committee(db, campaign, index)
    }


def fresh_labels(db: Database, campaign: str, index: int) -> list[ObjectId]:
    """Labelled training frames that an iteration asked for."""
    query = {
        "campaign": campaign,
        "iteration": index,
        "role": Role.TRAIN.value,
        "state": State.LABELLED.value,
    }
    return [found["_id"] for found in db[configurations.COLLECTION].find(query, {"_id": 1}).sort("_id", 1)]


def levels(db: Database, campaign: str) -> list[dict[str, Any]]:
    """Each level of theory of a campaign's labels: ``hash``, ``code``, ``settings`` of one, ``count``."""
    collection = db[configurations.COLLECTION]
    known = {"campaign": campaign, "settings_hash": {"$exists": True}}
    found = []
    for digest in collection.distinct("settings_hash", known):
        query = known | {"settings_hash": digest}
        one = collection.find_one(query, {"settings": 1, "code": 1}) or {}
        found.append(
            {
                "hash": digest,
                "code": one.get("code"),
                "settings": one.get("settings") or {},
                "count": collection.count_documents(query),
            }
        )
    return sorted(found, key=lambda level: -level["count"])
