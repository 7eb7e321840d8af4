"""True errors of a campaign's models, measured on labels that they were not trained on.

The held-out history is that of the committee: the mean over its members on one common set. What is said about
new labels is said of the model that explored, member 0: it is the one that chose the frames, and the one that
the user runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from bson import ObjectId

from alpw.database import configurations, iterations, judged, models, reading, snapshots
from alpw.database.configurations import Role
from alpw.firetasks.base import Context
from alpw.firetasks.thresholds import classes_at_selection
from alpw.potential.evaluation import Comparison
from alpw.potential.frame_errors import FrameErrors, Totals, by_element, errors_by_frame, pooled
from alpw.structures.frame import LabelledFrame
from alpw.trainers import trainer_of

LEAST_VALIDATION = 4
"""fewest validation frames of an iteration that alone are taken for its error"""


def _compared(context: Context, model: dict[str, Any], frames: Sequence[LabelledFrame]) -> Comparison:
    """What a stored model says about labelled frames, in their order."""
    place = context.directory("evaluate", f"model.{model['iteration']:04d}.{model['member']:03d}")
    trainer = trainer_of(models.trainer(model))
    found = trainer.compare(models.weights(context.db, model), frames, place, context.train_command)
    shutil.rmtree(place)
    return found


def committee_errors(
    context: Context, index: int, frames: dict[ObjectId, LabelledFrame], before: dict[str, Any]
) -> dict[str, Any] | None:
    """Errors of an iteration's models on labelled frames, averaged over the members.

    Args:
        context: of the campaign.
        index: of the iteration.
        frames: by the ids of their configurations.
        before: what this gave for an earlier ``set`` of frames, a snapshot; frames of it that are still among
            them are not compared again.

    Returns:
        ``force_rmse`` and ``force_mae`` in eV/Å, ``energy_rmse`` and ``energy_mae`` in eV/atom,
        ``n_frames``; ``members``, each ``model`` with its `Totals`; None without frames or models.
    """
    committee = models.committee(context.db, context.campaign, index)
    if not frames or not committee:
        return None
    measured = {member["model"]: Totals(**member["totals"]) for member in before.get("members", [])}
    known = set(snapshots.ids(context.db, before["set"])) if measured else set()
    if not known <= frames.keys():
        measured = {}
    members = {}
    for model in committee:
        earlier = measured.get(model["_id"])
        new = [frame for identity, frame in frames.items() if earlier is None or identity not in known]
        totals = [earlier] if earlier else []
        totals += [Totals.of(_compared(context, model, new))] if new else []
        members[model["_id"]] = reduce(add, totals)
    errors = [totals.errors() for totals in members.values()]
    return {
        **{name: float(np.mean([each[name] for each in errors])) for name in errors[0]},
        "n_frames": len(frames),
        "members": [{"model": model, "totals": asdict(totals)} for model, totals in members.items()],
    }


def evaluate_history(context: Context) -> None:
    """Measure every iteration's models on all held-out frames that there are now.

    One common set makes the numbers of different iterations comparable; it grows with the campaign, so
    earlier iterations are measured on what has come since.
    """
    db, campaign = context.db, context.campaign
    heldout = configurations.ids(db, campaign, Role.VALIDATION)
    if not heldout:
        return
    current = snapshots.freeze(db, heldout)["hash"]
    frames = dict(zip(heldout, reading.frames(db, heldout), strict=True))
    for iteration in iterations.of_campaign(db, campaign):
        before = iteration.get("heldout", {})
        if before.get("set") == current:
            continue
        if iteration.get("everything"):
            # Its models were trained on these frames.
            continue
        errors = committee_errors(context, iteration["index"], frames, before)
        if errors:
            iterations.update(db, campaign, iteration["index"], heldout={**errors, "set": current})


def judge_new_labels(context: Context) -> None:
    """Measure the model that chose a frame on the frame's label, once, before any model is trained on it.

    What an earlier iteration asked for and got late is measured as well, with the model of that iteration.
    """
    db, waiting = context.db, judged.not_judged(context.db, context.campaign)
    for index in sorted(set(waiting.values())):
        driver = models.find(db, context.campaign, index, 0)
        if driver is None:
            continue
        mine = [configuration for configuration, owner in waiting.items() if owner == index]
        errors = errors_by_frame(_compared(context, driver, list(reading.frames(db, mine))))
        for configuration, found in zip(mine, errors, strict=True):
            judged.store_error(db, configuration, {"iteration": index, **found.to_dict()})


def fresh_errors(context: Context) -> dict[str, Any] | None:
    """Errors of the iteration's driving model on the labels that it asked for and has not seen.

    Returns:
        What `pooled` gives for all of them, and in ``validation`` for those that were drawn at random from
        the frames explored; ``by_element``; ``by_temperature`` (K, rounded), ``by_class`` as the iteration's
        thresholds have it; None without labels.
    """
    fresh = judged.of_iterations(context.db, context.campaign, context.index, context.index)
    if not fresh:
        return None
    errors = [_errors(document) for document in fresh]
    held = [_errors(document) for document in fresh if document["role"] == Role.VALIDATION.value]
    temperatures = [document["source"].get("temperature") for document in fresh]
    classes = classes_at_selection(context, [document["source"] for document in fresh])
    return {
        **pooled(errors),
        **({"validation": pooled(held)} if held else {}),
        "by_element": by_element(errors),
        "by_temperature": _by(errors, (None if t is None else f"{t:.0f}" for t in temperatures)),
        "by_class": _by(errors, classes),
    }


def error_in_use(fresh: dict[str, Any] | None) -> tuple[float | None, str]:
    """The force error to judge convergence by, in eV/Å, and what it was measured on.

    Validation frames are drawn at random from the frames explored, the others because they are uncertain:
    with too few of the former all are taken, which errs on the safe side.
    """
    if fresh is None:
        return None, "nothing"
    held = fresh.get("validation", {})
    if held.get("n_frames", 0) >= LEAST_VALIDATION:
        return held["force_rmse"], "validation"
    return fresh["force_rmse"], "all new labels"


def _errors(document: dict[str, Any]) -> FrameErrors:
    return FrameErrors.of_dict(document["model_error"])


def _by(errors: list[FrameErrors], names: Iterable[str | None]) -> dict[str, dict[str, float]]:
    found: dict[str, list[FrameErrors]] = {}
    for error, name in zip(errors, names, strict=True):
        if name is not None:
            found.setdefault(name, []).append(error)
    return {name: pooled(found[name]) for name in sorted(found)}
