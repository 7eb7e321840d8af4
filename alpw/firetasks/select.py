"""Sort the explored frames by uncertainty and have the doubtful ones labelled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from ase import Atoms
from bson import ObjectId
from fireworks import FWAction, explicit_serialize
from numpy.typing import NDArray

from alpw.codes.lammps.outputs import UNPHYSICAL
from alpw.database import configurations, models, reading, snapshots, trajectories
from alpw.database.configurations import Role
from alpw.firetasks.base import CampaignTask, Context
from alpw.firetasks.spawn import label_once
from alpw.firetasks.thresholds import BoundsByMeasure, bounds_of_iteration, uncertainties
from alpw.sampling.classify import CLASSES, Classes, agreement, classify, worst
from alpw.sampling.farthest import standardise
from alpw.sampling.physical import Limits
from alpw.sampling.select import DUPLICATE, FrameId, Rules, Selection, select_frames
from alpw.structures.hash import structure_hash
from alpw.structures.seeds import derive_seed
from alpw.trainers import trainer_of


@explicit_serialize
class SelectCandidates(CampaignTask):
    """Classify every saved frame of the iteration, choose, and append the label chunks."""

    def work(self, context: Context) -> FWAction:
        """Classify, choose, propose, append."""
        strategy = context.param.strategy
        runs = trajectories.of_iteration(context.db, context.campaign, context.index)
        bounds = bounds_of_iteration(context, runs)
        by_measure = {measure: _classified(context, measure, bounds, runs) for measure in bounds}
        classes = [worst(criteria) for criteria in zip(*by_measure.values(), strict=True)]
        pool = _Pool(context, runs)
        selection = select_frames(
            classes,
            [run["group"] for run in runs],
            Rules(
                caps={run["group"]: run["cap"] for run in runs},
                total=strategy.max_select_total,
                n_validation=strategy.validation_frames,
                method=strategy.choice,
                strata=strategy.strata,
                min_distance=strategy.min_feature_distance,
            ),
            pool.reject,
            pool.identity,
            pool.features,
            np.random.default_rng(derive_seed(context.param.seed, "selection", context.index)),
        )
        for run, decision in zip(runs, selection.decisions(classes), strict=True):
            trajectories.record_decisions(context.db, run, decision)
        proposed = [pool.propose(frame, Role.TRAIN) for frame in selection.train]
        proposed += [pool.propose(frame, Role.VALIDATION) for frame in selection.validation]
        _record(context, runs, bounds, by_measure, classes, selection)
        return label_once(context, proposed)


def _classified(
    context: Context, measure: str, bounds: BoundsByMeasure, runs: Sequence[dict[str, Any]]
) -> list[Classes]:
    """The classes of every trajectory's frames by one measure."""
    found = []
    for run in runs:
        bound = bounds[measure][run["group"]]
        criteria = [classify(uncertainties(run, measure), bound.lower, bound.upper)]
        if measure == "committee":
            criteria += _by_energy_and_virial(context, run)
        found.append(worst(criteria))
    return found


def _by_energy_and_virial(context: Context, run: dict[str, Any]) -> list[Classes]:
    """What else a committee disagrees on, where the user limits it."""
    strategy, found = context.param.strategy, []
    for kind, series in (("e", "energy_deviation"), ("v", "max_virial_deviation")):
        lower, upper = (getattr(strategy, f"{end}_model_devi_{kind}") for end in ("lower", "upper"))
        if lower is not None or upper is not None:
            upper = np.inf if upper is None else upper
            found.append(classify(trajectories.series(run, series), upper if lower is None else lower, upper))
    return found


class _Pool:
    """The iteration's frames, loaded one trajectory at a time when one of them is wanted."""

    def __init__(self, context: Context, runs: list[dict[str, Any]]) -> None:
        self.context, self.runs = context, runs
        strategy = context.param.strategy
        self.limits = Limits(strategy.min_distance, strategy.volume_range, strategy.max_force)
        self.loaded: dict[int, list[Atoms]] = {}

    def atoms(self, frame: FrameId) -> Atoms:
        trajectory, index = frame
        if trajectory not in self.loaded:
            self.loaded[trajectory] = trajectories.frames(self.context.db, self.runs[trajectory])
        return self.loaded[trajectory][index]

    def reject(self, frame: FrameId) -> str | None:
        """Why a frame must not be labelled."""
        trajectory, index = frame
        run = self.runs[trajectory]
        force = float(trajectories.series(run, "max_force")[index]) if "max_force" in run["series"] else None
        if reason := self.limits.broken(self.atoms(frame), force):
            return reason
        known = configurations.iterations_with(self.context.db, self.context.campaign, self.identity(frame))
        # A selection that runs again must not take its own earlier proposals for duplicates.
        return DUPLICATE if known and self.context.index not in known else None

    def identity(self, frame: FrameId) -> str:
        return structure_hash(self.atoms(frame))

    def features(self, frames: Sequence[FrameId]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Descriptors of frames and of the training set, by the model that explored if it is one of ours."""
        # Imported late: only some campaigns compare frames, and it brings torch.
        from alpw.potential.features import frame_features, reference_model

        db = self.context.db
        driver = models.committee(db, self.context.campaign, self.context.index)[0]
        own = trainer_of(models.trainer(driver)).own_model(models.weights(db, driver))
        model = own or reference_model(self.context.param.train.atom_type)
        training_set = snapshots.ids(db, self.context.iteration["training_set"]["hash"])
        known = reading.frames(db, training_set)
        structures = [self.atoms(frame) for frame in frames] + [frame.atoms for frame in known]
        vectors = frame_features(model, structures)
        # Root mean square over the columns, so that distances do not grow with the size of the network.
        vectors = standardise(vectors) / np.sqrt(vectors.shape[1])
        return vectors[: len(frames)], vectors[len(frames) :]

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
                if name in run["series"] and not name.startswith("worst_atom")
            },
        }
        key = f"{self.context.index:04d}/{run['key']}/{index}"
        return configurations.propose(
            self.context.db, self.context.campaign, self.context.index, key, self.atoms(frame), role, source
        )


def _record(
    context: Context,
    runs: list[dict[str, Any]],
    bounds: BoundsByMeasure,
    by_measure: dict[str, list[Classes]],
    classes: list[Classes],
    selection: Selection,
) -> None:
    by_group: dict[str, Counter] = {}
    for run, members in zip(runs, classes, strict=True):
        by_group.setdefault(run["group"], Counter(dict.fromkeys(CLASSES, 0))).update(members.counts)
    counts = sum(by_group.values(), Counter(dict.fromkeys(CLASSES, 0)))
    context.record(
        stage="label",
        frames=sum(counts.values()),
        counts={name: counts[name] for name in CLASSES},
        counts_by_group={group: dict(numbers) for group, numbers in by_group.items()},
        left_out=selection.reasons,
        ends=dict(Counter(run["end"] for run in runs)),
        unreached=sum(
            run["n_steps"] // run["stride"] + 1 - run["n_frames"] for run in runs if run["end"] in UNPHYSICAL
        ),
        thresholds={
            measure: {group: asdict(bound) for group, bound in groups.items()}
            for measure, groups in bounds.items()
        },
        agreement=agreement(*by_measure.values()).tolist() if len(by_measure) == 2 else None,
    )
