"""``alpw pause|resume|stop|kill``: what the user tells a campaign that is under way."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, print_json
from alpw.cluster import control, worker
from alpw.database import campaigns
from alpw.database.access import launchpad_file
from alpw.database.campaigns import CampaignState
from alpw.database.launchpad import open_launchpad

Campaign = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Name of the campaign.")]

COMMANDS = {campaigns.ACTIVE_LEARNING: "run", campaigns.INIT_BULK: "init_bulk"}


def pause(campaign: Campaign, launchpad: LaunchpadFile = None, as_json: AsJson = False) -> None:
    """Let nothing new of a campaign start; what is running ends normally, and workers wait.

    Its Fireworks are PAUSED in the LaunchPad, so that `rlaunch` and `qlaunch` leave them alone too. Jobs that
    wait in the queue are cancelled.

    Example: `alpw pause silicon`
    """
    _halt(campaign, launchpad, CampaignState.PAUSED, False, as_json)


def stop(campaign: Campaign, launchpad: LaunchpadFile = None, as_json: AsJson = False) -> None:
    """End the work on a campaign after the Fireworks that are running: workers leave, watching ends.

    Example: `alpw stop silicon`
    """
    _halt(campaign, launchpad, CampaignState.STOPPED, False, as_json)


def kill(campaign: Campaign, launchpad: LaunchpadFile = None, as_json: AsJson = False) -> None:
    """Stop a campaign at once: workers of this host and its SLURM jobs are ended, their Fireworks put back.

    Nothing that is finished is lost. Workers of other hosts leave after the Firework in hand.

    Exit status: 0 nothing is left of it, 1 jobs or workers are, 2 wrong input.

    Example: `alpw kill silicon && alpw resume silicon`
    """
    _halt(campaign, launchpad, CampaignState.STOPPED, True, as_json)


def resume(campaign: Campaign, launchpad: LaunchpadFile = None, as_json: AsJson = False) -> None:
    """Let a paused or stopped campaign go on, and whatever of it was paused or defused with `lpad`.

    Workers that wait go on at once; the command that is printed starts others and watches.

    Example: `alpw resume silicon`
    """
    with errors_as_exit_status():
        fireworks = open_launchpad(launchpad_file(launchpad))
        released = control.resume(fireworks, campaign)
        document = campaigns.get(fireworks.db, campaign)
        waiting = worker.living(Path(document["work_dir"]))
        command = watching_command(document)
        if as_json:
            report = {"campaign": campaign, "state": document["state"], "released": released}
            print_json({**report, "workers": waiting, "command": command})
            return
        console.print(f"campaign {campaign}: {document['state']}, {released} Fireworks released")
        console.print(f"{len(waiting)} workers go on; this starts what is missing, and watches:")
        console.print(f"  {command}", soft_wrap=True)


def watching_command(campaign: dict[str, Any]) -> str:
    """The command that works on a campaign and watches it."""
    files = (campaign["resolved"][name]["file"] for name in ("param", "resource"))
    place = ("--campaign", campaign["_id"], "--work-dir", campaign["work_dir"])
    return shlex.join(["alpw", COMMANDS[campaigns.kind(campaign)], *files, *place])


def _halt(name: str, launchpad: Path | None, state: CampaignState, now: bool, as_json: bool) -> None:
    with errors_as_exit_status():
        fireworks = open_launchpad(launchpad_file(launchpad))
        halt = control.halt(fireworks, name, state, now=now)
        if as_json:
            print_json(asdict(halt))
        else:
            for line in _lines(halt, now):
                console.print(line, soft_wrap=True)
        if now and (halt.jobs or halt.workers or halt.running):
            raise typer.Exit(1)


def _lines(halt: control.Halt, now: bool) -> list[str]:
    lines = [f"campaign {halt.campaign}: {halt.state}, {halt.held} Fireworks held"]
    if halt.killed:
        lines.append(f"{len(halt.killed)} workers ended: {', '.join(halt.killed)}")
    if halt.cancelled:
        lines.append(f"{len(halt.cancelled)} jobs cancelled: {', '.join(halt.cancelled)}")
    if halt.jobs:
        lines.append(f"{len(halt.jobs)} jobs are still there: {', '.join(halt.jobs)}; see squeue")
    if halt.running:
        lines.append(f"{halt.running} Fireworks are running and end normally")
    if halt.workers and now:
        lines.append(f"workers elsewhere leave after what they are doing: {', '.join(halt.workers)}")
    return lines
