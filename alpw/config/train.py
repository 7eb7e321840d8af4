"""The block ``train`` of param.json: the Deep Potential and its optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from ase.data import atomic_numbers, chemical_symbols
from pydantic import BeforeValidator, Field

from alpw.config.section import Problem, Section, choices, setting

Width = Annotated[int, Field(ge=1, le=10_000)]


def _symbol(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < len(chemical_symbols):
        return chemical_symbols[value]
    if isinstance(value, str) and atomic_numbers.get(value.strip().capitalize(), 0) > 0:
        return value.strip().capitalize()
    raise ValueError(f"{value!r} is not an element; give its symbol or its atomic number")


def _hidden_layers(value: Any) -> Any:
    # The predecessor writes the output layer of one neuron at the end of its fitting nets.
    while isinstance(value, list) and len(value) > 1 and value[-1] == 1:
        value = value[:-1]
    return value


Element = Annotated[str, BeforeValidator(_symbol)]


class Descriptor(Section):
    """The smooth two-body embedding descriptor se_e2_a of the Deep Potential."""

    section: ClassVar[str] = "train.descriptor"

    rcut: float = setting(6.0, meaning="cutoff radius (also Rmax)", unit="Å", gt=0.5, le=20)
    rcut_smth: float = setting(
        0.5, meaning="where the smoothing towards the cutoff begins (also Rmin)", unit="Å", ge=0
    )
    axis_neuron: int = setting(16, meaning="columns of the embedding that span the axis (also M2)", ge=1)
    neuron: list[Width] = setting(
        [25, 25, 25], meaning="layers of the embedding nets (also network_size)", min_length=1
    )
    type_one_side: bool = setting(True, meaning="embedding nets depend on the neighbour's element only")

    def problems(self) -> Iterator[Problem]:
        if self.rcut_smth >= self.rcut:
            yield Problem(("rcut_smth",), f"{self.rcut_smth} must be smaller than the cutoff {self.rcut} (Å)")
        if self.axis_neuron > self.neuron[-1]:
            text = f"{self.axis_neuron} is larger than the last layer of the embedding, {self.neuron[-1]}"
            yield Problem(("axis_neuron",), text)


class FittingNet(Section):
    """The net from the descriptor of an atom to its energy."""

    section: ClassVar[str] = "train.fitting_net"

    neuron: Annotated[list[Width], BeforeValidator(_hidden_layers)] = setting(
        [50, 50, 50], meaning="hidden layers (also network_size; an output layer of 1 at the end is left out)"
    )
    resnet_dt: bool = setting(True, meaning="trainable time step in the skip connections")


class Optimizer(Section):
    """The optimizer, its learning rate, and the weights of the loss, which follow the rate."""

    section: ClassVar[str] = "train.optimizer"

    optimizer: Annotated[Literal["ADAM"], choices("ADAM")] = setting("ADAM", meaning="optimizer")
    epochs: int = setting(30, meaning="passes over the training set", ge=1)
    steps: int | None = setting(None, meaning="training steps, instead of epochs", ge=1)
    batch_size: int = setting(1, meaning="frames per step", ge=1)
    learning_rate: float = setting(1e-3, meaning="learning rate at the start", gt=0, le=1)
    stop_lr: float = setting(3.51e-8, meaning="learning rate at the end", gt=0)
    train_virial: bool = setting(
        False, meaning="train virials as well; frames without one are left out of that term"
    )
    start_pre_fac_force: float = setting(1000.0, meaning="weight of forces at the start", ge=0)
    end_pre_fac_force: float = setting(1.0, meaning="weight of forces at the end", ge=0)
    start_pre_fac_etot: float = setting(0.02, meaning="weight of energies at the start", ge=0)
    end_pre_fac_etot: float = setting(1.0, meaning="weight of energies at the end", ge=0)
    start_pre_fac_virial: float = setting(50.0, meaning="weight of virials at the start", ge=0)
    end_pre_fac_virial: float = setting(1.0, meaning="weight of virials at the end", ge=0)

    def problems(self) -> Iterator[Problem]:
        if self.stop_lr > self.learning_rate:
            yield Problem(("stop_lr",), f"{self.stop_lr} is larger than learning_rate {self.learning_rate}")


class Train(Section):
    """The block ``train``; the predecessor's ``model.descriptor`` and ``model.fitting_net`` are the same."""

    section: ClassVar[str] = "train"

    model_type: Annotated[Literal["DP"], choices("DP")] = setting("DP", meaning="kind of model")
    atom_type: list[Element] = setting(
        meaning="elements by symbol or atomic number; their order is the order of the model's types",
        min_length=1,
    )
    descriptor: Descriptor = setting(Descriptor(), meaning="descriptor block")
    fitting_net: FittingNet = setting(FittingNet(), meaning="fitting net block")
    optimizer: Optimizer = setting(Optimizer(), meaning="optimizer block")
    precision: Annotated[Literal["float64", "float32"], choices("float64", "float32")] = setting(
        "float64", meaning="floating point type of the model"
    )
    seed: int = setting(
        None, meaning="seed of initial weights and shuffling; absent: the seed of the campaign", ge=0
    )
    threads: int = setting(1, meaning="threads of one training", ge=1)

    def problems(self) -> Iterator[Problem]:
        if len(set(self.atom_type)) < len(self.atom_type):
            yield Problem(("atom_type",), f"{self.atom_type} names an element twice")
