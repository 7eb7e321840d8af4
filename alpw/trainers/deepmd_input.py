"""deepmd-kit's input json from the block ``train``, or from a file of the user's.

Our keys and their names there:

| ours | deepmd-kit's |
| --- | --- |
| descriptor | model.descriptor, se_e2_a; with learned type vectors se_atten without attention |
| fitting_net | model.fitting_net |
| optimizer.learning_rate, stop_lr | learning_rate, exponential |
| optimizer.start_pre_fac_*, end_pre_fac_* | loss.start_pref_*, limit_pref_*; 0 for what is not trained |
| optimizer.epochs, steps, batch_size | training.numb_steps, training_data.batch_size |
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alpw.config.train import Train
from alpw.errors import InputError

CHECKPOINT, CURVE_FILE = "model.ckpt", "lcurve.out"
#: Records of a learning curve, and stairs of a learning rate.
RECORDS, STAIRS = 50, 200


def deepmd_input(
    section: Train,
    seeds: dict[str, int],
    n_frames: int,
    systems: Sequence[str],
    valid: Sequence[str],
) -> dict[str, Any]:
    """The input json of one member.

    Args:
        section: the block ``train``.
        seeds: ``weights`` and ``order``.
        n_frames: size of the training set.
        systems: folders of the training set.
        valid: folders of the held-out frames; empty for none.

    Raises:
        InputError: a setting that deepmd-kit has not, or a user's file that does not fit.
    """
    if section.deepmd_input is not None:
        content = _users(section)
    else:
        check_translatable(section)
        content = _translated(section, n_frames)
    weights, order = (seeds[name] % 2**31 for name in ("weights", "order"))
    model, training = content["model"], content["training"]
    for network in ("descriptor", "fitting_net", "type_embedding"):
        if network in model:
            model[network]["seed"] = weights
    model["type_map"] = list(section.atom_type)
    training["seed"] = order
    training.setdefault("training_data", {}).update(systems=list(systems))
    training.pop("validation_data", None)
    if valid:
        training["validation_data"] = {"systems": list(valid), "batch_size": 1}
    steps = training["numb_steps"]
    training.update(
        disp_file=CURVE_FILE, save_ckpt=CHECKPOINT, disp_freq=max(1, steps // RECORDS), disp_training=True
    )
    training["save_freq"] = min(training.get("save_freq", 1000), steps)
    return content


def check_translatable(section: Train) -> None:
    """Raise `InputError` for settings that deepmd-kit has not, by the key at fault."""
    optimizer, embedding = section.optimizer, section.descriptor.type_embedding
    advice = "give deepmd-kit's own input as train.deepmd_input for what is beyond our keys"
    if optimizer.optimizer != "ADAM":
        text = f"'{optimizer.optimizer}' cannot be translated for deepmd-kit, 'ADAM' can; {advice}"
        raise InputError(text, key="train.optimizer.optimizer")
    if embedding is not None and embedding.kind != "learned":
        text = 'deepmd-kit has learned type vectors only: "type_embedding": "learned"'
        raise InputError(text, key="train.descriptor.type_embedding")
    if optimizer.patience is not None:
        raise InputError("deepmd-kit does not stop early; remove it", key="train.optimizer.patience")


def _translated(section: Train, n_frames: int) -> dict[str, Any]:
    descriptor, fitting, optimizer = section.descriptor, section.fitting_net, section.optimizer
    embedding = descriptor.type_embedding
    common = {
        "rcut": descriptor.rcut,
        "rcut_smth": descriptor.rcut_smth,
        "neuron": list(descriptor.neuron),
        "axis_neuron": descriptor.axis_neuron,
        "resnet_dt": descriptor.resnet_dt,
        "activation_function": descriptor.activation,
        "type_one_side": descriptor.type_one_side,
        "precision": section.precision,
        "sel": _sel(section),
    }
    model: dict[str, Any] = {"descriptor": {"type": "se_e2_a", **common}}
    if embedding is not None:
        # `strip` keeps the vectors out of the embedding net's input, without which there is no compression.
        own = {"attn_layer": 0, "tebd_input_mode": "strip", "smooth_type_embedding": False}
        model["descriptor"] = {"type": "se_atten", **common, **own}
        model["type_embedding"] = {"neuron": [embedding.tebd_dim], "precision": section.precision}
    model["fitting_net"] = {
        "neuron": list(fitting.neuron),
        "resnet_dt": fitting.resnet_dt,
        "activation_function": fitting.activation,
        "precision": section.precision,
    }
    steps = optimizer.steps or optimizer.epochs * math.ceil(n_frames / optimizer.batch_size)
    return {
        "model": model,
        "learning_rate": {
            "type": "exp",
            "start_lr": optimizer.learning_rate,
            "stop_lr": optimizer.stop_lr,
            "decay_steps": max(1, steps // STAIRS),
        },
        "loss": _loss(section),
        "training": {"training_data": {"batch_size": optimizer.batch_size}, "numb_steps": steps},
    }


def _loss(section: Train) -> dict[str, Any]:
    optimizer = section.optimizer
    loss: dict[str, Any] = {"type": "ener"}
    for theirs, ours, trained in (
        ("e", "etot", optimizer.train_energy),
        ("f", "force", optimizer.train_force),
        ("v", "virial", optimizer.train_virial),
    ):
        loss[f"start_pref_{theirs}"] = getattr(optimizer, f"start_pre_fac_{ours}") * trained
        loss[f"limit_pref_{theirs}"] = getattr(optimizer, f"end_pre_fac_{ours}") * trained
    return loss


def _sel(section: Train) -> str | int | list[int]:
    """Neighbours per element, or of all together with type vectors; "auto": by the training set."""
    descriptor, n = section.descriptor, len(section.atom_type)
    each = [descriptor.max_neigh_num] if descriptor.max_neigh_num is not None else descriptor.sel
    if each is None:
        return "auto"
    if descriptor.type_embedding is not None:
        return sum(each) if descriptor.max_neigh_num is None else each[0] * n
    return list(each) * n if len(each) == 1 else list(each)


def _users(section: Train) -> dict[str, Any]:
    """The user's own file, which must be of a model with energies and of the campaign's elements."""
    path = section.deepmd_input
    assert path is not None
    return read_users_input(path, section.atom_type)


def read_users_input(path: Path, elements: Sequence[str]) -> dict[str, Any]:
    """A user's input json for deepmd-kit.

    Raises:
        InputError: not JSON, blocks that are missing, or other elements than the campaign's.
    """
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"not JSON: {error}", path) from error
    for block, keys in (("model", ("descriptor", "fitting_net")), ("training", ("numb_steps",))):
        for key in keys:
            if not isinstance(content, dict) or key not in (content.get(block) or {}):
                text = "missing; the file must be a complete input of `dp train` for one model"
                raise InputError(text, path, f"{block}.{key}")
    named = content["model"].get("type_map")
    if named and list(named) != list(elements):
        text = f"{named} is not train.atom_type {list(elements)}"
        raise InputError(text, path, "model.type_map")
    return copy.deepcopy(content)
