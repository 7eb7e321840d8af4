"""``configurations``: the labelled data set, one document per structure.

A structure is a *candidate* until a label task claims it (*labelling*); it ends *labelled* or *quarantined*:
without a label that can be trusted, or with one of another level of theory than the campaign's. Every
quarantined one says why in ``error``. What its user takes out of the data set is *removed*, with the state
that it had and a reason in ``removed``; models that were trained on it still find it. ``(campaign, key)`` is
unique, and a key says where a structure comes from, so that selecting twice proposes once.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from enum import Enum
from typing import Any

from ase import Atoms
from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.database import Database

from alpw import __version__
from alpw.database import campaigns, failures
from alpw.database.campaigns import now
from alpw.database.documents import label_document, structure_document
from alpw.database.revisions import recall
from alpw.database.upsert import insert_once
from alpw.errors import CalculationError
from alpw.structures.frame import LabelledFrame

COLLECTION = "configurations"

INITIAL = -1
"""``iteration`` of what was there before the first one"""


class State(str, Enum):
    """Life of a configuration."""

    CANDIDATE = "candidate"
    LABELLING = "labelling"
    LABELLED = "labelled"
    QUARANTINED = "quarantined"
    REMOVED = "removed"


#: States in which a label is still to come.
PENDING_STATES = (State.CANDIDATE.value, State.LABELLING.value)


class Role(str, Enum):
    """What a configuration is for. A validation frame is never trained on."""

    TRAIN = "train"
    VALIDATION = "validation"


def propose(
    db: Database, campaign: str, iteration: int, key: str, atoms: Atoms, role: Role, source: dict[str, Any]
) -> ObjectId:
    """Add a structure to be labelled, once per ``(campaign, key)``, and return its id.

    One whose label was set aside with an earlier course of the campaign comes back with it.

    Args:
        db: the campaign's database.
        campaign: its name.
        iteration: index of the iteration that wants it; -1 for the initial data set.
        key: where the structure comes from, unique in the campaign.
        atoms: the structure.
        role: train or validation.
        source: lineage (trajectory, frame, temperature, operations and seeds, uncertainty at selection).
    """
    structure = structure_document(atoms)
    wanted = {"iteration": iteration, "role": role.value, "source": source}
    recall(db, COLLECTION, campaign, key, {**wanted, "structure_hash": structure["structure_hash"]}, atoms)
    document = insert_once(
        db[COLLECTION],
        {"campaign": campaign, "key": key},
        {
            **wanted,
            "state": State.CANDIDATE.value,
            "attempts": 0,
            "created": now(),
            **structure,
        },
    )
    return document["_id"]


def import_frames(
    db: Database, campaign: str, frames: Iterable[LabelledFrame], role: Role, source: str, settings_hash: str
) -> int:
    """Add frames that are labelled already (``init_data``, ``valid_data``); returns how many are new."""
    count = 0
    for index, frame in enumerate(frames):
        result = db[COLLECTION].update_one(
            {"campaign": campaign, "key": f"{source}#{index}"},
            {
                "$setOnInsert": {
                    "iteration": -1,
                    "role": role.value,
                    "state": State.LABELLED.value,
                    "attempts": 0,
                    "source": {"file": source, "frame": index},
                    "settings_hash": settings_hash,
                    "created": now(),
                    **structure_document(frame.atoms),
                    **label_document(frame.atoms, frame.label),
                }
            },
            upsert=True,
        )
        count += result.upserted_id is not None
    return count


def is_data_set(db: Database, name: str) -> bool:
    """Whether frames were imported under a name that is no campaign's."""
    frame = db[COLLECTION].find_one({"campaign": name}, {"_id": 1})
    return frame is not None and campaigns.find(db, name) is None


def claim(db: Database, configuration: ObjectId, fw_id: int) -> dict[str, Any] | None:
    """Take a configuration for labelling; None when it is done or another Firework has it.

    A Firework that died and runs again finds its own claim and may take it once more.
    """
    return db[COLLECTION].find_one_and_update(
        {
            "_id": configuration,
            "$or": [
                {"state": State.CANDIDATE.value},
                {"state": State.LABELLING.value, "claim.fw_id": fw_id},
            ],
        },
        {
            "$set": {
                "state": State.LABELLING.value,
                "claim": {"fw_id": fw_id, "host": socket.gethostname(), "pid": os.getpid(), "at": now()},
            },
            "$inc": {"attempts": 1},
        },
        return_document=ReturnDocument.AFTER,
    )


def store_label(
    db: Database,
    configuration: ObjectId,
    frame: LabelledFrame,
    record: dict[str, Any],
    refusal: CalculationError | None = None,
) -> bool:
    """Write a label; False when the configuration was no longer waiting for one.

    Args:
        db: the campaign's database.
        configuration: id of a configuration in state *labelling*.
        frame: its structure, and the label.
        record: code, settings, settings_hash, corrections, wall_time (s), directory.
        refusal: why the label does not belong to the campaign's data set; it is quarantined.
    """
    state = State.QUARANTINED if refusal else State.LABELLED
    why = {"error": failures.error_document(refusal)} if refusal else {}
    result = db[COLLECTION].update_one(
        {"_id": configuration, "state": State.LABELLING.value},
        {
            "$set": {
                "state": state.value,
                "labelled": now(),
                "alpw_version": __version__,
                **label_document(*frame),
                **record,
                **why,
            },
            **({} if refusal else {"$unset": {"error": ""}}),
        },
    )
    return result.modified_count == 1


def put_back(db: Database, configuration: ObjectId) -> None:
    """Leave a configuration for which a job had too little time to another one."""
    db[COLLECTION].update_one(
        {"_id": configuration, "state": State.LABELLING.value},
        {"$set": {"state": State.CANDIDATE.value}, "$unset": {"claim": ""}},
    )


def quarantine(db: Database, configuration: ObjectId, error: CalculationError) -> None:
    """Record why a configuration has no label."""
    db[COLLECTION].update_one(
        {"_id": configuration, "state": {"$in": list(PENDING_STATES)}},
        {"$set": {"state": State.QUARANTINED.value, "error": failures.error_document(error)}},
    )


def release(db: Database, campaign: str, iteration: int, max_attempts: int) -> list[ObjectId]:
    """Take configurations back from Fireworks that ended without finishing them; returns their ids.

    Those that have been tried ``max_attempts`` times are left as they are.
    """
    query = _of(campaign, iteration) | {
        "state": {"$in": list(PENDING_STATES)},
        "attempts": {"$lt": max_attempts},
    }
    found = [document["_id"] for document in db[COLLECTION].find(query, {"_id": 1}).sort("_id", 1)]
    release_these(db, found)
    return found


def release_these(db: Database, configurations: list[ObjectId]) -> None:
    """Take configurations back from whoever has claimed them and not labelled them."""
    db[COLLECTION].update_many(
        {"_id": {"$in": configurations}, "state": {"$in": list(PENDING_STATES)}},
        {"$set": {"state": State.CANDIDATE.value}, "$unset": {"claim": ""}},
    )


def reopen(db: Database, campaign: str, iteration: int) -> list[ObjectId]:
    """Make an iteration's configurations without a label candidates again.

    What went wrong stays in ``errors``. Labels of another level of theory stay in quarantine: computing them
    again would give the same.
    """
    query = _of(campaign, iteration) | {"state": State.QUARANTINED.value, "energy": {"$exists": False}}
    return failures.reopen(db[COLLECTION], query, State.CANDIDATE.value)


def add_frame(
    db: Database,
    campaign: str,
    iteration: int,
    key: str,
    frame: LabelledFrame,
    role: Role,
    source: dict[str, Any],
    record: dict[str, Any],
    refusal: CalculationError | None = None,
) -> ObjectId:
    """Add a frame that came with its label, such as a step of AIMD, once per ``(campaign, key)``.

    Args:
        db: the campaign's database.
        campaign: its name.
        iteration: index of the iteration that made it; -1 for the initial data set.
        key: where the frame comes from, unique in the campaign.
        frame: structure and label.
        role: train or validation.
        source: lineage (calculation, step, temperature).
        record: code, settings, settings_hash, directory.
        refusal: why it does not belong to the campaign's data set; it is quarantined.
    """
    state = State.QUARANTINED if refusal else State.LABELLED
    document = insert_once(
        db[COLLECTION],
        {"campaign": campaign, "key": key},
        {
            "iteration": iteration,
            "role": role.value,
            "state": state.value,
            "attempts": 1,
            "source": source,
            "created": now(),
            "labelled": now(),
            "alpw_version": __version__,
            **structure_document(frame.atoms),
            **label_document(frame.atoms, frame.label),
            **record,
            **({"error": failures.error_document(refusal)} if refusal else {}),
        },
    )
    return document["_id"]


def ids(db: Database, campaign: str, *roles: Role, since: int = INITIAL) -> list[ObjectId]:
    """Ids of a campaign's labelled configurations in a stable order.

    Args:
        db: the campaign's database.
        campaign: its name.
        roles: what they are for.
        since: the iteration from which on they were chosen.
    """
    query = {
        "campaign": campaign,
        "role": {"$in": [role.value for role in roles]},
        "state": State.LABELLED.value,
        **({"iteration": {"$gte": since}} if since > INITIAL else {}),
    }
    return [document["_id"] for document in db[COLLECTION].find(query, {"_id": 1}).sort("_id", 1)]


def iterations_with(db: Database, campaign: str, structure_hash: str) -> set[int]:
    """The iterations of a campaign that have a structure, or wait for its label."""
    query = {"campaign": campaign, "structure_hash": structure_hash}
    return {document["iteration"] for document in db[COLLECTION].find(query, {"iteration": 1})}


def of_structure(db: Database, campaign: str, structure: str, **wanted: Any) -> list[dict[str, Any]]:
    """What came of a start structure of init_bulk, in the order in which it came.

    Args:
        db: the campaign's database.
        campaign: its name.
        structure: name of the start structure.
        wanted: values of further fields, such as ``state``.
    """
    query = {"campaign": campaign, "source.structure": structure, **wanted}
    return list(db[COLLECTION].find(query).sort("_id", 1))


def count_states(db: Database, campaign: str, iteration: int | None = None) -> dict[str, int]:
    """Number of configurations by state, of one iteration or of the whole campaign."""
    query = _of(campaign, iteration)
    return _count(db, query, "$state")


def count_by_iteration(db: Database, campaign: str) -> dict[int, dict[str, int]]:
    """Number of a campaign's configurations by iteration and state."""
    by_both = {"_id": {"iteration": "$iteration", "state": "$state"}, "count": {"$sum": 1}}
    pipeline: list[dict[str, Any]] = [{"$match": {"campaign": campaign}}, {"$group": by_both}]
    found: dict[int, dict[str, int]] = {}
    for row in db[COLLECTION].aggregate(pipeline):
        found.setdefault(row["_id"]["iteration"], {})[row["_id"]["state"]] = row["count"]
    return found


def count_errors(db: Database, campaign: str) -> dict[str, int]:
    """Number of a campaign's quarantined configurations by kind of failure."""
    return _count(db, {"campaign": campaign, "state": State.QUARANTINED.value}, "$error.kind")


def diagnoses(db: Database, campaign: str, limit: int = 0) -> list[dict[str, Any]]:
    """The ``error`` of a campaign's quarantined configurations, newest first; 0 is no limit."""
    query = {"campaign": campaign, "state": State.QUARANTINED.value}
    found = db[COLLECTION].find(query, {"error": 1}).sort("error.at", -1).limit(limit)
    return [document["error"] | {"configuration": str(document["_id"])} for document in found]


def _of(campaign: str, iteration: int | None) -> dict[str, Any]:
    return {"campaign": campaign} | ({} if iteration is None else {"iteration": iteration})


def _count(db: Database, query: dict[str, Any], field: str) -> dict[str, int]:
    pipeline: list[dict[str, Any]] = [{"$match": query}, {"$group": {"_id": field, "count": {"$sum": 1}}}]
    return {row["_id"]: row["count"] for row in db[COLLECTION].aggregate(pipeline)}
