"""``alpw convert-input``: input files of PWact and DP-GEN as ours, with a note on each key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from alpw.cli.common import AsJson, console, errors_as_exit_status, note, print_json, print_table
from alpw.config.json_file import InputErrors
from alpw.legacy.convert import Conversion, convert, write
from alpw.legacy.notes import Fate, Note

STYLES = {Fate.TAKEN: "", Fate.CHANGED: "cyan", Fate.ABSENT: "yellow", Fate.COMMENT: "dim"}
"""A colour for each fate of a key."""


class Family(str, Enum):
    """Whose files they are."""

    PWACT = "pwact"
    DPGEN = "dpgen"


class Trainer(str, Enum):
    """Who trains what was a campaign of DP-GEN."""

    DEEPMD = "deepmd"
    ALPW = "alpw"


def convert_input(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="param.json, machine.json, resource.json, ...")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the new files go.")],
    source: Annotated[
        Family | None, typer.Option("--from", help="Whose files they are; recognised if omitted.")
    ] = None,
    trainer: Annotated[
        Trainer,
        typer.Option("--trainer", help="DP-GEN: keep deepmd-kit, or translate its input for our training."),
    ] = Trainer.DEEPMD,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn input files of PWact (AL-PWMLFF) or DP-GEN into ours, with a note on each of their keys.

    The new files are read as `alpw run` and `alpw init_bulk` read them before anything is written; if they
    cannot be used, what is missing is told, and nothing is written. docs/migrating.md says more.

    Exit status: 0 written, 2 wrong input, or new files that cannot be used.

    Example: `alpw convert-input param.json machine.json -o alpw`
    """
    with errors_as_exit_status():
        made = convert(files, output, source.value if source else None, trainer.value)
        if not as_json:
            _show(made)
        written: Sequence[Path] = []
        if not made.errors:
            written = write(made, output, force=force)
        if as_json:
            print_json(
                {
                    "from": made.family,
                    "files": [str(path) for path in written],
                    "notes": [asdict(found) for found in made.notes],
                    "remarks": made.remarks,
                    "errors": [str(error) for error in made.errors],
                }
            )
        if made.errors:
            raise InputErrors(made.errors)
        if as_json:
            return
        for path in written:
            console.print(f"wrote {path}", soft_wrap=True)
        console.print("They were read and checked as they lie there: no error.")


def _show(made: Conversion) -> None:
    for name in dict.fromkeys(found.file for found in made.notes):
        print_table(_table(name, [found for found in made.notes if found.file == name]))
    for remark in made.remarks:
        note(remark)


def _table(name: str, notes: Sequence[Note]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, title=name, title_justify="left"
    )
    for heading in ("key", "is now", "how, or why not", "to do"):
        table.add_column(heading, overflow="fold")
    for found in notes:
        # What stays as it is needs no name a second time.
        became = "the same" if found.became == found.key else found.became
        became = found.fate.value if found.fate in (Fate.ABSENT, Fate.COMMENT) else became or "-"
        table.add_row(found.key, became, found.text, found.todo, style=STYLES[found.fate])
    return table
