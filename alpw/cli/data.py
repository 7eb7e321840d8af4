"""What the commands of the data set share: its database, its query, what one configuration looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from bson import ObjectId
from pymongo.database import Database

from alpw.cli.common import complaints, note
from alpw.database.access import launchpad_file
from alpw.database.launchpad import open_launchpad
from alpw.database.migrations import migrate
from alpw.dataset import Dataset
from alpw.dataset.language import parse, unknown_fields

Query = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[QUERY]...", help="chemsys=Si max_force>5 ..., or a MongoDB filter; everything if omitted."
    ),
]
NeededQuery = Annotated[
    list[str], typer.Argument(metavar="QUERY...", help="chemsys=Si max_force>5 ..., or a MongoDB filter.")
]


def opened(launchpad: Path | None) -> Database:
    """The database in use, its documents brought up to date."""
    db: Database = open_launchpad(launchpad_file(launchpad)).db
    if changed := migrate(db):
        note(f"{changed} configurations of an older ALPW got the fields of this one")
    return db


def selected(db: Database, texts: Sequence[str] | None) -> Dataset:
    """What a query selects; says which of its fields there are not."""
    query = parse(*(texts or ()))
    for name, hint in unknown_fields(query).items():
        note(f"no configuration has a field {name!r}; {hint}")
    return Dataset(db, query)


def words(texts: Sequence[str] | None) -> str:
    """A query as it was written."""
    return " ".join(texts or ())


def plain(value: Any) -> Any:
    """A value of a document for JSON: ids as text, arrays as lists."""
    if isinstance(value, Mapping):
        if set(value) == {"dtype", "shape", "data"}:
            from alpw.database.arrays import decode

            return decode(dict(value)).tolist()
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return str(value) if isinstance(value, ObjectId) else value


def progress(done: int) -> None:
    """A line that is written over, where somebody looks at it."""
    if complaints.is_terminal:
        complaints.print(f"{done:,} frames", end="\r")
