"""The tree of structures that init_bulk makes, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from alpw.report.style import GREY, PALETTE, drawing
from alpw.workflows.init_plan import StructurePlan

COLOURS = {
    "start": GREY,
    "relax": PALETTE[0],
    "slab": PALETTE[6],
    "super_cell": PALETTE[5],
    "scale": PALETTE[2],
    "swap": PALETTE[3],
    "vacancy": PALETTE[3],
    "perturb": PALETTE[4],
    "aimd": PALETTE[1],
    "bigmodel": PALETTE[1],
    "label": PALETTE[0],
}

SHOWN = 4
"""branches that are drawn one by one; of more, the number is written"""

SMALL: dict[str, Any] = {"fontsize": 7, "color": GREY}
"""how numbers are written"""

Level = tuple[str, int]
"""a stage, and how many children each structure of the stage before has there"""


def plot_tree(plans: Sequence[StructurePlan], title: str, file: Path) -> None:
    """Draw what becomes of each start structure, stage by stage from left to right.

    Args:
        plans: of the start structures.
        title: above the picture.
        file: to write.

    Raises:
        OSError: it cannot be written.
    """
    levels = [_levels(plan) for plan in plans]
    columns = list(dict.fromkeys(stage for stage in COLOURS for level in levels if stage in dict(level)))
    heights = [_height(level) for level in levels]
    with drawing(
        file, 1.5 + 1.5 * len(columns), 1.2 + 0.32 * sum(heights) + 0.3 * len(plans), title
    ) as figure:
        axes = figure.subplots()
        top = 0.0
        for plan, level, height in zip(plans, levels, heights, strict=True):
            _branch(axes, columns, level, top, top + height, None)
            axes.annotate(plan.name, (-0.12, top + height / 2), ha="right", va="center", fontsize=9)
            top += height + 1
        axes.set(xlim=(-0.9, len(columns) - 0.3), ylim=(top - 0.5, -1.2))
        for x, stage in enumerate(columns):
            axes.annotate(stage, (x, -0.9), ha="center", fontsize=9, color=COLOURS[stage])
            # The number of labels is that of frames, which are not drawn.
            if stage != "label":
                total = sum(_count(level, stage) for level in levels)
                axes.annotate(f"{total}", (x, -0.4), ha="center", **SMALL)
        axes.axis("off")


def _levels(plan: StructurePlan) -> list[Level]:
    levels: list[Level] = [("start", 1)]
    if plan.relax:
        levels.append(("relax", 1))
    before = 1
    for stage, count in plan.stages.items():
        levels.append((stage, count // before))
        before = count
    if plan.dynamics:
        levels.append((plan.dynamics, plan.runs // plan.leaves))
    if plan.labels != 0:
        levels.append(("label", 1))
    return levels


def _count(levels: Sequence[Level], stage: str) -> int:
    """Number of structures of a stage; 0 without it."""
    stages = [name for name, _ in levels]
    return prod(children for _, children in levels[: stages.index(stage) + 1]) if stage in stages else 0


def _height(levels: Sequence[Level]) -> int:
    return prod(min(children, SHOWN) for _, children in levels)


def _branch(
    axes: Axes,
    columns: Sequence[str],
    levels: Sequence[Level],
    top: float,
    bottom: float,
    parent: tuple[float, float] | None,
) -> None:
    """Draw the structures of one stage between two heights, and what comes of each."""
    (stage, children), rest = levels[0], levels[1:]
    shown = min(children, SHOWN)
    x, step = columns.index(stage), (bottom - top) / shown
    for k in range(shown):
        place = (x, top + (k + 0.5) * step)
        if parent:
            axes.plot(*zip(parent, place, strict=True), color=GREY, linewidth=0.7, zorder=1)
        axes.scatter(*place, s=28, color=COLOURS[stage], zorder=2)
        if children > SHOWN and k == shown - 1:
            # Below the last dot, where no line runs.
            text = f"… {children} in all"
            axes.annotate(text, place, (0, -5), textcoords="offset points", ha="center", va="top", **SMALL)
        if rest:
            _branch(axes, columns, rest, top + k * step, top + (k + 1) * step, place)
