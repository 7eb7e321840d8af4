"""``preparations``: what became of each start structure of an init_bulk campaign.

``(campaign, index)`` is unique. A preparation is *running* until its last Firework has judged it: *done*, or
*incomplete* when something of it failed, with the reasons in ``problems``. ``attempt`` counts its workflows.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from pymongo.database import Database

from alpw.database.campaigns import now
from alpw.database.upsert import insert_once

COLLECTION = "preparations"


class State(str, Enum):
    """Life of a preparation."""

    RUNNING = "running"
    DONE = "done"
    INCOMPLETE = "incomplete"


def create(db: Database, campaign: str, index: int, name: str, file: str) -> dict[str, Any]:
    """The preparation of a start structure, made if there was none.

    Args:
        db: the campaign's database.
        campaign: its name.
        index: number of the start structure.
        name: what it is called, such as ``Si_config_0``.
        file: where it was read.
    """
    fields = {
        "name": name,
        "file": file,
        "state": State.RUNNING.value,
        "stage": "waiting",
        "attempt": 0,
        "workflow": None,
        "started": now(),
    }
    return insert_once(db[COLLECTION], {"campaign": campaign, "index": index}, fields)


def get(db: Database, campaign: str, index: int) -> dict[str, Any]:
    """One preparation; raises KeyError when there is none."""
    document = db[COLLECTION].find_one({"campaign": campaign, "index": index})
    if document is None:
        raise KeyError(f"campaign '{campaign}' has no start structure {index}")
    return document


def update(db: Database, campaign: str, index: int, **fields: Any) -> None:
    """Set fields of a preparation."""
    db[COLLECTION].update_one({"campaign": campaign, "index": index}, {"$set": fields})


def of_campaign(db: Database, campaign: str) -> list[dict[str, Any]]:
    """A campaign's preparations in the order of their structures."""
    return list(db[COLLECTION].find({"campaign": campaign}).sort("index", 1))


def restart(db: Database, campaign: str, index: int) -> None:
    """Let a preparation that has ended run once more, with a workflow of its own."""
    db[COLLECTION].update_one(
        {"campaign": campaign, "index": index},
        {
            "$set": {"state": State.RUNNING.value, "stage": "waiting", "workflow": None},
            "$inc": {"attempt": 1},
        },
    )
