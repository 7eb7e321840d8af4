"""The history of a campaign as one picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alpw.database.summary import CampaignSummary

#: Colours that remain distinct for colour-blind readers (Okabe and Ito's palette).
COLOURS = {"accurate": "#009E73", "candidate": "#E69F00", "failed": "#D55E00"}
ERROR_COLOUR = "#0072B2"

MOST_TICKS = 12
"""Iterations that each have their number below the axis."""


def plot_history(summary: CampaignSummary, file: Path) -> None:
    """Draw the shares of accurate, candidate and failed frames, and the held-out force error.

    Args:
        summary: the campaign; iterations that have not explored yet are left out.
        file: PNG to write.
    """
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False}):
        figure = Figure(figsize=(8.0, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_shares(left, summary)
        _draw_errors(right, summary)
        figure.suptitle(f"{summary.campaign}: {summary.state}")
        figure.savefig(file, dpi=150)


def _draw_shares(axes: Axes, summary: CampaignSummary) -> None:
    explored = [iteration for iteration in summary.iterations if iteration.frames]
    indices = [iteration.index for iteration in explored]
    bottom = [0.0] * len(explored)
    for name, colour in COLOURS.items():
        shares = [100 * getattr(iteration, name) / iteration.frames for iteration in explored]
        axes.bar(indices, shares, bottom=bottom, color=colour, label=name, width=0.65)
        bottom = [low + share for low, share in zip(bottom, shares, strict=True)]
    for iteration in explored:
        axes.annotate(
            f"{iteration.labelled} labels", (iteration.index, 101), ha="center", va="bottom", fontsize=8
        )
    axes.set(xlabel="iteration", ylabel="explored frames (%)", ylim=(0, 112))
    axes.set_title("what exploration met", fontsize=10)
    if len(indices) <= MOST_TICKS:
        axes.set_xticks(indices)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    # Few bars would otherwise fill the axis.
    axes.set_xlim(-0.8, max(3, *indices, 0) + 0.8)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=9)


def _draw_errors(axes: Axes, summary: CampaignSummary) -> None:
    points = [
        (str(iteration.index), iteration.force_rmse_heldout)
        for iteration in summary.iterations
        if iteration.force_rmse_heldout is not None
    ]
    if summary.final and summary.final["force_rmse_heldout"] is not None:
        points.append(("final", summary.final["force_rmse_heldout"]))
    if points:
        labels, errors = zip(*points, strict=True)
        axes.plot(labels, errors, "o-", color=ERROR_COLOUR)
        axes.set_ylim(0, 1.1 * max(errors))
    else:
        axes.set(xticks=[], yticks=[])
        axes.annotate("not measured yet", (0.5, 0.5), xycoords="axes fraction", ha="center", color="#888888")
    axes.set(xlabel="model of iteration", ylabel="force RMSE (eV/Å)")
    axes.set_title(f"error on {summary.heldout_frames} held-out frames", fontsize=10)
    axes.grid(axis="y", alpha=0.3)
