"""What all commands share: consoles, options, and errors turned into exit statuses."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from pymongo.errors import OperationFailure, PyMongoError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alpw.config.section import Section
from alpw.database.secrets import without_secrets
from alpw.errors import AlpwError, InputError
from alpw.findings import Severity

#: Exit statuses of every command.
EXIT_FAILED, EXIT_BAD_INPUT = 1, 2

REFUSED_QUERIES = (2, 9, 14, 51091, 238)
"""MongoDB's codes for what is no filter: bad value, not parsed, wrong type, pattern, not implemented"""

#: How findings look on the screen.
STYLES = {
    Severity.OK: "green",
    Severity.ABSENT: "dim",
    Severity.NOTE: "cyan",
    Severity.WARN: "yellow",
    Severity.FAIL: "red",
}

WIDE = 240
"""columns of a table that goes to a file"""

# Without markup: what users name their files and campaigns is text, whatever brackets it holds.
console = Console(markup=False, highlight=False)
complaints = Console(stderr=True, markup=False, highlight=False)

ParamFile = Annotated[
    Path, typer.Argument(metavar="PARAM", help="param.json: model, strategy, exploration, labels.")
]
ResourceFile = Annotated[Path, typer.Argument(metavar="RESOURCE", help="resource.json: commands and queues.")]
LaunchpadFile = Annotated[
    Path | None,
    typer.Option(
        "--launchpad", "-l", metavar="FILE", help="my_launchpad.yaml; found as FireWorks does if omitted."
    ),
]
CampaignName = Annotated[
    str | None, typer.Option("--campaign", help="Name of the campaign, instead of the one in PARAM.")
]
WorkDir = Annotated[
    Path | None, typer.Option("--work-dir", help="Folder of the campaign, instead of the one in PARAM.")
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Local tasks at a time; the cores by default.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


Inputs = TypeVar("Inputs", bound=Section)


def by_hand(directory: Path, queued: Collection[str]) -> str:
    """What runs a campaign without ``alpw``, given its folder and the blocks that have a queue."""
    if not queued:
        return "`rlaunch rapidfire`"
    return f"`qlaunch` and `rlaunch` with the files in {directory / 'queue'} (docs/cluster.md)"


def placed(inputs: Inputs, campaign: str | None, work_dir: Path | None) -> Inputs:
    """The user's parameters with the name and the folder that the command line gives, if any.

    Raises:
        InputError: no name.
    """
    given = {"campaign": campaign, "work_dir": str(work_dir.resolve()) if work_dir else None}
    changes = {key: value for key, value in given.items() if value is not None}
    try:
        return type(inputs).model_validate(inputs.model_dump(mode="json") | changes)
    except ValidationError as error:
        text = f"{campaign!r} is no name; letters, digits, '_', '.' and '-' make one"
        raise InputError(text, key="--campaign") from error


@contextmanager
def errors_as_exit_status() -> Iterator[None]:
    """One line on standard error and a status: 2 for wrong input, 1 for whatever else went wrong."""
    try:
        yield
    except AlpwError as error:
        _complain(str(error))
        raise typer.Exit(EXIT_BAD_INPUT if isinstance(error, InputError) else EXIT_FAILED) from error
    except OperationFailure as error:
        refused = error.code in REFUSED_QUERIES
        reason = (error.details or {}).get("errmsg") or str(error).split(", full error")[0]
        _complain(f"query: MongoDB refuses it: {reason}" if refused else reason)
        raise typer.Exit(EXIT_BAD_INPUT if refused else EXIT_FAILED) from error
    except (OSError, PyMongoError) as error:
        _complain(str(error).splitlines()[0])
        raise typer.Exit(EXIT_FAILED) from error


def _complain(text: str) -> None:
    for line in without_secrets(text).splitlines():
        # Indented lines belong to the error above them.
        prefix = "" if line.startswith(" ") else "error: "
        complaints.print(Text(prefix, style="red") + Text(line), soft_wrap=True)


def note(text: str) -> None:
    """A remark on the user's inputs."""
    complaints.print(Text("note: ", style="yellow") + Text(text), soft_wrap=True)


class NoteHandler(logging.Handler):
    """Shows the warnings that the library logs as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        note(record.getMessage())


def print_table(table: Table) -> None:
    """Print a table; in a file or a pipe there is no edge to break its lines at."""
    wide = Console(width=WIDE, markup=False, highlight=False)
    (console if console.is_terminal else wide).print(table)


def print_json(document: Any) -> None:
    """Print a JSON document; dates and ids become strings."""
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")
