"""Our weights as deepmd-kit's backend-neutral model dictionary (deepmd-kit 3.2).

`se_e2_a` where every kind of pair has its own embedding net, `dpa1` without attention where types are
vectors. The dictionary is what `dp convert-backend` turns into a model of any backend, and what
`deepmd_import` reads back. Where its converters leave no choice, or the wrong one:

- deepmd-kit's neighbour table has a fixed size ``sel``, whose sum divides the descriptor. Ours is only a
  scale N_c. The table may be made larger at export; the first fitting layer then makes up for it, since D
  is quadratic in 1/N_c.
- The energy bias goes into ``bias_atom_e``. `dp compress` loses ``out_bias``, and the bias of the last
  layer cannot tell elements apart where they share a fitting net.
- ``out_std`` is one: TensorFlow multiplies energies with it, PyTorch does not.
- The net that makes type vectors from one-hot input adds its input to its output where the width is equal
  or double; the weights are the vectors less that input.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray
from torch import nn

from alpw.errors import InputError
from alpw.potential.model import DeepPotential
from alpw.potential.networks import ResidualLayer

logger = logging.getLogger(__name__)

Array = NDArray[np.floating[Any]]


def to_deepmd(model: DeepPotential, sel: int | Sequence[int] | None = None) -> dict[str, Any]:
    """The model as deepmd-kit's dictionary, with NumPy arrays. Tables of a compressed model are left out.

    Args:
        model: any variant.
        sel: neighbours that deepmd-kit's table makes room for: one number per element, or one that holds for
            each of them; with type vectors, one number in all. None for the model's own. deepmd-kit drops
            the farthest neighbours of an atom that has more, with a warning at most.

    Raises:
        InputError: a ``sel`` of the wrong length or without room, or fitting layers that deepmd-kit's
            backends would evaluate differently.
    """
    config, descriptor = model.config, model.descriptor
    refuse_ambiguous_skips(descriptor.width, config.fitting_neuron)
    if tensorflow_radii(config.rcut, config.rcut_smth) != (config.rcut, config.rcut_smth):
        logger.warning(
            "deepmd-kit's TensorFlow backend rounds the radii %g and %g Å: energies and forces of a .pb will "
            "differ by about 1e-7 of their value; multiples of 1/8 Å are exact",
            config.rcut,
            config.rcut_smth,
        )
    slots = _slots(model, sel)
    n_types, embedded = len(config.elements), descriptor.type_vectors is not None
    scale = (sum(slots) / float(descriptor.normaliser)) ** 2
    common = {
        "rcut": config.rcut,
        "rcut_smth": config.rcut_smth,
        "sel": list(slots),
        "neuron": list(config.neuron),
        "axis_neuron": config.axis_neuron,
        "activation_function": config.activation,
        "resnet_dt": config.embedding_resnet_dt,
        "type_one_side": config.type_one_side,
        "precision": config.precision,
        "trainable": True,
        "exclude_types": [],
        "env_protection": 0.0,
        "set_davg_zero": config.set_davg_zero,
    }
    if embedded:
        common |= _dpa1_settings(model, sum(slots))
    davg, dstd = (
        np.repeat(_numpy(rows)[:, None, :], sum(slots), axis=1) for rows in (descriptor.davg, descriptor.dstd)
    )
    fitting = {
        "neuron": list(config.fitting_neuron),
        "activation_function": config.activation,
        "resnet_dt": config.resnet_dt,
        "precision": config.precision,
    }
    return {
        "model": {
            "@class": "Model",
            "@version": 2,
            "type": "standard",
            "type_map": list(config.elements),
            "atom_exclude_types": [],
            "pair_exclude_types": [],
            "preset_out_bias": None,
            "rcond": None,
            "descriptor": {
                **common,
                "@class": "Descriptor",
                "@version": 2,
                "type": "dpa1" if embedded else "se_e2_a",
                "type_map": list(config.elements),
                "spin": None,
                "env_mat": {
                    "rcut": config.rcut,
                    "rcut_smth": config.rcut_smth,
                    "protection": 0.0,
                    "use_exp_switch": False,
                },
                "embeddings": _embeddings(model),
                **({"attention_layers": _no_attention(model, sum(slots))} if embedded else {}),
                **({"type_embedding": _type_embedding(model), "ntypes": n_types} if embedded else {}),
                "@variables": {"davg": davg, "dstd": dstd},
            },
            "fitting": {**fitting, **_fitting(model, scale)},
            "@variables": {"out_bias": np.zeros((1, n_types, 1)), "out_std": np.ones((1, n_types, 1))},
        },
        # What the TensorFlow backend builds its graph from when it reads the model back.
        "model_def_script": {
            "type_map": list(config.elements),
            "descriptor": {**common, "type": "dpa1" if embedded else "se_e2_a"},
            "fitting_net": {**fitting, "type": "ener"},
        },
        "backend": "ALPW",
        # `dp compress` tabulates down to this distance in Å: the smallest covalent radius, half a short bond.
        "@variables": {"min_nbor_dist": np.array(_smallest_radius(config.elements))},
    }


def refuse_ambiguous_skips(n_in: int, widths: Iterable[int]) -> None:
    """Refuse fitting layers that have a skip connection in one backend of deepmd-kit and none in another.

    TensorFlow adds the input of a hidden layer where the width stays equal, from the second layer on;
    PyTorch and the reference implementation in every layer, and where the width doubles as well.

    Raises:
        InputError: such a layer, naming its widths.
    """
    for index, width in enumerate(widths):
        if width == 2 * n_in or (index == 0 and width == n_in):
            raise InputError(
                f"hidden layer {index + 1} of the fitting net goes from {n_in} to {width} columns, where "
                "deepmd-kit's TensorFlow and PyTorch backends compute different energies; allowed: equal "
                "widths from the second layer on, and no doubling",
                key="fitting_neuron",
            )
        n_in = width


def tensorflow_radii(rcut: float, rcut_smth: float) -> tuple[float, float]:
    """The two radii in Å that TensorFlow's operators really use, in the place of those of the settings.

    They hold both, and their difference, in single precision. 6 and 0.5 stay what they are; 0.8 does not, and
    energies and forces then differ by about 1e-7 of their value from those of other backends.
    """
    start = np.float32(rcut_smth)
    return float(start) + float(np.float32(rcut) - start), float(start)


def layers_of(network: nn.Module) -> list[ResidualLayer]:
    """The layers of a residual network, input first."""
    return [layer for layer in network.children() if isinstance(layer, ResidualLayer)]


def _slots(model: DeepPotential, sel: int | Sequence[int] | None) -> tuple[int, ...]:
    """Neighbours per element, or in all with type vectors."""
    n_types, own = len(model.config.elements), [int(count) for count in model.descriptor.sel]
    if model.descriptor.type_vectors is not None:
        slots = (sum(own),) if sel is None else (sel,) if isinstance(sel, int) else tuple(sel)
        allowed = 1
    else:
        if sel is None and isinstance(model.config.sel, int):
            sel = model.config.sel  # of several elements only the sum is known: any of them may fill it
        slots = tuple(own) if sel is None else (sel,) * n_types if isinstance(sel, int) else tuple(sel)
        allowed = n_types
    if len(slots) != allowed or min(slots) < 0 or sum(slots) < 1:
        raise InputError(
            f"found {sel!r}; allowed: {allowed} number{'s' * (allowed > 1)} of neighbours, or one", key="sel"
        )
    if not model.config.set_davg_zero and slots != tuple(own):
        raise InputError(
            f"found {sel!r}; allowed: {own}, because the model subtracts a mean and its empty slots count",
            key="sel",
        )
    return slots


def _numpy(tensor: torch.Tensor) -> Array:
    return np.array(tensor.detach().cpu().numpy())


def _layer(layer: ResidualLayer, activation: str) -> dict[str, Any]:
    hidden = layer.activation is not None
    return {
        "@class": "Layer",
        "@version": 2,
        "bias": True,
        "use_timestep": layer.idt is not None,
        "activation_function": activation if hidden else "none",
        "resnet": hidden,
        "precision": str(layer.w.dtype).removeprefix("torch."),
        "trainable": True,
        "@variables": {
            "w": _numpy(layer.w),
            "b": _numpy(layer.b),
            "idt": None if layer.idt is None else _numpy(layer.idt),
        },
    }


def _collection(kind: str, ndim: int, n_types: int, networks: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "@class": "NetworkCollection",
        "@version": 1,
        "ndim": ndim,
        "ntypes": n_types,
        "network_type": kind,
        "networks": networks,
    }


def _embeddings(model: DeepPotential) -> dict[str, Any]:
    config, n_types = model.config, len(model.config.elements)
    networks = [
        {
            "@class": "EmbeddingNetwork",
            "@version": 2,
            "in_dim": layers_of(network)[0].w.shape[0],
            "neuron": list(config.neuron),
            "activation_function": config.activation,
            "resnet_dt": config.embedding_resnet_dt,
            "precision": config.precision,
            "bias": True,
            "layers": [_layer(layer, config.activation) for layer in layers_of(network)],
        }
        for network in model.descriptor.embeddings
    ]
    if model.descriptor.type_vectors is not None:
        return _collection("embedding_network", 0, n_types, networks)
    if config.type_one_side:
        return _collection("embedding_network", 1, n_types, networks)
    # Ours run through centre, then neighbour; deepmd-kit's index is centre + neighbour * n_types.
    order = np.arange(n_types**2).reshape(n_types, n_types).T.ravel()
    return _collection("embedding_network", 2, n_types, [networks[index] for index in order])


def _fitting(model: DeepPotential, scale: float) -> dict[str, Any]:
    config, n_types = model.config, len(model.config.elements)
    n_products = config.neuron[-1] * config.axis_neuron
    networks = []
    for network in model.fitting:
        layers = [_layer(layer, config.activation) for layer in layers_of(network)]
        weights = layers[0]["@variables"]["w"]
        weights[:n_products] = weights[:n_products].astype(float) * scale
        networks.append(
            {
                "@class": "FittingNetwork",
                "@version": 1,
                "in_dim": model.descriptor.width,
                "out_dim": 1,
                "neuron": list(config.fitting_neuron),
                "activation_function": config.activation,
                "resnet_dt": config.resnet_dt,
                "precision": config.precision,
                "bias_out": True,
                "layers": layers,
            }
        )
    shared = model.descriptor.type_vectors is not None
    return {
        "@class": "Fitting",
        "@version": 4,
        "type": "ener",
        "var_name": "energy",
        "type_map": list(config.elements),
        "ntypes": n_types,
        "mixed_types": shared,
        "dim_descrpt": model.descriptor.width,
        "dim_out": 1,
        "nets": _collection("fitting_network", 0 if shared else 1, n_types, networks),
        "trainable": [True] * (len(config.fitting_neuron) + 1),
        "numb_fparam": 0,
        "numb_aparam": 0,
        "dim_case_embd": 0,
        "default_fparam": None,
        "rcond": None,
        "exclude_types": [],
        "tot_ener_zero": False,
        "atom_ener": [],
        "layer_name": None,
        "use_aparam_as_mask": False,
        "spin": None,
        "@variables": {
            "bias_atom_e": _numpy(model.energy_bias).reshape(n_types, 1),
            "case_embd": None,
            "fparam_avg": None,
            "fparam_inv_std": None,
            "aparam_avg": None,
            "aparam_inv_std": None,
        },
    }


def _dpa1_settings(model: DeepPotential, n_slots: int) -> dict[str, Any]:
    return {
        "sel": n_slots,
        "tebd_dim": model.descriptor.type_vectors.table.shape[1],  # type: ignore[union-attr]
        "tebd_input_mode": "concat",
        "concat_output_tebd": True,
        "use_econf_tebd": False,
        "use_tebd_bias": False,
        "attn_layer": 0,
        # Settings of attention layers, of which there are none; the only values that TensorFlow accepts.
        "attn": 1,
        "attn_dotr": True,
        "attn_mask": False,
        "scaling_factor": 1.0,
        "normalize": True,
        "temperature": None,
        "trainable_ln": True,
        "ln_eps": 0.001,
        "smooth_type_embedding": False,
    }


def _no_attention(model: DeepPotential, n_slots: int) -> dict[str, Any]:
    return {
        "@class": "NeighborGatedAttention",
        "@version": 1,
        "layer_num": 0,
        "nnei": n_slots,
        "embed_dim": model.config.neuron[-1],
        "hidden_dim": 1,
        "dotr": True,
        "do_mask": False,
        "scaling_factor": 1.0,
        "normalize": True,
        "temperature": None,
        "trainable_ln": True,
        "ln_eps": 0.001,
        "precision": model.config.precision,
        "attention_layers": [],
    }


def _type_embedding(model: DeepPotential) -> dict[str, Any]:
    config = model.config
    table = _numpy(model.descriptor.type_vectors.table)  # type: ignore[union-attr]
    n_types, dim = table.shape
    copies = dim // n_types if dim in (n_types, 2 * n_types) else 0
    layer = {
        "@class": "Layer",
        "@version": 2,
        "bias": False,
        "use_timestep": False,
        "activation_function": "Linear",
        "resnet": True,
        "precision": config.precision,
        "trainable": config.type_embedding == "learned",
        "@variables": {
            "w": table - np.tile(np.eye(n_types, dtype=table.dtype), copies) if copies else table,
            "b": None,
            "idt": None,
        },
    }
    settings = {
        "neuron": [dim],
        "activation_function": "Linear",
        "resnet_dt": False,
        "precision": config.precision,
    }
    return {
        **settings,
        "@class": "TypeEmbedNet",
        "@version": 2,
        "ntypes": n_types,
        "type_map": list(config.elements),
        "padding": True,
        "trainable": config.type_embedding == "learned",
        "use_econf_tebd": False,
        "use_tebd_bias": False,
        "embedding": {
            **settings,
            "@class": "EmbeddingNetwork",
            "@version": 2,
            "in_dim": n_types,
            "bias": False,
            "layers": [layer],
        },
    }


def _smallest_radius(elements: Iterable[str]) -> float:
    return min(float(covalent_radii[atomic_numbers[symbol]]) for symbol in elements)
