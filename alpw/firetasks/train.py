"""Train members of the committee."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from fireworks import FWAction, explicit_serialize

from alpw.config.train import Train
from alpw.database import configurations, models, reading, snapshots
from alpw.database.configurations import Role
from alpw.errors import AlpwError, InputError
from alpw.firetasks.base import CampaignTask, Context
from alpw.firetasks.draws import keep_covariance
from alpw.structures.frame import LabelledFrame
from alpw.structures.seeds import derive_seed
from alpw.trainers import Compression, Member, Start, Training, trainer_of
from alpw.trainers.section import longer
from alpw.uncertainty.committee import committee_health, stragglers

logger = logging.getLogger(__name__)

REQUEST_FILE = "request.sha256"


@explicit_serialize
class TrainModels(CampaignTask):
    """Fit Deep Potentials to the iteration's training set, each starting from its own last weights.

    Members differ by the seed of their first weights and by the order of the data, and never share a start:
    a committee whose members descend from one model agrees with itself and not with the truth. The final
    training is longer by ``strategy.final_factor``.

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
        _record_health(context, committee)
        ids = {model["member"]: str(model["_id"]) for model in committee}
        return FWAction(stored_data={"models": [ids[member] for member in self["members"]]})


def _section(context: Context) -> Train:
    """The block ``train`` as it holds for this iteration."""
    section = context.param.train
    if context.iteration["kind"] != "final":
        return section
    everything = context.iteration.get("everything", False)
    return longer(section, context.param.strategy.final_factor, held_out=not everything)


def _member(context: Context, index: int) -> Member:
    section = _section(context)
    seeds = {
        "weights": derive_seed(section.seed, "weights", index),
        "order": derive_seed(section.seed, "order", context.index, index),
    }
    start = None
    previous = models.find(context.db, context.campaign, context.index - 1, index)
    # Another trainer's model is no start.
    if previous and section.use_pre_model and models.trainer(previous) == section.trainer:
        start = Start(previous["_id"], data=models.weights(context.db, previous))
    elif section.init_models and previous is None:
        file = section.init_models[index]
        start = Start(str(file), file=file)
    if start is None and previous and context.param.init_data_only_pretrain:
        text = "new labels alone cannot train a model without a start; set this to false"
        raise InputError(text, key="init_data_only_pretrain")
    return Member(index, seeds, start)


def _training(context: Context, frames: Sequence[LabelledFrame]) -> Training:
    strategy = context.param.strategy
    return Training(
        section=_section(context),
        frames=frames,
        valid=_validation(context),
        compression=Compression(strategy.compress_dx, strategy.compress_order) if strategy.compress else None,
        covariance=strategy.has_kpu,
        keep_covariance=partial(keep_covariance, context),
        needs_start=context.param.init_data_only_pretrain,
        command=context.train_command,
    )


def _train(context: Context, members: Sequence[Member]) -> None:
    training_set = context.iteration["training_set"]
    frames = list(reading.frames(context.db, snapshots.ids(context.db, training_set["hash"])))
    if not frames:
        raise AlpwError(f"campaign '{context.campaign}' has no labelled frame to train on")
    training = _training(context, frames)
    folder = _folder(context, training, members)
    trainer = trainer_of(training.section.trainer)
    seeds = {member.index: member.seeds for member in members}
    for trained in trainer.train(training, members, folder):
        record = {
            "training_set": training_set,
            "trainer": trainer.name,
            "seeds": seeds[trained.index],
            "train": training.section.model_dump(mode="json"),
            **trained.record,
        }
        models.store(context.db, context.campaign, context.index, trained.index, trained.data, record)
    shutil.rmtree(folder)


def _validation(context: Context) -> list[LabelledFrame]:
    """Held-out frames, where training is to end by them; otherwise they stay unseen."""
    if _section(context).optimizer.patience is None:
        return []
    ids = configurations.ids(context.db, context.campaign, Role.VALIDATION)
    return list(reading.frames(context.db, ids))


def _folder(context: Context, training: Training, members: Sequence[Member]) -> Path:
    """Where an interrupted training is gone on from, empty if what is there was another one."""
    name = "-".join(f"{member.index:03d}" for member in members)
    folder = context.directory("00.train", f"running.{name}")
    asked = [(member.index, member.seeds, member.start and member.start.origin) for member in members]
    request = f"{asked} {training.section.model_dump_json()} {training.compression} {training.covariance}"
    users = training.section.deepmd_input
    request += users.read_text() if users else ""
    digest = sha256(f"{request} {context.iteration['training_set']['hash']}".encode()).hexdigest()
    if not (folder / REQUEST_FILE).exists() or (folder / REQUEST_FILE).read_text() != digest:
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / REQUEST_FILE).write_text(digest)
    return folder


def _record_health(context: Context, committee: Sequence[dict[str, Any]]) -> None:
    """How different the members are, and which have learnt far less, as soon as all are trained.

    A committee that has collapsed is recorded here and refused when it is to explore.
    """
    if len(committee) < max(context.param.strategy.model_num, 2) or context.iteration.get("health"):
        return
    found = [
        trainer_of(models.trainer(model)).own_model(models.weights(context.db, model)) for model in committee
    ]
    members = [model for model in found if model is not None]
    if len(members) < len(committee):
        return
    health = committee_health(members)
    force_errors = [model["errors"]["train"]["force_rmse"] for model in committee]
    behind = stragglers(force_errors)
    for member in behind:
        logger.warning(
            "model %d of iteration %d has a force error of %.3g eV/Å on its own training set, the median is "
            "%.3g; the committee's deviations follow it. Train for longer, or with patience",
            *(member, context.index, force_errors[member], float(np.median(force_errors))),
        )
    record = {**health._asdict(), "pair": list(health.pair), "collapsed": health.collapsed}
    context.record(health=record | {"stragglers": behind})
