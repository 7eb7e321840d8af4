"""What other thresholds would have made of trajectories that are there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pymongo.database import Database

from alpw.database import iterations, judged, trajectories
from alpw.database.costs import core_hours
from alpw.errors import InputError
from alpw.potential.frame_errors import FrameErrors, pooled
from alpw.sampling.classify import CLASSES, classify
from alpw.workflows.launch import inputs_of, start_structures


@dataclass(frozen=True)
class GroupFilter:
    """Frames of one block and structure by class, and how many of them would be labelled for training."""

    group: str
    accurate: int
    candidate: int
    failed: int
    labels: int


@dataclass(frozen=True)
class RealisedError:
    """True force error (eV/Å) of an iteration's models on its own labels of one class."""

    frames: int
    force_rmse: float | None


@dataclass(frozen=True)
class IterationFilter:
    """What an iteration's trajectories come to under given thresholds.

    Attributes:
        index: of the iteration.
        groups: by block and structure.
        accurate, candidate, failed: frames in all.
        labels: for training, caps included; frames that the physical filter and the duplicates would take
            from them are not known.
        validation: labels beyond these that are held out.
        core_hours: of all these labels, by the median of past ones; None before the first.
        errors: by class, on the labels that there are.
    """

    index: int
    groups: list[GroupFilter]
    accurate: int
    candidate: int
    failed: int
    labels: int
    validation: int
    core_hours: float | None
    errors: dict[str, RealisedError]

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        return asdict(self)


def filter_campaign(
    db: Database,
    campaign: str,
    lower: float,
    upper: float,
    iteration: int | None = None,
    measure: str | None = None,
) -> list[IterationFilter]:
    """Sort the frames of finished trajectories by other thresholds; nothing is stored.

    Args:
        db: the campaign's database.
        campaign: its name.
        lower: from this uncertainty on a frame is a candidate, eV/Å.
        upper: from this one on it is not trusted, eV/Å.
        iteration: one of them; all that have explored when absent.
        measure: whose numbers the thresholds are; when absent a committee's where there is one.

    Raises:
        InputError: thresholds out of order, or no trajectory to judge.
    """
    if not 0 < lower < upper:
        raise InputError(
            f"{lower:g} must be above 0 and below the upper threshold {upper:g} (eV/Å)", key="--lower"
        )
    course = trajectories.whole_course(db, campaign)
    explored = sorted(db[trajectories.COLLECTION].distinct("iteration", course))
    if not explored:
        raise InputError(f"campaign '{campaign}' has no trajectory yet", key="CAMPAIGN")
    if iteration is not None and iteration not in explored:
        known = ", ".join(map(str, explored))
        raise InputError(
            f"iteration {iteration} has no trajectories (those that have: {known})", key="--iteration"
        )
    wanted = explored if iteration is None else [iteration]
    return [_filter(db, campaign, index, lower, upper, measure) for index in wanted]


def _filter(
    db: Database, campaign: str, index: int, lower: float, upper: float, measure: str | None
) -> IterationFilter:
    document = iterations.get(db, campaign, index)
    param, _ = inputs_of(document["inputs"])
    query = {"$and": [trajectories.whole_course(db, campaign), {"iteration": index}]}
    runs = list(db[trajectories.COLLECTION].find(query).sort("key", 1))
    measure = _measure(runs, measure)
    groups = [
        _group(name, [run for run in runs if run["group"] == name], lower, upper, measure)
        for name in dict.fromkeys(run["group"] for run in runs)
    ]
    total = {name: sum(getattr(group, name) for group in groups) for name in (*CLASSES, "labels")}
    limit = param.strategy.max_select_total
    share = 1.0 if limit is None else min(1.0, limit / max(total["labels"], 1))
    total["labels"] = total["labels"] if limit is None else min(total["labels"], limit)
    # The first frame of a trajectory is its start, which is not drawn for validation.
    usable = total["accurate"] + total["candidate"] - total["labels"] - len(runs)
    validation = max(0, min(param.strategy.validation_frames, usable))
    starts = [len(atoms) for atoms in start_structures(db, document["inputs"])]
    atoms = share * sum(group.labels * starts[_structure(runs, group.group)] for group in groups)
    atoms += validation * float(np.mean([starts[run["structure"]] for run in runs]))
    cost = core_hours(db, param.dft, "label")
    return IterationFilter(
        index=index,
        groups=groups,
        **total,
        validation=validation,
        core_hours=None if cost is None else cost * atoms,
        errors=_errors(db, campaign, index, lower, upper, measure),
    )


def _structure(runs: Sequence[dict[str, Any]], group: str) -> int:
    return next(int(run["structure"]) for run in runs if run["group"] == group)


def _measure(runs: Sequence[dict[str, Any]], wanted: str | None) -> str:
    """The measure that thresholds are about, out of those that trajectories have."""
    known = [
        name for name in trajectories.MEASURES if any(name in trajectories.measures(run) for run in runs)
    ]
    if wanted is None:
        return next(iter(known or trajectories.MEASURES))
    if wanted not in known:
        text = f"'{wanted}' is none that these trajectories have ({', '.join(known) or 'they have none'})"
        raise InputError(text, key="--measure")
    return wanted


def _group(
    name: str, runs: Sequence[dict[str, Any]], lower: float, upper: float, measure: str
) -> GroupFilter:
    series = trajectories.MEASURES[measure]
    values = np.concatenate([trajectories.series(run, series) for run in runs])
    counts = classify(values, lower, upper).counts
    return GroupFilter(group=name, **counts, labels=min(counts["candidate"], runs[0]["cap"]))


def _errors(
    db: Database, campaign: str, index: int, lower: float, upper: float, measure: str
) -> dict[str, RealisedError]:
    """True errors on the labels that the iteration asked for, which its model had not seen, by class."""
    found = judged.of_iterations(db, campaign, index, index)
    series = trajectories.MEASURES[measure]
    uncertainty = np.array([document["source"]["uncertainty"].get(series, np.nan) for document in found])
    errors = [FrameErrors.of_dict(document["model_error"]) for document in found]
    classes, realised = classify(uncertainty, lower, upper), {}
    for code, name in enumerate(CLASSES):
        mine = [errors[place] for place in classes.of(code)]
        realised[name] = RealisedError(len(mine), pooled(mine)["force_rmse"] if mine else None)
    return realised
