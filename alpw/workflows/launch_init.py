"""Campaigns of init_bulk put into the LaunchPad: one workflow for each start structure, exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ase import Atoms
from fireworks import LaunchPad, Workflow
from pymongo.database import Database

from alpw.config import InitBulk, InitResource, inputs_hash
from alpw.database import calculations, campaigns, claims, configurations, preparations
from alpw.database.launchpad import database
from alpw.database.owner import process_identity
from alpw.errors import InputError
from alpw.structures.hash import structure_hash
from alpw.structures.read import read_structure
from alpw.workflows.extend_init import check_extension
from alpw.workflows.init_bulk import structure_name, structure_workflow
from alpw.workflows.launch import check_place, enter, start_structures, store_structures


def init_inputs_of(campaign: dict[str, Any]) -> tuple[InitBulk, InitResource]:
    """The parameters that a campaign's document holds."""
    resolved = campaign["resolved"]
    return InitBulk.model_validate(resolved["param"]), InitResource.model_validate(resolved["resource"])


def start_init(launchpad: LaunchPad, init: InitBulk, resource: InitResource) -> bool:
    """Create the campaign, or find it again, and see that its workflows are in the LaunchPad.

    Returns:
        Whether the campaign is new.

    Raises:
        InputError: the name belongs to a campaign of another directory or with other inputs.
    """
    created = enter(launchpad, init, resource, lambda db: _inputs_document(db, init, resource))
    continue_init(launchpad, init.campaign)
    return created


def _inputs_document(db: Database, init: InitBulk, resource: InitResource) -> dict[str, Any]:
    """The inputs verbatim and resolved, with the start structures as they are now."""
    structures = read_starts(init)
    return {
        "param": init.source,
        "resource": resource.source,
        "resolved": {"param": init.model_dump(mode="json"), "resource": resource.model_dump(mode="json")},
        "inputs_hash": inputs_hash(init, resource),
        "notes": [*init.notes, *resource.notes],
        "starts": [
            {
                "name": name_of(atoms, start.number),
                "file": str(start.file),
                "entry": start.entry,
                "structure_hash": structure_hash(atoms),
            }
            for start, atoms in zip(init.starts, structures, strict=True)
        ],
        "start_structures": store_structures(db, structures),
    }


def read_starts(init: InitBulk) -> list[Atoms]:
    """The start structures, in their order."""
    return [read_structure(start.file, init.entry(start.number).format) for start in init.starts]


def name_of(atoms: Atoms, index: int) -> str:
    """What start structure ``index`` is called."""
    return structure_name(atoms.symbols.formula.reduce()[0].format("metal"), index)


def continue_init(launchpad: LaunchPad, name: str) -> None:
    """See that every start structure has its workflow; safe to call at any time."""
    db = database(launchpad)
    campaign = campaigns.get(db, name)
    if campaign["state"] != campaigns.CampaignState.RUNNING.value:
        return
    for index, start in enumerate(campaign["starts"]):
        document = preparations.create(db, name, index, start["name"], start["file"])
        if document["workflow"] is None:
            _add_workflow(launchpad, campaign, document)


def _add_workflow(launchpad: LaunchPad, campaign: dict[str, Any], preparation: dict[str, Any]) -> None:
    """Add a start structure's workflow unless it is there; only one process at a time may try."""
    db, name = database(launchpad), campaign["_id"]
    key = {"campaign": name, "index": preparation["index"]}
    collection = db[preparations.COLLECTION]
    if not claims.claim(collection, key, process_identity()):
        return
    mine = {"metadata.campaign": name, "metadata.structure": preparation["index"]}
    if not launchpad.workflows.find_one({**mine, "metadata.attempt": preparation["attempt"]}):
        _archive(launchpad, mine)
        launchpad.add_wf(_build(db, campaign, preparation))
    claims.confirm(collection, key)


def _archive(launchpad: LaunchPad, query: dict[str, Any]) -> None:
    """Take earlier workflows out of sight; what they have done stays in our own collections."""
    for workflow in launchpad.workflows.find({**query, "state": {"$ne": "ARCHIVED"}}, {"nodes": 1}):
        launchpad.archive_wf(workflow["nodes"][0])


def _build(db: Database, campaign: dict[str, Any], preparation: dict[str, Any]) -> Workflow:
    init, resource = init_inputs_of(campaign)
    index, name = preparation["index"], preparation["name"]
    entry, atoms = init.entry(index), start_structures(db, campaign)[index]
    relaxation = None
    if init.relaxes(entry):
        relaxation = calculations.propose(
            db,
            init.campaign,
            configurations.INITIAL,
            f"relax/{name}",
            "relax",
            atoms,
            init.relax_of(entry).model_dump(mode="json"),
            {
                "structure": name,
                "file": preparation["file"],
                "start_hash": campaign["starts"][index]["structure_hash"],
                "folder": [],
            },
        )
    return structure_workflow(init, resource, index, name, preparation["attempt"], relaxation, len(atoms))


def retry_init(launchpad: LaunchPad, name: str) -> None:
    """Give everything that failed one more chance, and reopen the campaign; what succeeded stays.

    For a user who has mended the cause. Nothing of the campaign may be running.
    """
    db = database(launchpad)
    calculations.reopen(db, name)
    configurations.reopen(db, name, configurations.INITIAL)
    for preparation in preparations.of_campaign(db, name):
        if preparation["state"] == preparations.State.INCOMPLETE.value:
            preparations.restart(db, name, preparation["index"])
    campaigns.reopen(db, name)
    continue_init(launchpad, name)


def update_init(
    launchpad: LaunchPad, init: InitBulk, resource: InitResource, workers: Sequence[int] = ()
) -> None:
    """Apply changed inputs to what is not done yet: further structures, other control files, other resources.

    Args:
        launchpad: the LaunchPad.
        init: the new parameters.
        resource: the new resources.
        workers: process ids of living workers of the campaign.

    Raises:
        InputError: something is running, or the change would give another meaning to what is there.
    """
    db = database(launchpad)
    campaign = campaigns.get(db, init.campaign)
    check_place(campaign, init)
    busy = {"spec.campaign": init.campaign, "state": {"$in": ["RESERVED", "RUNNING"]}}
    if workers or launchpad.fireworks.count_documents(busy):
        end = f"kill {' '.join(map(str, workers))}" if workers else "scancel"
        text = (
            f"campaign '{init.campaign}' is at work; its inputs can change when it has ended, or when its "
            f"workers have ({end}): what they were doing is gone on with"
        )
        raise InputError(text, init.file, "campaign")
    check_extension(init_inputs_of(campaign)[0], start_structures(db, campaign), init, read_starts(init))
    campaigns.reopen(db, init.campaign)
    calculations.forget_unfinished(db, init.campaign)
    configurations.reopen(db, init.campaign, configurations.INITIAL)
    for preparation in preparations.of_campaign(db, init.campaign):
        preparations.restart(db, init.campaign, preparation["index"])
    # Last: until it is written the command has to be repeated with --update, and all of the above with it.
    campaigns.update(db, init.campaign, **_inputs_document(db, init, resource))
