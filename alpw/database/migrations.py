"""Documents of an older ALPW, brought up to what this one reads and queries.

The version of a database is in ``alpw_schema``; a new one begins with the current version. Each step may be
interrupted and repeated.

| version | since then |
| --- | --- |
| 2 | `volume`, `density`, `pressure` and `label_hash`; training sets are snapshots |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from pymongo import UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from alpw.database import configurations, iterations, models, reading, snapshots
from alpw.database.documents import SCHEMA, atoms_of, frame_of, label_document, structure_document
from alpw.errors import DatabaseError

COLLECTION = "alpw_schema"
KEY = {"_id": "schema"}

CHUNK = 200
"""documents that are read and written at a time"""

SCALARS = ("schema", "volume", "density", "pressure", "label_hash")


def version(db: Database) -> int | None:
    """Version of a database's documents; None where it has none yet, or they are older than versions."""
    found = db[COLLECTION].find_one(KEY)
    return None if found is None else int(found["version"])


def migrate(db: Database, progress: Callable[[int], object] | None = None, *, again: bool = False) -> int:
    """Bring a database up to date; returns how many configurations were changed.

    Args:
        db: the campaigns' database.
        progress: told how many have been changed so far.
        again: look at every configuration, even if the database is up to date: an older ALPW that still ran
            may have added some.

    Raises:
        DatabaseError: it was written by a newer ALPW, or refuses.
    """
    found = version(db)
    if found == SCHEMA and not again:
        return 0
    if found is not None and found > SCHEMA:
        raise DatabaseError(
            f"database '{db.name}' was written by a newer ALPW (schema {found}, this one knows {SCHEMA}); "
            "update ALPW"
        )
    changed = 0
    for part in _chunks(_older(db)):
        try:
            db[configurations.COLLECTION].bulk_write(part, ordered=False)
        except BulkWriteError as error:
            raise DatabaseError(f"cannot bring '{db.name}' up to date: {error.details}") from error
        changed += len(part)
        if progress:
            progress(changed)
    _freeze_training_sets(db)
    db[COLLECTION].update_one(KEY, {"$set": {"version": SCHEMA}}, upsert=True)
    return changed


def _older(db: Database) -> Iterator[UpdateOne]:
    """What to change in each configuration that lacks the scalars of today."""
    wanted = [document["_id"] for document in db[configurations.COLLECTION].find(_OLD, {"_id": 1})]
    for document in reading.by_ids(db, wanted):
        fields = structure_document(atoms_of(document))
        if "forces" in document:
            fields |= label_document(*frame_of(document))
        scalars = {name: fields[name] for name in SCALARS if name in fields}
        yield UpdateOne({"_id": document["_id"]}, {"$set": scalars})


_OLD = {"schema": {"$ne": SCHEMA}}


def _chunks(updates: Iterator[UpdateOne]) -> Iterator[list[UpdateOne]]:
    while part := list(islice(updates, CHUNK)):
        yield part


def _freeze_training_sets(db: Database) -> None:
    """Training sets that are lists of ids become snapshots."""
    for collection in (iterations.COLLECTION, models.COLLECTION):
        lists = {"training_set.ids": {"$exists": True}}
        for document in list(db[collection].find(lists, {"training_set": 1})):
            change: dict[str, Any] = {"training_set": snapshots.freeze(db, document["training_set"]["ids"])}
            db[collection].update_one({"_id": document["_id"]}, {"$set": change})
