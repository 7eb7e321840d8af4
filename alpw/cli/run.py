"""``alpw run``: start or resume a campaign and watch it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from fireworks import LaunchPad

from alpw.cli.common import (
    EXIT_FAILED,
    AsJson,
    CampaignName,
    LaunchpadFile,
    ParamFile,
    ResourceFile,
    WorkDir,
    Workers,
    by_hand,
    complaints,
    console,
    errors_as_exit_status,
    note,
    placed,
    print_json,
)
from alpw.cli.watch import View, tell_if_stuck, watch
from alpw.cluster import recovery
from alpw.cluster.control import refuse_held
from alpw.cluster.queue.files import write_all
from alpw.cluster.supervisor import CampaignStuck, default_workers
from alpw.config.load import load_inputs
from alpw.config.param import Param
from alpw.config.resource import Resource
from alpw.database import campaigns
from alpw.database.access import ensure_running
from alpw.database.campaigns import CampaignState
from alpw.database.launchpad import open_launchpad
from alpw.database.summary import CampaignSummary, summarise
from alpw.report.files import write_report
from alpw.report.table import history_table, progress, progress_line
from alpw.workflows.check import check_inputs
from alpw.workflows.launch import start_campaign
from alpw.workflows.update import update_inputs

DETACHED = "The workflow is in the LaunchPad; `alpw launch {}`, the same command, or {} runs it."

VIEW = View(
    summarise,
    progress,
    progress_line,
    activity=lambda summary: (f"{summary.state} {summary.stage}", summary.labels),
)


def run(
    param_file: ParamFile,
    resource_file: ResourceFile,
    launchpad: LaunchpadFile = None,
    campaign: CampaignName = None,
    work_dir: WorkDir = None,
    workers: Workers = None,
    detach: Annotated[bool, typer.Option("--detach", help="Add the workflow and return.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Use changed inputs from the next iteration on.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a campaign, or resume it, and watch it until it ends.

    Both files are checked completely before anything is stored. Ctrl-C ends the watching and never the
    campaign; the same command again goes on, after anything that died.

    Exit status: 0 converged or all iterations done, 1 stalled or stuck, 2 wrong input.

    Example: `alpw run param.json resource.json`
    """
    with errors_as_exit_status():
        param, resource = _inputs(param_file, resource_file, campaign, work_dir)
        launchpad_file = ensure_running(launchpad)
        fireworks = open_launchpad(launchpad_file)
        existing = campaigns.find(fireworks.db, param.campaign)
        if not update:
            refuse_held(fireworks.db, param.campaign)
        elif existing:
            update_inputs(fireworks, param, resource)
            if existing["state"] in campaigns.HELD_STATES:
                _stays_held(fireworks, param.campaign, as_json)
                return
        created = start_campaign(fireworks, param, resource)
        param.work_dir.mkdir(parents=True, exist_ok=True)
        summary = summarise(fireworks.db, param.campaign)
        _announce(summary, created, param)
        if _waits_for_user(fireworks, summary):
            recovery.retry(fireworks, param.campaign)
        recovery.close_ended(fireworks, param.campaign)
        queued = write_all(launchpad_file, param.campaign, param.work_dir, resource)
        if detach:
            console.print(DETACHED.format(param.campaign, by_hand(param.work_dir, queued)), soft_wrap=True)
            return
        try:
            summary = watch(
                VIEW,
                launchpad_file,
                param.campaign,
                param.work_dir,
                resource,
                workers or default_workers(param.train.threads, resource),
                as_json,
            )
        except CampaignStuck as error:
            tell_if_stuck(param.webhook, param.campaign, error)
            raise
        _conclude(summary, launchpad_file, as_json)


def _stays_held(fireworks: LaunchPad, campaign: str, as_json: bool) -> None:
    """Say that a held campaign has its new inputs, and that nothing goes on by that."""
    summary = summarise(fireworks.db, campaign)
    state = f"has the new inputs and is {summary.state}"
    text = f"campaign {campaign} {state}; `alpw resume {campaign}` lets it go on"
    if as_json:
        print_json(summary.to_dict())
    (complaints if as_json else console).print(text, soft_wrap=True)


def _inputs(
    param_file: Path, resource_file: Path, campaign: str | None, work_dir: Path | None
) -> tuple[Param, Resource]:
    param, resource = load_inputs(param_file, resource_file)
    param = placed(param, campaign, work_dir)
    check_inputs(param, resource)
    for remark in (*param.notes, *resource.notes):
        note(remark)
    return param, resource


def _waits_for_user(fireworks: LaunchPad, summary: CampaignSummary) -> bool:
    """Whether the campaign can go on only by what the user has mended, if that is anything."""
    if summary.finished:
        return summary.state == CampaignState.STALLED.value
    return recovery.is_stuck(fireworks, summary.campaign)


def _announce(summary: CampaignSummary, created: bool, param: Param) -> None:
    if created:
        complaints.print(f"campaign {summary.campaign}: new, in {param.work_dir}", soft_wrap=True)
    elif summary.state == CampaignState.STALLED.value:
        complaints.print(
            f"campaign {summary.campaign} had stalled ({summary.reason}); trying again", soft_wrap=True
        )
    elif summary.finished:
        complaints.print(f"campaign {summary.campaign} has ended already", soft_wrap=True)
    else:
        complaints.print(f"campaign {summary.campaign}: resumed", soft_wrap=True)


def _next_commands(summary: CampaignSummary, launchpad_file: Path) -> list[str]:
    """Two commands that can be pasted here as they are."""
    folder = "" if shutil.which("alpw") else f"{Path(sys.executable).parent}/"
    option = "" if launchpad_file.parent == Path.cwd() else f" -l {launchpad_file}"
    return [f"{folder}alpw status {summary.campaign}{option}", f"{folder}lpad{option} get_wflows -t"]


def _conclude(summary: CampaignSummary, launchpad_file: Path, as_json: bool) -> None:
    """Print what came of it, write the files, and choose the exit status."""
    summary_file, history_file = write_report(summary)
    if as_json:
        print_json(summary.to_dict())
    else:
        console.print(history_table(summary))
        console.print(f"{summary.state}: {summary.reason}", soft_wrap=True)
        console.print(f"summary {summary_file}\nhistory {history_file}", soft_wrap=True)
        if summary.final:
            console.print(f"model   {summary.final['model']}\n", soft_wrap=True)
            console.print("Next:", *_next_commands(summary, launchpad_file), sep="\n  ", soft_wrap=True)
    if summary.state == CampaignState.STALLED.value:
        raise typer.Exit(EXIT_FAILED)
