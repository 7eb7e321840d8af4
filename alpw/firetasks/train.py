"""Train members of the committee."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from fireworks import FWAction, explicit_serialize

from alpw.database import configurations, models
from alpw.database.configurations import Role
from alpw.errors import AlpwError
from alpw.firetasks.base import CampaignTask, Context
from alpw.potential import DeepPotential
from alpw.potential.compression import compress
from alpw.potential.covariance import covariance_path
from alpw.potential.training import TrainingOptions, TrainingReport, train, train_committee
from alpw.structures.frame import LabelledFrame
from alpw.structures.seeds import derive_seed
from alpw.workflows.training import load_start, model_config, same_network, training_options

REQUEST_FILE = "request.sha256"


@explicit_serialize
class TrainModels(CampaignTask):
    """Fit Deep Potentials to the iteration's training set, each starting from its own last weights.

    Members differ by the seed of their first weights and by the order of the data, and never share a start:
    a committee whose members descend from one model agrees with itself and not with the truth.

    Required parameters:
        members: indices in the committee; several are trained in one pass.
    """

    required_params: ClassVar = ["members"]

    def work(self, context: Context) -> FWAction:
        """Fetch the training set, train, store the models."""
        stored = {m: models.find(context.db, context.campaign, context.index, m) for m in self["members"]}
        missing = [member for member, model in stored.items() if model is None]
        if missing:
            context.record(stage="train")
            _train(context, [_member(context, member) for member in missing])
        committee = models.committee(context.db, context.campaign, context.index)
        ids = {model["member"]: str(model["_id"]) for model in committee}
        return FWAction(stored_data={"models": [ids[member] for member in self["members"]]})


@dataclass(frozen=True)
class Member:
    """A member before its training: its first weights, where they come from, and how it is trained."""

    index: int
    model: DeepPotential
    origin: dict[str, Any]
    options: TrainingOptions


def _member(context: Context, index: int) -> Member:
    section = context.param.train
    seeds = {
        "weights": derive_seed(section.seed, "weights", index),
        "order": derive_seed(section.seed, "order", context.index, index),
    }
    model = DeepPotential(model_config(section, seeds["weights"]))
    origin: dict[str, Any] = {"warm_start": None}
    previous = models.find(context.db, context.campaign, context.index - 1, index)
    if previous and section.use_pre_model:
        last = DeepPotential.from_bytes(models.weights(context.db, previous)).parent()
        # A network that was changed between iterations starts afresh.
        if same_network(last.config, model.config):
            model, origin = last, {"warm_start": previous["_id"]}
    elif section.init_models:
        file = section.init_models[index]
        model, origin = load_start(file, model.config), {"warm_start": str(file)}
    options = training_options(section, seeds["order"], warm_start=origin["warm_start"] is not None)
    return Member(index, model, {**origin, "seeds": seeds}, options)


def _train(context: Context, members: Sequence[Member]) -> None:
    training_set = context.iteration["training_set"]
    frames = list(configurations.frames(context.db, training_set["ids"]))
    if not frames:
        raise AlpwError(f"campaign '{context.campaign}' has no labelled frame to train on")
    valid = _validation(context)
    folder = _folder(context, members)
    if len(members) == 1:
        (member,) = members
        reports = [train(member.model, frames, valid, options=member.options, directory=folder, resume=True)]
    else:
        reports = train_committee(
            [member.model for member in members],
            frames,
            valid,
            options=[member.options for member in members],
            directory=folder,
            resume=True,
        )
    for member, report in zip(members, reports, strict=True):
        _store(context, member, report, frames, training_set)
    shutil.rmtree(folder)


def _validation(context: Context) -> list[LabelledFrame]:
    """Held-out frames, where training is to end by them; otherwise they stay unseen."""
    if context.param.train.optimizer.patience is None:
        return []
    ids = configurations.ids(context.db, context.campaign, Role.VALIDATION)
    return list(configurations.frames(context.db, ids))


def _folder(context: Context, members: Sequence[Member]) -> Path:
    """Where an interrupted training is gone on from, empty if what is there was another one."""
    name = "-".join(f"{member.index:03d}" for member in members)
    folder = context.directory("00.train", f"running.{name}")
    request = repr([(member.index, member.origin, member.options) for member in members])
    digest = sha256(f"{request} {context.iteration['training_set']['hash']}".encode()).hexdigest()
    if not (folder / REQUEST_FILE).exists() or (folder / REQUEST_FILE).read_text() != digest:
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / REQUEST_FILE).write_text(digest)
    return folder


def _store(
    context: Context,
    member: Member,
    report: TrainingReport,
    frames: Sequence[LabelledFrame],
    training_set: dict[str, Any],
) -> None:
    strategy, model = context.param.strategy, member.model
    record: dict[str, Any] = {}
    if report.covariance is not None:
        # Hundreds of megabytes that only KPU reads: beside a model file, and not in the database.
        file = context.directory("00.train") / f"model.{member.index:03d}.pt"
        model.save(file)
        report.covariance.save(covariance_path(file))
        record["covariance"] = str(covariance_path(file))
    if strategy.compress:
        model, cost = compress(
            model, spacing=strategy.compress_dx, order=strategy.compress_order, frames=frames[:8]
        )
        record["compression"] = asdict(cost)
    models.store(
        context.db,
        context.campaign,
        context.index,
        member.index,
        model.to_bytes(),
        {
            "training_set": training_set,
            **member.origin,
            "network": asdict(model.config),
            "train": context.param.train.model_dump(mode="json"),
            "errors": {"train": asdict(report.train)},
            "learning_curve": [asdict(epoch) for epoch in report.epochs],
            "wall_time": report.seconds,
            **record,
        },
    )
