"""How well a calibrated uncertainty tells the force error, as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from alpw.report.style import GREY, PALETTE, drawing, logarithmic
from alpw.uncertainty.calibration import Calibration

Floats = NDArray[np.float64]

#: Bins of equally many pairs in which mean errors and coverages are taken.
N_BINS = 12


def plot_calibration(
    calibration: Calibration,
    uncertainty: ArrayLike,
    error: ArrayLike,
    file: Path,
    unit: str = "",
    title: str | None = None,
    frames: bool = False,
) -> None:
    """Draw the pairs with expected error and bound, if there is one, and both errors in bins of uncertainty.

    Args:
        calibration: the map.
        uncertainty: ``(n_pairs,)``.
        error: ``(n_pairs,)`` in eV/Å; pairs that the calibration has not seen make an honest picture.
        file: PNG to write.
        unit: of the uncertainty.
        title: above both panels; None says how the calibration was made.
        frames: whether the pairs are frames, whose expected errors are root mean squares, and not atoms,
            whose are means.
    """
    u, e = np.asarray(uncertainty, dtype=float), np.asarray(error, dtype=float)
    method = "too few pairs to calibrate" if calibration.identity else f"{calibration.method} calibration"
    made = f"{calibration.measure or 'uncertainty'}: {method}, {calibration.n_pairs} pairs"
    with drawing(file, 9.0, 3.9, made if title is None else title) as figure:
        left, right = figure.subplots(1, 2)
        _pairs(left, calibration, u, e, "frames" if frames else "atoms")
        left.set(xlabel=f"uncertainty{f' ({unit})' if unit else ''}", ylabel="force error (eV/Å)")
        _coverage(right, calibration, u, e, frames)


def _pairs(axes: Axes, calibration: Calibration, u: Floats, e: Floats, what: str) -> None:
    axes.scatter(u, e, s=5, color=PALETTE[0], alpha=0.35, linewidths=0, label=what, rasterized=True)
    positive = u[u > 0]
    if len(positive):
        at = np.geomspace(positive.min(), positive.max(), 300)
        axes.plot(at, calibration(at), color=PALETTE[1], label="expected error")
        if _bounded(calibration):
            bound = f"{calibration.coverage:.0%} bound"
            axes.plot(at, calibration.bound(at), "--", color=PALETTE[1], label=bound)
        axes.set_xscale("log")
        logarithmic(axes.xaxis)
    if (e > 0).any():
        axes.set_yscale("log")
        # The smallest errors are chance; they must not squeeze the rest.
        axes.set_ylim(bottom=max(e[e > 0].min(), 1e-3 * float(e.max())))
        logarithmic(axes.yaxis)
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _bounded(calibration: Calibration) -> bool:
    return calibration.coverage > 0 and not calibration.identity


def _coverage(axes: Axes, calibration: Calibration, u: Floats, e: Floats, squared: bool) -> None:
    mean = _root_mean_square if squared else np.mean
    bins = [part for part in np.array_split(np.argsort(u), min(N_BINS, len(u))) if len(part)]
    expected = [float(mean(calibration(u[part]))) for part in bins]
    found = [float(mean(e[part])) for part in bins]
    axes.plot(expected, found, "o", color=PALETTE[0])
    positive = [value for value in (*expected, *found) if value > 0]
    if positive:
        ends = (0.8 * min(positive), 1.25 * max(positive))
        axes.plot(ends, ends, color=GREY, linewidth=0.8, zorder=0)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        logarithmic(axes.xaxis, axes.yaxis)
    if len(u) and _bounded(calibration):
        kept = float(np.mean(e <= calibration.bound(u)))
        axes.set_title(f"{kept:.1%} of the errors below the {calibration.coverage:.0%} bound")
    axes.set(
        xlabel="expected force error (eV/Å)", ylabel=f"{'RMS' if squared else 'mean'} force error (eV/Å)"
    )


def _root_mean_square(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))
