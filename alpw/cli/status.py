"""``alpw status`` and ``alpw campaigns``: how far everything is."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, print_json
from alpw.cluster.recovery import failure_reasons
from alpw.database import calculations, configurations
from alpw.database.access import launchpad_file
from alpw.database.campaigns import all_campaigns
from alpw.database.launchpad import open_launchpad
from alpw.database.summary import summarise
from alpw.errors import DatabaseError
from alpw.report.diagnosis import diagnosis_lines
from alpw.report.table import progress


def status(
    campaign: Annotated[str | None, typer.Argument(help="Name of a campaign; the newest if omitted.")] = None,
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Show how far a campaign is, what it found, and why anything failed.

    Example: `alpw status silicon --json`
    """
    with errors_as_exit_status():
        fireworks = open_launchpad(launchpad_file(launchpad))
        if campaign is None:
            known = all_campaigns(fireworks.db)
            if not known:
                raise DatabaseError("there is no campaign yet; `alpw run PARAM RESOURCE` starts one")
            campaign = known[0]["_id"]
        summary = summarise(fireworks.db, campaign)
        reasons = failure_reasons(fireworks, campaign)
        errors = configurations.diagnoses(fireworks.db, campaign)
        errors += calculations.diagnoses(fireworks.db, campaign)
        if as_json:
            print_json({**summary.to_dict(), "fizzled": reasons, "quarantined": errors})
            return
        console.print(progress(summary))
        console.print(f"folder {summary.work_dir}", soft_wrap=True)
        if summary.reason:
            console.print(f"{summary.state}: {summary.reason}", soft_wrap=True)
        for line in diagnosis_lines(errors):
            console.print(line, style="red", soft_wrap=True)
        for firework, reason in reasons.items():
            console.print(f"fizzled {firework}: {reason}", style="red", soft_wrap=True)


def campaigns(launchpad: LaunchpadFile = None, as_json: AsJson = False) -> None:
    """List every campaign in the database, newest first.

    Example: `alpw campaigns`
    """
    with errors_as_exit_status():
        fireworks = open_launchpad(launchpad_file(launchpad))
        summaries = [summarise(fireworks.db, document["_id"]) for document in all_campaigns(fireworks.db)]
        if as_json:
            print_json([summary.to_dict() for summary in summaries])
            return
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        for name in ("campaign", "state", "stage", "iterations", "labels", "force RMSE\neV/Å"):
            table.add_column(name, overflow="fold")
        for summary in summaries:
            measured = [iteration.force_rmse_heldout for iteration in summary.iterations]
            measured += [summary.final["force_rmse_heldout"]] if summary.final else []
            errors = [error for error in measured if error is not None]
            table.add_row(
                summary.campaign,
                summary.state,
                summary.stage,
                str(len(summary.iterations)),
                str(summary.labels.get("labelled", 0)),
                f"{errors[-1]:.3f}" if errors else "-",
            )
        console.print(table)
