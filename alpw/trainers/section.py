"""From the block ``train`` of the input files to a network, its training, and its data."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from alpw.config.optimizer import Optimizer
from alpw.config.train import Train
from alpw.config.train_file import TrainInput
from alpw.errors import InputError
from alpw.formats.load import load_frames
from alpw.potential import DeepPotential, DeepPotentialConfig, TrainingOptions
from alpw.structures.frame import LabelledFrame


def model_config(section: Train, seed: int) -> DeepPotentialConfig:
    """The network that the block ``train`` describes.

    Args:
        section: the block.
        seed: of the initial weights.
    """
    descriptor, fitting_net, embedding = (
        section.descriptor,
        section.fitting_net,
        section.descriptor.type_embedding,
    )
    types: dict[str, Any] = {}
    if embedding is not None:
        types = {
            "type_embedding": embedding.kind,
            "tebd_dim": embedding.tebd_dim,
            "physical_properties": tuple(embedding.physical_property),
        }
    return DeepPotentialConfig(
        elements=tuple(section.atom_type),
        rcut=descriptor.rcut,
        rcut_smth=descriptor.rcut_smth,
        neuron=tuple(descriptor.neuron),
        axis_neuron=descriptor.axis_neuron,
        fitting_neuron=tuple(fitting_net.neuron),
        resnet_dt=fitting_net.resnet_dt,
        embedding_resnet_dt=descriptor.resnet_dt,
        activation=descriptor.activation,
        type_one_side=descriptor.type_one_side,
        **types,
        sel=_capacity(section),
        precision=section.precision,
        seed=seed,
    )


def _capacity(section: Train) -> int | tuple[int, ...] | None:
    """The number of neighbours that is allowed: per element, or of all together with a type embedding.

    The predecessor has ``max_neigh_num`` slots for each element in either case.
    """
    descriptor, n_types = section.descriptor, len(section.atom_type)
    if descriptor.max_neigh_num is not None:
        each: list[int] | None = [descriptor.max_neigh_num] * n_types
    elif descriptor.sel is not None and len(descriptor.sel) == 1 and descriptor.type_embedding is None:
        each = descriptor.sel * n_types
    else:
        each = descriptor.sel
    if each is None:
        return None
    return tuple(each) if descriptor.type_embedding is None else sum(each)


def training_options(section: Train, seed: int, *, warm_start: bool = False) -> TrainingOptions:
    """The training that the block ``train`` describes.

    Args:
        section: the block.
        seed: of the order of the frames.
        warm_start: whether the weights are trained already.
    """
    optimizer = section.optimizer
    return TrainingOptions(
        optimizer=optimizer.optimizer.lower(),
        epochs=optimizer.epochs,
        steps=optimizer.steps,
        batch_size=optimizer.batch_size,
        train_energy=optimizer.train_energy,
        train_force=optimizer.train_force,
        train_virial=optimizer.train_virial,
        patience=optimizer.patience,
        seed=seed,
        threads=section.threads,
        warm_start=warm_start,
        **(_kalman(optimizer) if optimizer.is_kalman else _adam(optimizer)),
    )


def longer(section: Train, factor: float, *, held_out: bool = True) -> Train:
    """The block ``train`` of a training that takes ``factor`` times as long.

    Args:
        section: the block.
        factor: of the epochs, or of the steps.
        held_out: whether there are held-out frames that may end it early.
    """
    optimizer = section.optimizer
    changes: dict[str, Any] = {"epochs": math.ceil(optimizer.epochs * factor)}
    if optimizer.steps is not None:
        changes["steps"] = math.ceil(optimizer.steps * factor)
    if not held_out:
        changes["patience"] = None
    return section.model_copy(update={"optimizer": optimizer.model_copy(update=changes)})


def _adam(optimizer: Optimizer) -> dict[str, Any]:
    return {
        "learning_rate": optimizer.learning_rate,
        "stop_lr": optimizer.stop_lr,
        "weight_decay": optimizer.weight_decay,
        "start_pref_energy": optimizer.start_pre_fac_etot,
        "limit_pref_energy": optimizer.end_pre_fac_etot,
        "start_pref_force": optimizer.start_pre_fac_force,
        "limit_pref_force": optimizer.end_pre_fac_force,
        "start_pref_virial": optimizer.start_pre_fac_virial,
        "limit_pref_virial": optimizer.end_pre_fac_virial,
    }


def _kalman(optimizer: Optimizer) -> dict[str, Any]:
    return {
        "kalman_lambda": optimizer.kalman_lambda,
        "kalman_nue": optimizer.kalman_nue,
        "block_size": optimizer.block_size,
        "p0_weight": optimizer.p0_weight,
        "p_precision": optimizer.p_precision,
        "atoms_selected": optimizer.nselect,
        "atoms_per_group": optimizer.groupsize,
        "scale_by_atoms": optimizer.scale_by_atoms,
        "pref_energy": optimizer.pre_fac_etot,
        "pref_force": optimizer.pre_fac_force,
        "pref_virial": optimizer.pre_fac_virial,
    }


def same_network(one: DeepPotentialConfig, other: DeepPotentialConfig) -> bool:
    """Whether weights of one network fit the other."""
    return replace(one, seed=0, sel=None) == replace(other, seed=0, sel=None)


def load_start(file: Path, wanted: DeepPotentialConfig) -> DeepPotential:
    """The model in ``file``, whose weights training is to start from.

    Raises:
        InputError: a file that holds no model, or one of another network, with what differs.
    """
    model = DeepPotential.load(file).parent()
    if not same_network(model.config, wanted):
        found, asked = asdict(model.config), asdict(wanted)
        different = [key for key in asked if key not in ("seed", "sel") and found[key] != asked[key]]
        text = ", ".join(f"{key} {found[key]!r} instead of {asked[key]!r}" for key in different)
        raise InputError(f"this model cannot be a start: it has {text}", file, "train.init_models")
    return model


def read_frames(inputs: TrainInput) -> tuple[list[LabelledFrame], list[LabelledFrame]]:
    """The training and the validation set, as a campaign takes them from the same files.

    Raises:
        InputError: a file that holds no labelled frames, or a frame without a complete label.
    """
    training = [frame for path in inputs.train_data for frame in load_frames(path, "train")]
    held_out = [frame for path in inputs.train_data for frame in load_frames(path, "valid")]
    return training, held_out + [frame for path in inputs.valid_data for frame in load_frames(path)]
