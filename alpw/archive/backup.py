"""A campaign written to one file."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from datetime import timezone
from pathlib import Path
from typing import Any

from pymongo.database import Database

from alpw import __version__
from alpw.archive.container import DOCUMENTS, FILES, Writer, writing
from alpw.archive.contents import Contents
from alpw.archive.folder import named_files
from alpw.database import campaigns, migrations
from alpw.database.documents import SCHEMA
from alpw.errors import AlpwError, InputError

MEMBER = 8 << 20
"""bytes of documents that are gathered for a member; one document may have twice as many"""


@dataclass(frozen=True)
class Backup:
    """What an archive holds.

    Attributes:
        file: the archive.
        campaign: name of the campaign.
        state: in which it was.
        documents: collection -> number of documents.
        files: number of files.
        bytes: their size.
    """

    file: str
    campaign: str
    state: str
    documents: dict[str, int]
    files: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        return asdict(self)


def backup(
    db: Database,
    name: str,
    file: Path,
    *,
    with_files: bool = False,
    while_running: bool = False,
    force: bool = False,
    private: Collection[Path] = (),
    progress: Callable[[str], object] | None = None,
) -> Backup:
    """Write a campaign to an archive, which appears when it is whole.

    Args:
        db: the campaigns' database.
        name: of the campaign.
        file: the archive, ``.tar`` or compressed ``.tar.gz``.
        with_files: whether the files of the campaign's folder that documents name come along.
        while_running: whether the campaign may be at work; all that its iterations had when this began is in
            the archive, and nothing of an iteration that begins later.
        force: whether an archive that is there is replaced.
        private: files that are never taken, such as the my_launchpad.yaml in use.
        progress: told what has been written so far.

    Raises:
        InputError: the campaign is at work; the archive is there already, or has a name that says nothing.
        AlpwError: no such campaign; a file of it cannot be read.
    """
    migrations.migrate(db)
    if file.exists() and not force:
        raise InputError("is there already; --force replaces it", file)
    contents = Contents(db, name, at_work=while_running)
    _check_at_rest(db, contents.campaign, while_running)
    totals: dict[str, Any] = {"documents": contents.counts, "files": 0, "bytes": 0}
    tell = progress or (lambda text: None)
    with writing(file, _header(contents), totals) as archive:
        _write_documents(archive, contents, tell)
        if with_files:
            _write_files(archive, contents, totals, private, tell)
    return Backup(
        str(file), name, contents.campaign["state"], contents.counts, totals["files"], totals["bytes"]
    )


def _header(contents: Contents) -> dict[str, Any]:
    campaign = contents.campaign
    return {
        "alpw_version": __version__,
        "schema": SCHEMA,
        "created": campaigns.now().replace(tzinfo=timezone.utc).isoformat(timespec="seconds"),
        "campaign": campaign["_id"],
        "kind": campaigns.kind(campaign),
        "state": campaign["state"],
        "newest": contents.newest,
        "work_dir": campaign["work_dir"],
    }


def _check_at_rest(db: Database, campaign: dict[str, Any], while_running: bool) -> None:
    name, state = campaign["_id"], campaign["state"]
    busy = {"spec.campaign": name, "state": {"$in": ["RESERVED", "RUNNING"]}}
    running = state == campaigns.CampaignState.RUNNING.value
    held = state in campaigns.HELD_STATES
    if (running or (held and db["fireworks"].count_documents(busy))) and not while_running:
        text = (
            f"campaign '{name}' is at work; `alpw pause {name}` lets it come to rest, --while-running takes "
            "it as it is"
        )
        raise InputError(text, key="CAMPAIGN")


def _write_documents(archive: Writer, contents: Contents, tell: Callable[[str], object]) -> None:
    """Members of some megabytes each, of one collection each."""
    number, gathered, collection = 0, bytearray(), ""

    def write() -> None:
        nonlocal number
        if gathered:
            archive.add(f"{DOCUMENTS}/{collection}/{number:06d}.bson", bytes(gathered))
            gathered.clear()
            number += 1
            tell(f"{sum(contents.counts.values()):,} documents")

    for found, document in contents.documents():
        if found != collection or len(gathered) > MEMBER:
            write()
        collection = found
        gathered += document.raw
    write()


def _write_files(
    archive: Writer,
    contents: Contents,
    totals: dict[str, Any],
    private: Collection[Path],
    tell: Callable[[str], object],
) -> None:
    work_dir = Path(contents.campaign["work_dir"])
    try:
        for path, name in named_files(work_dir, contents.paths, private):
            totals["bytes"] += archive.add_file(f"{FILES}/{name}", path)
            totals["files"] += 1
            if totals["files"] % 100 == 0:
                tell(f"{totals['files']:,} files")
    except OSError as error:
        if error.filename is None:
            raise
        raise AlpwError(f"{error.filename}: cannot be read ({error.strerror})") from error
