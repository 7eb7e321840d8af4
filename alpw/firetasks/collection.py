"""Settle what came of a start structure, write it to ``collection/``, and end the campaign after the last."""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from ase import Atoms
from fireworks import FWAction, explicit_serialize

from alpw.cluster import recovery
from alpw.codes.protocol import Task
from alpw.database import calculations, campaigns, configurations, preparations
from alpw.database.campaigns import CampaignState
from alpw.database.configurations import Role
from alpw.database.configurations import State as Label
from alpw.database.documents import frame_of
from alpw.errors import AlpwError, CalculationError, FailureKind
from alpw.files import write_atomically
from alpw.firetasks.base import CampaignTask, StructureContext
from alpw.firetasks.build import build_tree, lineage, root_of
from alpw.firetasks.spawn import MAX_ATTEMPTS
from alpw.formats.collection import (
    COLLECTION,
    MANIFEST,
    suffix_of,
    write_data,
    write_data_paths,
    write_structures,
)
from alpw.sampling.split import shuffled
from alpw.structures.recipe import Built
from alpw.workflows.init_bulk import data_folder, labels_workflow

logger = logging.getLogger(__name__)


@explicit_serialize
class CollectStructure(CampaignTask):
    """Count the frames of a start structure, name its failures, write its files.

    Fireworks that fizzled are allowed as parents: labels that they left undone are given to another one, a
    bounded number of times.
    """

    def work(self, context: StructureContext) -> FWAction:
        """Settle, write, judge; the last structure of a campaign ends it."""
        pending = context.configurations(state={"$in": list(configurations.PENDING_STATES)})
        again = {
            document["_id"]: document["n_atoms"]
            for document in pending
            if document["attempts"] < MAX_ATTEMPTS
        }
        if again:
            configurations.release_these(context.db, list(again))
            labels = labels_workflow(
                context.inputs, context.resource, context.index, context.name, again, True
            )
            return FWAction(stored_data={"again": len(again)}, additions=[labels])
        lost = CalculationError("its Firework fizzled; see lpad get_fws -s FIZZLED", FailureKind.UNKNOWN)
        for document in pending:
            configurations.quarantine(context.db, document["_id"], lost)
        relaxed, tree = _made(context)
        problems = _problems(context)
        context.record(
            stage="done",
            state=(preparations.State.INCOMPLETE if problems else preparations.State.DONE).value,
            problems=problems,
            structures=dict(Counter(built.stage for built in tree if built.stage != "root")),
            runs=_states(context, Task.AIMD),
            frames=_write(context, relaxed, tree),
            finished=campaigns.now(),
        )
        _finish(context)
        return FWAction(stored_data={"problems": problems})


def _made(context: StructureContext) -> tuple[Atoms | None, list[Built]]:
    """The relaxed structure, if there is one, and what was made of it."""
    relaxed = None
    try:
        root, name = root_of(context)
        relaxed = root if name == "relax" else None
        return relaxed, build_tree(context)
    except AlpwError:
        # BuildStructures has recorded why.
        return relaxed, []


def _states(context: StructureContext, task: Task) -> dict[str, int]:
    found = context.calculations(task)
    return dict(Counter(document["state"] for document in found))


def _problems(context: StructureContext) -> list[str]:
    """What failed, in a line each."""
    found = []
    preparation = preparations.get(context.db, context.campaign, context.index)
    for task in (Task.RELAX, Task.AIMD):
        for document in context.calculations(task):
            if document["state"] == calculations.State.QUARANTINED.value:
                found.append(f"{document['key']}: {document['error']['diagnosis']}")
    fizzled = recovery.failure_reasons(context.launchpad, context.campaign, context.index)
    found += [f"Firework {firework} fizzled: {reason}" for firework, reason in fizzled.items()]
    # That nothing is built without a relaxed structure needs no line of its own.
    if preparation.get("build_error") and not found:
        found.append(f"build: {preparation['build_error']}")
    refused = context.configurations(state=Label.QUARANTINED.value)
    reasons: dict[str, list[str]] = defaultdict(list)
    for document in refused:
        reasons[document["error"]["kind"]].append(document["error"]["diagnosis"])
    found += [f"{len(lines)} frames quarantined, such as: {lines[0]}" for _, lines in sorted(reasons.items())]
    if not found and context.inputs.samples(context.entry) and not context.configurations():
        found.append(f"no frame is left of those that were sampled: {preparation.get('dropped', {})}")
    return found


def _write(context: StructureContext, relaxed: Atoms | None, tree: list[Built]) -> dict[str, int]:
    """Write structures, frames and the manifest of this structure; returns the number of frames by role."""
    init = context.inputs
    folder = Path(context.document["work_dir"], COLLECTION, data_folder(context.index))
    folder.mkdir(parents=True, exist_ok=True)
    files = write_structures(folder, relaxed, tree, suffix_of(init.dft.dft_style))
    keys: dict[str, list[str]] = {}
    parts = {}
    for role in Role:
        documents = context.configurations(state=Label.LABELLED.value, role=role.value)
        if init.data_shuffle:
            order = shuffled([document["structure_hash"] for document in documents], init.seed)
            rank = {structure_hash: place for place, structure_hash in enumerate(order)}
            documents.sort(key=lambda document: rank[document["structure_hash"]])
        parts[role] = [frame_of(document) for document in documents]
        keys[role.value] = [document["key"] for document in documents]
    divided = init.train_valid_ratio is not None
    data = write_data(folder, parts[Role.TRAIN], parts[Role.VALIDATION], init.format, divided=divided)
    manifest = {
        "name": context.name,
        "structures": [
            {"path": str(files[built.name].relative_to(folder)), **lineage(context, built)}
            for built in tree
            if built.name in files
        ],
        "data": [str(path.relative_to(folder)) for path in data],
        "frames": keys,
    }
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1, default=str).encode())
    context.record(data=[str(path) for path in data])
    return {role.value: len(frames) for role, frames in parts.items()}


def _finish(context: StructureContext) -> None:
    """Write what is about all structures; after the last of them the campaign has ended.

    Of two structures that end at the same time at least one sees that all have, and the files are the same.
    """
    campaign = campaigns.get(context.db, context.campaign)
    found = preparations.of_campaign(context.db, context.campaign)
    folder = Path(campaign["work_dir"], COLLECTION)
    paths = [Path(path) for document in found for path in document.get("data", [])]
    init = context.inputs
    legacy = init.format != "extxyz" and init.train_valid_ratio is not None
    write_data_paths(folder, paths, legacy=legacy)
    write_atomically(
        folder / MANIFEST, json.dumps(_manifest(campaign, found), indent=1, default=str).encode()
    )
    if len(found) < len(campaign["starts"]) or any(
        document["state"] == preparations.State.RUNNING.value for document in found
    ):
        return
    failed = [d["name"] for d in found if d["state"] == preparations.State.INCOMPLETE.value]
    if failed:
        text = f"{len(failed)} of {len(found)} structures are incomplete: {', '.join(failed)}"
        campaigns.finish(context.db, context.campaign, CampaignState.STALLED, text)
    else:
        text = f"{len(found)} structures, {_total(found)} frames"
        campaigns.finish(context.db, context.campaign, CampaignState.COMPLETED, text)


def _total(found: list[dict[str, Any]]) -> int:
    return sum(sum(document.get("frames", {}).values()) for document in found)


def _manifest(campaign: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, Any]:
    kept = ("name", "file", "state", "problems", "structures", "runs", "frames", "dropped", "diversity")
    return {
        "campaign": campaign["_id"],
        "alpw_version": campaign["alpw_version"],
        "inputs_hash": campaign["inputs_hash"],
        "seed": campaign["resolved"]["param"]["seed"],
        "settings_hash": campaign["settings_hash"],
        "notes": campaign["notes"],
        "structures": [
            {"folder": data_folder(document["index"])}
            | {key: document[key] for key in kept if key in document}
            for document in found
        ],
    }
