"""Make the structures of a start structure's tree, and have dynamics run from its leaves."""

from __future__ import annotations

import logging
from pathlib import PurePosixPath
from typing import Any

from ase import Atoms
from fireworks import FWAction, explicit_serialize

from alpw.codes.protocol import Task
from alpw.config import Dft
from alpw.database import calculations, configurations
from alpw.database.calculations import State
from alpw.errors import AlpwError, InputError
from alpw.firetasks.base import CampaignTask, StructureContext
from alpw.structures.recipe import Built, Root, build
from alpw.structures.seeds import derive_seed
from alpw.workflows.init_bulk import dynamics_workflow, is_bigmodel
from alpw.workflows.launch import start_structures

logger = logging.getLogger(__name__)


@explicit_serialize
class BuildStructures(CampaignTask):
    """Supercell, scaled, perturbed and other copies of the relaxed structure, or of the user's.

    What cannot be built is a problem of this structure alone, which the collection reports.
    """

    def work(self, context: StructureContext) -> FWAction:
        """Build, propose the runs, append them."""
        context.record(stage="build", build_error=None)
        try:
            tree = build_tree(context)
        except AlpwError as error:
            logger.warning("%s: %s", context.name, error)
            context.record(build_error=str(error))
            return FWAction(stored_data={"built": 0})
        init, entry = context.inputs, context.entry
        runs = [
            (_propose(context, leaf, name, _seeded(context, leaf, name, dft)), leaf, dft)
            for leaf in tree
            if leaf.leaf
            for name, dft in init.runs_of(entry)
        ]
        stored = {"built": len(tree), "runs": len(runs)}
        if not runs:
            return FWAction(stored_data=stored)
        context.record(stage="sample")
        appended = dynamics_workflow(
            init,
            context.resource,
            context.index,
            context.name,
            {identity: len(leaf.atoms) for identity, leaf, _ in runs},
            is_bigmodel(Task.AIMD, runs[0][2]),
        )
        return FWAction(stored_data=stored, detours=[appended])


def build_tree(context: StructureContext) -> list[Built]:
    """Every structure that is made of a start structure, or itself alone; the same at every call.

    Raises:
        AlpwError: its relaxation has no result, or a structure cannot be built.
    """
    entry = context.entry
    root, name = root_of(context)
    return build(root, entry.recipe, derive_seed(context.inputs.seed, "init_bulk", context.name), name)


def root_of(context: StructureContext) -> tuple[Atoms, Root]:
    """What everything is made of, and its name: the relaxed structure, or the user's.

    Raises:
        InputError: its relaxation has no result.
    """
    if not context.inputs.relaxes(context.entry):
        return start_structures(context.db, context.document)[context.index], "init"
    for document in context.calculations(Task.RELAX):
        if document["state"] == State.DONE.value:
            return calculations.last_structure(document), "relax"
    raise InputError("is not relaxed, so that nothing can be made of it", context.name)


def _seeded(context: StructureContext, leaf: Built, run: str, dft: Dft) -> Dft:
    seed = derive_seed(context.inputs.seed, "dynamics", context.name, leaf.name, run)
    return dft.model_copy(update={"seed": seed})


def _propose(context: StructureContext, leaf: Built, run: str, dft: Any) -> Any:
    """A calculation of dynamics, proposed once; its folder tells what it started from."""
    folder = [*PurePosixPath(leaf.name).parts, *([run] if run else [])]
    return calculations.propose(
        context.db,
        context.campaign,
        configurations.INITIAL,
        "/".join([Task.AIMD.value, context.name, *folder]),
        Task.AIMD.value,
        leaf.atoms,
        dft.model_dump(mode="json"),
        {**lineage(context, leaf), "run": run, "seed": dft.seed, "folder": folder},
    )


def lineage(context: StructureContext, leaf: Built) -> dict[str, Any]:
    """Where a structure comes from: file, relaxation, operations with their numbers and seeds."""
    start = context.document["starts"][context.index]
    return {
        "structure": context.name,
        "file": start["file"],
        "start_hash": start["structure_hash"],
        "relaxation": context.relaxation,
        "name": leaf.name,
        "parent": leaf.parent,
        "operations": leaf.operations,
    }
