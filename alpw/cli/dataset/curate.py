"""``alpw dataset tag``, ``untag``, ``remove``, ``restore``, ``migrate``: what its keeper decides."""

from __future__ import annotations

from typing import Annotated

import typer

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, note, print_json
from alpw.cli.data import NeededQuery, opened, progress, selected
from alpw.database.access import launchpad_file
from alpw.database.configurations import State
from alpw.database.launchpad import open_launchpad
from alpw.database.migrations import SCHEMA
from alpw.database.migrations import migrate as bring_up_to_date

Tag = Annotated[str, typer.Argument(metavar="TAG", help="A name of your own.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many there are.")]


def tag(name: Tag, texts: NeededQuery, launchpad: LaunchpadFile = None, as_json: AsJson = False) -> None:
    """Give configurations a tag, to find them by `tag=TAG`.

    Example: `alpw dataset tag liquid 'temperature>1700'`
    """
    with errors_as_exit_status():
        _tell("tagged", selected(opened(launchpad), texts).tag(name), as_json)


def untag(name: Tag, texts: NeededQuery, launchpad: LaunchpadFile = None, as_json: AsJson = False) -> None:
    """Take a tag away.

    Example: `alpw dataset untag liquid 'temperature<1800'`
    """
    with errors_as_exit_status():
        _tell("untagged", selected(opened(launchpad), texts).untag(name), as_json)


def remove(
    texts: NeededQuery,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why, for those who come after you.")],
    dry_run: DryRun = False,
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Take configurations out of the data set; they stay in the database and in snapshots.

    What is trained later does without them. Those that wait for their label are left alone.

    Example: `alpw dataset remove 'max_force>50' --reason 'atoms overlap'`
    """
    with errors_as_exit_status():
        dataset = selected(opened(launchpad), texts)
        if waiting := dataset.waiting():
            note(f"{waiting} wait for their label and are left alone")
        removable = dataset.where({"state": {"$in": [State.LABELLED.value, State.QUARANTINED.value]}})
        if dry_run:
            _tell("would be removed", removable.count(), as_json)
            return
        _tell("removed", dataset.remove(reason), as_json)


def restore(
    texts: NeededQuery, dry_run: DryRun = False, launchpad: LaunchpadFile = None, as_json: AsJson = False
) -> None:
    """Put removed configurations back as they were.

    Example: `alpw dataset restore 'reason~overlap'`
    """
    with errors_as_exit_status():
        dataset = selected(opened(launchpad), ["state=removed", *texts])
        _tell(
            *(("would be restored", dataset.count()) if dry_run else ("restored", dataset.restore())), as_json
        )


def migrate(launchpad: LaunchpadFile = None, as_json: AsJson = False) -> None:
    """Give configurations of an older ALPW the fields of this one; other commands do it by themselves.

    Example: `alpw dataset migrate`
    """
    with errors_as_exit_status():
        db = open_launchpad(launchpad_file(launchpad)).db
        changed = bring_up_to_date(db, progress, again=True)
        if as_json:
            print_json({"changed": changed, "schema": SCHEMA})
            return
        console.print(f"schema {SCHEMA}; {changed} configurations changed")


def _tell(what: str, number: int, as_json: bool) -> None:
    if as_json:
        print_json({what.replace(" ", "_"): number})
    else:
        console.print(f"{number} {what}")
