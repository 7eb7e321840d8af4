"""What lies in GridFS although no document speaks of it, as after an upload whose Firework died."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from alpw.database import blobs, configurations, snapshots
from alpw.database.campaigns import now

YOUNGEST = timedelta(days=1)
"""What is younger may belong to a Firework that is about to tell of it."""

WITHOUT = (configurations.COLLECTION, snapshots.COLLECTION)
"""large collections that refer to no blob"""


def blobs_without_documents(db: Database) -> list[dict[str, Any]]:
    """Blobs that no document of the database names and that are a day old: ``_id``, ``length`` (bytes)."""
    old = {"uploadDate": {"$lt": now() - YOUNGEST}}
    found = {file["_id"]: file for file in db[f"{blobs.BUCKET}.files"].find(old)}
    for name in sorted(db.list_collection_names()):
        if not found:
            break
        if name in WITHOUT or name.startswith((f"{blobs.BUCKET}.", "system.")):
            continue
        for document in db[name].find():
            for identity in _ids(document):
                found.pop(identity, None)
    return list(found.values())


def _ids(value: Any) -> Iterator[ObjectId]:
    """Every id in a document, as such or as text."""
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _ids(part)
    elif isinstance(value, list):
        for part in value:
            yield from _ids(part)
    elif isinstance(value, ObjectId):
        yield value
    elif isinstance(value, str) and len(value) == 24 and ObjectId.is_valid(value):
        yield ObjectId(value)
