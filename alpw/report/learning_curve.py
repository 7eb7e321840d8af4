"""How errors fell while a model was trained, as one picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from alpw.potential import EpochRecord
from alpw.report.style import PALETTE, drawing, logarithmic

Value = Callable[[EpochRecord], float | None]

MEV = 1e3


def plot_learning_curve(curves: Mapping[str, Sequence[EpochRecord]], file: Path) -> None:
    """Draw loss, force RMSE and energy RMSE over the epochs, on logarithmic axes.

    Args:
        curves: the epochs of each model by its name; at least one epoch in all.
        file: PNG to write.
    """
    with drawing(file, 10.5, 3.5) as figure:
        loss, force, energy = figure.subplots(1, 3)
        for (name, records), colour in zip(curves.items(), PALETTE * len(curves), strict=False):
            _line(loss, records, lambda r: r.loss, colour, "-", name)
            _line(force, records, lambda r: r.train_force_rmse, colour, ":")
            _line(force, records, lambda r: r.valid_force_rmse, colour, "-")
            _line(energy, records, lambda r: MEV * r.train_energy_rmse, colour, ":")
            _line(energy, records, lambda r: _scaled(r.valid_energy_rmse), colour, "-")
        for axes, label in ((loss, "loss"), (force, "force RMSE (eV/Å)"), (energy, "energy RMSE (meV/atom)")):
            axes.set(xlabel="epoch", ylabel=label, yscale="log")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(axis="y", alpha=0.2)
            logarithmic(axes.yaxis)
        if len(curves) > 1:
            loss.legend(frameon=False, fontsize=8)
        if any(r.valid_force_rmse is not None for records in curves.values() for r in records):
            kinds = [Line2D([], [], color="black", linestyle=style) for style in (":", "-")]
            names = ["training, while the weights move", "held out"]
            figure.legend(kinds, names, frameon=False, fontsize=9, loc="outside upper right", ncols=2)


def _scaled(value: float | None) -> float | None:
    return None if value is None else MEV * value


def _line(
    axes: Axes, records: Sequence[EpochRecord], value: Value, colour: str, style: str, name: str | None = None
) -> None:
    points = [(record.epoch, value(record)) for record in records]
    known = [(epoch, number) for epoch, number in points if number is not None]
    if known:
        # One epoch makes no line.
        marker = "o" if len(known) == 1 else None
        axes.plot(*zip(*known, strict=True), style, color=colour, marker=marker, linewidth=1.4, label=name)
