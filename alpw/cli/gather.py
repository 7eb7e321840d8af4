"""``alpw gather_pwdata``: the labels of all iterations as PWdata."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, print_json
from alpw.database.access import launchpad_file
from alpw.database.launchpad import open_launchpad
from alpw.legacy.gather import FOLDER, in_database, in_directory, write_parts


def gather_pwdata(
    input_dir: Annotated[
        Path,
        typer.Option("--input_dir", "-i", metavar="FOLDER", help="Directory of PWact, AL-PWMLFF or DP-GEN."),
    ] = Path(),
    campaign: Annotated[
        str | None, typer.Option("--campaign", help="A campaign in the database, instead of a directory.")
    ] = None,
    savepath: Annotated[
        Path,
        typer.Option("--savepath", "-s", metavar="FOLDER", help="Where they go; replaces data there."),
    ] = Path(FOLDER),
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Gather what all iterations of a campaign have labelled, as PWdata that init_data takes.

    Each iteration gets a folder, and in it one for each composition, with train and valid where frames were
    held out. The folders are listed, quoted and with commas, as they stand in a param.json. Initial data that
    came from files stay where they are.

    Example: `alpw gather_pwdata -i old_campaign`

    Example: `alpw gather_pwdata --campaign silicon -s silicon_data`
    """
    with errors_as_exit_status():
        if campaign is None:
            parts = in_directory(input_dir)
        else:
            parts = in_database(open_launchpad(launchpad_file(launchpad)).db, campaign)
        gathered = write_parts(parts, savepath)
        if as_json:
            print_json(asdict(gathered))
            return
        for path in gathered.folders:
            console.print(f'"{path}",', soft_wrap=True)
        n_frames = sum(gathered.folders.values())
        console.print(f"{n_frames} frames; the list is in {gathered.list_file}", soft_wrap=True)
