"""``default_training_param`` of DP-GEN: kept as it is for deepmd-kit, or as keys of the block ``train``."""

from __future__ import annotations

import copy
from typing import Any

from alpw.legacy.notes import NoteBook, Place, dotted, leaves

KEY = "default_training_param"
INPUT = "dp_input.json"

RENAMED = {("training", "stop_batch"): ("training", "numb_steps")}
"""Keys of deepmd-kit 1 -> its present ones; all others it renames itself."""

REPLACED: dict[tuple[str, ...], str] = {
    ("training", "systems"): "the training set is the campaign's",
    ("training", "set_prefix"): "the training set is the campaign's",
    ("training", "training_data", "systems"): "the training set is the campaign's",
    ("training", "validation_data"): "the held-out frames are the campaign's",
    ("training", "seed"): "the seed of a member comes from the campaign's",
    ("training", "disp_file"): "the learning curve is kept in the database",
    ("training", "disp_freq"): "the learning curve has a fixed number of records",
    ("training", "save_ckpt"): "checkpoints have a name of ours",
    ("model", "descriptor", "seed"): "the seed of a member comes from the campaign's",
    ("model", "fitting_net", "seed"): "the seed of a member comes from the campaign's",
    ("model", "type_embedding", "seed"): "the seed of a member comes from the campaign's",
    ("model", "type_map"): "train.atom_type",
}
"""What a campaign says in their place."""

OURS: dict[tuple[str, ...], str] = {
    ("model", "descriptor", "rcut"): "descriptor.rcut",
    ("model", "descriptor", "rcut_smth"): "descriptor.rcut_smth",
    ("model", "descriptor", "sel"): "descriptor.sel",
    ("model", "descriptor", "neuron"): "descriptor.neuron",
    ("model", "descriptor", "axis_neuron"): "descriptor.axis_neuron",
    ("model", "descriptor", "resnet_dt"): "descriptor.resnet_dt",
    ("model", "descriptor", "type_one_side"): "descriptor.type_one_side",
    ("model", "descriptor", "activation_function"): "descriptor.activation",
    ("model", "fitting_net", "neuron"): "fitting_net.neuron",
    ("model", "fitting_net", "resnet_dt"): "fitting_net.resnet_dt",
    ("model", "fitting_net", "activation_function"): "fitting_net.activation",
    ("learning_rate", "start_lr"): "optimizer.learning_rate",
    ("learning_rate", "stop_lr"): "optimizer.stop_lr",
    ("loss", "start_pref_e"): "optimizer.start_pre_fac_etot",
    ("loss", "limit_pref_e"): "optimizer.end_pre_fac_etot",
    ("loss", "start_pref_f"): "optimizer.start_pre_fac_force",
    ("loss", "limit_pref_f"): "optimizer.end_pre_fac_force",
    ("loss", "start_pref_v"): "optimizer.start_pre_fac_virial",
    ("loss", "limit_pref_v"): "optimizer.end_pre_fac_virial",
    ("training", "numb_steps"): "optimizer.steps",
    ("training", "stop_batch"): "optimizer.steps",
}
"""Key of deepmd-kit's input -> key of the block ``train``; the formulas are the same."""

_KNOWN_TYPES = {("model", "descriptor", "type"): ("se_e2_a", "se_a"), ("loss", "type"): ("ener",)}
_KNOWN_TYPES |= {("learning_rate", "type"): ("exp",), ("model", "fitting_net", "type"): ("ener",)}


def for_deepmd(training: dict[str, Any], book: NoteBook, batch_size: int | str | None) -> dict[str, Any]:
    """The file that ``dp train`` gets, in its own words.

    Args:
        training: ``default_training_param``.
        book: notes on the source file.
        batch_size: what all systems of the source have in common; None if they differ.
    """
    content = {key: value for key, value in copy.deepcopy(training).items() if not key.startswith("_")}
    for path, _ in leaves(training):
        if _starts(path, REPLACED):
            _remove(content, path)
            book.changed((KEY, *path), "", f"replaced: {_starts(path, REPLACED)}")
        elif path in RENAMED:
            new = RENAMED[path]
            content["training"].setdefault(new[-1], content["training"].pop(path[-1]))
            book.changed((KEY, *path), f"{INPUT}: {dotted(new)}", "its present name")
        elif path == ("training", "batch_size"):
            _remove(content, path)
            book.changed((KEY, *path), "", "DP-GEN overwrites it by init_batch_size and sys_batch_size")
        elif not any(str(part).startswith("_") for part in path):
            book.taken((KEY, *path), f"{INPUT}: {dotted(path)}")
    data = content.setdefault("training", {}).setdefault("training_data", {})
    if batch_size is not None or not isinstance(data.get("batch_size"), str):
        data["batch_size"] = batch_size if batch_size is not None else "auto"
    return content


def for_alpw(training: dict[str, Any], book: NoteBook, batch_size: int | str | None) -> dict[str, Any]:
    """The same as keys of the block ``train``; what our model has not is noted.

    Args:
        training: ``default_training_param``.
        book: notes on the source file.
        batch_size: what all systems of the source have in common; None if they differ.
    """
    train: dict[str, Any] = {}
    for path, value in leaves(training):
        if path in OURS:
            ours = OURS[path]  # type: ignore[index]
            # The time steps of the skip connections and the like: only what is a value of ours.
            automatic = ours == "descriptor.sel" and isinstance(value, str)
            put(train, ours, "auto" if automatic else value)
            book.taken((KEY, *path), f"train.{ours}")
        elif path in _KNOWN_TYPES and value in _KNOWN_TYPES[path]:  # type: ignore[index]
            book.taken((KEY, *path), "", "the kind that there is")
        elif path in _KNOWN_TYPES:
            book.absent(
                (KEY, *path), "another kind than ours", "keep trainer deepmd, which takes it as it is"
            )
        elif path in (("learning_rate", "decay_rate"), ("learning_rate", "decay_steps")):
            book.changed((KEY, *path), "train.optimizer.stop_lr", _DECAY)
        elif text := _starts(path, REPLACED):
            book.changed((KEY, *path), "", f"replaced: {text}")
        elif not any(str(part).startswith("_") for part in path):
            book.absent(
                (KEY, *path), "our own training has no such setting", "keep trainer deepmd if it matters"
            )
    optimizer = train.setdefault("optimizer", {})
    optimizer |= {"optimizer": "ADAM", "batch_size": batch_size if isinstance(batch_size, int) else 1}
    _decay(training.get("learning_rate") or {}, optimizer)
    virial = [optimizer.get(f"{end}_pre_fac_virial", 0) for end in ("start", "end")]
    optimizer["train_virial"] = any(virial)
    return train


_DECAY = "the rate decays exponentially to stop_lr over the whole training"


def _decay(rate: dict[str, Any], optimizer: dict[str, Any]) -> None:
    """The rate at the end of deepmd-kit 1, start_lr x decay_rate^(steps / decay_steps)."""
    known = all(isinstance(rate.get(key), int | float) for key in ("start_lr", "decay_rate", "decay_steps"))
    if known and "stop_lr" not in optimizer and isinstance(optimizer.get("steps"), int):
        optimizer["stop_lr"] = rate["start_lr"] * rate["decay_rate"] ** (
            optimizer["steps"] / rate["decay_steps"]
        )


def put(content: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key, making the blocks on the way."""
    *blocks, last = key.split(".")
    for block in blocks:
        content = content.setdefault(block, {})
    content[last] = value


def _starts(path: Place, table: dict[tuple[str, ...], str]) -> str:
    return next((text for known, text in table.items() if path[: len(known)] == known), "")


def _remove(content: Any, path: Place) -> None:
    """Delete a place, and the block that it leaves empty."""
    for part in path[:-1]:
        content = content.get(part, {}) if isinstance(content, dict) else {}
    if isinstance(content, dict):
        content.pop(path[-1], None)
