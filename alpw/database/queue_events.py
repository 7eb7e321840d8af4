"""``queue_events``: jobs that ended before their Firework did, and what was done about each.

The ``_id`` is that of the launch which the job held, so that each is dealt with once, by one process. An
event tells the job's end as SLURM and as ALPW call it, the remedy, and what the Firework asks for next time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from alpw.database.campaigns import now
from alpw.database.owner import is_dead, process_identity

COLLECTION = "queue_events"

#: Seconds after which another process may finish what the first one did not.
PATIENCE = 300.0


def begin(db: Database, launch_id: int, fields: dict[str, Any]) -> dict[str, Any] | None:
    """Become the process that deals with the end of a launch's job.

    Args:
        db: the campaign's database.
        launch_id: of the launch.
        fields: ``campaign``, ``fw_id``, ``job``, ``state``, ``end``, ``remedy``, ``asks``, ``reason``,
            ``counts``.

    Returns:
        The event as it stands, which an earlier process may have written and not carried out; None if that
        is done, or somebody else's to do.
    """
    owner = process_identity()
    event = {"_id": launch_id, **fields, "at": now(), "by": owner, "settled": False, "forgiven": False}
    try:
        db[COLLECTION].insert_one(event)
        return event
    except DuplicateKeyError:
        pass
    held = db[COLLECTION].find_one({"_id": launch_id, "settled": False})
    if held is None:
        return None
    old = held["at"] < now() - timedelta(seconds=PATIENCE)
    if held["by"] != owner and not is_dead(held["by"]) and not old:
        return None
    mine = {"_id": launch_id, "settled": False, "by": held["by"], "at": held["at"]}
    return db[COLLECTION].find_one_and_update(mine, {"$set": {"by": owner, "at": now()}})


def settle(db: Database, launch_id: int) -> None:
    """Record that an event has been dealt with."""
    db[COLLECTION].update_one({"_id": launch_id}, {"$set": {"settled": True}})


def withdraw(db: Database, launch_id: int) -> None:
    """Take an event back: the job told the database how it ended after all."""
    db[COLLECTION].delete_one({"_id": launch_id, "settled": False})


def count(db: Database, fw_id: int, end: str, launch_id: int) -> int:
    """How often jobs of a Firework ended in some way before the one of a launch."""
    query = {"fw_id": fw_id, "end": end, "forgiven": False, "_id": {"$ne": launch_id}}
    return db[COLLECTION].count_documents(query)


def excused(db: Database, fw_id: int) -> list[int]:
    """Ids of launches of a Firework that ended through no fault of its own."""
    query = {"fw_id": fw_id, "counts": False}
    return [event["_id"] for event in db[COLLECTION].find(query, {"_id": 1})]


def given_up(db: Database, launch_ids: list[int]) -> set[int]:
    """Those of some launches after which their Firework was let fail."""
    query = {"_id": {"$in": launch_ids}, "remedy": "fail", "forgiven": False}
    return {event["_id"] for event in db[COLLECTION].find(query, {"_id": 1})}


def to_run_again(db: Database, launch_ids: list[int]) -> set[int]:
    """Those of some launches whose Firework was to run again, and nobody has recorded that it does."""
    query = {"_id": {"$in": launch_ids}, "remedy": {"$ne": "fail"}, "settled": False}
    return {event["_id"] for event in db[COLLECTION].find(query, {"_id": 1})}


def known(db: Database, launch_ids: list[int]) -> set[int]:
    """Those of some launches whose job's end has been dealt with."""
    query = {"_id": {"$in": launch_ids}, "settled": True}
    return {event["_id"] for event in db[COLLECTION].find(query, {"_id": 1})}


def forgive(db: Database, fw_id: int) -> None:
    """Let a Firework begin anew: nothing of what happened to its jobs counts any more."""
    db[COLLECTION].update_many({"fw_id": fw_id}, {"$set": {"forgiven": True}})


def of_firework(db: Database, fw_id: int) -> dict[int, dict[str, Any]]:
    """All events of a Firework, by launch."""
    return {event["_id"]: event for event in db[COLLECTION].find({"fw_id": fw_id}).sort("at", 1)}


def of_campaign(db: Database, campaign: str) -> list[dict[str, Any]]:
    """All events of a campaign, oldest first."""
    return list(db[COLLECTION].find({"campaign": campaign}).sort("at", 1))
