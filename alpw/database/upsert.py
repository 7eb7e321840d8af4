"""Insertion that may be repeated."""

from __future__ import annotations

from typing import Any

from pymongo import ReturnDocument
from pymongo.collection import Collection

from alpw.errors import DatabaseError


def insert_once(collection: Collection, key: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """The document with this unique key; made with these fields if there was none, else left as it is."""
    document = collection.find_one_and_update(
        key, {"$setOnInsert": fields}, upsert=True, return_document=ReturnDocument.AFTER
    )
    if document is None:
        raise DatabaseError(f"the database returned no document for {key} in {collection.full_name}")
    return document
