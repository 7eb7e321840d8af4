"""Sort the explored frames by deviation and have the doubtful ones labelled."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from ase import Atoms
from bson import ObjectId
from fireworks import FWAction, explicit_serialize

from alpw.database import configurations, trajectories
from alpw.database.configurations import Role
from alpw.firetasks.base import CampaignTask, Context
from alpw.firetasks.spawn import label_once
from alpw.sampling.classify import Classes, classify
from alpw.sampling.select import FrameId, select_frames
from alpw.structures.hash import structure_hash
from alpw.structures.sanity import defect
from alpw.structures.seeds import derive_seed


@explicit_serialize
class SelectCandidates(CampaignTask):
    """Classify every saved frame of the iteration, choose, and append the label chunks."""

    def work(self, context: Context) -> FWAction:
        """Classify, choose, propose, append."""
        strategy = context.param.strategy
        runs = trajectories.of_iteration(context.db, context.campaign, context.index)
        classes = [
            classify(
                trajectories.series(run, "max_force_deviation"),
                strategy.lower_model_devi_f or 0.0,
                strategy.upper_model_devi_f or 0.0,
            )
            for run in runs
        ]
        pool = _Pool(context, runs)
        selection = select_frames(
            classes,
            [run["group"] for run in runs],
            {run["group"]: run["cap"] for run in runs},
            strategy.validation_frames,
            pool.reject,
            np.random.default_rng(derive_seed(context.param.seed, "selection", context.index)),
        )
        proposed = [pool.propose(frame, Role.TRAIN) for frame in selection.train]
        proposed += [pool.propose(frame, Role.VALIDATION) for frame in selection.validation]
        _record(context, runs, classes, dict(Counter(selection.left_out.values())))
        return label_once(context, proposed)


class _Pool:
    """The iteration's frames, loaded one trajectory at a time when one of them is wanted."""

    def __init__(self, context: Context, runs: list[dict[str, Any]]) -> None:
        self.context, self.runs = context, runs
        self.frames: dict[int, list[Atoms]] = {}
        self.hashes = configurations.known_hashes(context.db, context.campaign)
        # A selection that runs again must not take its own earlier proposals for duplicates.
        self.hashes -= configurations.known_hashes(context.db, context.campaign, context.index)

    def atoms(self, frame: FrameId) -> Atoms:
        trajectory, index = frame
        if trajectory not in self.frames:
            self.frames[trajectory] = trajectories.frames(self.context.db, self.runs[trajectory])
        return self.frames[trajectory][index]

    def reject(self, frame: FrameId) -> str | None:
        """Why a frame must not be labelled; a frame that passes counts as known from then on."""
        atoms = self.atoms(frame)
        if reason := defect(atoms):
            return reason
        digest = structure_hash(atoms)
        if digest in self.hashes:
            return "duplicate"
        self.hashes.add(digest)
        return None

    def propose(self, frame: FrameId, role: Role) -> ObjectId:
        trajectory, index = frame
        run = self.runs[trajectory]
        source = {
            "trajectory": run["_id"],
            "frame": index,
            "step": int(trajectories.series(run, "step")[index]),
            "temperature": run["temperature"],
            "pressure": run["pressure"],
            "deviation": trajectories.deviation(run),
            "uncertainty": {
                name: float(trajectories.series(run, name)[index])
                for name in trajectories.DEVIATION_SERIES.values()
                if name in run["series"] and name != "worst_atom"
            },
        }
        key = f"{self.context.index:04d}/{run['key']}/{index}"
        return configurations.propose(
            self.context.db, self.context.campaign, self.context.index, key, self.atoms(frame), role, source
        )


def _record(
    context: Context, runs: list[dict[str, Any]], classes: list[Classes], left_out: dict[str, int]
) -> None:
    strategy = context.param.strategy
    counts = {"accurate": 0, "candidate": 0, "failed": 0}
    for members in classes:
        for name, count in members.counts.items():
            counts[name] += count
    context.record(
        stage="label",
        frames=sum(counts.values()),
        counts=counts,
        left_out=left_out,
        ends=dict(Counter(run["end"] for run in runs)),
        thresholds={"lower": strategy.lower_model_devi_f, "upper": strategy.upper_model_devi_f},
        definition=f"max over atoms, {strategy.deviation}",
    )
