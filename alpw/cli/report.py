"""``alpw report``: a campaign as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, print_json
from alpw.database import campaigns
from alpw.database.access import launchpad_file
from alpw.database.launchpad import open_launchpad
from alpw.errors import InputError
from alpw.report.page.build import write_page

NAME = "report.html"


def report(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Name of the campaign.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="HTML to write; report.html in the campaign's folder if omitted.",
        ),
    ] = None,
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Write a campaign as one HTML page that needs no other file and no network.

    What was run, how it went, how far uncertainty and models can be trusted, the data set, failures, versions
    and references, from the database alone; for campaigns in any state. An older report is replaced.

    Example: `alpw report silicon --output silicon.html`
    """
    with errors_as_exit_status():
        fireworks = open_launchpad(launchpad_file(launchpad))
        document = campaigns.get(fireworks.db, campaign)
        file = output or _default(Path(document["work_dir"]))
        if file.is_dir():
            raise InputError("is a folder; give a file such as report.html", file, "--output")
        page = write_page(fireworks.db, campaign, file)
        if as_json:
            print_json(
                {
                    "campaign": campaign,
                    "state": page.state,
                    "report": str(file.resolve()),
                    "bytes": file.stat().st_size,
                    "verdict": page.verdict,
                    "next": page.advice,
                    "facts": dict(page.facts),
                    "sections": [section.anchor for section in page.sections],
                    "left_out": page.left_out,
                }
            )
            return
        console.print(f"report {file}", soft_wrap=True)
        for text in page.left_out:
            console.print(f"  {text}", soft_wrap=True)


def _default(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(
            "the campaign's folder is not on this machine; say where to write", folder, "--output"
        )
    return folder / NAME
