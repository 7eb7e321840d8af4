"""``alpw filter``: what other thresholds would choose."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, print_json
from alpw.cli.control import Campaign
from alpw.cluster.control import find_loop
from alpw.database.access import launchpad_file
from alpw.database.launchpad import open_launchpad
from alpw.report.what_if import CLASSES, IterationFilter, filter_campaign


def filter_(
    campaign: Campaign,
    lower: Annotated[float, typer.Option("--lower", help="Candidates from this uncertainty on, eV/Å.")],
    upper: Annotated[float, typer.Option("--upper", help="Not trusted from this uncertainty on, eV/Å.")],
    iteration: Annotated[int | None, typer.Option("--iteration", help="One of them; all if omitted.")] = None,
    measure: Annotated[
        str | None,
        typer.Option("--measure", help="Of `committee` or `kpu`; the first that there is."),
    ] = None,
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Sort the frames of finished trajectories by other thresholds, and store nothing.

    Says for each iteration, block and structure how many frames would be accurate, candidate and failed, how
    many would be labelled under the caps, what that costs by the median of past labels, and which force error
    the models really had on the labels of each class.

    Example: `alpw filter silicon --lower 0.1 --upper 0.4`
    """
    with errors_as_exit_status():
        db = open_launchpad(launchpad_file(launchpad)).db
        find_loop(db, campaign)
        found = filter_campaign(db, campaign, lower, upper, iteration, measure)
        if as_json:
            iterations = [each.to_dict() for each in found]
            print_json({"campaign": campaign, "lower": lower, "upper": upper, "iterations": iterations})
            return
        console.print(_table(found))
        for line in _lines(found):
            console.print(line, soft_wrap=True)


def _table(found: list[IterationFilter]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("iter", justify="right")
    table.add_column("block and structure", no_wrap=True)
    for name in (*CLASSES, "labels"):
        table.add_column(name, justify="right")
    for each in found:
        for group in each.groups:
            counts = [str(getattr(group, name)) for name in (*CLASSES, "labels")]
            table.add_row(str(each.index), group.group, *counts)
        counts = [str(getattr(each, name)) for name in CLASSES]
        table.add_row(str(each.index), "all", *counts, f"{each.labels} + {each.validation}", style="bold")
    return table


def _lines(found: list[IterationFilter]) -> list[str]:
    """Costs, and the errors that turned out."""
    lines = []
    for each in found:
        cost = "cost not known yet" if each.core_hours is None else f"about {each.core_hours:.3g} core-hours"
        errors = ", ".join(
            f"{name} {error.force_rmse:.3f} ({error.frames})"
            for name, error in each.errors.items()
            if error.force_rmse is not None
        )
        realised = f"; force RMSE (eV/Å) on its labels: {errors}" if errors else ""
        lines.append(f"iteration {each.index}: {each.labels + each.validation} labels, {cost}{realised}")
    return lines
