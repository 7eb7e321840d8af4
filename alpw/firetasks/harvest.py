"""Take frames out of what was sampled: thinned, chosen, labelled; into the data set they go from here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from bson import ObjectId
from fireworks import FWAction, explicit_serialize

from alpw.codes.protocol import Task
from alpw.codes.registry import code_of
from alpw.codes.run import finished_steps
from alpw.config import Dft
from alpw.database import configurations
from alpw.database.configurations import Role
from alpw.database.documents import atoms_of
from alpw.errors import AlpwError, CalculationError
from alpw.firetasks.base import CampaignTask, StructureContext
from alpw.firetasks.build import build_tree, lineage
from alpw.firetasks.calculate import folder_of
from alpw.firetasks.label import level_refusal
from alpw.sampling.decorrelate import thin
from alpw.sampling.farthest import farthest_points, standardise
from alpw.sampling.split import is_training
from alpw.structures.frame import LabelledFrame
from alpw.structures.hash import structure_hash
from alpw.structures.seeds import derive_seed
from alpw.workflows.init_bulk import labels_workflow


@dataclass(frozen=True)
class Sampled:
    """A structure that may enter the data set.

    Attributes:
        key: where it comes from, unique in the campaign.
        frame: with its label, where sampling gave one.
        source: its lineage.
        record: code, level of theory and folder of the label.
    """

    key: str
    atoms: Atoms
    source: dict[str, Any]
    frame: LabelledFrame | None = None
    record: dict[str, Any] = field(default_factory=dict)


@explicit_serialize
class HarvestFrames(CampaignTask):
    """Collect the frames of a structure's runs and decide which of them enter the data set.

    Runs that failed give the steps that they finished. Running it again adds what has come since.
    """

    def work(self, context: StructureContext) -> FWAction:
        """Thin, choose, store or have labelled."""
        context.record(stage="harvest")
        entry = context.entry
        pool, dropped = _pool(context)
        chosen = _choose(context, pool)
        dropped["not chosen"] = len(pool) - len(chosen)
        context.record(sampled=len(pool) + sum(dropped.values()) - dropped["not chosen"], dropped=+dropped)
        if not entry.scf:
            refusals = _refusals(context, chosen)
            for sampled in chosen:
                _store(context, sampled, refusals[_level(sampled)])
            return FWAction(stored_data={"frames": len(chosen)})
        waiting = {_propose(context, sampled): len(sampled.atoms) for sampled in chosen}
        if not waiting:
            return FWAction(stored_data={"labels": 0})
        context.record(stage="label")
        labels = labels_workflow(
            context.inputs, context.resource, context.index, context.name, waiting, False
        )
        return FWAction(stored_data={"labels": len(waiting)}, detours=[labels])


def _pool(context: StructureContext) -> tuple[list[Sampled], Counter[str]]:
    """What there is to choose from, and how many frames were dropped by reason."""
    if not context.inputs.samples(context.entry):
        return _leaves(context), Counter()
    pool: list[Sampled] = []
    dropped: Counter[str] = Counter()
    for run in context.calculations(Task.AIMD):
        found, left_out = _frames_of(context, run)
        pool += found
        dropped.update(left_out)
    return pool, dropped


def _leaves(context: StructureContext) -> list[Sampled]:
    """Without dynamics, the leaves of the tree themselves."""
    try:
        tree = build_tree(context)
    except AlpwError:
        # BuildStructures has recorded why.
        return []
    return [
        Sampled(_key(context, f"structure/{context.name}/{leaf.name}"), leaf.atoms, lineage(context, leaf))
        for leaf in tree
        if leaf.leaf
    ]


def _frames_of(context: StructureContext, run: dict[str, Any]) -> tuple[list[Sampled], dict[str, int]]:
    """The frames of a run that stand for themselves, and what was left out."""
    dft = Dft.model_validate(run["dft"])
    atoms = atoms_of(run)
    steps = finished_steps(code_of(dft.dft_style), Task.AIMD, atoms, folder_of(context, run), dft)
    if steps is None:
        return [], {}
    dynamics = context.inputs.dynamics_of(context.entry)
    frames = steps.frames
    thinned = thin(
        len(frames),
        discard=dynamics.discard if dynamics else 0,
        interval=context.inputs.interval,
        series=frames.energies,
        usable=frames.converged,
    )
    extras = {name: frames.extras[name] for name in ("time", "temperature") if name in frames.extras}
    pool = []
    for k in map(int, thinned.kept):
        source = {
            **{key: value for key, value in run["source"].items() if key != "folder"},
            "calculation": run["_id"],
            "run": run["key"],
            "frame": k,
            **{name: float(values[k]) for name, values in extras.items()},
        }
        record = {
            "code": dft.dft_style,
            "settings": steps.settings,
            "settings_hash": steps.hashes[k],
            "directory": str(steps.directory),
        }
        frame = frames[k]
        key = _key(context, f"{run['key']}#{k}")
        pool.append(Sampled(key, frame.atoms, source, frame, record))
    return pool, thinned.dropped


def _key(context: StructureContext, origin: str) -> str:
    """A frame that is labelled again is another one than the frame that came with the label of its run."""
    return f"scf/{origin}" if context.entry.scf else origin


def _choose(context: StructureContext, pool: list[Sampled]) -> list[Sampled]:
    """What the user's limits leave of the pool: diverse, drawn at random, or all; known frames count."""
    init, entry = context.inputs, context.entry
    limits = [init.label_quota(context.index) if entry.scf else None]
    limits += [entry.direct_max_num] if entry.direct else []
    bounds = [limit for limit in limits if limit is not None]
    if not bounds:
        return pool
    known = {document["key"] for document in context.configurations()}
    old = [sampled for sampled in pool if sampled.key in known]
    new = [sampled for sampled in pool if sampled.key not in known]
    n = max(0, min(bounds) - len(known))
    if entry.direct:
        return [*old, *_diverse(context, new, old, n)]
    rng = np.random.default_rng(derive_seed(init.seed, "labels", context.name))
    drawn = sorted(rng.permutation(len(new))[:n].tolist())
    return [*old, *(new[k] for k in drawn)]


def _diverse(context: StructureContext, new: list[Sampled], old: list[Sampled], n: int) -> list[Sampled]:
    """The ``n`` frames that are farthest from all others and from the known ones."""
    # Imported late: they bring torch, which no other part of init_bulk needs.
    from alpw.potential import DeepPotential
    from alpw.potential.features import frame_features, reference_model

    if n == 0 or not new:
        return []
    init, entry = context.inputs, context.entry
    file = init.bigmodel_input[entry.bigmodel_input_idx].model if entry.bigmodel else None
    model = DeepPotential.load(file) if file else reference_model(init.elements)
    features = standardise(frame_features(model, [sampled.atoms for sampled in [*new, *old]]))
    chosen = farthest_points(
        features[: len(new)], min(n, len(new)), known=features[len(new) :] if old else None
    )
    context.record(diversity={"chosen": len(chosen.order), "of": len(new), "radius": float(chosen.radius)})
    return [new[int(k)] for k in chosen.order]


def _role(context: StructureContext, atoms: Atoms) -> Role:
    init = context.inputs
    return Role.TRAIN if is_training(structure_hash(atoms), init.ratio, init.seed) else Role.VALIDATION


def _level(sampled: Sampled) -> tuple[str, str, str]:
    """Code, level of theory and folder of a frame that came with its label."""
    return sampled.record["code"], sampled.record["settings_hash"], sampled.record["directory"]


def _refusals(
    context: StructureContext, chosen: list[Sampled]
) -> dict[tuple[str, str, str], CalculationError | None]:
    """Why frames of each level of theory stay out of the data set; the first one may fix the campaign's."""
    levels = dict.fromkeys(_level(sampled) for sampled in chosen)
    return {level: level_refusal(context, level[0], level[1], Path(level[2])) for level in levels}


def _store(context: StructureContext, sampled: Sampled, refusal: CalculationError | None) -> None:
    """A frame that came with its label."""
    assert sampled.frame is not None
    configurations.add_frame(
        context.db,
        context.campaign,
        configurations.INITIAL,
        sampled.key,
        sampled.frame,
        _role(context, sampled.atoms),
        sampled.source,
        sampled.record,
        refusal,
    )


def _propose(context: StructureContext, sampled: Sampled) -> ObjectId:
    """A frame that is to be labelled."""
    return configurations.propose(
        context.db,
        context.campaign,
        configurations.INITIAL,
        sampled.key,
        sampled.atoms,
        _role(context, sampled.atoms),
        sampled.source,
    )
