"""The train json of PWMLFF and MatPL from the block ``train``.

Both take the same blocks; PWMLFF (until 2025.02) finds its data by ``datasets_path``, folders with ``train``
and ``valid``, MatPL (from 2025.03) by ``train_data`` and ``valid_data``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers

from alpw.config.train import Train
from alpw.errors import InputError
from alpw.formats.pwdata import write_pwdata
from alpw.structures.frame import LabelledFrame

CHECKPOINT = "dp_model.ckpt"
STORE = "model_record"
#: Neighbours per element that the predecessor makes room for.
NEIGHBOURS = 100

_KALMAN = (
    *("kalman_lambda", "kalman_nue", "block_size", "nselect", "groupsize"),
    *("pre_fac_force", "pre_fac_etot", "pre_fac_virial"),
)
_ADAM = (
    *("learning_rate", "stop_lr", "start_pre_fac_force", "end_pre_fac_force", "start_pre_fac_etot"),
    *("end_pre_fac_etot", "start_pre_fac_virial", "end_pre_fac_virial"),
)


def is_matpl(command: str) -> bool:
    """Whether a command is MatPL's, whose keys for data differ from PWMLFF's."""
    return any(Path(word).name.lower() == "matpl" for word in command.split())


def write_data(
    folder: Path, frames: Sequence[LabelledFrame], valid: Sequence[LabelledFrame], matpl: bool
) -> dict[str, Any]:
    """Write the data sets below ``folder`` and return the keys that name them, with absolute paths."""
    if matpl:
        sets = write_pwdata(folder / "train", frames)
        held_out = write_pwdata(folder / "valid", valid) if valid else []
        return {
            "train_data": [str(path) for path in sets],
            "valid_data": [str(path) for path in held_out],
            "format": "pwmlff/npy",
        }
    return {"raw_files": [], "datasets_path": [str(p) for p in write_pwdata(folder, frames, list(valid))]}


def matpl_input(section: Train, seed: int, data: dict[str, Any], *, covariance: bool) -> dict[str, Any]:
    """The train json of one member.

    Args:
        section: the block ``train``.
        seed: of weights and order.
        data: what `write_data` returned.
        covariance: whether P of the Kalman filter is saved with the checkpoint.

    Raises:
        InputError: a setting that these trainers have not.
    """
    check_translatable(section)
    descriptor, optimizer = section.descriptor, section.optimizer
    content: dict[str, Any] = {
        "model_type": "DP",
        "atom_type": [atomic_numbers[symbol] for symbol in section.atom_type],
        "max_neigh_num": _neighbours(section),
        "seed": seed % 10**6 + 1,
        "model_num": 1,
        # A checkpoint that lies in the folder would be picked up silently.
        "recover_train": False,
        "precision": section.precision,
        "model": {
            "descriptor": {
                "Rmax": descriptor.rcut,
                "Rmin": descriptor.rcut_smth,
                "M2": descriptor.axis_neuron,
                "network_size": list(descriptor.neuron),
            },
            "fitting_net": {"network_size": [*section.fitting_net.neuron, 1]},
        },
        "optimizer": _optimizer(section),
        "model_store_dir": STORE,
        "model_name": CHECKPOINT,
        **data,
    }
    if descriptor.type_embedding is not None:
        content["type_embedding"] = True
        properties = {"physical_property": list(descriptor.type_embedding.physical_property)}
        content["model"]["descriptor"]["type_embedding"] = properties
    if covariance:
        if optimizer.optimizer != "LKF":
            text = f"'{optimizer.optimizer}' has no covariance that PWMLFF and MatPL save; 'LKF' has"
            raise InputError(text, key="train.optimizer.optimizer")
        content["save_p_matrix"] = True
    return content


def check_translatable(section: Train) -> None:
    """Raise `InputError` for settings that PWMLFF and MatPL have not, by the key at fault."""
    descriptor, fitting, optimizer = section.descriptor, section.fitting_net, section.optimizer
    embedding = descriptor.type_embedding
    # key, whether it is refused, what there is instead
    refused: tuple[tuple[str, bool, str], ...] = (
        ("descriptor.type_one_side", descriptor.type_one_side, "false"),
        ("descriptor.activation", descriptor.activation != "tanh", "'tanh'"),
        ("descriptor.resnet_dt", descriptor.resnet_dt, "false"),
        ("fitting_net.resnet_dt", not fitting.resnet_dt, "true"),
        ("descriptor.type_embedding", embedding is not None and embedding.kind != "physical", "'physical'"),
        ("optimizer.optimizer", optimizer.optimizer == "ADAMW", "'ADAM', 'LKF' and 'GKF'"),
        ("optimizer.steps", optimizer.steps is not None, "epochs"),
        ("optimizer.patience", optimizer.patience is not None, "no early stop"),
    )
    for key, is_refused, instead in refused:
        if is_refused:
            raise InputError(f"PWMLFF and MatPL have {instead} here", key=f"train.{key}")


def _neighbours(section: Train) -> int:
    descriptor = section.descriptor
    return descriptor.max_neigh_num or max(descriptor.sel or [NEIGHBOURS])


def _optimizer(section: Train) -> dict[str, Any]:
    optimizer = section.optimizer
    keys = _KALMAN if optimizer.is_kalman else _ADAM
    content: dict[str, Any] = {
        "optimizer": optimizer.optimizer,
        "epochs": optimizer.epochs,
        "batch_size": optimizer.batch_size,
        "train_energy": optimizer.train_energy,
        "train_force": optimizer.train_force,
        "train_virial": optimizer.train_virial,
        **{key: getattr(optimizer, key) for key in keys},
    }
    if optimizer.is_kalman and optimizer.p0_weight is not None:
        content["p0_weight"] = optimizer.p0_weight
    return content
