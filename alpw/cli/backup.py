"""``alpw backup`` and ``alpw restore``: a campaign as one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alpw import archive
from alpw.cli.common import (
    AsJson,
    LaunchpadFile,
    complaints,
    console,
    errors_as_exit_status,
    note,
    print_json,
)
from alpw.cli.control import Campaign
from alpw.cluster import control
from alpw.database.access import launchpad_file
from alpw.database.campaigns import CampaignState
from alpw.database.launchpad import open_launchpad, prepare


def backup(
    campaign: Campaign,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help=".tar or .tar.gz; CAMPAIGN.alpw.tar here if omitted."
        ),
    ] = None,
    with_files: Annotated[
        bool,
        typer.Option(
            "--with-files/--without-files",
            help="Also the calculations' folders and what else documents name.",
        ),
    ] = False,
    while_running: Annotated[
        bool, typer.Option("--while-running", help="Take a campaign that is at work as it is.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Write a campaign to one file: its documents, models, trajectories, and labels that it shares.

    `alpw restore` brings it into another database with all ids as they are. FireWorks' workflows do not come
    along, nor does the my_launchpad.yaml. The inputs do, as they were given.

    Example: `alpw backup silicon -o silicon.alpw.tar.gz --with-files`
    """
    with errors_as_exit_status():
        file = launchpad_file(launchpad)
        db = open_launchpad(file).db
        control.find(db, campaign)
        made = archive.backup(
            db,
            campaign,
            output or Path(f"{campaign}.alpw.tar"),
            with_files=with_files,
            while_running=while_running,
            force=force,
            private=[file],
            progress=_progress,
        )
        size = Path(made.file).stat().st_size
        if as_json:
            print_json({**made.to_dict(), "size": size})
            return
        console.print(f"{made.file}: campaign {made.campaign} ({made.state}), {_bytes(size)}", soft_wrap=True)
        console.print(_counts(made.documents), soft_wrap=True)
        if with_files:
            console.print(f"{made.files} files, {_bytes(made.bytes)}")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An archive of `alpw backup`.")],
    work_dir: Annotated[
        Path | None, typer.Option("--work-dir", help="Folder of the campaign here; as it was if omitted.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Verify, compare, write nothing.")] = False,
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Bring a campaign from an archive into the database in use.

    The archive is verified, and compared with what is there, before anything is written; what is there
    already stays as it is, so the command can be repeated. A campaign that had not ended arrives stopped.

    Example: `alpw restore silicon.alpw.tar.gz -l my_launchpad.yaml --work-dir /data/silicon`
    """
    with errors_as_exit_status():
        fireworks = open_launchpad(launchpad_file(launchpad))
        if not dry_run:
            prepare(fireworks)
        folder = work_dir.resolve() if work_dir else None
        came = archive.restore(fireworks.db, file, work_dir=folder, dry_run=dry_run, progress=_progress)
        if as_json:
            print_json({**came.to_dict(), "dry_run": dry_run})
            return
        console.print(f"campaign {came.campaign}: {came.state}, in {came.work_dir}", soft_wrap=True)
        will = "would be new" if dry_run else "are new"
        console.print(f"{sum(came.new.values())} documents {will}: {_counts(came.new)}", soft_wrap=True)
        if came.there:
            console.print(f"{sum(came.there.values())} were there already, the same")
        if came.files_new or came.files_there:
            console.print(f"{came.files_new} files {will}, {came.files_there} were there already")
        if came.state == CampaignState.STOPPED.value and not dry_run:
            note(f"`alpw resume {came.campaign}` lets it go on, and says how")


def _progress(text: str) -> None:
    if complaints.is_terminal:
        complaints.print(f"{text:<50}", end="\r")


def _counts(documents: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in documents.items() if number) or "none"


def _bytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB"
