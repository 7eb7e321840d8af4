"""What labels and core-hours bought, and how the data set grew, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from alpw.report.style import GREY, PALETTE, drawing, logarithmic

MEV = 1e3


@dataclass(frozen=True)
class Point:
    """A training, what it cost until its end, and how good its models are.

    Attributes:
        name: of the iteration, short.
        labels: frames that it was trained on.
        core_hours: spent so far, on labels, explorations and trainings; None if not known.
        force: RMSE on the held-out frames, eV/Å.
        fresh: RMSE on the labels that the iteration asked for, before training on them, eV/Å.
        energy: RMSE on the held-out frames, eV/atom.
    """

    name: str
    labels: int
    core_hours: float | None
    force: float | None
    fresh: float | None
    energy: float | None


def plot_learning(points: Sequence[Point], file: Path) -> None:
    """Draw errors against the number of labels and against core-hours.

    Args:
        points: in order, at least one of them with a held-out error.
        file: to write.
    """
    with drawing(file, 10.0, 3.5) as figure:
        force, energy, cost = figure.subplots(1, 3)
        labels = [point.labels for point in points]
        _line(force, points, labels, [point.force for point in points], "held out", 0)
        fresh = [(p.labels, p.fresh) for p in points if p.fresh is not None]
        if fresh:
            force.plot(*zip(*fresh, strict=True), "s", color=PALETTE[4], markersize=5, label="fresh labels")
        force.legend(frameon=False, fontsize=8)
        _line(energy, points, labels, [_scaled(point.energy) for point in points], "", 2)
        force.set(xlabel="training labels", ylabel="force RMSE (eV/Å)")
        energy.set(xlabel="training labels", ylabel="energy RMSE (meV/atom)")
        hours = [point.core_hours for point in points]
        if any(hour for hour in hours):
            _line(cost, points, hours, [point.force for point in points], "", 0)
            cost.set(xlabel="core-hours", ylabel="force RMSE (eV/Å)")
        else:
            cost.axis("off")
        for axes in (force, energy):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        for axes in (force, energy, cost):
            if axes.axison:
                axes.set_yscale("log")
                axes.margins(y=0.12)
                logarithmic(axes.yaxis)
                axes.grid(alpha=0.2)


def _line(
    axes: Axes,
    points: Sequence[Point],
    at: Sequence[float | None],
    values: Sequence[float | None],
    label: str,
    colour: int,
) -> None:
    known = [
        (x, y, point.name)
        for x, y, point in zip(at, values, points, strict=True)
        if x is not None and y is not None
    ]
    if not known:
        return
    x, y, names = zip(*known, strict=True)
    axes.plot(x, y, "o-", color=PALETTE[colour], linewidth=1.4, label=label or None)
    for place, value, name in zip(x, y, names, strict=True):
        axes.annotate(name, (place, value), (4, 4), textcoords="offset points", fontsize=7, color=GREY)


def _scaled(value: float | None) -> float | None:
    return None if value is None else MEV * value


def plot_data_set(sizes: Sequence[tuple[str, int, int]], file: Path) -> None:
    """Draw how many frames there were for training and for validation after each iteration.

    Args:
        sizes: name, training frames and validation frames.
        file: to write.
    """
    names, train, validation = zip(*sizes, strict=True)
    with drawing(file, max(3.2, min(9.0, 1.4 + 0.55 * len(sizes))), 2.7) as figure:
        axes = figure.subplots()
        axes.bar(names, train, color=PALETTE[0], width=0.65, label="training")
        axes.bar(names, validation, bottom=train, color=PALETTE[5], width=0.65, label="held out")
        axes.set(xlabel="after iteration", ylabel="labelled frames")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes.legend(frameon=False, fontsize=8, loc="upper left")
        axes.margins(y=0.25)
        if len(sizes) > 20:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
