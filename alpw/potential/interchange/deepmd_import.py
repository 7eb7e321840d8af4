"""deepmd-kit's backend-neutral model dictionary as one of our models, exactly or not at all.

Whatever changes the energy and has no counterpart here is refused with its name. A setting that this
module has never heard of is refused too, unless it is empty or off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import NDArray
from torch import nn

from alpw.errors import InputError
from alpw.potential.config import ACTIVATIONS, DeepPotentialConfig
from alpw.potential.interchange.deepmd_export import (
    layers_of,
    refuse_ambiguous_skips,
    tensorflow_radii,
)
from alpw.potential.model import DeepPotential

Section = Mapping[str, Any]

# Newest version of each class that this module was written against (deepmd-kit 3.2).
_VERSIONS = {"Model": 2, "Descriptor": 3, "Fitting": 4, "NetworkCollection": 1, "TypeEmbedNet": 2}

_COMMON = {"@class", "@version", "@variables", "type", "type_map", "trainable"}
_DESCRIPTOR = _COMMON | {
    "rcut",
    "rcut_smth",
    "sel",
    "neuron",
    "axis_neuron",
    "resnet_dt",
    "type_one_side",
    "set_davg_zero",
    "activation_function",
    "precision",
    "env_mat",
    "embeddings",
}
# What is read, or has no meaning without attention layers; every other key must be empty or off.
_READ: dict[str, set[str]] = {
    "model": _COMMON | {"descriptor", "fitting", "rcond", "preset_out_bias"},
    "se_e2_a": _DESCRIPTOR,
    "dpa1": _DESCRIPTOR
    | {"ntypes", "tebd_dim", "tebd_input_mode", "concat_output_tebd", "use_tebd_bias", "type_embedding"}
    | {"attn", "attn_dotr", "scaling_factor", "normalize", "temperature", "trainable_ln", "ln_eps"}
    | {"smooth_type_embedding", "attention_layers", "lmax"},
    "fitting": _COMMON
    | {"var_name", "ntypes", "dim_descrpt", "dim_out", "neuron", "resnet_dt", "rcond", "nets"}
    | {"activation_function", "precision", "mixed_types", "layer_name"},
}
_REASONS = {
    "attn_layer": "attention layers are not part of our models; train with attn_layer: 0",
    "compress": "a compressed model; import the model that was compressed",
    "spin": "spins are not part of our models",
    "exclude_types": "pairs or atoms without interaction are not part of our models",
    "pair_exclude_types": "pairs without interaction are not part of our models",
    "atom_exclude_types": "atoms without energy are not part of our models",
    "env_protection": "a shifted distance is not part of our models; train with env_protection: 0",
    "numb_fparam": "frame parameters are not part of our models",
    "numb_aparam": "atomic parameters are not part of our models",
    "dim_case_embd": "case embeddings of multi-task training are not part of our models",
    "use_econf_tebd": "vectors from electron configurations are not in the file; use use_econf_tebd: false",
    "atom_ener": "energies of atoms in vacuum change the fitting net; train without atom_ener",
}


def from_deepmd(data: Section) -> DeepPotential:
    """The model of a deepmd-kit dictionary, `se_e2_a` or `dpa1` without attention, with an energy fitting.

    Args:
        data: what deepmd-kit's ``serialize`` hooks return and `to_deepmd` makes.

    Raises:
        InputError: anything that our models cannot represent exactly, by its key, with what to do.
    """
    model = _section(data, "model", "")
    _check("model", model, "model", type="standard")
    descriptor, fitting = _section(model, "descriptor", "model"), _section(model, "fitting", "model")
    kind = str(descriptor.get("type"))
    kind = {"se_a": "se_e2_a", "se_atten": "dpa1"}.get(kind, kind)
    if kind not in ("se_e2_a", "dpa1"):
        raise InputError(f"found {kind!r}; allowed: se_e2_a, dpa1", key="model.descriptor.type")
    _check(kind, descriptor, "model.descriptor")
    _check("fitting", fitting, "model.fitting", type="ener")
    # TensorFlow's fitting layers, radii and output follow rules of their own.
    tensorflow = data.get("backend") == "TensorFlow"

    potential = DeepPotential(
        _config(model, descriptor, fitting, embedded=kind == "dpa1", tensorflow=tensorflow)
    )
    n_outputs = int(fitting["dim_descrpt"])
    if tensorflow:
        refuse_ambiguous_skips(n_outputs, potential.config.fitting_neuron)
    with torch.no_grad():
        davg, dstd = _statistics(descriptor)
        potential.descriptor.davg.copy_(davg)
        potential.descriptor.dstd.copy_(dstd)
        if potential.descriptor.type_vectors is not None:
            potential.descriptor.type_vectors.table.copy_(_type_vectors(descriptor))
    _load_embeddings(potential, _networks(descriptor, "embeddings", "model.descriptor"))
    nets = _networks(fitting, "nets", "model.fitting")
    for index, (network, layers) in enumerate(zip(potential.fitting, nets, strict=True)):
        _load(network, layers, f"model.fitting.nets.{index}", pad_input=potential.descriptor.width)
    _load_output(potential, model, fitting, scaled=tensorflow)
    return potential


def _config(
    model: Section, descriptor: Section, fitting: Section, *, embedded: bool, tensorflow: bool
) -> DeepPotentialConfig:
    rcut, rcut_smth = float(descriptor["rcut"]), float(descriptor["rcut_smth"])
    if tensorflow:
        rcut, rcut_smth = tensorflow_radii(rcut, rcut_smth)
    elements = [str(symbol) for symbol in model["type_map"]]
    unknown = [symbol for symbol in elements if symbol not in atomic_numbers]
    if unknown or len(set(elements)) != len(elements):
        raise InputError(
            f"found {' '.join(elements)}; allowed: chemical symbols, each once (several types of one element "
            "are not part of our models)",
            key="model.type_map",
        )
    activation = _same(descriptor, fitting, "activation_function", _activation)
    if activation not in ACTIVATIONS:
        raise InputError(
            f"found {activation!r}; allowed: {', '.join(ACTIVATIONS)}",
            key="model.descriptor.activation_function",
        )
    largest_mean = float(np.abs(descriptor["@variables"]["davg"]).max())
    if embedded and largest_mean:
        raise InputError(
            f"found means up to {largest_mean:.3g} together with type vectors; allowed: zero. Train with "
            "descriptor/set_davg_zero: true",
            key="model.descriptor.@variables.davg",
        )
    sel = descriptor["sel"]
    counts = [int(count) for count in ([sel] if isinstance(sel, (int, np.integer)) else sel)]
    return DeepPotentialConfig(
        elements=tuple(elements),
        rcut=rcut,
        rcut_smth=rcut_smth,
        neuron=tuple(int(width) for width in descriptor["neuron"]),
        axis_neuron=int(descriptor["axis_neuron"]),
        fitting_neuron=tuple(int(width) for width in fitting["neuron"]),
        resnet_dt=bool(fitting["resnet_dt"]),
        embedding_resnet_dt=bool(descriptor["resnet_dt"]),
        activation=activation,
        type_one_side=bool(descriptor["type_one_side"]),
        type_embedding="learned" if embedded else None,
        tebd_dim=int(descriptor["tebd_dim"]) if embedded else 8,
        sel=sum(counts) if embedded else tuple(counts),
        set_davg_zero=largest_mean == 0,
        precision=_same(descriptor, fitting, "precision", _precision),
    )


def _activation(name: str) -> str:
    return {"gelu_tf": "gelu"}.get(str(name).lower(), str(name).lower())


def _precision(name: str) -> str:
    return {"default": "float64", "double": "float64", "single": "float32"}.get(str(name), str(name))


def _same(descriptor: Section, fitting: Section, key: str, read: Any) -> Any:
    ours, theirs = read(descriptor[key]), read(fitting[key])
    if ours != theirs:
        raise InputError(
            f"found {ours} in the descriptor and {theirs} in the fitting net; allowed: the same in both",
            key=f"model.fitting.{key}",
        )
    return ours


def _check(kind: str, section: Section, where: str, **required: Any) -> None:
    """Refuse what is not understood: newer versions, other types, and settings that are on."""
    newest = _VERSIONS[str(section.get("@class"))] if section.get("@class") in _VERSIONS else None
    if newest is None or int(section.get("@version", 1)) > newest:
        raise InputError(
            f"found {section.get('@class')!r} of version {section.get('@version')}; written by a newer "
            "deepmd-kit? allowed: models of deepmd-kit up to 3.2",
            key=where,
        )
    for key, value in required.items():
        if section.get(key) != value:
            raise InputError(f"found {section.get(key)!r}; allowed: {value}", key=f"{where}.{key}")
    for key in sorted(set(section) - _READ[kind]):
        if not _is_off(section[key]):
            reason = _REASONS.get(key, "this setting is not known here")
            raise InputError(f"found {_short(section[key])}; {reason}", key=f"{where}.{key}")
    if kind in ("se_e2_a", "dpa1"):
        matrix = section.get("env_mat", {})
        if not (_is_off(matrix.get("protection")) and _is_off(matrix.get("use_exp_switch"))):
            raise InputError(
                "another switching function, or a shifted distance; allowed: the polynomial switch",
                key=f"{where}.env_mat",
            )
    if kind == "dpa1":
        for key, value in (("tebd_input_mode", "concat"), ("lmax", 1)):
            if section.get(key, value) != value:
                raise InputError(f"found {section[key]!r}; allowed: {value}", key=f"{where}.{key}")


def _is_off(value: Any) -> bool:
    """Whether a setting is empty, zero, false or missing; a list is off if nothing in it is set."""
    if isinstance(value, (list, tuple, set)):
        return all(item is None or item is False for item in value)
    if isinstance(value, (str, Mapping, np.ndarray)):
        return len(value) == 0
    return value is None or value == 0


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else f"{type(value).__name__} of {len(value)} items"


def _section(parent: Section, key: str, where: str) -> Section:
    path = ".".join(filter(None, (where, key)))
    if not isinstance(parent.get(key), Mapping):
        raise InputError(f"missing; found {', '.join(map(str, parent)) or 'nothing'}", key=path)
    section: Section = parent[key]
    return section


def _networks(section: Section, key: str, where: str) -> list[list[Section]]:
    collection = _section(section, key, where)
    if any(network is None for network in collection["networks"]):
        raise InputError("a network is missing, as where pairs are excluded", key=f"{where}.{key}")
    return [network["layers"] for network in collection["networks"]]


def _load_embeddings(potential: DeepPotential, networks: list[list[Section]]) -> None:
    n_types = len(potential.config.elements)
    if len(potential.descriptor.embeddings) == n_types**2 and not potential.config.type_one_side:
        # deepmd-kit's index is centre + neighbour * n_types, ours centre * n_types + neighbour.
        networks = [networks[i + j * n_types] for i, j in product(range(n_types), repeat=2)]
    for index, (network, layers) in enumerate(zip(potential.descriptor.embeddings, networks, strict=True)):
        _load(network, layers, f"model.descriptor.embeddings.{index}")


def _load(network: nn.Module, layers: Sequence[Section], where: str, pad_input: int | None = None) -> None:
    """Copy weights; ``pad_input`` is the input width to reach with rows of zeros in the first layer."""
    with torch.no_grad():
        for index, (mine, theirs) in enumerate(zip(layers_of(network), layers, strict=True)):
            key, variables = f"{where}.{index}", theirs["@variables"]
            w = np.asarray(variables["w"])
            n_in, n_out = w.shape
            copies = n_out // n_in if theirs["resnet"] and n_out in (n_in, 2 * n_in) else 0
            if index == 0 and pad_input is not None and n_in < pad_input:
                w = np.concatenate((w, np.zeros((pad_input - n_in, n_out), w.dtype)))
            b = variables["b"] if variables["b"] is not None else np.zeros(n_out)
            pairs = [(mine.w, w), (mine.b, np.ravel(b))]
            if mine.idt is not None:
                # A layer without a time step is one whose time step is one.
                idt = variables["idt"] if variables.get("idt") is not None else np.ones(n_out)
                pairs.append((mine.idt, np.ravel(idt)))
            fits = all(parameter.shape == value.shape for parameter, value in pairs)
            if not fits or copies != mine.copies or (mine.idt is None and variables.get("idt") is not None):
                raise InputError(f"found a layer {n_in} -> {n_out} that does not fit its settings", key=key)
            for parameter, value in pairs:
                parameter.copy_(torch.from_numpy(np.array(value)))


def _statistics(descriptor: Section) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and scale per type, ``(n_types, 4)``; deepmd-kit repeats them for every slot of its table."""
    both = []
    for key in ("davg", "dstd"):
        values = np.asarray(descriptor["@variables"][key])
        values = values.reshape(len(values), -1, 4)
        if not (values == values[:, :1]).all():
            raise InputError(
                "found values that differ between slots of the neighbour table; allowed: one row per type",
                key=f"model.descriptor.@variables.{key}",
            )
        both.append(torch.from_numpy(values[:, 0].copy()))
    return both[0], both[1]


def _type_vectors(descriptor: Section) -> torch.Tensor:
    """The vectors ``(n_types, tebd_dim)`` that a linear net makes of one-hot input."""
    net = _section(descriptor, "type_embedding", "model.descriptor")
    key = "model.descriptor.type_embedding"
    if not _is_off(net.get("use_econf_tebd")):
        raise InputError(_REASONS["use_econf_tebd"], key=key)
    layers = net["embedding"]["layers"]
    if len(layers) != 1 or str(net["activation_function"]).lower() not in ("linear", "none"):
        raise InputError(
            f"found {len(layers)} layers, {net['activation_function']}; allowed: one linear layer", key=key
        )
    table: NDArray[Any] = np.asarray(layers[0]["@variables"]["w"])
    n_types, dim = table.shape
    if dim in (n_types, 2 * n_types) and layers[0]["resnet"]:
        table = table + np.tile(np.eye(n_types), dim // n_types)
    if layers[0]["@variables"]["b"] is not None:
        table = table + np.ravel(layers[0]["@variables"]["b"])
    return torch.from_numpy(np.array(table))


def _load_output(potential: DeepPotential, model: Section, fitting: Section, *, scaled: bool) -> None:
    """Energy bias and, where ``scaled``, the factor that TensorFlow applies to each atomic energy."""
    out = model["@variables"]
    bias = np.asarray(fitting["@variables"]["bias_atom_e"], dtype=float).reshape(-1)
    factor = np.asarray(out["out_std"], dtype=float).reshape(-1) if scaled else np.ones(len(bias))
    if len(potential.fitting) != len(factor) and not (factor == factor[0]).all():
        raise InputError(
            "found a scale that differs between elements that share a fitting net; allowed: one for all",
            key="model.@variables.out_std",
        )
    with torch.no_grad():
        for network, scale in zip(potential.fitting, factor, strict=False):
            last = layers_of(network)[-1]
            last.w.mul_(scale)
            last.b.mul_(scale)
        shift = np.asarray(out["out_bias"], dtype=float).reshape(-1)
        potential.energy_bias.copy_(torch.from_numpy(bias * factor + shift))
