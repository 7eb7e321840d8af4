"""``alpw dataset snapshot``, ``snapshots``, ``diff``, ``split``: sets that stay as they are."""

from __future__ import annotations

from typing import Annotated

import typer
from pymongo.database import Database
from rich import box
from rich.table import Table

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, print_json
from alpw.cli.data import Query, opened, selected, words
from alpw.database import snapshots
from alpw.dataset import Dataset
from alpw.dataset.difference import difference
from alpw.dataset.fields import NAMES
from alpw.dataset.language import SNAPSHOT
from alpw.errors import InputError

SHOWN = 10
"""ids that a difference shows of each kind"""


def snapshot(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the snapshot, for good.")],
    texts: Query = None,
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Freeze the labelled frames that match: the name will always mean these, with these labels.

    `snapshot=NAME` is a query of its own from then on. The content hash tells whether two data sets are
    the same, in any database.

    Example: `alpw dataset snapshot paper chemsys=Si 'max_force<10'`
    """
    with errors_as_exit_status():
        made = selected(opened(launchpad), texts).snapshot(name, words=words(texts))
        if as_json:
            print_json({"name": name, **made})
            return
        console.print(f"{name}: {made['n']} frames, content SHA-256 {made['content_hash']}", soft_wrap=True)


def snapshots_(launchpad: LaunchpadFile = None, as_json: AsJson = False) -> None:
    """List the named snapshots, oldest first.

    Example: `alpw dataset snapshots`
    """
    with errors_as_exit_status():
        found = snapshots.named(opened(launchpad))
        if as_json:
            print_json([{"name": document.pop("_id"), **document} for document in found])
            return
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        for title in ("name", "frames", "made", "content hash", "query"):
            table.add_column(title, overflow="fold")
        for document in found:
            made, digest = f"{document['created']:%Y-%m-%d %H:%M}", str(document["content_hash"])[:12]
            table.add_row(document["_id"], str(document["n"]), made, digest, document["query"])
        console.print(table)


def diff(
    one: Annotated[str, typer.Argument(metavar="ONE", help="A snapshot, or a query in quotes.")],
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Another one.")],
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Say what two sets of labelled frames do not have in common, by structure and label.

    Exit status 0 if they are the same, 1 if not.

    Example: `alpw dataset diff paper 'chemsys=Si'`
    """
    with errors_as_exit_status():
        db = opened(launchpad)
        found = difference(_set(db, one), _set(db, other))
        if as_json:
            print_json(found._asdict() | {"relabelled": [list(map(str, pair)) for pair in found.relabelled]})
        else:
            console.print(f"{found.common} frames in common")
            for kind, ids in (("added", found.added), ("removed", found.removed)):
                console.print(f"{len(ids)} {kind}{_some(list(map(str, ids)))}", soft_wrap=True)
            pairs = [f"{old} -> {new}" for old, new in found.relabelled]
            console.print(f"{len(pairs)} with another label{_some(pairs)}", soft_wrap=True)
    if found.added or found.removed or found.relabelled:
        raise typer.Exit(1)


def split(
    texts: Annotated[
        list[str],
        typer.Argument(metavar="QUERY...", help="What to divide, then the shares: train=0.8 valid=0.2"),
    ],
    name: Annotated[str, typer.Option("--name", help="Snapshots are called NAME.train, NAME.valid, ...")],
    seed: Annotated[int, typer.Option("--seed", help="Another one gives another division.")] = 0,
    by_frame: Annotated[
        bool, typer.Option("--by-frame", help="Frames of one trajectory may get into several parts.")
    ] = False,
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Divide labelled frames into snapshots, so that no trajectory gets into two of them.

    The division depends on the frames alone: what is added later moves none of them. Shares are met on
    average over many trajectories.

    Example: `alpw dataset split chemsys=Si train=0.8 valid=0.1 test=0.1 --name si`
    """
    with errors_as_exit_status():
        shares = {key: number for key, number in map(_share, texts) if number is not None}
        if len(shares) < 2:
            raise InputError("name two parts or more with their shares: train=0.8 valid=0.2", key="QUERY")
        dataset = selected(opened(launchpad), [text for text in texts if _share(text)[1] is None])
        parts = dataset.split(shares, seed=seed, by_frame=by_frame)
        if empty := [part for part, members in parts.items() if not members.count()]:
            raise InputError(
                f"{', '.join(empty)} would be empty: too few trajectories; --by-frame divides single frames"
            )
        made = {part: members.snapshot(f"{name}.{part}") for part, members in parts.items()}
        if as_json:
            print_json({f"{name}.{part}": facts for part, facts in made.items()})
            return
        total = sum(facts["n"] for facts in made.values())
        for part, facts in made.items():
            console.print(f"{name}.{part}: {facts['n']} frames, {100 * facts['n'] / total:.1f} %")


def _share(text: str) -> tuple[str, float | None]:
    """``train=0.8``: a name that is no field, and a number."""
    key, _, number = text.partition("=")
    try:
        return (key, float(number)) if key.isidentifier() and key not in NAMES else (key, None)
    except ValueError:
        return key, None


def _set(db: Database, text: str) -> Dataset:
    is_query = any(sign in text for sign in "=<>~{?! ")
    return selected(db, [text]) if is_query else Dataset(db, {SNAPSHOT: text})


def _some(items: list[str]) -> str:
    if not items:
        return ""
    return ": " + ", ".join(items[:SHOWN]) + (" ..." if len(items) > SHOWN else "")
