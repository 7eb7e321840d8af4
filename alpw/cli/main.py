"""Entry point of ``alpw`` and ``al_pwmlff``."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from alpw import __version__
from alpw.cli.common import NoteHandler
from alpw.cli.lazy import lazy_group

# Their modules bring torch or many readers, for which no other command should wait: module and function.
COMMANDS = {
    "init_bulk": ("init_bulk", "init_bulk"),
    "run": ("run", "run"),
    "launch": ("launch", "launch"),
    "status": ("status", "status"),
    "campaigns": ("status", "campaigns"),
    "why": ("why", "why"),
    "reconcile": ("reconcile", "reconcile"),
    "report": ("report", "report"),
    "filter": ("filter", "filter_"),
    "pause": ("control", "pause"),
    "resume": ("control", "resume"),
    "stop": ("control", "stop"),
    "kill": ("control", "kill"),
    "rerun": ("rerun", "rerun"),
    "branch": ("branch", "branch"),
    "backup": ("backup", "backup"),
    "restore": ("backup", "restore"),
    "doctor": ("doctor", "doctor"),
    "template": ("template", "template"),
    "train": ("train", "train"),
    "test": ("test", "test"),
    "compress": ("compress", "compress"),
    "export": ("export", "export"),
    "import": ("intake", "import_"),
    "kpu": ("kpu", "kpu"),
    "to_pwdata": ("to_pwdata", "to_pwdata"),
    "gather_pwdata": ("gather", "gather_pwdata"),
    "convert-input": ("convert_input", "convert_input"),
    "calculate": ("calculate", "calculate"),
    "query": ("query", "query"),
    "dataset": ("dataset", "app"),
    "db": ("db", "app"),
}


app = typer.Typer(
    cls=lazy_group("alpw.cli", COMMANDS),
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    help="Active learning of Deep Potential force fields on FireWorks and MongoDB.\n\n"
    "Example: `alpw db start && alpw run param.json resource.json`",
)


@app.callback(invoke_without_command=True)
def version_option(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Handle options that stand before any command."""
    library = logging.getLogger("alpw")
    if not any(isinstance(handler, NoteHandler) for handler in library.handlers):
        library.addHandler(NoteHandler(logging.WARNING))
    if version:
        typer.echo(f"alpw {__version__}")
        raise typer.Exit


@app.command("help", hidden=True)
def show_help(context: typer.Context) -> None:
    """Print the list of commands."""
    typer.echo(context.parent.get_help() if context.parent else "")


def main() -> None:
    """Run the command line; ``-help`` is the predecessor's spelling."""
    sys.argv = [("--help" if argument == "-help" else argument) for argument in sys.argv]
    app()


if __name__ == "__main__":
    main()
