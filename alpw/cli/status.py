"""``alpw status`` and ``alpw campaigns``: how far everything is."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, print_json
from alpw.cluster.hold import held_by_hand
from alpw.cluster.queue.view import look
from alpw.cluster.recovery import failure_reasons
from alpw.cluster.supervisor import held_by
from alpw.database import calculations, configurations, leases
from alpw.database.access import launchpad_file
from alpw.database.campaigns import INIT_BULK, CampaignState, all_campaigns, get, kind
from alpw.database.init_summary import InitSummary, summarise_init
from alpw.database.launchpad import open_launchpad
from alpw.database.summary import CampaignSummary, summarise
from alpw.errors import DatabaseError
from alpw.report.diagnosis import diagnosis_lines
from alpw.report.init_table import init_progress
from alpw.report.table import progress, queue_table


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
        is_init = kind(get(fireworks.db, campaign)) == INIT_BULK
        summary = (summarise_init if is_init else summarise)(fireworks.db, campaign)
        reasons = failure_reasons(fireworks, campaign)
        held = held_by_hand(fireworks, campaign)
        errors = configurations.diagnoses(fireworks.db, campaign)
        errors += calculations.diagnoses(fireworks.db, campaign)
        queue = look(fireworks, campaign)
        lease = leases.holder(fireworks.db, campaign)
        if as_json:
            parts = {"queue": queue.to_dict(), "held": held, "fizzled": reasons, "quarantined": errors}
            supervisor = lease and {"owner": lease["owner"], "since": lease["since"]}
            print_json({**summary.to_dict(), **parts, "supervisor": supervisor})
            return
        console.print(init_progress(summary) if isinstance(summary, InitSummary) else progress(summary))
        console.print(queue_table(queue))
        console.print(f"folder {summary.work_dir}", soft_wrap=True)
        if lease:
            console.print(held_by(lease), soft_wrap=True)
        elif summary.state == CampaignState.RUNNING.value:
            text = f"nobody supervises it: `alpw launch {campaign}` does, if no launcher of your own is at it"
            console.print(text, style="yellow", soft_wrap=True)
        if summary.reason:
            console.print(f"{summary.state}: {summary.reason}", soft_wrap=True)
        for line in diagnosis_lines(errors):
            console.print(line, style="red", soft_wrap=True)
        for line in held:
            console.print(f"held: {line}", style="yellow", soft_wrap=True)
        for firework, reason in reasons.items():
            console.print(f"fizzled {firework}: {reason}", style="red", soft_wrap=True)


def campaigns(launchpad: LaunchpadFile = None, as_json: AsJson = False) -> None:
    """List every campaign in the database, newest first.

    Example: `alpw campaigns`
    """
    with errors_as_exit_status():
        fireworks = open_launchpad(launchpad_file(launchpad))
        summaries: list[CampaignSummary | InitSummary] = [
            (summarise_init if kind(document) == INIT_BULK else summarise)(fireworks.db, document["_id"])
            for document in all_campaigns(fireworks.db)
        ]
        if as_json:
            print_json([summary.to_dict() for summary in summaries])
            return
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        for name in ("campaign", "state", "stage", "iterations", "labels", "force RMSE\neV/Å"):
            table.add_column(name, overflow="fold")
        for summary in summaries:
            cells = _init_cells(summary) if isinstance(summary, InitSummary) else _cells(summary)
            table.add_row(summary.campaign, summary.state, *cells)
        console.print(table)


def _cells(summary: CampaignSummary) -> list[str]:
    measured = [iteration.force_rmse_heldout for iteration in summary.iterations]
    measured += [summary.final["force_rmse_heldout"]] if summary.final else []
    errors = [error for error in measured if error is not None]
    labels = str(summary.labels.get("labelled", 0))
    return [summary.stage, str(len(summary.iterations)), labels, f"{errors[-1]:.3f}" if errors else "-"]


def _init_cells(summary: InitSummary) -> list[str]:
    labels = sum(structure.labels.get("labelled", 0) for structure in summary.structures)
    return [f"init_bulk of {len(summary.structures)} structures", "-", str(labels), "-"]
