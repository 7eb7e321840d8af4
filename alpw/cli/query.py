"""``alpw query``: the labelled data set on the screen or in a file."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import typer
from bson import ObjectId
from rich import box
from rich.table import Table

from alpw.cli.common import (
    LaunchpadFile,
    console,
    errors_as_exit_status,
    note,
    print_json,
    print_table,
)
from alpw.cli.data import Query, opened, plain, selected
from alpw.database.configurations import COLLECTION
from alpw.dataset import Dataset
from alpw.dataset.dataset import value
from alpw.dataset.fields import FIELDS
from alpw.dataset.language import ARRAYS, field
from alpw.errors import InputError

ON_SCREEN = 20
"""rows of a table, unless more are asked for"""

COLUMNS = (
    "_id",
    "campaign",
    "iteration",
    "state",
    "formula",
    "energy_per_atom",
    "max_force",
    "source.temperature",
)
"""of a table, unless others are asked for"""


def query(
    texts: Query = None,
    columns: Annotated[
        str | None, typer.Option("--columns", "-c", metavar="NAMES", help="Fields to show, a,b,c.")
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", "-s", metavar="NAMES", help="Fields to sort by; -a: from the largest."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=0, help="Rows at most; 0 for all. Tables: 20.")
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Say how many match.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
    launchpad: LaunchpadFile = None,
) -> None:
    """Show configurations that match a query, in shorthand or as MongoDB writes it.

    docs/data.md explains fields and queries. Removed configurations show up when asked for: state=removed.

    Example: `alpw query chemsys=Si 'max_force>5' state=labelled --sort -max_force`

    Example: `alpw query '{"chemical_system": "Si", "max_force": {"$gt": 5}}' --columns id,max_force --csv`
    """
    with errors_as_exit_status():
        if as_csv and as_json:
            raise InputError("takes one of --csv and --json")
        shown = [field(name) for name in _listed(columns)]
        order = [_direction(name) for name in _listed(sort)]
        dataset = selected(opened(launchpad), texts)
        if count:
            number = dataset.count()
            print_json({"count": number}) if as_json else console.print(number)
            return
        most = (ON_SCREEN if not (as_csv or as_json) else 0) if limit is None else limit
        documents = _documents(dataset, shown, order, most)
        if as_json:
            _print_json(documents)
        elif as_csv:
            _print_csv(documents, shown or list(COLUMNS))
        else:
            rows = list(documents)
            print_table(_table(rows, shown or list(COLUMNS)))
            if len(rows) == most and (total := dataset.count()) > most:
                note(f"{most} of {total}; --limit 0 shows all")


def _listed(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _direction(name: str) -> tuple[str, int]:
    return (field(name[1:]), -1) if name.startswith("-") else (field(name), 1)


def _documents(
    dataset: Dataset, shown: Sequence[str], order: list[tuple[str, int]], limit: int
) -> Iterator[dict[str, Any]]:
    """The wanted fields of what matches; without any, all but the arrays."""
    fields = dict.fromkeys(shown, 1) if shown else dict.fromkeys(ARRAYS, 0)
    if "_id" not in shown and shown:
        fields["_id"] = 0
    cursor = dataset.db[COLLECTION].find(dataset.query, fields).sort([*order, ("_id", 1)])
    yield from islice(cursor, limit or None)


def _print_json(documents: Iterable[Mapping[str, Any]]) -> None:
    """One array, written document by document: it may be long."""
    separator = "["
    for document in documents:
        sys.stdout.write(f"{separator}\n{json.dumps(plain(document), default=str)}")
        separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


def _print_csv(documents: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for document in documents:
        cells = (plain(value(document, name)) for name in columns)
        writer.writerow("" if cell is None else cell for cell in cells)


def _table(documents: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in columns:
        unit = FIELDS[name].unit if name in FIELDS else ""
        title = name.removeprefix("source.").removeprefix("_").replace("uncertainty.", "")
        heading = f"{title}\n{unit}" if unit else title
        table.add_column(heading, overflow="fold", no_wrap=name == "_id")
    for document in documents:
        table.add_row(*(_cell(value(document, name)) for name in columns))
    return table


def _cell(found: Any) -> str:
    if found is None:
        return "-"
    if isinstance(found, float):
        return f"{found:.6g}"
    if isinstance(found, datetime):
        return f"{found:%Y-%m-%d %H:%M}"
    if isinstance(found, list):
        return ", ".join(map(str, found))
    return str(found) if isinstance(found, str | int | ObjectId) else json.dumps(plain(found), default=str)
