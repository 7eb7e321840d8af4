"""What an iteration explores: its stage, the user's LAMMPS inputs, the plan of its trajectories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import bson
from bson import ObjectId
from pymongo.database import Database

from alpw.codes.lammps import Template
from alpw.config.param import Param
from alpw.config.resource import Resource
from alpw.database import blobs, iterations
from alpw.database.uncertain import most_uncertain
from alpw.workflows.firework import EXPLORE, KPU
from alpw.workflows.plan import chunks, plan_trajectories
from alpw.workflows.request import request_for
from alpw.workflows.stages import FIRST, Stage, next_stage, stage_limits


def store_templates(db: Database, param: Param) -> ObjectId | None:
    """Keep the user's LAMMPS inputs as they are now; None if there are none."""
    if not param.explore.lmps_in:
        return None
    read = [Template.read(path) for path in param.explore.lmps_in]
    documents = [
        {"name": template.name, "text": template.text, "files": list(template.files.items())}
        for template in read
    ]
    return blobs.put(db, bson.encode({"templates": documents}), kind="LAMMPS inputs")


def templates_of(db: Database, inputs: dict[str, Any]) -> list[Template]:
    """The user's LAMMPS inputs, as they were when the inputs were given.

    Args:
        db: the campaign's database.
        inputs: a campaign's document, or the ``inputs`` of an iteration.
    """
    stored = inputs.get("templates")
    if stored is None:
        return []
    documents = bson.decode(blobs.get(db, stored))["templates"]
    return [Template(entry["name"], entry["text"], dict(entry["files"])) for entry in documents]


def exploration(db: Database, campaign: dict[str, Any], param: Param, index: int) -> dict[str, Any]:
    """Stage and plan of an iteration, as parts of its document.

    Args:
        db: the campaign's database.
        campaign: its document.
        param: its parameters.
        index: of the iteration.
    """
    name, entries = campaign["_id"], [start["entry"] for start in campaign["starts"]]
    stage = _stage(db, name, index, param)
    wanted = max(job.from_uncertain for job in param.explore.md_jobs[stage.entry])
    # Frames of a structure that changed inputs have replaced are those of another one.
    before = iterations.get(db, name, index - 1)["inputs"]["starts"] if wanted and index else []
    uncertain = {
        structure: most_uncertain(db, name, index - 1, structure, wanted)
        for structure, (old, new) in enumerate(zip(before, campaign["starts"], strict=False))
        if old == new
    }
    plan = plan_trajectories(
        param,
        index,
        entries,
        stage.entry,
        templates=templates_of(db, campaign),
        uncertain=uncertain,
    )
    return {"md_jobs": stage.entry, "stage_times": stage.times, "plan": plan}


def explorations(
    param: Param, resource: Resource, plan: Sequence[dict[str, Any]], sizes: Callable[[], Sequence[int]]
) -> dict[str, Any]:
    """The trajectories of each Firework of an iteration, its category, and what its job asks for.

    Args:
        param: the campaign's parameters.
        resource: its resources.
        plan: of the iteration.
        sizes: numbers of atoms of the start structures; asked for only where they matter.
    """
    category = resource.category(KPU if param.strategy.has_kpu else EXPLORE)
    block = resource.block(category)
    parts = chunks(plan, block.group_size)
    atoms = sizes() if block.by_atoms else ()
    return {
        "category": category,
        "trajectories": [[run["key"] for run in part] for part in parts],
        "asked": [request_for(block, (atoms[run["structure"]] for run in part)) for part in parts]
        if atoms
        else (),
    }


def _stage(db: Database, campaign: str, index: int, param: Param) -> Stage:
    """The stage after the previous iteration's; its document says whether it has converged with it."""
    if index == 0:
        return FIRST
    before = iterations.get(db, campaign, index - 1)
    stage = before["md_jobs"]
    # Documents from before stages were counted: one iteration per entry, the last one repeated.
    times = before.get("stage_times", index - stage)
    limits = stage_limits(param)
    following = next_stage(stage, times, before.get("stage_converged", False), limits)
    return following or Stage(len(limits) - 1, times + 1)
