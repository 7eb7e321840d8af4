"""Frames of the database as the first data of a campaign: ``query:chemsys=Si tag=good``, ``snapshot:NAME``.

What an entry selects is frozen when the campaign begins, so that it is the same whenever its import is
repeated. Arrays are not copied: a campaign gets documents of its own that refer to those which hold them, as
a branch does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from pymongo.database import Database
from pymongo.errors import BulkWriteError

from alpw.database import reading, snapshots
from alpw.database.campaigns import now
from alpw.database.configurations import COLLECTION, INITIAL, Role, State
from alpw.dataset.dataset import Dataset
from alpw.dataset.language import SNAPSHOT, parse
from alpw.errors import DatabaseError, InputError

CHUNK = 500
"""documents that are read and stored at a time"""

_NOT_LENT = (
    *reading.ARRAYS,
    *("claim", "tags", "removed", "error", "model_error", "attempts"),
    *("wall_time", "cores", "corrections", "changes"),
)
"""what belongs to the frame's own campaign, or costs once only"""

_TAKEN = 11000
"""MongoDB's code for a key that is there already"""


def query_of(entry: str) -> dict[str, Any]:
    """The filter that an entry of ``init_data`` means.

    Args:
        entry: ``query:`` with a query, or ``snapshot:`` with a name.

    Raises:
        InputError: no query.
    """
    kind, text = entry.split(":", 1)
    return {SNAPSHOT: text.strip()} if kind == "snapshot" else parse(text)


def freeze(db: Database, entry: str, elements: Sequence[str]) -> str:
    """Freeze what an entry selects now; returns the hash of the snapshot.

    Args:
        db: the campaigns' database.
        entry: see :func:`query_of`.
        elements: that the campaign's network knows.

    Raises:
        InputError: no labelled frame, no such snapshot, or an element beyond these.
    """
    frames = Dataset(db, query_of(entry)).labelled
    systems = db[COLLECTION].distinct("chemical_system", frames.query)
    if not systems:
        raise InputError(f"{entry!r} selects no labelled frame of database '{db.name}'")
    found = {symbol for system in systems for symbol in system.split("-")}
    if missing := sorted(found - set(elements)):
        text = f"{entry!r} selects frames with {', '.join(missing)}"
        raise InputError(f"{text}, which train.atom_type {list(elements)} lacks")
    return str(snapshots.freeze(db, frames.ids())["hash"])


def lend(db: Database, campaign: str, snapshot: str, role: Role) -> int:
    """Give a campaign the frames of a snapshot, each once, whatever campaigns have it; returns how many.

    Frames that it has already are left as they are, and those that validate elsewhere validate here.

    Args:
        db: the campaigns' database.
        campaign: its name.
        snapshot: hash.
        role: what the frames are for.

    Raises:
        DatabaseError: a frame is gone, or the database refuses a document.
    """
    collection = db[COLLECTION]
    count = 0
    remaining = iter(snapshots.ids(db, snapshot))
    while ids := list(islice(remaining, CHUNK)):
        found = list(reading.by_ids(db, ids, dict.fromkeys(_NOT_LENT, 0)))
        hashes = {"label_hash": {"$in": [document["label_hash"] for document in found]}}
        own = collection.find({"campaign": campaign, **hashes}, {"label_hash": 1})
        known = {document["label_hash"] for document in own}
        fresh = {
            document["label_hash"]: _document(document, campaign, role)
            for document in reversed(found)
            if document["label_hash"] not in known
        }
        count += _insert(db, list(reversed(fresh.values())))
    return count


def _document(document: Mapping[str, Any], campaign: str, role: Role) -> dict[str, Any]:
    origin = {"configuration": document["_id"], "campaign": document["campaign"]}
    held_out = document["role"] == Role.VALIDATION.value
    return {
        **{name: value for name, value in document.items() if name != "_id"},
        "campaign": campaign,
        "key": f"lent:{document['label_hash']}",
        "iteration": INITIAL,
        "role": Role.VALIDATION.value if held_out else role.value,
        "state": State.LABELLED.value,
        "attempts": 0,
        "created": now(),
        "reference": document.get("reference", document["_id"]),
        "reused_from": document.get("reused_from", origin),
    }


def _insert(db: Database, documents: list[dict[str, Any]]) -> int:
    if not documents:
        return 0
    try:
        db[COLLECTION].insert_many(documents, ordered=False)
    except BulkWriteError as error:
        failures = error.details["writeErrors"]
        if other := [failure for failure in failures if failure["code"] != _TAKEN]:
            raise DatabaseError(f"a frame cannot be lent: {other[0]['errmsg']}") from error
        return len(documents) - len(failures)
    return len(documents)
