"""What all commands share: consoles, options, and errors turned into exit statuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from alpw.errors import AlpwError, InputError

#: Exit statuses of every command.
EXIT_FAILED, EXIT_BAD_INPUT = 1, 2

console = Console()
complaints = Console(stderr=True)

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
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@contextmanager
def errors_as_exit_status() -> Iterator[None]:
    """One line on standard error and a status: 2 for wrong input, 1 for everything else that we raise."""
    try:
        yield
    except AlpwError as error:
        for line in str(error).splitlines():
            complaints.print(
                f"[red]error:[/red] {line}" if not line.startswith(" ") else line, soft_wrap=True
            )
        raise typer.Exit(EXIT_BAD_INPUT if isinstance(error, InputError) else EXIT_FAILED) from error


def print_json(document: Any) -> None:
    """Print a JSON document; dates and ids become strings."""
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")
