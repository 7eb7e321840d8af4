"""Large binary values (model weights, trajectories) in GridFS, beyond MongoDB's 16 MB per document."""

from __future__ import annotations

import hashlib
from typing import Any

import gridfs
from bson import ObjectId
from pymongo.database import Database

BUCKET = "alpw_blobs"


def ensure_indexes(db: Database) -> None:
    """What the driver makes with the first file that it stores, for files that are stored otherwise."""
    db[f"{BUCKET}.files"].create_index([("filename", 1), ("uploadDate", 1)])
    db[f"{BUCKET}.chunks"].create_index([("files_id", 1), ("n", 1)], unique=True)


def put(db: Database, data: bytes, **metadata: Any) -> ObjectId:
    """Store ``data`` with its sha256 and return its id."""
    bucket = gridfs.GridFSBucket(db, BUCKET)
    name = hashlib.sha256(data).hexdigest()
    return bucket.upload_from_stream(name, data, metadata={"sha256": name, **metadata})


def get(db: Database, blob: ObjectId) -> bytes:
    """The bytes stored under ``blob``; raises ``gridfs.NoFile`` when there are none."""
    return gridfs.GridFSBucket(db, BUCKET).open_download_stream(blob).read()


def delete(db: Database, blob: ObjectId, *, missing_ok: bool = False) -> None:
    """Remove a blob that no document refers to.

    Args:
        db: the campaign's database.
        blob: its id.
        missing_ok: whether it may be gone already; if not, ``gridfs.NoFile`` is raised.
    """
    try:
        gridfs.GridFSBucket(db, BUCKET).delete(blob)
    except gridfs.NoFile:
        if not missing_ok:
            raise
