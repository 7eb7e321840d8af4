"""A campaign brought from its archive into a database: looked at whole, compared, then written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import bson
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError

from alpw.archive.arrival import Arrival
from alpw.archive.container import BUFFER, Archive, verified
from alpw.archive.contents import RAW, TAKEN
from alpw.archive.folder import place_of
from alpw.database import blobs, campaigns, indexes, migrations
from alpw.database.documents import SCHEMA
from alpw.errors import DatabaseError, InputError
from alpw.files import replacing

PAGE = 500
"""documents that are compared at a time"""


@dataclass
class Restored:
    """What came of an archive.

    Attributes:
        campaign: name of the campaign.
        state: in which it is now.
        work_dir: its folder.
        new: collection -> documents that were not there.
        there: collection -> documents that were there already, the same.
        files_new, files_there: the same of files.
    """

    campaign: str
    state: str
    work_dir: str
    new: dict[str, int] = field(default_factory=dict)
    there: dict[str, int] = field(default_factory=dict)
    files_new: int = 0
    files_there: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        return asdict(self)


def restore(
    db: Database,
    file: Path,
    *,
    work_dir: Path | None = None,
    dry_run: bool = False,
    progress: Callable[[str], object] | None = None,
) -> Restored:
    """Put a campaign into a database with the ids that it has, once; what is there already stays.

    Every byte of the archive is verified and every document compared before anything is written. The
    campaign's own document is written last, so that a campaign which can be seen is complete; a call that
    was cut short is repeated.

    Args:
        db: the database.
        file: the archive.
        work_dir: folder of the campaign here; that which it had if omitted.
        dry_run: whether nothing is written.
        progress: told what is being done.

    Raises:
        InputError: the archive is damaged, was altered, or belongs to another version of ALPW.
        DatabaseError: another campaign has the name, or a document that is there is another one.
    """
    tell = progress or (lambda text: None)
    tell("reading the archive")
    archive = verified(file)
    _check_version(archive)
    migrations.migrate(db)
    arrival = Arrival(archive.header, work_dir)
    _check_name(db, archive)
    outcome = _compare(db, archive, arrival, tell)
    if not dry_run:
        indexes.ensure_indexes(db)
        blobs.ensure_indexes(db)
        _write(db, archive, arrival, outcome, tell)
    return outcome


def _check_version(archive: Archive) -> None:
    written, schema = archive.header.get("alpw_version"), archive.header.get("schema")
    if schema != SCHEMA:
        text = f"its documents are of schema {schema}, and this ALPW knows {SCHEMA}"
        raise InputError(f"{text}; restore it with ALPW {written}, and update ALPW afterwards", archive.path)


def _check_name(db: Database, archive: Archive) -> None:
    """See that a campaign of the name, if there is one, is the archive's."""
    name = archive.header["campaign"]
    collection, data = next(archive.documents(), ("", b""))
    if collection != campaigns.COLLECTION:
        raise InputError("does not begin with the campaign's document; the archive was altered", archive.path)
    [document] = _split(archive, collection, data)
    here = campaigns.find(db, name)
    if here and here["created"] != bson.decode(document.raw)["created"]:
        made = f"{here['created']:%Y-%m-%d %H:%M:%S}"
        raise DatabaseError(
            f"another campaign '{name}' (of {made}) is in database '{db.name}'; restore the archive into "
            "another database (-l)"
        )


def _split(archive: Archive, collection: str, data: bytes) -> list[RawBSONDocument]:
    """The documents of a member."""
    if collection not in TAKEN:
        raise InputError(f"holds documents of '{collection}', which is no part of a campaign", archive.path)
    documents, start = [], 0
    try:
        while start < len(data):
            end = start + int.from_bytes(data[start : start + 4], "little")
            documents.append(RawBSONDocument(data[start:end]))
            start = end
    except BSONError as error:
        raise InputError(f"documents of '{collection}' are no BSON ({error})", archive.path) from error
    return documents


def _arriving(archive: Archive, arrival: Arrival) -> Iterator[tuple[str, list[tuple[Any, Any]]]]:
    """Collection, and its documents some at a time: as they will be stored, and as they were."""
    for collection, data in archive.documents():
        found = _split(archive, collection, data)
        for start in range(0, len(found), PAGE):
            page = found[start : start + PAGE]
            yield collection, [(arrival(collection, raw), raw) for raw in page]


def _compare(db: Database, archive: Archive, arrival: Arrival, tell: Callable[[str], object]) -> Restored:
    """What is new and what is there; raises :class:`DatabaseError` before anything would be overwritten."""
    outcome = Restored(arrival.name, "", arrival.new or arrival.old)
    others: list[str] = []
    for collection, pairs in _arriving(archive, arrival):
        stored = _stored(db, collection, pairs)
        missing = []
        for document, original in pairs:
            here = stored.get(document["_id"])
            if collection == campaigns.COLLECTION:
                outcome.state = (here or document)["state"]
            if here is None:
                missing.append(document)
            # A database that it came from has it as it was.
            elif not _same(here, document) and (arrival.new or not _same(here, original)):
                others.append(f"{collection} {document['_id']} ({_difference(here, document)})")
        others += _taken_keys(db, collection, missing)
        _add(outcome.new, collection, len(missing))
        _add(outcome.there, collection, len(pairs) - len(missing))
        tell(f"{sum(outcome.new.values()) + sum(outcome.there.values()):,} documents compared")
    folder = Path(outcome.work_dir)
    for relative, sha, _ in archive.files():
        place = place_of(folder, relative)
        if not place.exists():
            outcome.files_new += 1
        elif _hash_of(place) == sha:
            outcome.files_there += 1
        else:
            others.append(f"file {place}")
    if others:
        shown = "".join(f"\n  {line}" for line in others[:3])
        raise DatabaseError(
            f"{len(others)} of campaign '{arrival.name}' are here with other content; nothing was written. "
            f"Restore the archive into another database (-l) or folder (--work-dir):{shown}"
        )
    return outcome


def _stored(db: Database, collection: str, pairs: Sequence[tuple[Any, Any]]) -> dict[Any, RawBSONDocument]:
    """What the database has of some documents, by ``_id``."""
    wanted = {"_id": {"$in": [document["_id"] for document, _ in pairs]}}
    found = db.get_collection(collection, codec_options=RAW).find(wanted)
    return {document["_id"]: document for document in found}


def _same(one: RawBSONDocument, other: RawBSONDocument) -> bool:
    # Servers store the same whole number in 32 or 64 bits.
    return bool(one.raw == other.raw or _plain(one) == _plain(other))


def _plain(document: RawBSONDocument) -> bytes:
    return bson.encode(bson.decode(document.raw))


def _difference(one: RawBSONDocument, other: RawBSONDocument) -> str:
    first, second = bson.decode(one.raw), bson.decode(other.raw)
    names = [name for name in sorted({*first, *second}) if first.get(name) != second.get(name)]
    return ", ".join(names[:4]) or "order of its fields"


def _taken_keys(db: Database, collection: str, documents: Sequence[Any]) -> list[str]:
    """Those of new documents whose unique key another document has."""
    unique = [keys for keys, is_unique in indexes.INDEXES.get(collection, []) if is_unique]
    taken = []
    for keys in unique if documents else ():
        wanted = {tuple(document.get(key) for key in keys) for document in documents}
        query = {key: {"$in": list({row[n] for row in wanted})} for n, key in enumerate(keys)}
        for found in db[collection].find(query, dict.fromkeys(keys, 1)):
            row = tuple(found.get(key) for key in keys)
            if row in wanted:
                taken.append(f"{collection} {'/'.join(map(str, row))} (another document has that key)")
    return taken


def _write(
    db: Database, archive: Archive, arrival: Arrival, outcome: Restored, tell: Callable[[str], object]
) -> None:
    last, written = [], 0
    for collection, pairs in _arriving(archive, arrival):
        stored = _stored(db, collection, pairs)
        missing = [document for document, _ in pairs if document["_id"] not in stored]
        if collection == campaigns.COLLECTION:
            last += missing
        else:
            _insert(db, collection, missing)
        written += len(missing)
        tell(f"{written:,} of {sum(outcome.new.values()):,} documents")
    for relative, _, chunks in archive.files():
        place = place_of(Path(outcome.work_dir), relative)
        if not place.exists():
            with replacing(place) as file:
                for chunk in chunks:
                    file.write(chunk)
    _insert(db, campaigns.COLLECTION, last)


def _insert(db: Database, collection: str, documents: Sequence[Any]) -> None:
    if not documents:
        return
    try:
        db[collection].insert_many(documents, ordered=False)
    except (BulkWriteError, DuplicateKeyError) as error:
        raise DatabaseError(
            f"somebody else writes to '{db.name}.{collection}' what the archive holds; give the command once "
            "more"
        ) from error


def _hash_of(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(BUFFER):
            found.update(chunk)
    return found.hexdigest()


def _add(counts: dict[str, int], collection: str, number: int) -> None:
    if number:
        counts[collection] = counts.get(collection, 0) + number
