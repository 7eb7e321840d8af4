"""Structures and labels as they were stored, by the ids of their configurations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ase import Atoms
from bson import ObjectId
from pymongo.database import Database

from alpw.database.configurations import COLLECTION
from alpw.database.documents import atoms_of, frame_of
from alpw.errors import DatabaseError
from alpw.structures.frame import LabelledFrame

ARRAYS = ("structure", "forces", "virial")
"""What a configuration with a ``reference`` leaves to the document of that ``_id``, another campaign's."""

CHUNK = 500
"""documents that are fetched at a time"""


def frames(db: Database, configurations: Iterable[ObjectId]) -> Iterator[LabelledFrame]:
    """Labelled frames in the order of the ids; raises :class:`DatabaseError` when one is gone."""
    return (frame_of(document) for document in by_ids(db, configurations))


def by_ids(
    db: Database, configurations: Iterable[ObjectId], fields: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Documents in the order of the ids, a few hundred in memory at a time.

    Args:
        db: the campaigns' database.
        configurations: ids.
        fields: projection; without one, a document that has a ``reference`` comes with the arrays of that.

    Raises:
        DatabaseError: one is gone.
    """
    remaining = iter(configurations)
    while wanted := list(islice(remaining, CHUNK)):
        found = {
            document["_id"]: document for document in db[COLLECTION].find({"_id": {"$in": wanted}}, fields)
        }
        if missing := [str(identity) for identity in wanted if identity not in found]:
            raise DatabaseError(f"configuration {missing[0]} is not in '{db.name}.{COLLECTION}'")
        documents = [found[identity] for identity in wanted]
        yield from documents if fields else with_arrays(db, documents)


def with_arrays(db: Database, documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same documents, those that have a ``reference`` with the arrays that it names.

    Raises:
        DatabaseError: what is named is gone.
    """
    shared = [document["reference"] for document in documents if "reference" in document]
    if not shared:
        return list(documents)
    arrays = db[COLLECTION].find({"_id": {"$in": shared}}, dict.fromkeys(ARRAYS, 1))
    found = {document["_id"]: document for document in arrays}
    for document in documents:
        if "reference" in document and document["reference"] not in found:
            gone = (
                f"configuration {document['_id']} shares the arrays of {document['reference']}, which is gone"
            )
            raise DatabaseError(f"{gone}; `alpw dataset health` lists all such, and how to remove them")
    return [
        document | found.get(document.get("reference"), {}) | {"_id": document["_id"]}
        for document in documents
    ]


def structure(db: Database, configuration: ObjectId) -> Atoms:
    """The structure of a configuration, labelled or not; raises :class:`DatabaseError` when it is gone."""
    (document,) = by_ids(db, [configuration])
    return atoms_of(document)


def outlines(db: Database, configurations: Iterable[ObjectId]) -> list[dict[str, Any]]:
    """Role, hash, size and uncertainty of configurations, without arrays, in the order of the ids."""
    wanted = list(configurations)
    fields = {"role": 1, "structure_hash": 1, "n_atoms": 1, "source.uncertainty": 1}
    found = {document["_id"]: document for document in db[COLLECTION].find({"_id": {"$in": wanted}}, fields)}
    return [{"source": {}, **found[configuration]} for configuration in wanted]
