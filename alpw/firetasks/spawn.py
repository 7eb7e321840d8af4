"""Fireworks that a running Firework appends to its own workflow."""

from __future__ import annotations

from collections.abc import Sequence

from bson import ObjectId
from fireworks import FWAction

from alpw.firetasks.base import Context
from alpw.workflows.active_learning import labelling_workflow


def label_once(context: Context, configurations: Sequence[ObjectId]) -> FWAction:
    """Append label chunks and their collector, unless an earlier run of this Firework did so."""
    query = {
        "spec.campaign": context.campaign,
        "spec.iteration": context.index,
        "spec.task": "CollectLabels",
    }
    context.record(stage="label")
    if context.launchpad.fireworks.find_one(query, {"fw_id": 1}):
        return FWAction(stored_data={"appended": 0})
    return label_again(context, configurations)


def label_again(context: Context, configurations: Sequence[ObjectId]) -> FWAction:
    """Append label chunks and a collector of their own."""
    workflow = labelling_workflow(
        context.campaign, context.index, configurations, context.resource.dft.group_size
    )
    return FWAction(stored_data={"appended": len(workflow.fws)}, additions=[workflow])
