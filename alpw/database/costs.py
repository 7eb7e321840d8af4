"""What calculations have cost so far, over all campaigns of a database."""

from __future__ import annotations

from statistics import median
from typing import Any

from pymongo.database import Database

from alpw.database import calculations, configurations

NEWEST = 500
"""calculations that an estimate is made from"""


def core_hours_per_atom(db: Database, code: str, task: str) -> float | None:
    """Median cost of a calculation, divided by its number of atoms; None before the first one.

    Args:
        db: the database.
        code: its ``dft_style``.
        task: ``relax``, ``aimd`` or ``label``.
    """
    known: dict[str, Any] = {"code": code, "cores": {"$exists": True}}
    if task == "label":
        collection, query = configurations.COLLECTION, {**known, "state": "labelled"}
    else:
        collection, query = calculations.COLLECTION, {**known, "state": "done", "task": task}
    found = (
        db[collection].find(query, {"wall_time": 1, "cores": 1, "n_atoms": 1}).sort("_id", -1).limit(NEWEST)
    )
    costs = [d["wall_time"] * d["cores"] / d["n_atoms"] / 3600 for d in found if d.get("wall_time")]
    return median(costs) if costs else None
