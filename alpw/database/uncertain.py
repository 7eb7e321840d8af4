"""Labelled frames by how uncertain the models were about them."""

from __future__ import annotations

from typing import Any

from bson import ObjectId
from pymongo.database import Database

from alpw.database import configurations, trajectories
from alpw.database.configurations import Role, State

ORDER = [(f"source.uncertainty.{series}", -1) for series in trajectories.MEASURES.values()]
"""A committee's deviation first; without a committee it is Kalman prediction uncertainty that decides."""


def most_uncertain(db: Database, campaign: str, iteration: int, structure: int, limit: int) -> list[ObjectId]:
    """Training frames of one start structure that an iteration explored and had labelled.

    Validation frames are not among them: what is explored from one would be much like it, and be trained on.

    Args:
        db: the campaign's database.
        campaign: its name.
        iteration: the iteration that explored them.
        structure: index of the start structure.
        limit: how many at most.

    Returns:
        Their ids, the most uncertain first.
    """
    wanted: dict[str, Any] = {
        "campaign": campaign,
        "iteration": iteration,
        "role": Role.TRAIN.value,
        "state": State.LABELLED.value,
    }
    # A branch's labels name trajectories of its parent.
    origins = db[configurations.COLLECTION].distinct("source.trajectory", wanted)
    of_structure = {"_id": {"$in": origins}, "structure": structure}
    runs = [run["_id"] for run in db[trajectories.COLLECTION].find(of_structure, {"_id": 1})]
    wanted["source.trajectory"] = {"$in": runs}
    found = db[configurations.COLLECTION].find(wanted, {"_id": 1}).sort([*ORDER, ("_id", 1)])
    return [document["_id"] for document in found.limit(limit)]
