"""Campaigns and iterations put into the LaunchPad, each exactly once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
from ase import Atoms
from fireworks import LaunchPad, Workflow
from pymongo.database import Database

from alpw import __version__
from alpw.config.load import inputs_hash
from alpw.config.param import Param
from alpw.config.resource import Resource
from alpw.database import blobs, campaigns, configurations, iterations
from alpw.database.configurations import Role
from alpw.database.indexes import ensure_indexes
from alpw.database.launchpad import database, prepare
from alpw.database.owner import process_identity
from alpw.errors import InputError
from alpw.formats.load import load_frames
from alpw.formats.pwdata import Part
from alpw.structures.read import read_structure
from alpw.workflows.active_learning import final_workflow, iteration_workflow, preparation_workflow
from alpw.workflows.plan import plan_trajectories, stage_of


def start_campaign(launchpad: LaunchPad, param: Param, resource: Resource) -> bool:
    """Create the campaign, or find it again, and see that its current workflow is in the LaunchPad.

    Returns:
        Whether the campaign is new.

    Raises:
        InputError: the name belongs to a campaign of another directory or with other inputs.
    """
    prepare(launchpad)
    db = database(launchpad)
    ensure_indexes(db)
    created = _create(db, param, resource)
    if not created:
        _check_same(campaigns.get(db, param.campaign), param, resource)
    continue_campaign(launchpad, param.campaign)
    return created


def _create(db: Database, param: Param, resource: Resource) -> bool:
    if campaigns.find(db, param.campaign):
        return False
    starts, structures = [], []
    for entry, system in enumerate(param.explore.sys_configs):
        for file in system.files:
            starts.append({"entry": entry, "file": str(file)})
            structures.append(read_structure(file, system.format))
    return campaigns.create(
        db,
        param.campaign,
        {
            "param": param.source,
            "resource": resource.source,
            "resolved": {
                "param": param.model_dump(mode="json"),
                "resource": resource.model_dump(mode="json"),
            },
            "inputs_hash": inputs_hash(param, resource),
            "work_dir": str(param.work_dir),
            "starts": starts,
            "start_structures": _store_structures(db, structures),
            "alpw_version": __version__,
        },
    )


def _store_structures(db: Database, structures: list[Atoms]) -> bson.ObjectId:
    documents = [configurations.structure_document(atoms) for atoms in structures]
    return blobs.put(db, bson.encode({"structures": documents}), kind="start structures")


def start_structures(db: Database, campaign: dict[str, Any]) -> list[Atoms]:
    """The structures that exploration starts from, as they were when the campaign was created."""
    documents = bson.decode(blobs.get(db, campaign["start_structures"]))["structures"]
    return [configurations.atoms_of(document) for document in documents]


def inputs_of(campaign: dict[str, Any]) -> tuple[Param, Resource]:
    """The parameters that a campaign document stores."""
    resolved = campaign["resolved"]
    return Param.model_validate(resolved["param"]), Resource.model_validate(resolved["resource"])


def _check_same(campaign: dict[str, Any], param: Param, resource: Resource) -> None:
    if campaign["work_dir"] != str(param.work_dir):
        raise InputError(
            f"campaign '{param.campaign}' already exists in {campaign['work_dir']}; "
            "give this one another name",
            param.file,
            "campaign",
        )
    if campaign["inputs_hash"] != inputs_hash(param, resource):
        raise InputError(
            f"the inputs differ from those that campaign '{param.campaign}' was started with; "
            "use --update to apply them from the next iteration on, or set another name",
            param.file,
            "campaign",
        )


def update_inputs(db: Database, param: Param, resource: Resource) -> None:
    """Let a campaign use changed inputs from its next iteration on; labels and models stay."""
    campaigns.update(
        db,
        param.campaign,
        param=param.source,
        resource=resource.source,
        resolved={"param": param.model_dump(mode="json"), "resource": resource.model_dump(mode="json")},
        inputs_hash=inputs_hash(param, resource),
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
        _add_workflow(launchpad, campaign, newest)
        return
    param, _ = inputs_of(campaign)
    _import_data(db, param)
    if param.initial and not param.init_data:
        start_preparation(launchpad, name)
    else:
        start_iteration(launchpad, name, 0)


def _import_data(db: Database, param: Param) -> None:
    """Add the user's labelled frames; the valid/ half of an old PWdata folder is never trained on."""
    sources: list[tuple[Path, Part, Role]] = [(path, "train", Role.TRAIN) for path in param.init_data]
    sources += [(path, "valid", Role.VALIDATION) for path in param.init_data]
    sources += [(path, "all", Role.VALIDATION) for path in param.valid_data]
    for path, part, role in sources:
        configurations.import_frames(
            db, param.campaign, load_frames(path, part), role, f"{path}:{part}", "imported"
        )


def start_preparation(launchpad: LaunchPad, name: str) -> None:
    """Add the workflow that makes and labels the initial data set."""
    _start(launchpad, name, iterations.PREPARATION, {"kind": "prepare"})


def start_iteration(launchpad: LaunchPad, name: str, index: int) -> None:
    """Plan an iteration with the present training set and add its workflow, once."""
    db = database(launchpad)
    campaign = campaigns.get(db, name)
    param, _ = inputs_of(campaign)
    plan = plan_trajectories(param, index, [start["entry"] for start in campaign["starts"]])
    document = {"kind": "explore", "md_jobs": stage_of(param, index), "plan": plan}
    _start(launchpad, name, index, document | _training_set(db, name))


def start_final(launchpad: LaunchPad, name: str, index: int, verdict: str, reason: str) -> None:
    """Add the last training, on every label; the verdict takes effect when it is done."""
    db = database(launchpad)
    document = {"kind": "final", "verdict": verdict, "reason": reason}
    _start(launchpad, name, index, document | _training_set(db, name))


def _training_set(db: Database, name: str) -> dict[str, Any]:
    training = configurations.ids(db, name, Role.TRAIN)
    return {"training_set": {"ids": training, "hash": configurations.snapshot_hash(training)}}


def _start(launchpad: LaunchPad, name: str, index: int, document: dict[str, Any]) -> None:
    db = database(launchpad)
    iterations.create(db, name, index, document | {"workflow": None})
    _add_workflow(launchpad, campaigns.get(db, name), iterations.get(db, name, index))


def _add_workflow(launchpad: LaunchPad, campaign: dict[str, Any], iteration: dict[str, Any]) -> None:
    """Add an iteration's workflow unless it is there; only one process at a time may try."""
    db, name, index = database(launchpad), campaign["_id"], iteration["index"]
    if not iterations.claim_workflow(db, name, index, process_identity()):
        return
    if not launchpad.workflows.find_one({"metadata.campaign": name, "metadata.iteration": index}):
        launchpad.add_wf(_build(campaign, iteration))
    iterations.confirm_workflow(db, name, index)


def _build(campaign: dict[str, Any], iteration: dict[str, Any]) -> Workflow:
    name, index = campaign["_id"], iteration["index"]
    param, resource = inputs_of(campaign)
    members = param.strategy.model_num
    builders: dict[str, Callable[[], Workflow]] = {
        "prepare": lambda: preparation_workflow(name, index),
        "explore": lambda: iteration_workflow(
            name, index, members, [plan["key"] for plan in iteration["plan"]], resource.explore.group_size
        ),
        "final": lambda: final_workflow(name, index, members),
    }
    return builders[iteration["kind"]]()
