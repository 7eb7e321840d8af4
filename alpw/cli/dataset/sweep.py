"""``alpw dataset sweep``: delete what nothing refers to."""

from __future__ import annotations

from typing import Annotated

import typer

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, print_json
from alpw.cli.data import opened
from alpw.database import blobs
from alpw.database.unreferenced import blobs_without_documents


def sweep(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many there are.")] = False,
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Delete weights and trajectories in the database that no document names and that are a day old.

    Example: `alpw dataset sweep --dry-run`
    """
    with errors_as_exit_status():
        db = opened(launchpad)
        found = blobs_without_documents(db)
        for blob in [] if dry_run else found:
            blobs.delete(db, blob["_id"], missing_ok=True)
    size = sum(blob["length"] for blob in found)
    what = "would be deleted" if dry_run else "deleted"
    if as_json:
        print_json({what.replace(" ", "_"): [str(blob["_id"]) for blob in found], "bytes": size})
    else:
        console.print(f"{len(found)} blobs {what}, {size / 1e6:.1f} MB")
