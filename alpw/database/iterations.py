"""``iterations``: the plan, the counts, the errors and the verdict of each iteration of a campaign.

``(campaign, index)`` is unique, so whoever inserts an iteration first is the one who adds its workflow.
Index -1 is the preparation of the initial data set.
"""

from __future__ import annotations

from typing import Any

from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from alpw.database.campaigns import now

COLLECTION = "iterations"

PREPARATION = -1


def create(db: Database, campaign: str, index: int, document: dict[str, Any]) -> bool:
    """Insert an iteration; False when it exists already."""
    try:
        db[COLLECTION].insert_one(
            {"campaign": campaign, "index": index, "stage": "planned", "started": now(), **document}
        )
    except DuplicateKeyError:
        return False
    return True


def get(db: Database, campaign: str, index: int) -> dict[str, Any]:
    """One iteration; raises KeyError when there is none."""
    document = db[COLLECTION].find_one({"campaign": campaign, "index": index})
    if document is None:
        raise KeyError(f"campaign '{campaign}' has no iteration {index}")
    return document


def update(db: Database, campaign: str, index: int, **fields: Any) -> None:
    """Set fields of an iteration."""
    db[COLLECTION].update_one({"campaign": campaign, "index": index}, {"$set": fields})


def of_campaign(db: Database, campaign: str) -> list[dict[str, Any]]:
    """A campaign's iterations in order, the preparation first."""
    return list(db[COLLECTION].find({"campaign": campaign}).sort("index", 1))


def latest(db: Database, campaign: str) -> dict[str, Any] | None:
    """The newest iteration of a campaign, or None before the first."""
    return db[COLLECTION].find_one({"campaign": campaign}, sort=[("index", -1)])


def claim_workflow(db: Database, campaign: str, index: int, owner: str) -> bool:
    """Become the one process that adds this iteration's workflow to the LaunchPad."""
    document = db[COLLECTION].find_one_and_update(
        {"campaign": campaign, "index": index, "workflow": None}, {"$set": {"workflow": {"adding": owner}}}
    )
    return document is not None


def confirm_workflow(db: Database, campaign: str, index: int) -> None:
    """Record that the workflow is in the LaunchPad."""
    update(db, campaign, index, workflow={"added": now()})


def release_workflow(db: Database, campaign: str, index: int, owner: str) -> None:
    """Give up a claim whose owner died before it could confirm."""
    db[COLLECTION].update_one(
        {"campaign": campaign, "index": index, "workflow.adding": owner}, {"$set": {"workflow": None}}
    )
