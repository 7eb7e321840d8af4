"""``iterations``: the plan, the counts, the errors and the verdict of each iteration of a campaign.

``(campaign, index)`` is unique, so whoever inserts an iteration first is the one who adds its workflow.
Index -1 is the preparation of the initial data set.
"""

from __future__ import annotations

from collections.abc import Iterator
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


def take_over(db: Database, campaign: str, index: int, holder: dict[str, Any] | None, fw_id: int) -> bool:
    """Become the Firework that judges an iteration; False when somebody else was faster.

    Args:
        db: the campaign's database.
        campaign: its name.
        index: of the iteration.
        holder: its ``collector`` so far: ``fw_id``, and ``verdict`` and ``reason`` once it has judged.
        fw_id: of the Firework.
    """
    key: dict[str, Any] = {"campaign": campaign, "index": index}
    if holder is None:
        key["collector"] = None
    else:
        key |= {"collector.fw_id": holder["fw_id"], "collector.verdict": holder.get("verdict")}
    change = holder if holder and holder["fw_id"] == fw_id else {"fw_id": fw_id}
    return db[COLLECTION].find_one_and_update(key, {"$set": {"collector": change}}) is not None


def of_campaign(db: Database, campaign: str) -> list[dict[str, Any]]:
    """A campaign's iterations in order, the preparation first."""
    return list(db[COLLECTION].find({"campaign": campaign}).sort("index", 1))


def latest(db: Database, campaign: str) -> dict[str, Any] | None:
    """The newest iteration of a campaign, or None before the first."""
    return db[COLLECTION].find_one({"campaign": campaign}, sort=[("index", -1)])


def newest_first(db: Database, campaign: str, before: int, field: str) -> Iterator[Any]:
    """One field of the iterations before an index that have it, from the newest on."""
    query = {"campaign": campaign, "index": {"$lt": before}, field: {"$exists": True}}
    for document in db[COLLECTION].find(query, {field: 1}).sort("index", -1):
        yield document[field]
