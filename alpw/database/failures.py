"""Why something has no result, as it stands in documents, and how it gets another chance."""

from __future__ import annotations

from typing import Any

from bson import ObjectId
from pymongo.collection import Collection

from alpw.database.campaigns import now
from alpw.errors import CalculationError


def error_document(error: CalculationError) -> dict[str, Any]:
    """Why something has no result: class, message, code, folder, and all of it in one line."""
    return {
        "kind": error.kind.value,
        "message": error.message,
        "code": error.code,
        "directory": str(error.directory) if error.directory else None,
        "diagnosis": error.diagnosis,
        "at": now(),
    }


def reopen(collection: Collection, query: dict[str, Any], state: str) -> list[ObjectId]:
    """Take documents out of quarantine; returns their ids.

    Args:
        collection: of the documents.
        query: finds those that are quarantined and shall be tried again.
        state: which they get, with all their attempts before them. What went wrong stays in ``errors``.
    """
    found = list(collection.find(query, {"error": 1}))
    for document in found:
        change = {
            "$set": {"state": state, "attempts": 0},
            "$push": {"errors": document["error"]},
            "$unset": {"error": ""},
        }
        collection.update_one({**query, "_id": document["_id"]}, change)
    return [document["_id"] for document in found]
