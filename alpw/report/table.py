"""The history of a campaign as a table, and its present state in a few lines."""

from __future__ import annotations

from datetime import timedelta

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alpw.cluster.queue.view import CategoryView, QueueView
from alpw.database.summary import CampaignSummary, IterationSummary

STATE_STYLES = {
    "running": "cyan",
    "paused": "yellow",
    "stopped": "yellow",
    "completed": "green",
    "converged": "green",
    "exhausted": "yellow",
    "stalled": "red",
}

#: Narrow enough for a terminal of 80 columns.
HEADINGS = (
    "iter",
    "frames",
    "accurate",
    "candidate",
    "failed",
    "labelled",
    "force RMSE\neV/Å",
    "energy RMSE\nmeV/atom",
)


def history_table(summary: CampaignSummary) -> Table:
    """Per iteration: frames by class, labels, errors on the held-out frames."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in HEADINGS:
        table.add_column(name, justify="right", no_wrap=True)
    for iteration in summary.iterations:
        table.add_row(
            str(iteration.index),
            str(iteration.frames or "-"),
            _with_share(iteration.accurate, iteration.frames),
            _with_share(iteration.candidate, iteration.frames),
            _with_share(iteration.failed, iteration.frames),
            _labels(iteration),
            *_errors(iteration.force_rmse_heldout, iteration.energy_rmse_heldout),
        )
    if summary.final:
        errors = _errors(summary.final["force_rmse_heldout"], summary.final["energy_rmse_heldout"])
        table.add_row("final", *[""] * 5, *errors)
    return table


def _labels(iteration: IterationSummary) -> str:
    wanted = f" of {iteration.selected}" if iteration.quarantined else ""
    return f"{iteration.labelled}{wanted}"


def _with_share(count: int, total: int) -> str:
    return f"{count} ({count / total:.0%})" if total else "-"


def _errors(force: float | None, energy: float | None) -> tuple[str, str]:
    return (
        "-" if force is None else f"{force:.3f}",
        "-" if energy is None else f"{1000 * energy:.1f}",
    )


def progress(summary: CampaignSummary) -> RenderableType:
    """State, stage, labels, errors by kind and elapsed time, above the history so far."""
    lines = [progress_line(summary), *(Text(line) for line in straggler_lines(summary))]
    return Group(*lines, *([history_table(summary)] if summary.iterations else []))


def straggler_lines(summary: CampaignSummary) -> list[str]:
    """What is still running although its iteration has been judged."""
    return [
        f"{count} label{'s' * (count > 1)} of {'the preparation' if index < 0 else f'iteration {index}'} "
        "still running"
        for index, count in summary.stragglers.items()
    ]


def progress_line(summary: CampaignSummary) -> Text:
    """The present state of a campaign in one line."""
    waiting = summary.labels.get("candidate", 0) + summary.labels.get("labelling", 0)
    parts = [
        f"{summary.stage}",
        f"labels {summary.labels.get('labelled', 0)} done, {waiting} to do",
    ]
    if summary.labels.get("quarantined"):
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.errors.items()))
        parts.append(f"{summary.labels['quarantined']} quarantined ({kinds})")
    line = Text(f"{summary.campaign} ")
    line.append(summary.state, style=STATE_STYLES[summary.state])
    line.append(f"  {timedelta(seconds=int(summary.seconds))}  " if summary.seconds is not None else "  ")
    line.append(" · ".join(parts))
    return line


def queue_table(view: QueueView) -> RenderableType:
    """Per category: Fireworks by state, and, of those that have any, jobs in SLURM's words."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("category", "ready", "reserved", "running", "fizzled"):
        table.add_column(name, justify="left" if name == "category" else "right", no_wrap=True)
    queued = any(counts.jobs or counts.gone for counts in view.categories.values())
    if queued:
        table.add_column("jobs in SLURM", overflow="fold")
    for category, counts in view.categories.items():
        states = [str(counts.states[state] or "-") for state in ("READY", "RESERVED", "RUNNING", "FIZZLED")]
        table.add_row(category, *states, *([_jobs(counts)] if queued else []))
    lines = [Text("SLURM does not answer; what it says of jobs is not known")] if view.silent else []
    if view.ends:
        ends = ", ".join(f"{count} {end}" for end, count in sorted(view.ends.items()))
        lines.append(Text(f"jobs that ended before their Firework did: {ends}"))
    return Group(*([table] if view.categories else []), *lines)


def _jobs(view: CategoryView) -> str:
    parts = [f"{count} {state}" for state, count in sorted(view.jobs.items(), reverse=True)]
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(view.reasons.items()))
    parts = [f"{part} ({reasons})" if part.endswith(" PENDING") and reasons else part for part in parts]
    return ", ".join([*parts, *([f"{view.gone} gone"] if view.gone else [])]) or "-"
