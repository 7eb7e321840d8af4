"""The blocks ``train.descriptor`` and ``train.fitting_net``: the networks of the Deep Potential."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from alpw.config.section import Problem, Section, choices, one_of, setting

Width = Annotated[int, Field(ge=1, le=10_000)]
Count = Annotated[int, Field(ge=0, le=10_000)]
Activation = Annotated[
    Literal["tanh", "gelu", "softplus", "sigmoid"],
    one_of({"tanh": "tanh", "gelu": "gelu", "gelu_tf": "gelu", "softplus": "softplus", "sigmoid": "sigmoid"}),
]
Property = Literal[
    "atomic_number",
    "atom_mass",
    "atom_radius",
    "molar_vol",
    "melting_point",
    "boiling_point",
    "electron_affin",
    "pauling",
]


def _hidden_layers(value: Any) -> Any:
    # The predecessor writes the output layer of one neuron at the end of its fitting nets.
    while isinstance(value, list) and len(value) > 1 and value[-1] == 1:
        value = value[:-1]
    return value


def _automatic(value: Any) -> Any:
    # A single value has become a list of one by now.
    words = (
        [word.strip().lower() for word in value if isinstance(word, str)] if isinstance(value, list) else []
    )
    return None if words == ["auto"] and len(value) == 1 else value


class TypeEmbedding(Section):
    """Elements as vectors that one embedding and one fitting net take, instead of nets of their own."""

    section: ClassVar[str] = "train.descriptor.type_embedding"

    kind: Annotated[Literal["physical", "learned"], choices("physical", "learned")] = setting(
        "physical", meaning="physical: fixed properties of the element; learned: trained with the networks"
    )
    physical_property: list[Property] = setting(
        ["atomic_number", "atom_radius", "atom_mass", "electron_affin", "pauling"],
        meaning="properties that make up a physical vector",
        min_length=1,
    )
    tebd_dim: int = setting(8, meaning="length of a learned vector", ge=1, le=1000)

    @classmethod
    def shorthand(cls, value: Any) -> Any:
        """``true`` and the name of a kind are blocks, ``false`` is none."""
        if isinstance(value, str):
            return {"kind": value}
        return ({} if value else None) if isinstance(value, bool) else value

    def problems(self) -> Iterator[Problem]:
        if len(set(self.physical_property)) < len(self.physical_property):
            yield Problem(("physical_property",), f"{self.physical_property} names a property twice")

    def remarks(self) -> Iterator[Problem]:
        unused = {"physical": "tebd_dim", "learned": "physical_property"}[self.kind]
        if unused in self.model_fields_set:
            yield Problem((unused,), f"has no effect: {self.kind} type vectors do not use it")


class Descriptor(Section):
    """The smooth descriptor of an atom's neighbours: se_e2_a, or DPA-1 without attention."""

    section: ClassVar[str] = "train.descriptor"

    rcut: float = setting(6.0, meaning="cutoff radius (also Rmax)", unit="Å", gt=0.5, le=20)
    rcut_smth: float = setting(
        0.5, meaning="where the smoothing towards the cutoff begins (also Rmin)", unit="Å", ge=0
    )
    sel: Annotated[list[Count] | None, BeforeValidator(_automatic)] = setting(
        None,
        meaning=(
            "largest number of neighbours of an atom that training accepts: one number per element, or one "
            'for each (with type_embedding: for all together); absent or "auto": by the first training set, '
            "without a limit"
        ),
        min_length=1,
    )
    max_neigh_num: int | None = setting(
        None, meaning="the same, as one number for the neighbours of each element", ge=1, le=10_000
    )
    neuron: list[Width] = setting(
        [25, 25, 25], meaning="layers of the embedding nets (also network_size)", min_length=1
    )
    axis_neuron: int = setting(16, meaning="columns of the embedding that span the axis (also M2)", ge=1)
    resnet_dt: bool = setting(False, meaning="trainable time step in the skip connections")
    activation: Activation = setting(
        "tanh", meaning="activation (also activation_function), that of the fitting net"
    )
    type_one_side: bool = setting(
        False, meaning="true: the embedding depends on the neighbour's element only; false: on both elements"
    )
    type_embedding: Annotated[
        TypeEmbedding | None,
        BeforeValidator(
            TypeEmbedding.shorthand,
            json_schema_input_type=bool | Literal["physical", "learned"] | TypeEmbedding | None,
        ),
    ] = setting(None, meaning='type vectors: a block, "learned", "physical", or true (= "physical")')

    def problems(self) -> Iterator[Problem]:
        if self.rcut_smth >= self.rcut:
            yield Problem(("rcut_smth",), f"{self.rcut_smth} must be smaller than the cutoff {self.rcut} (Å)")
        if self.axis_neuron > self.neuron[-1]:
            text = f"{self.axis_neuron} is larger than the last layer of the embedding, {self.neuron[-1]}"
            yield Problem(("axis_neuron",), text)
        if self.sel is not None and sum(self.sel) == 0:
            yield Problem(("sel",), f"{self.sel} allows no neighbours at all")
        if self.sel is not None and self.max_neigh_num is not None:
            yield Problem(("max_neigh_num",), "says the same as sel; keep one")

    def remarks(self) -> Iterator[Problem]:
        if self.type_embedding is not None:
            for loc, message in self.type_embedding.remarks():
                yield Problem(("type_embedding", *loc), message)


class FittingNet(Section):
    """The net from the descriptor of an atom to its energy."""

    section: ClassVar[str] = "train.fitting_net"

    neuron: Annotated[list[Width], BeforeValidator(_hidden_layers)] = setting(
        [50, 50, 50], meaning="hidden layers (also network_size; an output layer of 1 at the end is left out)"
    )
    resnet_dt: bool = setting(True, meaning="trainable time step in the skip connections")
    activation: Activation = setting(
        "tanh", meaning="activation (also activation_function), that of the descriptor"
    )
