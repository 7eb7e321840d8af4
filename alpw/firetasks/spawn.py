"""Fireworks that a running Firework appends to its own workflow."""

from __future__ import annotations

from collections.abc import Sequence

from bson import ObjectId
from fireworks import FWAction

from alpw.config.param import Hook
from alpw.database import iterations, reading, trajectories
from alpw.database.configurations import Role
from alpw.firetasks.base import Context
from alpw.firetasks.hook import called
from alpw.sampling.order import by_information
from alpw.workflows.active_learning import calls, labelling_workflow, verdict_workflow
from alpw.workflows.firework import DFT
from alpw.workflows.plan import chunks
from alpw.workflows.request import request_for

#: Times that a configuration is given to a label Firework which does not finish it.
MAX_ATTEMPTS = 3


def label_once(context: Context, wanted: Sequence[ObjectId]) -> FWAction:
    """Append label chunks and their collector, unless an earlier run of this Firework did so."""
    query = {
        "spec.campaign": context.campaign,
        "spec.iteration": context.index,
        "spec.task": "CollectLabels",
    }
    context.record(stage="label")
    if context.launchpad.fireworks.find_one(query, {"fw_id": 1}):
        return FWAction(stored_data={"appended": 0})
    # The preparation has no selection.
    hooks = context.param.hooks if context.index != iterations.PREPARATION else ()
    return _label(context, wanted, hooks)


def label_again(context: Context, wanted: Sequence[ObjectId], follows: int | None = None) -> FWAction:
    """Append label chunks and a collector of their own, in the place of the collector that is named."""
    return _label(context, wanted, follows=follows)


def call_first(context: Context, early: bool) -> FWAction | None:
    """Before a verdict: append the functions of the user's that the labels are followed by, once each.

    Behind them comes a collector that takes the place of this one. None if all have been called.
    """
    done = called(context.iteration, context.param.hooks)
    mine = {"spec.campaign": context.campaign, "spec.iteration": context.index, "spec.task": "CallHook"}
    # One that has ended without being among those called was of another entry.
    pending = {**mine, "state": {"$nin": ["COMPLETED", "ARCHIVED"]}}
    coming = {
        firework["spec"]["_tasks"][0]["hook"]
        for firework in context.launchpad.fireworks.find(pending, {"spec._tasks": 1})
    }
    hooks, options = context.param.hooks, {"early": early, "follows": context.fw_id}
    workflow = verdict_workflow(context.campaign, context.index, hooks, done | coming, **options)
    if workflow:
        return FWAction(stored_data={"appended": len(workflow.fws)}, additions=[workflow])
    waiting = calls(context.campaign, context.index, hooks, "label", done=done)
    return FWAction(stored_data={"appended": 0}) if waiting else None


def _label(
    context: Context, wanted: Sequence[ObjectId], hooks: Sequence[Hook] = (), follows: int | None = None
) -> FWAction:
    parts = _by_information(context, wanted)
    asked = [request_for(context.resource.block(DFT), part.values()) for part in parts]
    ids = [list(part) for part in parts]
    workflow = labelling_workflow(context.campaign, context.index, ids, hooks, follows, asked)
    return FWAction(stored_data={"appended": len(workflow.fws)}, additions=[workflow])


def _by_information(context: Context, wanted: Sequence[ObjectId]) -> list[dict[ObjectId, int]]:
    """Chunks of configurations with their numbers of atoms, the most uncertain ones first.

    Equal structures share a chunk: the second one then finds the label of the first. With a quorum below one,
    the order decides which labels the verdict rests on: validation frames, drawn at random, are all among
    them, because the most uncertain ones alone would make the models look worse than they are.
    """
    found = reading.outlines(context.db, wanted)
    uncertainties = [document["source"].get("uncertainty", {}) for document in found]
    order = by_information(uncertainties, trajectories.MEASURES.values())
    if context.param.strategy.quorum < 1:
        order.sort(key=lambda place: found[place]["role"] != Role.VALIDATION.value)
    alike: dict[str, dict[ObjectId, int]] = {}
    for place in order:
        outline = found[place]
        alike.setdefault(outline["structure_hash"], {})[outline["_id"]] = outline["n_atoms"]
    parts = chunks(list(alike.values()), context.resource.block(DFT).chunk)
    return [{configuration: n for group in part for configuration, n in group.items()} for part in parts]
