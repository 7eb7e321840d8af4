"""What the points of a data set's pictures are coloured by, and how the reader is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.formula import Formula
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from numpy.typing import NDArray

from alpw.database.configurations import INITIAL
from alpw.dataset.dataset import value
from alpw.report.style import GREY, PALETTE

MAP = "viridis"
"""from dark to light, which colour-blind readers and printers see, too"""

INITIAL_NAME = "initial"

MOST_KINDS = 6
"""colours of categories; the rest are grey"""

Floats = NDArray[np.float64]
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Colouring:
    """A number or a category of each point.

    Attributes:
        label: of the colour bar or the legend.
        values: one per point; None where there is none.
        continuous: whether they are numbers on a scale.
        in_order: whether the legend is sorted by value, instead of by how many there are.
    """

    label: str
    values: Sequence[Any]
    continuous: bool = False
    in_order: bool = False


def reduced(formula: str) -> str:
    """The composition of a formula: Si2C2 and SiC are one."""
    return str(Formula(formula).reduce()[0].format("hill"))


def above_lowest(documents: Sequence[Document]) -> Floats:
    """Energy per atom above the lowest of the same composition among these, eV."""
    energies = np.array([document["energy_per_atom"] for document in documents], dtype=float)
    names = np.array([reduced(document["formula"]) for document in documents])
    for name in set(names.tolist()):
        energies[names == name] -= energies[names == name].min()
    return energies


def _by_formula(documents: Sequence[Document]) -> Colouring:
    return Colouring("composition", [reduced(document["formula"]) for document in documents])


def _by_iteration(documents: Sequence[Document]) -> Colouring:
    numbers = [document.get("iteration") for document in documents]
    if len(set(numbers)) > MOST_KINDS:
        return Colouring("iteration", numbers, continuous=True)
    return Colouring("iteration", numbers, in_order=True)


def _by_uncertainty(documents: Sequence[Document]) -> Colouring:
    name = "source.uncertainty.max_force_deviation"
    found = [value(document, name) for document in documents]
    return Colouring("force deviation at selection (eV/Å)", found, continuous=True)


def _by_campaign(documents: Sequence[Document]) -> Colouring:
    return Colouring("campaign", [document["campaign"] for document in documents])


def _by_energy(documents: Sequence[Document]) -> Colouring:
    known = [document for document in documents if document.get("energy_per_atom") is not None]
    energies = iter(above_lowest(known).tolist())
    found = [next(energies) if d.get("energy_per_atom") is not None else None for d in documents]
    return Colouring("energy above its composition's lowest (eV/atom)", found, continuous=True)


COLOURS: dict[str, Callable[[Sequence[Document]], Colouring]] = {
    "composition": _by_formula,
    "iteration": _by_iteration,
    "uncertainty": _by_uncertainty,
    "campaign": _by_campaign,
    "energy": _by_energy,
}
"""What ``--colour`` takes."""

FIELDS = dict.fromkeys(
    ("formula", "iteration", "campaign", "energy_per_atom", "source.uncertainty.max_force_deviation"), 1
)
"""of documents, for all of them"""


def scatter(figure: Figure, axes: Axes, x: Floats, y: Floats, colouring: Colouring) -> None:
    """Draw points in their colours, with a legend or a colour bar beside the panel.

    Args:
        figure: of the panel.
        axes: the panel.
        x: coordinates ``(n_points,)``.
        y: coordinates ``(n_points,)``.
        colouring: of the points.
    """
    size = float(np.clip(20_000 / max(len(x), 1), 6, 40))
    style: dict[str, Any] = {"s": size, "linewidths": 0, "alpha": 0.9 if len(x) < 300 else 0.6}
    draw = _draw_scale if colouring.continuous else _draw_kinds
    draw(figure, axes, x, y, colouring, style)


def _draw_scale(
    figure: Figure, axes: Axes, x: Floats, y: Floats, colouring: Colouring, style: dict[str, Any]
) -> None:
    numbers = np.array([np.nan if found is None else found for found in colouring.values], dtype=float)
    known = np.isfinite(numbers)
    if (~known).any():
        n = np.count_nonzero(~known)
        axes.scatter(x[~known], y[~known], color=GREY, label=f"not known ({n:,})", **style | {"alpha": 0.35})
        _enlarge(figure.legend(frameon=False, fontsize=9, loc="outside lower center"))
    if known.any():
        # A few odd frames would otherwise leave one colour to the others.
        bottom, top = float(numbers[known].min()), float(np.quantile(numbers[known], 0.99))
        drawn = axes.scatter(x[known], y[known], c=numbers[known], cmap=MAP, vmin=bottom, vmax=top, **style)
        beyond = bool((numbers[known] > top).any())
        bar = figure.colorbar(drawn, ax=axes, label=colouring.label, extend="max" if beyond else "neither")
        bar.solids.set_alpha(1.0)  # type: ignore[union-attr]


def _draw_kinds(
    figure: Figure, axes: Axes, x: Floats, y: Floats, colouring: Colouring, style: dict[str, Any]
) -> None:
    values = list(colouring.values)
    counts = Counter(values)
    named = [found for found, _ in counts.most_common(MOST_KINDS)]
    rest = np.array([found not in named for found in values], dtype=bool)
    if rest.any():
        axes.scatter(x[rest], y[rest], color=GREY, **style)
    for found, colour in zip(sorted(named) if colouring.in_order else named, PALETTE, strict=False):
        mask = np.array([other == found for other in values], dtype=bool)
        name = INITIAL_NAME if colouring.in_order and found == INITIAL else found
        axes.scatter(x[mask], y[mask], color=colour, label=f"{name} ({counts[found]:,})", **style)
    if rest.any():
        axes.scatter([], [], color=GREY, label=f"{len(counts) - len(named)} others ({rest.sum():,})")
    legend = figure.legend(
        title=colouring.label, frameon=False, fontsize=9, title_fontsize=9, loc="outside right upper"
    )
    _enlarge(legend)


def _enlarge(legend: Legend) -> None:
    """Markers that can be seen where those of the points are small."""
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([30.0])
            handle.set_alpha(1.0)
