"""Watching a campaign of any kind from the command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import typer
from pymongo.database import Database
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from alpw.cli.common import complaints, console
from alpw.cluster.queue.files import queue_blocks
from alpw.cluster.supervision import watch as supervise_until_it_ends
from alpw.cluster.supervisor import AnySummary, CampaignStuck, Supervisor
from alpw.config.resource import Resource
from alpw.errors import AlpwError
from alpw.notify import tell

#: Seconds between two lines of progress where the output is no terminal.
QUIET_SECONDS = 10.0


@dataclass(frozen=True)
class View(Generic[AnySummary]):
    """How campaigns of one kind are looked at.

    Attributes:
        summarise: gathers what is to be seen.
        picture: of it, for a terminal.
        line: of it, for logs and pipes.
        activity: what it is doing, a change of which is worth a line at once, and how far that is.
    """

    summarise: Callable[[Database, str], AnySummary]
    picture: Callable[[AnySummary], RenderableType]
    line: Callable[[AnySummary], Text]
    activity: Callable[[AnySummary], tuple[str, Any]]


def watch(
    view: View[AnySummary],
    launchpad_file: Path,
    campaign: str,
    directory: Path,
    resource: Resource,
    workers: int,
    quiet: bool,
) -> AnySummary:
    """Supervise a campaign until it ends, and show how it goes; Ctrl-C and SIGTERM end the watching only."""
    supervisor = Supervisor(
        launchpad_file=launchpad_file,
        campaign=campaign,
        directory=directory,
        resource=resource,
        workers=workers,
        summarise=view.summarise,
        on_update=lambda summary: None,
        on_trouble=lambda line: complaints.print(line, soft_wrap=True),
    )
    try:
        if console.is_terminal and not quiet:
            with Live(console=console, refresh_per_second=2, transient=True) as live:
                supervisor.on_update = lambda summary: live.update(view.picture(summary))
                return supervise_until_it_ends(supervisor, launchpad_file)
        supervisor.on_update = print_changes(view)
        return supervise_until_it_ends(supervisor, launchpad_file)
    except KeyboardInterrupt:
        queued = queue_blocks(resource)
        goes_on = "goes on with the jobs that are submitted, new ones wait" if queued else "goes on"
        complaints.print(
            f"\nNo longer watching. Campaign {campaign} {goes_on}; "
            f"`alpw status {campaign}` shows it, the same command watches it again.",
            soft_wrap=True,
        )
        raise typer.Exit(0) from None


def print_changes(view: View[AnySummary]) -> Callable[[AnySummary], None]:
    """A callback for logs and pipes: a line for each new stage, and for progress every ten seconds."""
    last: tuple[str, Any] = ("", None)
    printed = 0.0

    def show(summary: AnySummary) -> None:
        nonlocal last, printed
        now = view.activity(summary)
        due = time.monotonic() - printed > QUIET_SECONDS
        if now[0] != last[0] or (now != last and due):
            last, printed = now, time.monotonic()
            complaints.print(view.line(summary), soft_wrap=True)

    return show


def tell_if_stuck(webhook: str | None, campaign: str, error: AlpwError) -> None:
    """Tell the campaign's web address that it cannot go on by itself, if that is what happened."""
    if isinstance(error, CampaignStuck):
        tell(webhook, campaign=campaign, event="stuck", state="running", text=str(error))
