"""One collection in memory: documents that are never changed in place, their indexes, and the writes.

Every write makes a new document and hands it to `put`, which checks it, stores it and records the effect
for the journal. A statement that fails half-way has therefore changed nothing of its document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import bson
from bson import ObjectId, Regex

from alpw.database.embedded.errors import MongoError
from alpw.database.embedded.indexes import Index
from alpw.database.embedded.query import compile_filter, equalities, is_operator_document, sorted_documents
from alpw.database.embedded.updates import apply_update, flat_conditions, put_at, validate_update
from alpw.database.embedded.values import copied, index_keys, order_key

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024


class Journal(Protocol):
    """Where a collection records its effects; `alpw.database.embedded.store.Store` is one."""

    def next_sequence(self) -> int: ...
    def record_put(self, collection: int, sequence: int, body: bytes) -> None: ...
    def record_removal(self, sequence: int) -> None: ...
    def record_index(self, collection: int, index: Index) -> None: ...
    def record_index_drop(self, collection: int, name: str) -> None: ...


class Collection:
    """Documents by sequence number, which is their natural order and their key in the journal.

    Args:
        number: of the collection in the journal.
        namespace: ``database.collection``, for messages.
        journal: records effects.
    """

    def __init__(self, number: int, namespace: str, journal: Journal) -> None:
        self.number, self.namespace, self.journal = number, namespace, journal
        self.documents: dict[int, dict] = {}
        self.indexes: dict[str, Index] = {}
        self._sequence_of: dict[tuple, int] = {}
        self._owners: dict[str, dict[tuple, int]] = {}
        self._holders: dict[str, dict[tuple, set[int]]] = {}

    # reading

    def find(self, query: Mapping | None = None) -> Iterator[dict]:
        """The stored documents that match, in natural order; the caller must not change them."""
        query = query or {}
        holds = compile_filter(query)
        return (document for _, document in self._candidates(query) if holds(document))

    def _matching(self, query: Mapping, sort: Mapping | None = None) -> list[tuple[int, dict]]:
        holds = compile_filter(query)
        found = [(sequence, document) for sequence, document in self._candidates(query) if holds(document)]
        if sort:
            sequences = {id(document): sequence for sequence, document in found}
            ordered = sorted_documents((document for _, document in found), sort)
            found = [(sequences[id(document)], document) for document in ordered]
        return found

    def _candidates(self, query: Mapping) -> list[tuple[int, dict]]:
        """A superset of the matching documents, narrowed by the most selective indexed equality."""
        narrowest: set[int] | None = None
        for path, values in equalities(query).items():
            if path == "_id":
                sequences = {
                    self._sequence_of[key] for v in values if (key := order_key(v)) in self._sequence_of
                }
            elif path in self._holders:
                holders = self._holders[path]
                sequences = set().union(*(holders.get(order_key(value), ()) for value in values))
            else:
                continue
            if narrowest is None or len(sequences) < len(narrowest):
                narrowest = sequences
        if narrowest is None:
            return list(self.documents.items())
        return [(sequence, self.documents[sequence]) for sequence in sorted(narrowest)]

    # writing

    def put(self, sequence: int, document: dict) -> None:
        """Store a new or changed document.

        Raises:
            MongoError: DuplicateKey, BSONObjectTooLarge; nothing has changed then.
        """
        body = encoded(document)
        old = self.documents.get(sequence)
        identifier = order_key(document["_id"])
        if self._sequence_of.get(identifier, sequence) != sequence:
            raise self._duplicate("_id_", ["_id"], document)
        new_entries = {name: self.indexes[name].entries(document) for name in self._owners}
        for name, entries in new_entries.items():
            owners = self._owners[name]
            if any(owners.get(entry, sequence) != sequence for entry in entries):
                raise self._duplicate(name, self.indexes[name].paths, document)
        if old is not None:
            self._forget(sequence, old)
        self._remember(sequence, document, new_entries)
        self.journal.record_put(self.number, sequence, body)

    def remove(self, sequence: int) -> None:
        self._forget(sequence, self.documents[sequence])
        del self.documents[sequence]
        self.journal.record_removal(sequence)

    def load(self, sequence: int, document: dict) -> None:
        """Put back a document that the journal holds."""
        entries = {name: self.indexes[name].entries(document) for name in self._owners}
        self._remember(sequence, document, entries)

    def _remember(self, sequence: int, document: dict, entries: dict[str, set[tuple]]) -> None:
        self.documents[sequence] = document
        self._sequence_of[order_key(document["_id"])] = sequence
        for name, keys in entries.items():
            self._owners[name].update(dict.fromkeys(keys, sequence))
        for path, holders in self._holders.items():
            for key in index_keys(document, path):
                holders.setdefault(key, set()).add(sequence)

    def _forget(self, sequence: int, document: dict) -> None:
        self._sequence_of.pop(order_key(document["_id"]), None)
        for name, owners in self._owners.items():
            for entry in self.indexes[name].entries(document):
                owners.pop(entry, None)
        for path, holders in self._holders.items():
            for key in index_keys(document, path):
                holders[key].discard(sequence)
                if not holders[key]:
                    del holders[key]

    def _duplicate(self, name: str, paths: list[str], document: dict) -> MongoError:
        values = {path: _value_at(document, path) for path in paths}
        shown = ", ".join(f"{path}: {value!r:.80}" for path, value in values.items())
        return MongoError(
            11000,
            f"E11000 duplicate key error collection: {self.namespace} index: {name} dup key: {{ {shown} }}",
            keyPattern=dict(self.indexes[name].spec["key"]) if name in self.indexes else {"_id": 1},
            keyValue=values,
        )

    def insert(self, document: dict) -> Any:
        """Insert one document and return its ``_id``."""
        identifier = document["_id"] if "_id" in document else ObjectId()
        # MongoDB stores _id first
        document = {"_id": identifier, **{name: value for name, value in document.items() if name != "_id"}}
        check_stored_fields(document)
        self.put(self.journal.next_sequence(), document)
        return identifier

    def update(
        self,
        query: Mapping,
        update: dict | list,
        *,
        multi: bool = False,
        upsert: bool = False,
        sort: Mapping | None = None,
        array_filters: list[dict] | None = None,
        pipeline: Callable[[dict, list], dict],
    ) -> UpdateOutcome:
        """Change the matching documents: all of them (``multi``), or the first in the order of ``sort``.

        Args:
            query: which documents.
            update: operators, a replacement, or a pipeline (a list of stages).
            multi: change all of them.
            upsert: insert a document where none matches.
            sort: which one comes first.
            array_filters: conditions for ``$[name]`` in paths.
            pipeline: evaluates an aggregation pipeline on one document.
        """
        change = self._change(query, update, array_filters, multi, pipeline)
        outcome = UpdateOutcome()
        found = self._matching(query, sort)
        for sequence, old in found if multi else found[:1]:
            outcome.matched += 1
            new = change(old, False)
            if order_key(new.get("_id")) != order_key(old["_id"]) or "_id" not in new:
                raise MongoError(
                    66, "Performing an update on the path '_id' would modify the immutable field '_id'"
                )
            outcome.before, outcome.after = old, new
            if encoded(new) != bson.encode(old):
                self.put(sequence, new)
                outcome.modified += 1
        if not found and upsert:
            seed = {} if _is_replacement(update) else _upsert_seed(query)
            if "_id" in (conditions := _upsert_seed(query)):
                seed = {"_id": conditions["_id"], **seed}
            document = change(seed, True)
            outcome.upserted_id = self.insert(document)
            outcome.upserted = True
            outcome.after = {"_id": outcome.upserted_id, **document}
        return outcome

    def _change(
        self,
        query: Mapping,
        update: dict | list,
        array_filters: list[dict] | None,
        multi: bool,
        pipeline: Callable[[dict, list], dict],
    ) -> Callable[[dict, bool], dict]:
        """The function from the old document to the new one."""
        if isinstance(update, list):
            return lambda old, inserting: pipeline(old, update)
        if not isinstance(update, dict):
            raise MongoError(9, "Update argument must be either an object or an array")
        if _is_replacement(update):
            if multi:
                raise MongoError(9, "multi update is not supported for replacement-style update")
            check_stored_fields(update)
            return lambda old, inserting: ({"_id": old["_id"]} if "_id" in old else {}) | update
        validate_update(update)

        def change(old: dict, inserting: bool) -> dict:
            new = copied(old)
            apply_update(new, update, query=query, array_filters=array_filters, inserting=inserting)
            return new

        return change

    def delete(self, query: Mapping, *, limit: int = 0, sort: Mapping | None = None) -> list[dict]:
        """Remove the first ``limit`` matching documents (0: all) and return them."""
        found = self._matching(query, sort)
        for sequence, _ in found[:limit] if limit else found:
            self.remove(sequence)
        return [document for _, document in (found[:limit] if limit else found)]

    # indexes

    def create_index(self, index: Index, *, record: bool = True) -> bool:
        """Add an index; False where it is there already.

        Raises:
            MongoError: conflicting definition, or documents that violate a unique index.
        """
        if list(index.spec["key"].items()) == [("_id", 1)]:
            return False
        for other in self.indexes.values():
            if other.name == index.name and not other.same_keys(index):
                raise MongoError(
                    86, f"An existing index has the same name as the requested index: {index.name}"
                )
            if other.same_keys(index) or other.name == index.name:
                if other.name == index.name and other.equivalent(index):
                    return False
                raise MongoError(85, f"Index already exists with a different name or options: {other.name}")
        if index.unique:
            owners: dict[tuple, int] = {}
            for sequence, document in self.documents.items():
                for entry in index.entries(document):
                    if owners.setdefault(entry, sequence) != sequence:
                        raise self._duplicate(index.name, index.paths, document)
            self._owners[index.name] = owners
        self.indexes[index.name] = index
        for path in index.paths:
            if path not in self._holders and path != "_id":
                holders = self._holders[path] = {}
                for sequence, document in self.documents.items():
                    for key in index_keys(document, path):
                        holders.setdefault(key, set()).add(sequence)
        if record:
            self.journal.record_index(self.number, index)
        return True

    def drop_index(self, name: str) -> None:
        if name == "_id_":
            raise MongoError(72, "cannot drop _id index")
        if name not in self.indexes:
            raise MongoError(27, f"index not found with name [{name}]")
        del self.indexes[name]
        self._owners.pop(name, None)
        used = {path for index in self.indexes.values() for path in index.paths}
        self._holders = {path: holders for path, holders in self._holders.items() if path in used}
        self.journal.record_index_drop(self.number, name)


class UpdateOutcome:
    """What an update did; ``before`` and ``after`` are the last document that it touched."""

    def __init__(self) -> None:
        self.matched = self.modified = 0
        self.upserted = False
        self.upserted_id: Any = None
        self.before: dict | None = None
        self.after: dict | None = None


def encoded(document: dict) -> bytes:
    """The BSON of a document that is to be stored.

    Raises:
        MongoError: where it is over 16 MiB or holds what BSON cannot.
    """
    try:
        body = bson.encode(document)
    except (bson.errors.BSONError, OverflowError, TypeError) as error:
        raise MongoError(2, str(error)) from error
    if len(body) > MAX_DOCUMENT_BYTES:
        raise MongoError(
            10334, f"BSONObj size: {len(body)} is invalid. Size must be between 0 and {MAX_DOCUMENT_BYTES}"
        )
    return body


def check_stored_fields(document: Mapping) -> None:
    """Refuse the field names and identifiers that MongoDB does not store."""
    for name in document:
        if name.startswith("$"):
            raise MongoError(52, f"The dollar ($) prefixed field '{name}' is not allowed at the top level")
    identifier = document.get("_id")
    if isinstance(identifier, (list, Regex)):
        kind = "array" if isinstance(identifier, list) else "regex"
        raise MongoError(53, f"The '_id' value cannot be of type {kind}")


def _is_replacement(update: dict | list) -> bool:
    return isinstance(update, dict) and not next(iter(update), "").startswith("$")


def _upsert_seed(query: Mapping) -> dict:
    """The document that an upsert starts from: the equalities of its query."""
    seed: dict = {}
    for path, condition in flat_conditions(query):
        if is_operator_document(condition):
            if "$eq" not in condition:
                continue
            condition = condition["$eq"]
        if not isinstance(condition, Regex):
            put_at(seed, path.split("."), copied(condition))
    return seed


def _value_at(document: dict, path: str) -> Any:
    value: Any = document
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
