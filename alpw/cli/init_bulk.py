"""``alpw init_bulk``: make the first data set and watch it being made."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from alpw.cli.common import (
    EXIT_FAILED,
    AsJson,
    CampaignName,
    LaunchpadFile,
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
from alpw.cli.watch import View, watch
from alpw.cluster import recovery, worker
from alpw.cluster.control import refuse_held
from alpw.cluster.queue.files import write_all
from alpw.cluster.supervisor import default_workers
from alpw.config import InitBulk, InitResource, load_init_inputs
from alpw.database import campaigns
from alpw.database.access import ensure_running
from alpw.database.campaigns import CampaignState
from alpw.database.costs import core_hours
from alpw.database.init_summary import InitSummary, summarise_init
from alpw.database.launchpad import find_launchpad_file, open_launchpad
from alpw.database.owner import process_id
from alpw.errors import DatabaseError
from alpw.formats.collection import COLLECTION, DATA_PATHS
from alpw.report.init_table import (
    activity,
    init_line,
    init_progress,
    plan_lines,
    plan_table,
    result_table,
)
from alpw.workflows.check_init import check_init
from alpw.workflows.init_plan import Cost, StructurePlan, plan_init
from alpw.workflows.launch_init import retry_init, start_init, update_init

TREE = "init_bulk.png"

DETACHED = "The workflows are in the LaunchPad; `alpw launch {}`, the same command, or {} runs them."

VIEW = View(summarise_init, init_progress, init_line, activity)

InitFile = Annotated[
    Path, typer.Argument(metavar="PARAM", help="init_param.json: structures, generators, sampling, labels.")
]
InitResourceFile = Annotated[
    Path, typer.Argument(metavar="RESOURCE", help="resource.json: commands and queues; the block dft.")
]


def init_bulk(
    param_file: InitFile,
    resource_file: InitResourceFile,
    launchpad: LaunchpadFile = None,
    campaign: CampaignName = None,
    work_dir: WorkDir = None,
    workers: Workers = None,
    detach: Annotated[bool, typer.Option("--detach", help="Add the workflows and return.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Apply changed inputs to what is not done yet.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and store nothing.")
    ] = False,
    plot: Annotated[bool, typer.Option("--plot", help=f"Draw the tree of structures to {TREE}.")] = False,
    as_json: AsJson = False,
) -> None:
    """Relax, build, sample and label the first data set, every structure at its own pace.

    Results are in `collection/`. A structure that fails does not stop the others; the same command again
    repeats only what is missing.

    Exit status: 0 everything is there, 1 something failed (the last lines say what), 2 wrong input.

    Example: `al_pwmlff init_bulk init_param.json resource.json --dry-run --plot`
    """
    with errors_as_exit_status():
        init, resource = _inputs(param_file, resource_file, campaign, work_dir)
        if dry_run or plot:
            plans = plan_init(init, resource, _cost(launchpad))
            if plot:
                # Here, because nothing else waits for matplotlib.
                from alpw.report.tree import plot_tree

                plot_tree(plans, init.campaign, init.work_dir / TREE)
                complaints.print(f"tree {init.work_dir / TREE}", soft_wrap=True)
            if dry_run:
                _show_plan(plans, as_json)
                return
        launchpad_file = ensure_running(launchpad)
        fireworks = open_launchpad(launchpad_file)
        refuse_held(fireworks.db, init.campaign)
        if update and campaigns.find(fireworks.db, init.campaign):
            living = worker.living(init.work_dir)
            # What a dead worker held is no work in progress.
            recovery.recover(fireworks, init.campaign, {}, alone=not living)
            update_init(fireworks, init, resource, [process_id(identity) for identity in living])
        init.work_dir.mkdir(parents=True, exist_ok=True)
        created = start_init(fireworks, init, resource)
        summary = summarise_init(fireworks.db, init.campaign)
        _announce(summary, created)
        if summary.state == CampaignState.STALLED.value:
            retry_init(fireworks, init.campaign)
        queued = write_all(launchpad_file, init.campaign, init.work_dir, resource)
        if detach:
            console.print(DETACHED.format(init.campaign, by_hand(init.work_dir, queued)), soft_wrap=True)
            return
        wanted = workers or default_workers(1, resource)
        summary = watch(VIEW, launchpad_file, init.campaign, init.work_dir, resource, wanted, as_json)
        _conclude(summary, as_json)


def _inputs(
    param_file: Path, resource_file: Path, campaign: str | None, work_dir: Path | None
) -> tuple[InitBulk, InitResource]:
    init, resource = load_init_inputs(param_file, resource_file)
    init = placed(init, campaign, work_dir)
    check_init(init, resource)
    for remark in (*init.notes, *resource.notes):
        note(remark)
    return init, resource


def _cost(launchpad: Path | None) -> Cost:
    """What the database knows of past costs, if there is one that answers; none is started for it."""
    file = find_launchpad_file(launchpad)
    if file is None:
        return lambda dft, task: None
    try:
        db = open_launchpad(file).db
    except DatabaseError:
        return lambda dft, task: None
    return lambda dft, task: core_hours(db, dft, task)


def _show_plan(plans: list[StructurePlan], as_json: bool) -> None:
    if as_json:
        print_json([asdict(plan) for plan in plans])
        return
    console.print(plan_table(plans))
    for line in plan_lines(plans):
        console.print(line, soft_wrap=True)


def _announce(summary: InitSummary, created: bool) -> None:
    if created:
        text = f"new, in {summary.work_dir}"
    elif summary.state == CampaignState.STALLED.value:
        text = f"{summary.reason}; what is missing is tried again"
    elif summary.finished:
        text = "has ended already"
    else:
        text = "resumed"
    complaints.print(f"campaign {summary.campaign}: {text}", soft_wrap=True)


def _conclude(summary: InitSummary, as_json: bool) -> None:
    """Print what came of it and choose the exit status."""
    folder = Path(summary.work_dir, COLLECTION)
    if as_json:
        print_json(summary.to_dict())
    else:
        console.print(result_table(summary))
        console.print(f"{summary.state}: {summary.reason}", soft_wrap=True)
        for structure in summary.structures:
            for problem in structure.problems:
                console.print(f"  {structure.name}: {problem}", style="red", soft_wrap=True)
        console.print(f"data  {folder}\npaths {folder / DATA_PATHS}", soft_wrap=True)
    if summary.state == CampaignState.STALLED.value:
        raise typer.Exit(EXIT_FAILED)
