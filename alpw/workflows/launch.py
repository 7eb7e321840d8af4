"""Campaigns and iterations put into the LaunchPad, each exactly once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bson
from ase import Atoms
from fireworks import LaunchPad, Workflow
from pymongo.database import Database

from alpw import __version__
from alpw.config.init_bulk import InitBulk
from alpw.config.load import inputs_hash
from alpw.config.param import Param
from alpw.config.resource import Resource
from alpw.database import blobs, campaigns, claims, configurations, iterations, snapshots
from alpw.database.configurations import Role
from alpw.database.documents import atoms_of, structure_document
from alpw.database.indexes import ensure_indexes
from alpw.database.launchpad import database, prepare
from alpw.database.migrations import migrate
from alpw.database.owner import process_identity
from alpw.errors import InputError
from alpw.notify import tell
from alpw.structures.read import read_structure
from alpw.workflows.active_learning import (
    final_workflow,
    iteration_workflow,
    labelling_workflow,
    preparation_workflow,
)
from alpw.workflows.exploring import exploration, explorations, store_templates
from alpw.workflows.first_data import freeze_data, import_data

KINDS: dict[type, str] = {Param: campaigns.ACTIVE_LEARNING, InitBulk: campaigns.INIT_BULK}


def start_campaign(launchpad: LaunchPad, param: Param, resource: Resource) -> bool:
    """Create the campaign, or find it again, and see that its current workflow is in the LaunchPad.

    Returns:
        Whether the campaign is new.

    Raises:
        InputError: the name belongs to a campaign of another directory or with other inputs.
    """
    created = enter(
        launchpad,
        param,
        resource,
        lambda db: {**inputs_document(db, param, resource), "stored_data": freeze_data(db, param)},
    )
    continue_campaign(launchpad, param.campaign)
    if created:
        news = {"event": "started", "text": f"campaign {param.campaign} has begun in {param.work_dir}"}
        tell(param.webhook, campaign=param.campaign, state=campaigns.CampaignState.RUNNING.value, **news)
    return created


def enter(
    launchpad: LaunchPad,
    param: Param | InitBulk,
    resource: Resource,
    document: Callable[[Database], dict[str, Any]],
) -> bool:
    """Create a campaign of any kind, or see that the one of its name is the same; returns whether it is new.

    Args:
        launchpad: the LaunchPad.
        param: the user's parameters.
        resource: the user's resources.
        document: makes what is kept of them.

    Raises:
        InputError: the name belongs to a campaign of another directory or with other inputs.
    """
    prepare(launchpad)
    db = database(launchpad)
    ensure_indexes(db)
    migrate(db)
    if campaigns.find(db, param.campaign) is None:
        if configurations.is_data_set(db, param.campaign):
            text = f"'{param.campaign}' is a data set that was imported; give the campaign another name"
            raise InputError(text, param.file, "campaign")
        own = {"kind": KINDS[type(param)], "work_dir": str(param.work_dir), "alpw_version": __version__}
        if campaigns.create(db, param.campaign, {**document(db), **own}):
            return True
    check_same(campaigns.get(db, param.campaign), param, resource)
    return False


def inputs_document(db: Database, param: Param, resource: Resource) -> dict[str, Any]:
    """The inputs verbatim and resolved, with the start structures as they are now."""
    starts, structures = [], []
    for entry, system in enumerate(param.explore.sys_configs):
        for file in system.files:
            starts.append({"entry": entry, "file": str(file)})
            structures.append(read_structure(file, system.format))
    return {
        "param": param.source,
        "resource": resource.source,
        "resolved": {
            "param": param.model_dump(mode="json"),
            "resource": resource.model_dump(mode="json"),
        },
        "inputs_hash": inputs_hash(param, resource),
        "starts": starts,
        "start_structures": store_structures(db, structures),
        "templates": store_templates(db, param),
    }


def store_structures(db: Database, structures: list[Atoms]) -> bson.ObjectId:
    """Keep start structures as they are now; returns the id of what :func:`start_structures` reads."""
    documents = [structure_document(atoms) for atoms in structures]
    return blobs.put(db, bson.encode({"structures": documents}), kind="start structures")


def start_structures(db: Database, inputs: dict[str, Any]) -> list[Atoms]:
    """The structures that exploration starts from, as they were when the inputs were given.

    Args:
        db: the campaign's database.
        inputs: a campaign's document, or the ``inputs`` of an iteration.
    """
    documents = bson.decode(blobs.get(db, inputs["start_structures"]))["structures"]
    return [atoms_of(document) for document in documents]


def inputs_of(inputs: dict[str, Any]) -> tuple[Param, Resource]:
    """The parameters that a campaign's document, or the ``inputs`` of an iteration, holds."""
    resolved = inputs["resolved"]
    return Param.model_validate(resolved["param"]), Resource.model_validate(resolved["resource"])


def check_place(campaign: dict[str, Any], param: Param | InitBulk) -> None:
    """See that a campaign of this name is the one that the inputs mean.

    Raises:
        InputError: it is of another kind, or lies in another folder.
    """
    kind = KINDS[type(param)]
    if campaigns.kind(campaign) == campaigns.IMPORTED:
        text = f"campaign '{param.campaign}' was imported and cannot be run; {campaigns.go_on_from(campaign)}"
        raise InputError(text, param.file, "campaign")
    if campaigns.kind(campaign) != kind:
        raise InputError(
            f"campaign '{param.campaign}' is one of {campaigns.kind(campaign)}; give this one another name",
            param.file,
            "campaign",
        )
    if campaign["work_dir"] != str(param.work_dir):
        raise InputError(
            f"campaign '{param.campaign}' already exists in {campaign['work_dir']}; "
            "give this one another name",
            param.file,
            "campaign",
        )


def check_same(campaign: dict[str, Any], param: Param | InitBulk, resource: Resource) -> None:
    """See that inputs are those of an existing campaign.

    Raises:
        InputError: they are not.
    """
    check_place(campaign, param)
    if campaign["inputs_hash"] != inputs_hash(param, resource):
        when = "from the next iteration on" if isinstance(param, Param) else "to what is not done yet"
        raise InputError(
            f"the inputs differ from those that campaign '{param.campaign}' was started with; "
            f"use --update to apply them {when}, or set another name",
            param.file,
            "campaign",
        )


def continue_campaign(launchpad: LaunchPad, name: str) -> None:
    """See that the campaign's newest iteration has its workflow; safe to call at any time.

    Importing the initial data is repeated after a crash; frames that are there already are left alone.
    """
    db = database(launchpad)
    campaign = campaigns.get(db, name)
    if campaign["state"] != campaigns.CampaignState.RUNNING.value:
        return
    newest = iterations.latest(db, name)
    if newest:
        _add_workflow(launchpad, name, newest)
        return
    param, _ = inputs_of(campaign)
    import_data(db, param, campaign.get("stored_data", ()))
    if param.initial and not param.init_data:
        start_preparation(launchpad, name)
    else:
        start_iteration(launchpad, name, 0)


def start_preparation(launchpad: LaunchPad, name: str) -> None:
    """Add the workflow that makes and labels the initial data set."""
    _start(launchpad, name, iterations.PREPARATION, {"kind": "prepare"})


def start_iteration(launchpad: LaunchPad, name: str, index: int) -> None:
    """Plan an iteration with the present training set and add its workflow, once."""
    db = database(launchpad)
    campaign = campaigns.get(db, name)
    document = _exploration(db, campaign, index)
    _start(launchpad, name, index, document | training_set(db, campaign, index))


def _exploration(db: Database, campaign: dict[str, Any], index: int) -> dict[str, Any]:
    param, _ = inputs_of(campaign)
    planned = exploration(db, campaign, param, index)
    return {"kind": "explore", **planned, "inputs": frozen(campaign)}


def frozen(campaign: dict[str, Any]) -> dict[str, Any]:
    """The inputs that an iteration keeps to its end, whatever the user changes meanwhile."""
    frozen = {key: campaign[key] for key in ("resolved", "starts", "start_structures")}
    return {**frozen, "templates": campaign.get("templates")}


def start_final(launchpad: LaunchPad, name: str, index: int, verdict: str, reason: str) -> None:
    """Add the last training, on every label; the verdict takes effect when it is done."""
    db = database(launchpad)
    campaign = campaigns.get(db, name)
    everything = inputs_of(campaign)[0].strategy.final_everything
    document = {"kind": "final", "verdict": verdict, "reason": reason, "everything": everything}
    _start(launchpad, name, index, document | training_set(db, campaign, index, everything=everything))


def training_set(
    db: Database, campaign: dict[str, Any], index: int, *, everything: bool = False
) -> dict[str, Any]:
    """What an iteration trains on: all labels so far, or with `init_data_only_pretrain` the new ones.

    Args:
        db: the campaign's database.
        campaign: its document.
        index: of the iteration.
        everything: whether frames that were held out are trained on, too.
    """
    name, roles = campaign["_id"], list(Role) if everything else [Role.TRAIN]
    training = configurations.ids(db, name, *roles)
    if index > 0 and inputs_of(campaign)[0].init_data_only_pretrain:
        # As long as there is no new label, the first data set is trained on.
        training = configurations.ids(db, name, *roles, since=0) or training
    return {"training_set": snapshots.freeze(db, training)}


def _start(launchpad: LaunchPad, name: str, index: int, document: dict[str, Any]) -> None:
    db = database(launchpad)
    campaign = campaigns.get(db, name)
    iterations.create(db, name, index, {"inputs": frozen(campaign), "workflow": None, **document})
    _add_workflow(launchpad, name, iterations.get(db, name, index))


def _add_workflow(launchpad: LaunchPad, name: str, iteration: dict[str, Any]) -> None:
    """Add an iteration's workflow unless it is there; only one process at a time may try.

    That of a held campaign waits: it is added when the campaign goes on.
    """
    db, index = database(launchpad), iteration["index"]
    if not campaigns.is_running(db, name):
        return
    collection, key = db[iterations.COLLECTION], {"campaign": name, "index": index}
    if not claims.claim(collection, key, process_identity()):
        return
    metadata = {"campaign": name, "iteration": index, "kind": _workflow_kind(iteration)}
    if not launchpad.workflows.find_one({f"metadata.{key}": value for key, value in metadata.items()}):
        launchpad.add_wf(_build(db, name, iteration))
    claims.confirm(collection, key)


def _build(db: Database, name: str, iteration: dict[str, Any]) -> Workflow:
    index = iteration["index"]
    param, resource = inputs_of(iteration["inputs"])
    members, together = param.strategy.model_num, param.train.together

    def sizes() -> list[int]:
        return [len(atoms) for atoms in start_structures(db, iteration["inputs"])]

    builders: dict[str, Callable[[], Workflow]] = {
        "prepare": lambda: preparation_workflow(name, index),
        "explore": lambda: iteration_workflow(
            name,
            index,
            members,
            together=together,
            hooks=param.hooks,
            **explorations(param, resource, iteration["plan"], sizes),
        ),
        "final": lambda: final_workflow(name, index, members, together, param.hooks),
        # The collector has what is not labelled labelled, and then goes on.
        "label": lambda: labelling_workflow(name, index, []),
    }
    return builders[_workflow_kind(iteration)]()


def _workflow_kind(iteration: dict[str, Any]) -> str:
    """Which workflow an iteration gets: its own, or the end of it where a rerun begins there."""
    return "label" if iteration.get("entry") == "collect" else str(iteration["kind"])


def replan(db: Database, name: str, index: int) -> dict[str, Any]:
    """What an exploration would be planned as with the campaign's present inputs."""
    return _exploration(db, campaigns.get(db, name), index)
