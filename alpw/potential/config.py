"""The settings that define a Deep Potential, under DeePMD-kit's names and defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from ase.data import atomic_numbers

from alpw.errors import InputError
from alpw.potential.type_vectors import DEFAULT_PROPERTIES, PROPERTIES

# Smooth functions only: forces are derivatives of the network, and a kink in it is a jump in them.
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": torch.tanh,
    "gelu": partial(torch.nn.functional.gelu, approximate="tanh"),
    "softplus": torch.nn.functional.softplus,
    "sigmoid": torch.sigmoid,
}
PRECISIONS: dict[str, torch.dtype] = {"float64": torch.float64, "float32": torch.float32}


@dataclass(frozen=True)
class DeepPotentialConfig:
    """Architecture of a Deep Potential: `se_e2_a`, or DPA-1 without attention when types are embedded.

    Attributes:
        elements: chemical symbols in the order of the model's types.
        rcut: cutoff radius in Å.
        rcut_smth: radius in Å where the switching function starts to leave 1/r.
        neuron: widths of the embedding net.
        axis_neuron: number of embedding columns in the second factor of the descriptor.
        fitting_neuron: widths of the hidden layers of the fitting net.
        resnet_dt: whether the residual layers of the fitting net have a trainable time step.
        embedding_resnet_dt: the same for the embedding net (`descriptor.resnet_dt` of DeePMD-kit).
        activation: one of ``tanh``, ``gelu``, ``softplus``, ``sigmoid``.
        type_one_side: the embedding depends on the neighbour's element only (True), or on the elements of
            centre and neighbour (False).
        type_embedding: None gives each kind of pair its own embedding net and each element its own fitting
            net. ``learned`` and ``physical`` share one of each, and elements enter as vectors: trained
            ones, or properties of the element.
        tebd_dim: length of learned type vectors.
        physical_properties: what physical type vectors consist of, names in `type_vectors.PROPERTIES`.
        sel: largest number of neighbours of an atom that training accepts, in all or per element; its sum
            N_c divides the descriptor. None takes it from the first training set, and is then no limit:
            N_c is only a scale, and a structure with more neighbours is computed in full.
        set_davg_zero: no mean is subtracted from the environment matrix. False only in models that
            DeePMD-kit made: then the `sel` empty slots count, and `sel` is a limit.
        precision: ``float64`` or ``float32``, of the weights and the networks. Distances, the energy
            sum and the force sum are always float64.
        seed: of the initial weights.

    Raises:
        InputError: a value that cannot describe a model, naming the key.
    """

    elements: tuple[str, ...]
    rcut: float = 6.0
    rcut_smth: float = 0.5
    neuron: tuple[int, ...] = (25, 25, 25)
    axis_neuron: int = 16
    fitting_neuron: tuple[int, ...] = (50, 50, 50)
    resnet_dt: bool = True
    embedding_resnet_dt: bool = False
    activation: str = "tanh"
    type_one_side: bool = False
    type_embedding: Literal["learned", "physical"] | None = None
    tebd_dim: int = 8
    physical_properties: tuple[str, ...] = DEFAULT_PROPERTIES
    sel: int | tuple[int, ...] | None = None
    set_davg_zero: bool = True
    precision: str = "float64"
    seed: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.elements, str):
            raise InputError(f"found {self.elements!r}; allowed: a sequence of symbols", key="elements")
        for name in ("elements", "neuron", "fitting_neuron", "physical_properties"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if isinstance(self.sel, list):
            object.__setattr__(self, "sel", tuple(self.sel))
        problems = {
            "elements": "at least one symbol, each known and only once"
            if not self.elements
            or len(set(self.elements)) != len(self.elements)
            or any(symbol not in atomic_numbers or symbol == "X" for symbol in self.elements)
            else None,
            "rcut": None if self.rcut > 0 else "a positive radius in Å",
            "rcut_smth": None if 0 <= self.rcut_smth < self.rcut else f"a radius in [0, {self.rcut}) Å",
            "neuron": None if _are_widths(self.neuron) else "one or more positive widths",
            "fitting_neuron": None if _are_widths(self.fitting_neuron) else "one or more positive widths",
            "axis_neuron": None
            if self.neuron and 1 <= self.axis_neuron <= self.neuron[-1]
            else "between 1 and the last width of neuron",
            "activation": None if self.activation in ACTIVATIONS else f"one of {', '.join(ACTIVATIONS)}",
            "set_davg_zero": None
            if self.set_davg_zero or (self.type_embedding is None and isinstance(self.sel, tuple))
            else "False only without type vectors and with a sel per element",
            "precision": None if self.precision in PRECISIONS else f"one of {', '.join(PRECISIONS)}",
            "type_embedding": None
            if self.type_embedding in (None, "learned", "physical")
            else "learned, physical, or None",
            "tebd_dim": None if self.tebd_dim >= 1 else "a positive number",
            "physical_properties": None
            if self.physical_properties and set(self.physical_properties) <= set(PROPERTIES)
            else f"one or more of {', '.join(PROPERTIES)}",
            "sel": None if self._is_capacity() else "a positive number, one per element, or None",
        }
        for key, allowed in problems.items():
            if allowed:
                raise InputError(f"found {getattr(self, key)!r}; allowed: {allowed}", key=key)

    def _is_capacity(self) -> bool:
        if self.sel is None or isinstance(self.sel, int):
            return self.sel is None or self.sel >= 1
        per_element = len(self.sel) == len(self.elements) and all(count >= 0 for count in self.sel)
        return per_element and sum(self.sel) >= 1

    @property
    def dtype(self) -> torch.dtype:
        return PRECISIONS[self.precision]


def _are_widths(widths: tuple[int, ...]) -> bool:
    return bool(widths) and all(isinstance(width, int) and width > 0 for width in widths)
