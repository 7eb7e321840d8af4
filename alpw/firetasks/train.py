"""Train one member of the committee."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import ClassVar

from bson import ObjectId
from fireworks import FWAction, explicit_serialize

from alpw.config.train import Train
from alpw.database import configurations, models
from alpw.errors import AlpwError
from alpw.firetasks.base import CampaignTask, Context
from alpw.potential import DeepPotential, DeepPotentialConfig, TrainingOptions, train
from alpw.structures.seeds import derive_seed


@explicit_serialize
class TrainModel(CampaignTask):
    """Fit one Deep Potential to the iteration's training set, starting from its own last weights.

    Members differ by the seed of their first weights and by the order of the data, and never share a start:
    a committee whose members descend from one model agrees with itself and not with the truth.

    Required parameters:
        member: index in the committee.
    """

    required_params: ClassVar = ["member"]

    def work(self, context: Context) -> FWAction:
        """Fetch the training set, train, store the model."""
        member = self["member"]
        stored = models.find(context.db, context.campaign, context.index, member)
        model = stored["_id"] if stored else _train(context, member)
        return FWAction(stored_data={"model": str(model)})


def _train(context: Context, member: int) -> ObjectId:
    context.record(stage="train")
    section = context.param.train
    training_set = context.iteration["training_set"]
    frames = list(configurations.frames(context.db, training_set["ids"]))
    if not frames:
        raise AlpwError(f"campaign '{context.campaign}' has no labelled frame to train on")
    previous = models.find(context.db, context.campaign, context.index - 1, member)
    seed = derive_seed(section.seed, "weights", member)
    order = derive_seed(section.seed, "order", context.index, member)
    wanted = model_config(section, seed)
    model = DeepPotential.from_bytes(models.weights(context.db, previous)) if previous else None
    if model is None or not _same_network(model.config, wanted):
        model, previous = DeepPotential(wanted), None
    report = train(model, frames, options=training_options(section, order, warm_start=bool(previous)))
    return models.store(
        context.db,
        context.campaign,
        context.index,
        member,
        model.to_bytes(),
        {
            "training_set": training_set,
            "warm_start": previous["_id"] if previous else None,
            "seeds": {"weights": seed, "order": order},
            "network": asdict(model.config),
            "train": section.model_dump(mode="json"),
            "errors": {"train": asdict(report.train)},
            "learning_curve": [asdict(epoch) for epoch in report.epochs],
            "wall_time": report.seconds,
        },
    )


def _same_network(one: DeepPotentialConfig, other: DeepPotentialConfig) -> bool:
    """Whether weights of one network fit the other; a changed network starts afresh."""
    return replace(one, seed=0, sel=None) == replace(other, seed=0, sel=None)


def model_config(section: Train, seed: int) -> DeepPotentialConfig:
    """The network that the block ``train`` of param.json describes."""
    descriptor, fitting_net = section.descriptor, section.fitting_net
    return DeepPotentialConfig(
        elements=tuple(section.atom_type),
        rcut=descriptor.rcut,
        rcut_smth=descriptor.rcut_smth,
        neuron=tuple(descriptor.neuron),
        axis_neuron=descriptor.axis_neuron,
        type_one_side=descriptor.type_one_side,
        fitting_neuron=tuple(fitting_net.neuron),
        resnet_dt=fitting_net.resnet_dt,
        precision=section.precision,
        seed=seed,
    )


def training_options(section: Train, seed: int, *, warm_start: bool) -> TrainingOptions:
    """The optimizer that the block ``train`` of param.json describes."""
    optimizer = section.optimizer
    virial = float(optimizer.train_virial)
    return TrainingOptions(
        epochs=optimizer.epochs,
        steps=optimizer.steps,
        batch_size=optimizer.batch_size,
        learning_rate=optimizer.learning_rate,
        stop_lr=optimizer.stop_lr,
        start_pref_energy=optimizer.start_pre_fac_etot,
        limit_pref_energy=optimizer.end_pre_fac_etot,
        start_pref_force=optimizer.start_pre_fac_force,
        limit_pref_force=optimizer.end_pre_fac_force,
        start_pref_virial=virial * optimizer.start_pre_fac_virial,
        limit_pref_virial=virial * optimizer.end_pre_fac_virial,
        seed=seed,
        threads=section.threads,
        warm_start=warm_start,
    )
