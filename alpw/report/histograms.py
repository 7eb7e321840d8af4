"""How uncertain the explored frames of each iteration were, as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from alpw.database.iteration_view import IterationView
from alpw.database.report_data import Explored
from alpw.report.plot import COLOURS
from alpw.report.style import GREY, drawing, logarithmic
from alpw.sampling.classify import CLASSES, classify

Floats = NDArray[np.float64]

MOST_PANELS = 12
N_BINS = 36
COLUMNS = 3

REACH = 5.0
"""An upper threshold is drawn if it is not so many times the largest uncertainty."""

LOWEST = 0.1
"""Quantile whose half is drawn at the left: what is below, as of perfect crystals, is in the first bin."""


def shown(indices: Sequence[int]) -> list[int]:
    """The iterations that are drawn: all, or the first, the last and some between."""
    if len(indices) <= MOST_PANELS:
        return list(indices)
    places = np.linspace(0, len(indices) - 1, MOST_PANELS).round().astype(int)
    return [indices[place] for place in places]


def plot_histograms(
    views: Mapping[int, IterationView], found: Mapping[int, Sequence[Explored]], measure: str, file: Path
) -> None:
    """Draw one histogram per iteration on a common axis, coloured by class, with the thresholds.

    A frame's class is that of the thresholds of its own group of trajectories.

    Args:
        views: the iterations by their index.
        found: uncertainties of the iterations that are to be drawn; at least one frame above zero in all.
        measure: which they are.
        file: to write.
    """
    everything = np.concatenate([part.values for parts in found.values() for part in parts])
    known = everything[np.isfinite(everything) & (everything > 0)]
    bounds = [bound for index in found for bound in views[index].thresholds if bound.measure == measure]
    top = max([1.1 * known.max(), *(1.1 * b.upper for b in bounds if b.upper < REACH * known.max())])
    lowest = min([np.quantile(known, LOWEST) / 2, *(b.lower / 2 for b in bounds if b.lower > 0)])
    bottom = max(known.min() / 1.1, lowest)
    edges = np.geomspace(bottom, top, N_BINS + 1)
    columns = min(COLUMNS, len(found))
    n_rows = ceil(len(found) / columns)
    with drawing(file, 3.1 * columns + 0.4, 1.9 * n_rows + 0.9) as figure:
        panels = figure.subplots(n_rows, columns, sharex=True, squeeze=False).ravel()
        for axes, (index, parts) in zip(panels, found.items(), strict=False):
            _panel(axes, views[index], parts, measure, edges)
        for axes in panels[len(found) :]:
            axes.axis("off")
        for axes in panels[max(0, len(found) - columns) : len(found)]:
            axes.tick_params(labelbottom=True)
        figure.supxlabel("uncertainty of the frame (eV/Å)", fontsize=10)
        figure.supylabel("frames", fontsize=10)
        patches = [Patch(color=colour) for colour in COLOURS.values()]
        figure.legend(patches, COLOURS, frameon=False, fontsize=9, ncols=3, loc="outside upper right")


def _panel(axes: Axes, view: IterationView, parts: Sequence[Explored], measure: str, edges: Floats) -> None:
    classes: dict[str, list[Floats]] = {name: [] for name in COLOURS}
    bounds = set()
    for part in parts:
        threshold = view.threshold(measure, part.group)
        # Without thresholds nothing is below or above them, and all count as candidates.
        lower, upper = (threshold.lower, threshold.upper) if threshold else (-np.inf, np.inf)
        bounds.add((lower, upper))
        values = np.clip(np.nan_to_num(part.values, nan=edges[-1], posinf=edges[-1]), edges[0], edges[-1])
        found = classify(part.values, lower, upper)
        for code, name in enumerate(CLASSES):
            classes[name].append(values[found.of(code)])
    joined = [np.concatenate(classes[name]) for name in COLOURS]
    axes.hist(joined, bins=edges.tolist(), stacked=True, color=list(COLOURS.values()))
    for pair in sorted(bounds):
        for at in pair:
            if np.isfinite(at):
                axes.axvline(at, color="black", linestyle="--", linewidth=0.9, alpha=1 / len(bounds) ** 0.5)
    axes.set(xscale="log", xlim=(edges[0], edges[-1]))
    logarithmic(axes.xaxis)
    axes.tick_params(labelsize=8)
    axes.set_title(f"iteration {view.index}: {sum(map(len, joined))} frames", fontsize=9)
    axes.grid(axis="x", alpha=0.15, color=GREY)
