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


def weights(db: Database, model: dict[str, Any]) -> bytes:
    """The model file of a model document."""
    if not model.get("weights"):
        raise DatabaseError(f"model {model['_id']} has no weights")
    return blobs.get(db, model["weights"])
