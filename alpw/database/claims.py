"""The right to add a workflow to the LaunchPad: one process at a time has it, and it survives that process.

Documents of ``iterations`` and ``preparations`` carry it in ``workflow``: nothing yet, ``adding`` by whom, or
``added`` when.
"""

from __future__ import annotations

from typing import Any

from pymongo.collection import Collection

from alpw.database.campaigns import now
from alpw.database.owner import is_dead


def claim(collection: Collection, key: dict[str, Any], owner: str) -> bool:
    """Become the one process that adds the workflow of the document with this unique key."""
    change = {"$set": {"workflow": {"adding": owner}}}
    return collection.find_one_and_update({**key, "workflow": None}, change) is not None


def confirm(collection: Collection, key: dict[str, Any]) -> None:
    """Record that the workflow is in the LaunchPad."""
    collection.update_one(key, {"$set": {"workflow": {"added": now()}}})


def release_dead(collection: Collection, campaign: str) -> None:
    """Free the claims of owners that died before they could confirm."""
    held = {"campaign": campaign, "workflow.adding": {"$exists": True}}
    for document in collection.find(held, {"workflow": 1}):
        owner = document["workflow"]["adding"]
        if is_dead(owner):
            query = {"_id": document["_id"], "workflow.adding": owner}
            collection.update_one(query, {"$set": {"workflow": None}})
