"""The settings that define a Deep Potential, under DeePMD-kit's names and defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from ase.data import atomic_numbers

from alpw.errors import InputError

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
    """Architecture of a `se_e2_a` Deep Potential.

    Attributes:
        elements: chemical symbols in the order of the model's types.
        rcut: cutoff radius in Å.
        rcut_smth: radius in Å where the switching function starts to leave 1/r.
        neuron: widths of the embedding net.
        axis_neuron: number of embedding columns in the second factor of the descriptor.
        fitting_neuron: widths of the hidden layers of the fitting net.
        resnet_dt: whether the residual layers of the fitting net have a trainable time step.
        activation: one of ``tanh``, ``gelu``, ``softplus``, ``sigmoid``.
        type_one_side: one embedding net per neighbour element (True), or one per ordered pair of
            centre and neighbour elements (False).
        sel: the constant N_c that divides the descriptor; None takes it from the first training set.
            It is a scale factor, never a limit on the number of neighbours.
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
    activation: str = "tanh"
    type_one_side: bool = True
    sel: int | None = None
    precision: str = "float64"
    seed: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.elements, str):
            raise InputError(f"found {self.elements!r}; allowed: a sequence of symbols", key="elements")
        for name in ("elements", "neuron", "fitting_neuron"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
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
            "precision": None if self.precision in PRECISIONS else f"one of {', '.join(PRECISIONS)}",
            "sel": None if self.sel is None or self.sel >= 1 else "a positive number, or None",
        }
        for key, allowed in problems.items():
            if allowed:
                raise InputError(f"found {getattr(self, key)!r}; allowed: {allowed}", key=key)

    @property
    def dtype(self) -> torch.dtype:
        return PRECISIONS[self.precision]


def _are_widths(widths: tuple[int, ...]) -> bool:
    return bool(widths) and all(isinstance(width, int) and width > 0 for width in widths)
