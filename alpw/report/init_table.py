"""An init_bulk campaign as a table: what is planned, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alpw.database.init_summary import InitSummary, StructureSummary
from alpw.report.table import STATE_STYLES
from alpw.workflows.init_plan import StructurePlan


def plan_table(plans: Sequence[StructurePlan]) -> Table:
    """Structures, runs and frames that an input file asks for, by start structure."""
    table = _table("structure", "atoms", "relax", "generated", "runs", "frames", "labels")
    for plan in plans:
        table.add_row(
            plan.name,
            str(plan.n_atoms),
            "yes" if plan.relax else "-",
            _stages(plan.stages),
            f"{plan.runs} {plan.dynamics}" if plan.dynamics else "-",
            _number(plan.frames, "auto") if plan.dynamics else "-",
            _number(plan.labels, "all") if plan.labels != 0 else "-",
        )
    return table


def plan_lines(plans: Sequence[StructurePlan]) -> list[str]:
    """Fireworks by category, and what they may cost."""
    fireworks: Counter[str] = Counter()
    hours: Counter[str] = Counter()
    for plan in plans:
        fireworks.update(plan.fireworks)
        hours.update(plan.core_hours)
    open_labels = any(plan.labels is None for plan in plans)
    lines = [
        "Fireworks: "
        + ", ".join(f"{count} {category}" for category, count in sorted(fireworks.items()))
        + (", and those of labels" if open_labels else "")
    ]
    if hours:
        parts = ", ".join(f"{task} {value:.3g}" for task, value in sorted(hours.items()))
        lines.append(
            f"core-hours by past calculations of this database, in proportion to atoms and frames: {parts}"
        )
    else:
        lines.append("core-hours: unknown, there are no past calculations to judge by")
    return lines


def result_table(summary: InitSummary) -> Table:
    """What came of each start structure so far."""
    table = _table("structure", "state", "relax", "generated", "runs", "train", "valid", "left out")
    for structure in summary.structures:
        table.add_row(
            structure.name,
            structure.state if structure.state != "running" else structure.stage,
            structure.relax or "-",
            _stages(structure.structures),
            _runs(structure.runs),
            str(structure.frames.get("train", 0)),
            str(structure.frames.get("validation", 0)),
            _left_out(structure),
        )
    return table


def init_progress(summary: InitSummary) -> RenderableType:
    """One line above the table."""
    return Group(init_line(summary), result_table(summary))


def init_line(summary: InitSummary) -> Text:
    """The present state of a campaign in one line."""
    stages = Counter(structure.stage for structure in summary.structures)
    runs: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    for structure in summary.structures:
        runs.update(structure.runs)
        labels.update(structure.labels)
    parts = [", ".join(f"{count} {stage}" for stage, count in sorted(stages.items())) or "starting"]
    if runs:
        parts.append(f"runs {runs['done']} of {sum(runs.values())} done")
    waiting = labels["candidate"] + labels["labelling"]
    parts.append(f"frames {labels['labelled']}" + (f", {waiting} to label" if waiting else ""))
    if labels["quarantined"]:
        parts.append(f"{labels['quarantined']} quarantined")
    line = Text(f"{summary.campaign} ")
    line.append(summary.state, style=STATE_STYLES[summary.state])
    line.append(f"  {timedelta(seconds=int(summary.seconds))}  ")
    line.append(" · ".join(parts))
    return line


def activity(summary: InitSummary) -> tuple[str, object]:
    """What a campaign is doing, and how far that is."""
    stages = " ".join(f"{structure.name} {structure.stage}" for structure in summary.structures)
    return f"{summary.state} {stages}", [(s.runs, s.labels) for s in summary.structures]


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _stages(stages: dict[str, int]) -> str:
    return ", ".join(f"{count} {stage}" for stage, count in stages.items()) or "-"


def _runs(runs: dict[str, int]) -> str:
    if not runs:
        return "-"
    done, total = runs.get("done", 0), sum(runs.values())
    return str(total) if done == total else f"{done} of {total}"


def _left_out(structure: StructureSummary) -> str:
    parts = [f"{count} {reason}" for reason, count in sorted(structure.dropped.items())]
    if structure.labels.get("quarantined"):
        parts.append(f"{structure.labels['quarantined']} quarantined")
    return ", ".join(parts) or "-"


def _number(value: int | None, otherwise: str) -> str:
    return otherwise if value is None else str(value)
