"""A campaign that goes on from an iteration of another one with changed inputs, and shares what came before.

Nothing large is copied. A label of the parent gets a document in the branch with all that people query by,
and ``reference``, the ``_id`` of the document that holds its arrays, which
`alpw.database.configurations.frames` follows. A model gets a document that names the same weights in GridFS.
Trajectories stay with the parent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fireworks import LaunchPad
from pymongo.collection import Collection
from pymongo.database import Database

from alpw.config.assign import assign
from alpw.config.keys import translate
from alpw.config.load import load_param
from alpw.config.param import CAMPAIGN_NAME, Param
from alpw.config.resource import Resource
from alpw.database import campaigns, configurations, iterations, models, reading, snapshots
from alpw.database.campaigns import CampaignState
from alpw.database.configurations import State
from alpw.errors import InputError
from alpw.workflows.check import check_inputs
from alpw.workflows.launch import enter, inputs_document, inputs_of, start_iteration
from alpw.workflows.update import same_level, trains_alike

#: Parts of the inputs that what is shared was made with: a branch cannot change them.
FIXED = {
    (
        "dft",
    ): "another level of theory needs another campaign: its labels do not go with those that are shared",
    ("train", "atom_type"): "the labels that are shared are of these elements",
    ("init_data",): "the first data set is shared",
    ("valid_data",): "the first data set is shared",
    ("initial",): "the first data set is shared",
}


def write_inputs(
    parent: dict[str, Any], assignments: Sequence[str], name: str, work_dir: Path, at: int
) -> Param:
    """The parent's parameters with changes, in ``param.NAME.json`` beside the parent's file.

    There its relative paths mean the same.

    Args:
        parent: the parent's document.
        assignments: changed keys, as :func:`alpw.config.assign.assign` takes them.
        name: of the branch.
        work_dir: its folder.
        at: its first iteration.

    Raises:
        InputError: a key or a value that is wrong, with its place; or one that a branch cannot change.
    """
    origin = Path(parent["resolved"]["param"]["file"])
    file = origin.with_name(f"param.{name}.json")
    if not origin.parent.is_dir():
        raise InputError(
            "this folder of the parent's inputs is gone; the branch's belong there", origin.parent
        )
    content, _ = translate(Param, parent["param"], origin)
    for assignment in assignments:
        if assignment.split("=")[0].strip() in ("campaign", "work_dir"):
            raise InputError("--name and --work-dir give the branch its name and folder", key=assignment)
        assign(content, assignment)
    content |= {"campaign": name, "work_dir": str(work_dir)}
    before = file.read_bytes() if file.exists() else None
    file.write_text(json.dumps(content, indent=2) + "\n")
    try:
        param = load_param(file)
        old, resource = inputs_of(parent)
        _check_fixed(old, param)
        check_inputs(param, resource)
        limit = param.strategy.max_iterations
        if limit is not None and limit <= at:
            text = f"{limit} iterations are done before iteration {at} begins; allow more"
            raise InputError(text, file, "strategy.max_iterations")
    except InputError:
        # Nothing is left of inputs that are refused.
        file.unlink() if before is None else file.write_bytes(before)
        raise
    return param


def _check_fixed(parent: Param, param: Param) -> None:
    for path, reason in FIXED.items():
        old: Any = parent
        new: Any = param
        for part in path:
            old, new = getattr(old, part), getattr(new, part)
        if not (same_level(old, new) if path == ("dft",) else old == new):
            raise InputError(f"cannot change in a branch: {reason}", key=".".join(path))


def check_branch(db: Database, parent: str, at: int, name: str) -> None:
    """See that a campaign can be branched from before an iteration, under a new name.

    Raises:
        InputError: an iteration before it is missing or not done; a name that is none, or is taken.
    """
    if not re.fullmatch(CAMPAIGN_NAME, name):
        text = f"{name!r} is no name; letters, digits, '_', '.' and '-' make one"
        raise InputError(text, key="--name")
    existing = campaigns.find(db, name)
    begun = existing is not None and existing.get("sharing") and existing["parent"] == _origin(parent, at)
    if existing and not begun:
        text = f"there is a campaign '{name}' already; --name gives the branch another one"
        raise InputError(text, key="--name")
    documents = {document["index"]: document for document in iterations.of_campaign(db, parent)}
    earlier = [document for index, document in documents.items() if index < at]
    unfinished = [document["index"] for document in earlier if document["stage"] != "done"]
    if at < 0 or (at > 0 and at - 1 not in documents) or not documents:
        last = max((i for i, d in documents.items() if d["kind"] == "explore"), default=-1) + 1
        raise InputError(f"{at} is no iteration that '{parent}' could go on from (0 to {last})", key="--at")
    if unfinished or (at > 0 and documents[at - 1]["kind"] == "final"):
        which = unfinished[0] if unfinished else at - 1
        raise InputError(
            f"iteration {which} of '{parent}' is not one that is done and followed by others", key="--at"
        )


def branch(launchpad: LaunchPad, parent_name: str, at: int, param: Param) -> None:
    """Create a branch; it is left stopped, ready to go on. May be repeated when it was cut short.

    Args:
        launchpad: the LaunchPad.
        parent_name: the campaign that it begins as.
        at: its first iteration of its own.
        param: its parameters, of :func:`write_inputs`.

    Raises:
        InputError: the point or the name is wrong, see :func:`check_branch`.
    """
    db = launchpad.db
    check_branch(db, parent_name, at, param.campaign)
    parent = campaigns.get(db, parent_name)
    _, resource = inputs_of(parent)
    origin = _origin(parent_name, at)
    enter(launchpad, param, resource, lambda db: _document(db, parent, param, resource, origin))
    _share(db, parent_name, param.campaign, at)
    start_iteration(launchpad, param.campaign, at)
    if _trains_alike(db, parent_name, param, at):
        _share_models(db, parent_name, param.campaign, {"$eq": at})
    db[campaigns.COLLECTION].update_one({"_id": param.campaign}, {"$unset": {"sharing": ""}})


def _origin(parent: str, at: int) -> dict[str, Any]:
    """What a branch's document says of where it comes from."""
    return {"campaign": parent, "at": at}


def _document(
    db: Database, parent: dict[str, Any], param: Param, resource: Resource, origin: dict[str, Any]
) -> dict[str, Any]:
    document, explore = inputs_document(db, param, resource), inputs_of(parent)[0].explore
    # As they were for the parent, whatever became of the files.
    if param.explore.sys_configs == explore.sys_configs:
        document |= {key: parent[key] for key in ("starts", "start_structures")}
    if param.explore.lmps_in == explore.lmps_in:
        document["templates"] = parent.get("templates")
    return {
        **document,
        "parent": origin,
        "sharing": True,
        "settings_hash": parent["settings_hash"],
        "state": CampaignState.STOPPED.value,
        "verdict": f"a new branch; `alpw resume {param.campaign}` lets it go on",
    }


def _share(db: Database, parent: str, name: str, at: int) -> None:
    """Labels, models and records of all iterations before ``at``."""
    labels = db[configurations.COLLECTION]
    query = {"campaign": parent, "iteration": {"$lt": at}, "state": State.LABELLED.value}
    arrays = dict.fromkeys((*reading.ARRAYS, "claim"), 0)
    # In the order of their making, which is that of a training set.
    for document in labels.find(query, arrays).sort("_id", 1):
        document.setdefault("reference", document["_id"])
        _insert(labels, name, document, ("key",))
    _share_models(db, parent, name, {"$lt": at})
    for document in db[iterations.COLLECTION].find({"campaign": parent, "index": {"$lt": at}}):
        _insert(db[iterations.COLLECTION], name, document | {"shared": True}, ("index",))


def _share_models(db: Database, parent: str, name: str, which: dict[str, int]) -> None:
    for document in db[models.COLLECTION].find({"campaign": parent, "iteration": which}):
        _insert(db[models.COLLECTION], name, document, ("iteration", "member"))


def _insert(collection: Collection, name: str, document: dict[str, Any], key: Sequence[str]) -> None:
    """Add a document to the branch, once."""
    place = {"campaign": name, **{part: document[part] for part in key}}
    fields = {part: value for part, value in document.items() if part != "_id" and part not in place}
    collection.update_one(place, {"$setOnInsert": fields}, upsert=True)


def _trains_alike(db: Database, parent: str, param: Param, at: int) -> bool:
    """Whether the parent's iteration ``at`` trained the same models on the same frames."""
    theirs = db[iterations.COLLECTION].find_one({"campaign": parent, "index": at})
    if theirs is None or theirs["kind"] != "explore":
        return False
    ours = iterations.get(db, param.campaign, at)
    old, _ = inputs_of(theirs["inputs"])
    return trains_alike(old, param) and _originals(db, theirs) == _originals(db, ours)


def _originals(db: Database, iteration: dict[str, Any]) -> list[Any]:
    """The documents that hold the arrays of an iteration's training set."""
    found = reading.by_ids(db, snapshots.ids(db, iteration["training_set"]["hash"]), {"reference": 1})
    return sorted(document.get("reference", document["_id"]) for document in found)
