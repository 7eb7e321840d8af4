"""``snapshots``: sets of labelled configurations that change no more; ``snapshot_names``: names for some.

A snapshot holds ids, and two hashes: its own ``_id`` is of the ids with what they hold, so that freezing the
same set twice gives the same snapshot; ``content_hash`` is of what they hold alone, so that the same data
have the same hash in any database. Models and iterations name the snapshot that they were trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from bson import Binary, ObjectId
from pymongo.database import Database

from alpw.database.campaigns import now
from alpw.database.reading import by_ids
from alpw.database.upsert import insert_once
from alpw.errors import DatabaseError, InputError

COLLECTION, NAMES = "snapshots", "snapshot_names"

ID_BYTES = 12
MOST = 700_000
"""ids that fit into one query of MongoDB, which may have 16 MB"""


def freeze(db: Database, configurations: Iterable[ObjectId]) -> dict[str, Any]:
    """Keep a set of labelled configurations; the same set gives the same snapshot, whatever its order.

    Args:
        db: the campaigns' database.
        configurations: their ids.

    Returns:
        ``hash``, the id of the snapshot; ``content_hash``; and ``n``, how many frames it has.

    Raises:
        DatabaseError: one is gone or has no label.
        InputError: more than 700,000.
    """
    wanted = sorted(set(configurations))
    if len(wanted) > MOST:
        raise InputError(f"a snapshot holds up to {MOST:,} frames, not {len(wanted):,}; take several")
    own, contents = hashlib.sha256(), []
    for document in by_ids(db, wanted, {"label_hash": 1}):
        if "label_hash" not in document:
            raise DatabaseError(f"configuration {document['_id']} has no label; a snapshot is of labels")
        own.update(f"{document['_id']}:{document['label_hash']}\n".encode())
        contents.append(document["label_hash"])
    content = hashlib.sha256("\n".join(sorted(contents)).encode()).hexdigest()
    facts = {"content_hash": content, "n": len(wanted)}
    ids = Binary(b"".join(identity.binary for identity in wanted))
    insert_once(db[COLLECTION], {"_id": own.hexdigest()}, {**facts, "ids": ids, "created": now()})
    return {"hash": own.hexdigest(), **facts}


def ids(db: Database, snapshot: str) -> list[ObjectId]:
    """The ids of a snapshot, ascending, which is the order of their making.

    Raises:
        DatabaseError: there is no such snapshot.
    """
    document = db[COLLECTION].find_one({"_id": snapshot}, {"ids": 1})
    if document is None:
        raise DatabaseError(f"no snapshot {snapshot[:12]} in database '{db.name}'")
    return ids_of(document)


def ids_of(document: Mapping[str, Any]) -> list[ObjectId]:
    """The same of a snapshot's document."""
    data = document["ids"]
    return [ObjectId(bytes(data[start : start + ID_BYTES])) for start in range(0, len(data), ID_BYTES)]


def name(db: Database, title: str, snapshot: str, query: str) -> None:
    """Give a snapshot a name, for good.

    Args:
        db: the campaigns' database.
        title: the name.
        snapshot: its id.
        query: what it was made from, for the reader.

    Raises:
        InputError: the name is that of another snapshot.
    """
    document = insert_once(
        db[NAMES], {"_id": title}, {"snapshot": snapshot, "query": query, "created": now()}
    )
    if document["snapshot"] != snapshot:
        made = f"{document['created']:%Y-%m-%d}"
        raise InputError(f"snapshot {title!r} of {made} is another; choose a new name")


def find(db: Database, title: str) -> dict[str, Any]:
    """A named snapshot: ``snapshot``, ``query``, ``created``.

    Raises:
        InputError: there is none; names those that there are.
    """
    document = db[NAMES].find_one({"_id": title})
    if document is None:
        known = ", ".join(sorted(db[NAMES].distinct("_id"))) or "none; `alpw dataset snapshot` makes one"
        raise InputError(f"no snapshot {title!r} in database '{db.name}' (known: {known})")
    return document


def named(db: Database) -> list[dict[str, Any]]:
    """All named snapshots, oldest first, with ``n``, ``content_hash``."""
    found = []
    for document in db[NAMES].find().sort("created", 1):
        facts = db[COLLECTION].find_one({"_id": document["snapshot"]}, {"n": 1, "content_hash": 1}) or {}
        found.append(document | {key: facts.get(key) for key in ("n", "content_hash")})
    return found
