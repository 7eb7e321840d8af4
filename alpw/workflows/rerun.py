"""A campaign taken back to a stage of an iteration: what came after is set aside and done again.

Everything may be repeated: an undoing that was cut short is recorded in the campaign and gone on with.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from enum import Enum
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from fireworks import LaunchPad
from pymongo.database import Database

from alpw.database import campaigns, configurations, iterations, models, trajectories
from alpw.database.campaigns import CampaignState
from alpw.database.configurations import State
from alpw.database.costs import core_hours
from alpw.database.revisions import archive_name, copy_aside, set_aside
from alpw.errors import InputError
from alpw.workflows.launch import inputs_of, replan, start_final, start_iteration


class Stage(str, Enum):
    """Stages of an iteration, in their order."""

    TRAIN = "train"
    EXPLORE = "explore"
    SELECT = "select"
    LABEL = "label"
    COLLECT = "collect"


#: Stage -> collections of which the iteration's own documents are set aside, and its folders.
UNDONE = {
    Stage.TRAIN: ((models, trajectories, configurations), ("00.train", "01.explore")),
    Stage.EXPLORE: ((trajectories, configurations), ("01.explore",)),
    Stage.SELECT: ((configurations,), ()),
    Stage.LABEL: ((), ()),
    Stage.COLLECT: ((), ()),
}

#: What the last stage writes into the iteration, and the record of the workflow.
_COLLECTED = (
    "verdict",
    "reason",
    "next_step",
    "finished",
    "labelled",
    "fresh_errors",
    "error_in_use",
    "calibration",
    "dataset",
    "core_hours",
    "in_a_row",
    "stage_converged",
    "collector",
)


@dataclass(frozen=True)
class Undoing:
    """What taking a campaign back means.

    Attributes:
        campaign: its name.
        iteration: the one to go on from.
        stage: the first stage that is done again.
        later: iterations after it that are set aside.
        models, trajectories: set aside.
        labels_aside: labels set aside, each found again if its structure is chosen again.
        labels_kept: labels that stay in the data set.
        retried: failed labels of the iteration that are tried again.
        core_hours: cost of as many labels of these sizes as are set aside or tried again, by the median of
            past ones: about what to expect, and less if labels are found again. None before the first label.
        training_hours: wall time that the models which are set aside took.
    """

    campaign: str
    iteration: int
    stage: str
    later: list[int]
    models: int
    trajectories: int
    labels_aside: int
    labels_kept: int
    retried: int
    core_hours: float | None
    training_hours: float

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        return asdict(self)


def plan_rerun(db: Database, name: str, index: int, stage: Stage) -> Undoing:
    """What :func:`undo` would do; nothing is changed.

    Raises:
        InputError: no such iteration, or one that has not that stage.
    """
    campaign = campaigns.get(db, name)
    documents = {document["index"]: document for document in iterations.of_campaign(db, name)}
    _check(db, campaign, documents, index, stage)
    param, _ = inputs_of(campaign)
    aside = _find(db, configurations, name, index, stage, {"n_atoms": 1, "state": 1})
    labels = [document for document in aside if document["state"] == State.LABELLED.value]
    retried = list(db[configurations.COLLECTION].find(_failed(name, index))) if stage is Stage.LABEL else []
    cost = core_hours(db, param.dft, "label")
    atoms = sum(document["n_atoms"] for document in (*labels, *retried))
    trained = _find(db, models, name, index, stage, {"wall_time": 1})
    kept = configurations.count_states(db, name).get(State.LABELLED.value, 0) - len(labels)
    return Undoing(
        campaign=name,
        iteration=index,
        stage=stage.value,
        later=[other for other in documents if other > index],
        models=len(trained),
        trajectories=len(_find(db, trajectories, name, index, stage, {"_id": 1})),
        labels_aside=len(labels),
        labels_kept=kept,
        retried=len(retried),
        core_hours=None if cost is None else cost * atoms,
        training_hours=sum(model.get("wall_time") or 0.0 for model in trained) / 3600,
    )


def _check(
    db: Database, campaign: dict[str, Any], documents: dict[int, dict[str, Any]], index: int, stage: Stage
) -> None:
    name, branch, marked = campaign["_id"], campaign.get("parent"), campaign.get("rerun")
    if marked:
        # Half of it is done, so what there is says nothing about what is allowed.
        if (marked["iteration"], marked["stage"]) != (index, stage.value):
            text = (
                f"a rerun from {marked['stage']} of iteration {marked['iteration']} was cut short; repeat it"
            )
            raise InputError(text, key="--from")
        return
    if branch and index < branch["at"]:
        text = (
            f"iteration {index} is shared with campaign '{branch['campaign']}'; `alpw branch` from that one"
        )
        raise InputError(text, key="--iteration")
    if index in documents and documents[index]["kind"] == "prepare":
        text = f"iteration {index} is the preparation: another first data set is another campaign"
        raise InputError(text, key="--iteration")
    allowed = [other for other, document in documents.items() if document["kind"] != "prepare"]
    if index not in allowed:
        known = ", ".join(map(str, allowed)) or "none yet"
        raise InputError(
            f"campaign '{name}' has no iteration {index} (those there are: {known})", key="--iteration"
        )
    if documents[index]["kind"] == "final" and stage is not Stage.TRAIN:
        text = f"iteration {index} is the final training; only {Stage.TRAIN.value} can be done again"
        raise InputError(text, key="--from")
    runs = trajectories.without_frames(db, name, index)
    if stage is Stage.SELECT and any("frames_deleted" in run for run in runs):
        text = f"the frames of iteration {index} are deleted (reserve_md_traj is false); explore again"
        raise InputError(text, key="--from")


def undo(launchpad: LaunchPad, name: str, index: int, stage: Stage) -> Undoing:
    """Set aside what came after a point of a campaign; it is left stopped, ready to go on from there.

    The iteration is done again with the campaign's present inputs.

    Raises:
        InputError: no such iteration, or something of the campaign may be running.
    """
    db = launchpad.db
    plan = plan_rerun(db, name, index, stage)
    campaign = campaigns.get(db, name)
    _check_at_rest(launchpad, campaign)
    marked = campaign.get("rerun")
    revision = marked["revision"] if marked else len(campaign.get("reruns", [])) + 1
    mark = {"iteration": index, "stage": stage.value, "revision": revision, "at": campaigns.now()}
    reason = f"taken back to iteration {index}; `alpw resume {name}` lets it go on"
    campaigns.update(db, name, rerun=mark, state=CampaignState.STOPPED.value, verdict=reason)
    archive = archive_name(name, revision)
    _archive_workflows(launchpad, name, index, archive)
    for collection in (models, trajectories, configurations):
        for query in _queries(collection, name, index, stage):
            set_aside(db[collection.COLLECTION], query, archive)
    _move_folders(db, campaign, index, stage, revision)
    _restart(launchpad, name, index, stage, archive)
    db[campaigns.COLLECTION].update_one({"_id": name}, {"$unset": {"rerun": ""}, "$push": {"reruns": mark}})
    return plan


def _check_at_rest(launchpad: LaunchPad, campaign: dict[str, Any]) -> None:
    name = campaign["_id"]
    busy = {"spec.campaign": name, "state": {"$in": ["RESERVED", "RUNNING"]}}
    if campaign["state"] == CampaignState.RUNNING.value or launchpad.fireworks.count_documents(busy):
        text = f"campaign '{name}' is at work; `alpw stop {name}` ends that, `alpw kill {name}` at once"
        raise InputError(text, key="CAMPAIGN")


def _queries(collection: Any, name: str, index: int, stage: Stage) -> list[dict[str, Any]]:
    """What of a collection is set aside: of later iterations everything, of this one by the stage."""
    found: list[dict[str, Any]] = [{"campaign": name, "iteration": {"$gt": index}}]
    if collection in UNDONE[stage][0]:
        found.append({"campaign": name, "iteration": index})
    return found


def _find(
    db: Database, collection: Any, name: str, index: int, stage: Stage, fields: dict[str, int]
) -> list[dict[str, Any]]:
    queries = _queries(collection, name, index, stage)
    return [document for query in queries for document in db[collection.COLLECTION].find(query, fields)]


def _failed(name: str, index: int) -> dict[str, Any]:
    query = {"campaign": name, "iteration": index, "state": State.QUARANTINED.value}
    return {**query, "energy": {"$exists": False}}


def _archive_workflows(launchpad: LaunchPad, name: str, index: int, archive: str) -> None:
    """Take the workflows from this iteration on out of every launcher's sight.

    FireWorks' own archiving makes each Firework ready for a moment, when somebody could take it.
    """
    query = {"metadata.campaign": name, "metadata.iteration": {"$gte": index}}
    for workflow in list(launchpad.workflows.find(query, {"nodes": 1})):
        fireworks = {"fw_id": {"$in": workflow["nodes"]}}
        launchpad.fireworks.update_many(fireworks, {"$set": {"state": "ARCHIVED", "spec.campaign": archive}})
        states = {str(node): "ARCHIVED" for node in workflow["nodes"]}
        change = {"state": "ARCHIVED", "fw_states": states, "metadata.campaign": archive}
        launchpad.workflows.update_one({"_id": workflow["_id"]}, {"$set": change})


def _move_folders(db: Database, campaign: dict[str, Any], index: int, stage: Stage, revision: int) -> None:
    """Rename the folders of what is set aside, ``00.train`` to ``00.train.1``; labels stay where they are."""
    for place in sorted(Path(campaign["work_dir"]).glob("iter.[0-9]*")):
        number = int(place.name.removeprefix("iter."))
        undone = stage if number == index else Stage.TRAIN
        for name in UNDONE[undone][1] if number >= index else ():
            old, new = place / name, place / f"{name}.{revision}"
            if old.exists() and not new.exists():
                old.rename(new)
            _follow(db, old, new)


def _follow(db: Database, old: Path, new: Path) -> None:
    """Let documents say where the files of a renamed folder are, those of a campaign that shares them too."""
    for collection, *keys in ((models, "covariance"), (models, "draws", "file"), (trajectories, "directory")):
        field = ".".join(keys)
        inside = {field: {"$regex": f"^{re.escape(f'{old}/')}"}}
        for document in db[collection.COLLECTION].find(inside, {field: 1}):
            path = reduce(getitem, keys, document)
            moved = {field: f"{new}{path.removeprefix(str(old))}"}
            db[collection.COLLECTION].update_one({"_id": document["_id"]}, {"$set": moved})


def _restart(launchpad: LaunchPad, name: str, index: int, stage: Stage, archive: str) -> None:
    """Set later iterations aside, and let this one begin at its stage; its workflow is added on going on."""
    db = launchpad.db
    collection = db[iterations.COLLECTION]
    set_aside(collection, {"campaign": name, "index": {"$gt": index}}, archive)
    if stage is Stage.TRAIN:
        if not collection.find_one({"campaign": archive, "index": index}, {"_id": 1}):
            set_aside(collection, {"campaign": name, "index": index}, archive)
        kept = iterations.get(db, archive, index)
        if kept["kind"] == "final":
            start_final(launchpad, name, index, kept["verdict"], kept["reason"])
        else:
            start_iteration(launchpad, name, index)
        return
    document = iterations.get(db, name, index)
    copy_aside(collection, document, ("index",), archive)
    plan = replan(db, name, index)
    changes: dict[str, Any] = {"stage": "planned", "workflow": None, "inputs": plan["inputs"], "entry": None}
    if stage is Stage.EXPLORE:
        changes |= plan
    elif stage is Stage.SELECT:
        refresh_selection(db, name, index, plan["plan"])
    else:
        changes["entry"] = "collect"
        # The verdict asks whether thresholds are calibrated.
        refresh_selection(db, name, index, plan["plan"])
    if stage is Stage.LABEL:
        configurations.reopen(db, name, index)
    stages = [each.value for each in Stage]
    again = [
        f"hooks.{key}"
        for key, called in document.get("hooks", {}).items()
        if stages.index(called["after"]) >= stages.index(stage.value)
    ]
    gone = dict.fromkeys([*_COLLECTED, *again], "")
    collection.update_one({"_id": document["_id"]}, {"$set": changes, "$unset": gone})


def refresh_selection(db: Database, name: str, index: int, plan: list[dict[str, Any]]) -> None:
    """Give trajectories that are selected from anew the caps and thresholds of another plan.

    Args:
        db: the campaign's database.
        name: of the campaign.
        index: of the iteration; what the other plan has not is left as it is in its trajectories and plan.
        plan: what the iteration would be planned as with the present inputs.
    """
    rules = {entry["key"]: {field: entry[field] for field in ("cap", "thresholds")} for entry in plan}
    for key, fields in rules.items():
        query = {"campaign": name, "iteration": index, "key": key}
        db[trajectories.COLLECTION].update_one(query, {"$set": fields})
    own = iterations.get(db, name, index)["plan"]
    iterations.update(db, name, index, plan=[entry | rules.get(entry["key"], {}) for entry in own])
