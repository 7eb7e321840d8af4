"""What calculations have cost so far: one of a kind, over all campaigns of a database, and a campaign."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

from pymongo.database import Database

from alpw.config import Dft
from alpw.database import calculations, configurations, models, trajectories

NEWEST = 500
"""calculations that an estimate is made from"""


def core_hours(db: Database, dft: Dft, task: str) -> float | None:
    """Median cost of a calculation per atom, for ``aimd`` per atom and frame; None before the first one.

    Past calculations count if they were made by the same code; of ASE calculators, by the same one.

    Args:
        db: the database.
        dft: settings of the calculation.
        task: ``relax``, ``aimd`` or ``label``.
    """
    made: dict[str, Any] = {"code": dft.dft_style, "cores": {"$exists": True}}
    if task == "label":
        if dft.dft_style == "ase":
            # A label does not say by which calculator in a form that could be looked for.
            return None
        return _median(db[configurations.COLLECTION].find({**made, "state": "labelled"}, _FIELDS), False)
    made |= {"task": task, "state": "done"}
    if dft.dft_style == "ase":
        model = str(dft.model) if dft.model else None
        made |= {"dft.calculator": dft.calculator, "dft.model": model}
    return _median(db[calculations.COLLECTION].find(made, _FIELDS), task == "aimd")


_FIELDS = {"wall_time": 1, "cores": 1, "n_atoms": 1, "steps": 1}


def _median(found: Any, per_frame: bool) -> float | None:
    documents: Iterable[dict[str, Any]] = found.sort("_id", -1).limit(NEWEST)
    costs = [
        d["wall_time"] * d["cores"] / 3600 / d["n_atoms"] / (d["steps"] if per_frame else 1)
        for d in documents
        if d.get("wall_time") and (d.get("steps") or not per_frame)
    ]
    return median(costs) if costs else None


def spent(db: Database, campaign: str, iteration: int | None = None) -> dict[str, float]:
    """Core-hours that a campaign of active learning, or one iteration of it, has used up, by stage.

    Members that were trained in one pass each report the time of the pass. Trajectories use as many threads
    as trainings. Calculations that gave nothing are not counted: they leave no time behind.

    Returns:
        ``train``, ``explore`` and ``label``, in h.
    """
    query = {"campaign": campaign} | ({} if iteration is None else {"iteration": iteration})
    fields = {"iteration": 1, "wall_time": 1, "cores": 1, "train.threads": 1, "train.together": 1}
    threads: dict[int, int] = {}
    passes: dict[tuple[int, Any], float] = {}
    for model in db[models.COLLECTION].find(query, fields):
        index, options = model["iteration"], model.get("train", {})
        threads[index] = options.get("threads", 1)
        key = (index, None if options.get("together") else model["_id"])
        passes[key] = max(passes.get(key, 0.0), model.get("wall_time", 0.0) * threads[index])
    explored = [
        run.get("wall_time", 0.0) * threads.get(run["iteration"], 1)
        for run in db[trajectories.COLLECTION].find(query, fields)
    ]
    labelled = [
        label["wall_time"] * label.get("cores", 1)
        for label in db[configurations.COLLECTION].find({**query, "wall_time": {"$gt": 0}}, fields)
    ]
    seconds = {"train": sum(passes.values()), "explore": sum(explored), "label": sum(labelled)}
    return {stage: total / 3600 for stage, total in seconds.items()}
