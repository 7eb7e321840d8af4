"""True errors of a campaign's models, measured on labels that they were not trained on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from bson import ObjectId
from pymongo.database import Database

from alpw.database import configurations, iterations, models
from alpw.database.configurations import Role, State
from alpw.firetasks.base import Context
from alpw.potential import DeepPotential, test


def _member_errors(db: Database, model: dict[str, Any], frames: list[ObjectId]) -> dict[str, float | None]:
    potential = DeepPotential.from_bytes(models.weights(db, model))
    return asdict(test(potential, list(configurations.frames(db, frames))))


def committee_errors(
    db: Database, campaign: str, index: int, frames: list[ObjectId]
) -> dict[str, Any] | None:
    """Errors of an iteration's models on labelled frames, averaged over the members.

    Returns:
        ``force_rmse`` and ``force_mae`` in eV/Å, ``energy_rmse`` and ``energy_mae`` in eV/atom,
        ``n_frames``; None without frames or models.
    """
    committee = models.committee(db, campaign, index)
    if not frames or not committee:
        return None
    members = [_member_errors(db, model, frames) for model in committee]
    names = ("force_rmse", "force_mae", "energy_rmse", "energy_mae")
    averages = {name: float(np.mean([errors[name] for errors in members])) for name in names}
    return {**averages, "n_frames": len(frames)}


def evaluate_history(db: Database, campaign: str) -> None:
    """Measure every iteration's models on all held-out frames that there are now.

    One common set makes the numbers of different iterations comparable; it grows with the campaign, so
    earlier iterations are measured again.
    """
    heldout = configurations.ids(db, campaign, Role.VALIDATION)
    digest = configurations.snapshot_hash(heldout)
    for iteration in iterations.of_campaign(db, campaign):
        if iteration.get("heldout", {}).get("set") == digest:
            continue
        errors = committee_errors(db, campaign, iteration["index"], heldout)
        if errors:
            iterations.update(db, campaign, iteration["index"], heldout={**errors, "set": digest})


def fresh_label_errors(context: Context) -> dict[str, Any] | None:
    """Errors of this iteration's models on the training labels that it has just obtained."""
    query = {
        "campaign": context.campaign,
        "iteration": context.index,
        "role": Role.TRAIN.value,
        "state": State.LABELLED.value,
    }
    found = context.db[configurations.COLLECTION].find(query, {"_id": 1}).sort("_id", 1)
    fresh = [document["_id"] for document in found]
    return committee_errors(context.db, context.campaign, context.index, fresh)
