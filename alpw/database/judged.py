"""What the labels among ``configurations`` say about models and campaign: queries that verdicts rest on.

``model_error`` of a configuration is how far the model that chose it is from its label.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from alpw.database.configurations import COLLECTION, Role, State


def not_judged(db: Database, campaign: str) -> dict[ObjectId, int]:
    """Labelled frames of explorations that the model that chose them is not compared with, by iteration."""
    query = {
        "campaign": campaign,
        "state": State.LABELLED.value,
        "source.trajectory": {"$exists": True},
        # What has a model error has its iteration, which there is an index of.
        "model_error.iteration": None,
    }
    found = db[COLLECTION].find(query, {"iteration": 1}).sort("_id", 1)
    return {document["_id"]: document["iteration"] for document in found}


def store_error(db: Database, configuration: ObjectId, error: dict[str, Any]) -> None:
    """Keep how far the model that chose a frame is from its label."""
    db[COLLECTION].update_one({"_id": configuration}, {"$set": {"model_error": error}})


def of_iterations(db: Database, campaign: str, first: int, last: int) -> list[dict[str, Any]]:
    """``role``, ``source`` and ``model_error`` of frames that iterations ``first`` to ``last`` chose."""
    query = {"campaign": campaign, "model_error.iteration": {"$in": list(range(first, last + 1))}}
    return list(db[COLLECTION].find(query, {"role": 1, "source": 1, "model_error": 1}).sort("_id", 1))


def count_roles(db: Database, campaign: str) -> dict[str, int]:
    """Number of a campaign's labelled configurations by what they are for."""
    query = {"campaign": campaign, "state": State.LABELLED.value}
    return {role.value: db[COLLECTION].count_documents({**query, "role": role.value}) for role in Role}


def count_computed(db: Database, campaign: str) -> int:
    """Number of a campaign's labels without those that were there before it, or that others had computed."""
    query: dict[str, Any] = {"campaign": campaign, "state": State.LABELLED.value}
    query |= {"labelled": {"$exists": True}, "reused_from": {"$exists": False}}
    return db[COLLECTION].count_documents(query)


def usual_failure(db: Database, campaign: str, iteration: int) -> str:
    """What most of an iteration's quarantined labels died of: class and message; empty if none did."""
    query = {"campaign": campaign, "iteration": iteration, "state": State.QUARANTINED.value}
    errors = [document["error"] for document in db[COLLECTION].find(query, {"error": 1})]
    found = Counter(f"{error['kind']}: {error['message']}" for error in errors)
    return found.most_common(1)[0][0] if found else ""
