"""Elements as vectors, so that one network serves all of them.

Learned vectors are those of DPA-1 (Zhang et al., npj Comput. Mater. 10, 94 (2024)): trained with the
rest, starting from normal random numbers. Physical ones are properties of the element, each scaled to
[0, 1] over the periodic table, and stay as they are.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alpw.errors import InputError

# Name in the input -> attribute of pymatgen's Element.
PROPERTIES: dict[str, str] = {
    "atomic_number": "Z",
    "atom_mass": "atomic_mass",
    "atom_radius": "atomic_radius",
    "molar_vol": "molar_volume",
    "melting_point": "melting_point",
    "boiling_point": "boiling_point",
    "electron_affin": "electron_affinity",
    "pauling": "X",
}
DEFAULT_PROPERTIES = ("atomic_number", "atom_radius", "atom_mass", "electron_affin", "pauling")


class TypeVectors(nn.Module):
    """One vector per type: ``table (n_types, dim)``, trained or fixed."""

    table: Tensor

    def __init__(self, table: Tensor, *, trained: bool) -> None:
        super().__init__()
        if trained:
            self.table = nn.Parameter(table)
        else:
            self.register_buffer("table", table)


def learned_table(n_types: int, dim: int, rng: torch.Generator) -> Tensor:
    """Initial vectors ``(n_types, dim)``, float64, with the spread that DeePMD-kit's layers begin with."""
    return torch.randn(n_types, dim, generator=rng, dtype=torch.float64) * (n_types + dim) ** -0.5


def physical_table(elements: Sequence[str], properties: Sequence[str]) -> Tensor:
    """Scaled properties of the elements ``(n_elements, n_properties)``, float64.

    Raises:
        InputError: an element without a measured value of a property, such as the radius of helium.
    """
    return torch.tensor([_scaled(name, elements) for name in properties], dtype=torch.float64).T.contiguous()


def _scaled(name: str, elements: Sequence[str]) -> list[float]:
    # Imported late: it takes a second, and only a new model needs it; the table is stored with the weights.
    from pymatgen.core import Element

    values = {element.symbol: _value(element, PROPERTIES[name]) for element in Element}
    missing = [symbol for symbol in elements if math.isnan(values[symbol])]
    if missing:
        raise InputError(
            f"no value of {name} is known for {', '.join(missing)}; leave the property out, or use learned "
            "type vectors",
            key="physical_properties",
        )
    known = [value for value in values.values() if math.isfinite(value)]
    low, high = min(known), max(known)
    return [(values[symbol] - low) / (high - low) for symbol in elements]


def _value(element: Any, attribute: str) -> float:
    """A property of pymatgen's element in its own unit; NaN where pymatgen knows none."""
    with warnings.catch_warnings():
        # pymatgen warns of each element without an electronegativity.
        warnings.simplefilter("ignore")
        try:
            value = getattr(element, attribute)
        except KeyError:
            return math.nan
    return math.nan if value is None else float(value)
