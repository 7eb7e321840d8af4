"""Work of a campaign that was set aside: nothing is deleted, and a label is found again.

A document that is set aside keeps its ``_id`` and everything in it; only its ``campaign`` becomes
``NAME@REVISION``, which is no name that a campaign can have. So every query for the campaign passes it by,
unique keys are free again, ids in training sets still lead to their frames, and the revision as a whole can
be looked at by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from ase import Atoms
from pymongo.collection import Collection
from pymongo.database import Database

from alpw.database.documents import atoms_of


def archive_name(campaign: str, revision: int) -> str:
    """What the documents of a revision that was set aside have for ``campaign``."""
    return f"{campaign}@{revision}"


def set_aside(collection: Collection, query: dict[str, Any], archive: str) -> int:
    """Move a campaign's documents to an archive; returns how many. What is there already stays there."""
    return int(collection.update_many(query, {"$set": {"campaign": archive}}).modified_count)


def copy_aside(collection: Collection, document: dict[str, Any], key: Iterable[str], archive: str) -> None:
    """Keep a document as it is in an archive, once; for one that is changed in its place."""
    kept = {name: value for name, value in document.items() if name != "_id"}
    place = {"campaign": archive, **{name: document[name] for name in key}}
    fields = {name: value for name, value in kept.items() if name not in place}
    collection.update_one(place, {"$setOnInsert": fields}, upsert=True)


def recall(
    db: Database, collection: str, campaign: str, key: str, wanted: dict[str, Any], atoms: Atoms
) -> None:
    """Bring back a label that was set aside, where the campaign chooses the same structure again.

    Args:
        db: the campaign's database.
        collection: of the configurations.
        campaign: its name.
        key: of the configuration that is about to be proposed.
        wanted: fields that it shall have, ``structure_hash`` among them.
        atoms: the structure; the label has to be one of the same atoms in the same order.
    """
    labels = db[collection]
    if labels.find_one({"campaign": campaign, "key": key}, {"_id": 1}):
        return
    archives = {"$regex": f"^{re.escape(campaign)}@"}
    query = {"structure_hash": wanted["structure_hash"], "campaign": archives, "state": "labelled"}
    for document in labels.find(query):
        stored = atoms_of(document)
        same = np.array_equal(stored.numbers, atoms.numbers)
        if same and np.allclose(stored.positions, atoms.positions, rtol=0, atol=1e-6):
            own = {"_id": document["_id"], "campaign": document["campaign"]}
            change = {"$set": {**wanted, "campaign": campaign, "key": key}}
            # How far the model was from it that chose it then; the one that chooses it now is another.
            labels.update_one(own, {**change, "$unset": {"model_error": ""}})
            return
