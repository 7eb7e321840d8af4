"""``calculations``: relaxations and AIMD runs, one document each.

A calculation is *waiting* until a Firework claims it (*running*); when the time of its job is up it is
*unfinished* and another Firework goes on; it ends *done* or *quarantined*, with the reason. The relaxed
structure is kept here; the frames of AIMD are configurations, with the calculation as their source.
"""

from __future__ import annotations

import os
import socket
from enum import Enum
from typing import Any

from ase import Atoms
from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.database import Database

from alpw.database import failures
from alpw.database.campaigns import now
from alpw.database.documents import atoms_of, structure_document
from alpw.database.upsert import insert_once
from alpw.errors import CalculationError

COLLECTION = "calculations"


class State(str, Enum):
    """Life of a calculation."""

    WAITING = "waiting"
    RUNNING = "running"
    UNFINISHED = "unfinished"
    DONE = "done"
    QUARANTINED = "quarantined"


def propose(
    db: Database,
    campaign: str,
    iteration: int,
    key: str,
    task: str,
    atoms: Atoms,
    dft: dict[str, Any],
    source: dict[str, Any] | None = None,
) -> ObjectId:
    """Add a calculation, once per ``(campaign, key)``, and return its id.

    Args:
        db: the campaign's database.
        campaign: its name.
        iteration: index of the iteration that wants it; -1 for the preparation.
        key: unique in the campaign, such as ``relax/Si_config_0``.
        task: ``relax`` or ``aimd``.
        atoms: the structure to start from.
        dft: the resolved settings, as ``Dft.model_dump(mode="json")`` gives them.
        source: lineage of the structure.
    """
    document = insert_once(
        db[COLLECTION],
        {"campaign": campaign, "key": key},
        {
            "iteration": iteration,
            "task": task,
            "state": State.WAITING.value,
            "attempts": 0,
            "dft": dft,
            "source": source or {},
            "created": now(),
            **structure_document(atoms),
        },
    )
    return document["_id"]


def find(db: Database, calculation: ObjectId) -> dict[str, Any] | None:
    """A calculation, or None when it is gone."""
    return db[COLLECTION].find_one({"_id": calculation})


def claim(db: Database, calculation: ObjectId, fw_id: int) -> dict[str, Any] | None:
    """Take a calculation; None when it is done or another Firework has it."""
    return db[COLLECTION].find_one_and_update(
        {
            "_id": calculation,
            "$or": [
                {"state": {"$in": [State.WAITING.value, State.UNFINISHED.value]}},
                {"state": State.RUNNING.value, "claim.fw_id": fw_id},
            ],
        },
        {
            "$set": {
                "state": State.RUNNING.value,
                "claim": {"fw_id": fw_id, "host": socket.gethostname(), "pid": os.getpid(), "at": now()},
            },
            "$inc": {"attempts": 1},
        },
        return_document=ReturnDocument.AFTER,
    )


def store(
    db: Database, calculation: ObjectId, state: State, structure: Atoms, record: dict[str, Any]
) -> None:
    """Record how far a calculation came.

    Args:
        db: the campaign's database.
        calculation: its id.
        state: done or unfinished.
        structure: the last geometry.
        record: steps, rejected, settings, settings_hash, corrections, wall_time (s), directory.
    """
    last = structure_document(structure)
    db[COLLECTION].update_one(
        {"_id": calculation},
        {
            "$set": {"state": state.value, "last": last, "updated": now(), **record},
            "$unset": {"error": "", "claim": ""},
        },
    )


def put_back(db: Database, calculation: ObjectId) -> None:
    """Leave a calculation for which a job had too little time to another one."""
    db[COLLECTION].update_one(
        {"_id": calculation}, {"$set": {"state": State.UNFINISHED.value}, "$unset": {"claim": ""}}
    )


def quarantine(db: Database, calculation: ObjectId, error: CalculationError) -> None:
    """Record why a calculation has no result."""
    db[COLLECTION].update_one(
        {"_id": calculation},
        {
            "$set": {"state": State.QUARANTINED.value, "error": failures.error_document(error)},
            "$unset": {"claim": ""},
        },
    )


def reopen(db: Database, campaign: str) -> None:
    """Let everything of a campaign that is not done wait again; for a campaign of which nothing runs.

    What went wrong stays in ``errors``; finished steps are gone on from.
    """
    query = {"campaign": campaign, "state": State.QUARANTINED.value}
    failures.reopen(db[COLLECTION], query, State.WAITING.value)
    # Claimed by Fireworks that fizzled: no other one could claim them.
    held = {"campaign": campaign, "state": {"$in": [State.RUNNING.value, State.UNFINISHED.value]}}
    db[COLLECTION].update_many(held, {"$set": {"state": State.WAITING.value}, "$unset": {"claim": ""}})


def forget_unfinished(db: Database, campaign: str) -> None:
    """Delete a campaign's calculations that are not done, so that other settings can be proposed."""
    db[COLLECTION].delete_many({"campaign": campaign, "state": {"$ne": State.DONE.value}})


def of_structure(db: Database, campaign: str, structure: str, task: str) -> list[dict[str, Any]]:
    """The calculations of one task of a start structure of init_bulk, in the order of their keys."""
    query = {"campaign": campaign, "source.structure": structure, "task": task}
    return list(db[COLLECTION].find(query).sort("key", 1))


def last_structure(document: dict[str, Any]) -> Atoms:
    """The relaxed structure, or the last step of AIMD."""
    return atoms_of(document["last"])


def diagnoses(db: Database, campaign: str) -> list[dict[str, Any]]:
    """The ``error`` of a campaign's quarantined calculations, newest first."""
    query = {"campaign": campaign, "state": State.QUARANTINED.value}
    found = db[COLLECTION].find(query, {"error": 1, "key": 1}).sort("error.at", -1)
    return [document["error"] | {"calculation": document["key"]} for document in found]
