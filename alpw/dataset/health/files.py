"""Files and blobs that nothing refers to, and folders that are gone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from bson import ObjectId

from alpw.database import campaigns
from alpw.database.unreferenced import blobs_without_documents
from alpw.dataset.health.problem import MOST_IDS, Problem, display
from alpw.dataset.health.survey import Survey, existing
from alpw.findings import Severity

LABEL_FOLDERS = ("*/02.label/*", "*/*/02.label/*")
"""below the folder of a campaign: of an iteration, and of a start structure of init_bulk"""


def blob_problems(found: Survey) -> Iterator[Problem]:
    """Weights, trajectories and inputs in the database that no document names."""
    blobs = blobs_without_documents(found.dataset.db)
    if blobs:
        size = sum(blob["length"] for blob in blobs) / 1e6
        text = f"{len(blobs)} blobs in the database belong to nothing, {size:.1f} MB"
        which = tuple(
            (blob["_id"], f"{blob['length']} bytes of {blob['uploadDate']:%Y-%m-%d}") for blob in blobs
        )
        yield Problem("blobs", Severity.WARN, text, which, "alpw dataset sweep")


def folder_problems(found: Survey) -> Iterator[Problem]:
    """Folders of labels whose configuration there is not."""
    folders = {folder: ObjectId(folder.name) for folder in _label_folders(found)}
    known = existing(found.dataset.db, folders.values())
    which = [
        (str(folder), "no configuration") for folder, identity in folders.items() if identity not in known
    ]
    if which:
        text = f"{len(which)} folders of labels belong to no configuration of this database"
        paths = [path for path, _ in which]
        command = f"rm -r {shlex.join(paths[:MOST_IDS])}"
        if len(paths) > MOST_IDS:
            command += f"  # and {len(paths) - MOST_IDS} more, which --json lists"
        yield Problem("folders", Severity.NOTE, text, tuple(which), command)


def _label_folders(found: Survey) -> Iterator[Path]:
    for campaign in found.dataset.db[campaigns.COLLECTION].find({}, {"work_dir": 1}):
        for pattern in LABEL_FOLDERS if campaign.get("work_dir") else ():
            for folder in sorted(Path(campaign["work_dir"]).glob(pattern)):
                if ObjectId.is_valid(folder.name) and folder.is_dir():
                    yield folder


def directory_problems(found: Survey) -> Iterator[Problem]:
    """Configurations whose calculation has been deleted, or lies on another machine."""
    there: dict[str, bool] = {}
    which = []
    for document in found.dataset.where({"directory": {"$exists": True}}).documents({"directory": 1}):
        folder = str(document["directory"])
        if folder not in there:
            there[folder] = Path(folder).exists()
        if not there[folder]:
            which.append((document["_id"], folder))
    if which:
        text = f"{len(which)} configurations name the folder of a calculation that is not on this machine"
        command = display([one for one, _ in which], ("campaign", "directory"), "directories", found.words)
        yield Problem("directories", Severity.NOTE, text, tuple(which), command)
