"""What a model says against what the labels say, as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from matplotlib.axes import Axes
from numpy.typing import NDArray

from alpw.potential.evaluation import Comparison, Errors
from alpw.report.style import GREY, PALETTE, drawing

#: More points per panel only make the file slower to draw; a random sample of them looks the same.
MOST_POINTS = 20_000


def plot_parity(comparison: Comparison, errors: Errors, file: Path, title: str = "") -> None:
    """Draw forces by element, energies per atom and, where there are any, virials per atom.

    Args:
        comparison: model and labels.
        errors: of ``comparison``; their numbers stand above the panels.
        file: PNG to write.
        title: above all panels.
    """
    labelled = ~np.isnan(comparison.virial_labels[:, 0, 0])
    n_panels = 3 if labelled.any() else 2
    with drawing(file, 3.6 * n_panels, 3.9, title) as figure:
        panels = np.atleast_1d(figure.subplots(1, n_panels))
        _forces(panels[0], comparison, errors)
        _points(panels[1], *_per_atom(comparison), PALETTE[0])
        _frame(panels[1], "energy (eV/atom)", 1e3 * errors.energy_rmse, 1e3 * errors.energy_mae, "meV/atom")
        if labelled.any() and errors.virial_rmse is not None and errors.virial_mae is not None:
            n_atoms = comparison.n_atoms[labelled, None, None]
            label, model = (
                comparison.virial_labels[labelled] / n_atoms,
                comparison.virials[labelled] / n_atoms,
            )
            _points(panels[2], label.ravel(), model.ravel(), PALETTE[0])
            _frame(panels[2], "virial (eV/atom)", errors.virial_rmse, errors.virial_mae, "eV/atom")


def _forces(axes: Axes, comparison: Comparison, errors: Errors) -> None:
    numbers = [chemical_symbols.index(symbol) for symbol in errors.elements]
    colours = np.array((PALETTE * len(numbers))[: len(numbers)])
    element = np.searchsorted(np.sort(numbers), comparison.numbers)
    by_atom = colours[np.argsort(numbers)][element]
    _points(axes, comparison.force_labels.ravel(), comparison.forces.ravel(), np.repeat(by_atom, 3))
    if len(numbers) > 1:
        for symbol, colour in zip(errors.elements, colours, strict=True):
            axes.scatter([], [], s=20, color=colour, label=symbol)
        axes.legend(frameon=False, loc="upper left", handletextpad=0.1)
    _frame(axes, "force (eV/Å)", errors.force_rmse, errors.force_mae, "eV/Å")


def _per_atom(comparison: Comparison) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return comparison.energy_labels / comparison.n_atoms, comparison.energies / comparison.n_atoms


def _points(
    axes: Axes, label: NDArray[np.float64], model: NDArray[np.float64], colour: str | NDArray[np.str_]
) -> None:
    # In random order, so that no element lies on top of the others.
    shown = np.random.default_rng(1).permutation(len(label))[:MOST_POINTS]
    colours = colour if isinstance(colour, str) else colour[shown]
    size = 12 if len(shown) < 200 else 4
    axes.scatter(label[shown], model[shown], s=size, c=colours, alpha=0.6, linewidths=0, rasterized=True)


def _frame(axes: Axes, quantity: str, rmse: float, mae: float, unit: str) -> None:
    low = min(axes.dataLim.x0, axes.dataLim.y0)
    high = max(axes.dataLim.x1, axes.dataLim.y1)
    margin = 0.05 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    axes.axline((low, low), slope=1, color=GREY, linewidth=0.8, zorder=0)
    axes.set(xlabel=f"label: {quantity}", ylabel=f"model: {quantity}", xlim=limits, ylim=limits)
    axes.ticklabel_format(useOffset=False)
    axes.locator_params(nbins=5)
    axes.set_aspect("equal", adjustable="box")
    axes.set_title(f"RMSE {rmse:.3g}, MAE {mae:.3g} {unit}")
