"""``models``: trained Deep Potentials with their training set, seeds and errors; weights lie in GridFS."""

from __future__ import annotations

from typing import Any

from bson import ObjectId
from pymongo.database import Database

from alpw.database import blobs
from alpw.database.campaigns import now
from alpw.database.upsert import insert_once
from alpw.errors import DatabaseError

COLLECTION = "models"


def store(
    db: Database, campaign: str, iteration: int, member: int, weights: bytes, record: dict[str, Any]
) -> ObjectId:
    """Add a model once per ``(campaign, iteration, member)`` and return the id of the one that is stored."""
    existing = find(db, campaign, iteration, member)
    if existing:
        return existing["_id"]
    blob = blobs.put(db, weights, campaign=campaign, iteration=iteration, member=member)
    document = insert_once(
        db[COLLECTION],
        {"campaign": campaign, "iteration": iteration, "member": member},
        {"weights": blob, "size": len(weights), "created": now(), **record},
    )
    if document["weights"] != blob:
        blobs.delete(db, blob)
    return document["_id"]


def find(db: Database, campaign: str, iteration: int, member: int) -> dict[str, Any] | None:
    """One committee member of an iteration, or None."""
    return db[COLLECTION].find_one({"campaign": campaign, "iteration": iteration, "member": member})


def committee(db: Database, campaign: str, iteration: int) -> list[dict[str, Any]]:
    """An iteration's models in the order of their members."""
    return list(db[COLLECTION].find({"campaign": campaign, "iteration": iteration}).sort("member", 1))


def amend(db: Database, model: ObjectId, **fields: Any) -> None:
    """Set fields of a model's document."""
    db[COLLECTION].update_one({"_id": model}, {"$set": fields})


def put_aside(db: Database, campaign: str, iteration: int) -> None:
    """Take an iteration's models out of it, so that others are trained; they stay, under ``put_aside``."""
    for model in committee(db, campaign, iteration):
        place = {"iteration": iteration, "member": model["member"]}
        # An index wants the three of campaign, iteration and member to be unique.
        changes = {"iteration": None, "member": model["_id"], "put_aside": place}
        db[COLLECTION].update_one({"_id": model["_id"]}, {"$set": changes})


def trainer(model: dict[str, Any]) -> str:
    """Who trained a model; documents from before there was a choice do not say."""
    return str(model.get("trainer", "alpw"))


def weights(db: Database, model: dict[str, Any]) -> bytes:
    """The model of a model document in one piece, as its trainer gave it."""
    if not model.get("weights"):
        raise DatabaseError(f"model {model['_id']} has no weights")
    return blobs.get(db, model["weights"])
