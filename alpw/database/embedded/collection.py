"""mongomock's client over the durable store: indexed look-ups, atomic updates, reads without copies."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import bson
import mongomock
from bson import Timestamp
from mongomock import aggregate
from mongomock.filtering import filter_applies
from mongomock.helpers import get_value_by_dot, hashdict, patch_datetime_awareness_in_document

from alpw.database.embedded.checks import CHANGING, check_places
from alpw.database.embedded.errors import MongoError, not_implemented
from alpw.database.embedded.matching import verdict
from alpw.database.embedded.shortcuts import counted, distinct, in_order, projected
from alpw.database.embedded.store import CODEC, ServerStore, encoded

Document = dict[str, Any]
# mongomock's type stubs are PyMongo's, without what is overridden here
_Engine: Any = mongomock.Collection
# in place of a projection: the stored document itself, which the reader must not change
UNCOPIED = object()


class Client(mongomock.MongoClient):
    """All databases of a store."""

    def __init__(self, store: ServerStore) -> None:
        super().__init__(_store=store)

    def get_database(self, name: str, *_: Any, **__: Any) -> Database:  # type: ignore[override]
        return Database(self, name, self._store[name])


class Database(mongomock.Database):
    def get_collection(self, name: str, *_: Any, **__: Any) -> Collection:
        self._ensure_valid_collection_name(name)
        return Collection(self, name, _db_store=self._store)


class Collection(_Engine):
    """A collection whose documents are replaced, never changed in place."""

    def select(
        self,
        query: Document,
        projection: Document | None = None,
        sort: Document | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> list[Document]:
        """The documents that match, to be read only."""
        query = patch_datetime_awareness_in_document(query)
        order = list((sort or {}).items())
        matching: Iterable[Document] = self._get_dataset(query, [], UNCOPIED, dict)
        if order:
            ordered = in_order(list(matching), order)
            matching = self._get_dataset(query, order, UNCOPIED, dict) if ordered is None else ordered
        chosen = itertools.islice(matching, skip, skip + limit if limit else None)
        if not projection:
            return list(chosen)
        return [self._copy_only_fields(found, projection, dict) for found in chosen]

    def run_pipeline(self, pipeline: list[Document]) -> list[Document]:
        """The result of an aggregation, to be read only."""
        query: Document = {}
        if pipeline and "$match" in pipeline[0]:
            query, pipeline = pipeline[0]["$match"], pipeline[1:]
        documents = self.select(query)
        if (counts := counted(documents, pipeline)) is not None:
            return counts
        if any(CHANGING & stage.keys() for stage in pipeline):
            documents = [_copy(found) for found in documents]
        return list(aggregate.process_pipeline(documents, self.database, pipeline, None))

    def distinct(self, key: str, filter: Document | None = None, session: Any = None) -> list[Any]:
        found = distinct(self.select(filter or {}), key)
        return super().distinct(key, filter) if found is None else found

    def check_no_arrays(self, paths: Iterable[str]) -> None:
        """Refuse a unique index on these fields where a document has an array in one."""
        for document in self._store.documents:
            if any(isinstance(_value(document, path), list) for path in paths):
                raise not_implemented("an array in a unique index")

    def _iter_documents(self, filter: Document) -> Iterator[Document]:
        candidates = self._store.candidates(filter)
        documents, rest = candidates or (list(self._store.documents), filter)
        if not rest:
            return iter(documents)
        if not documents:
            # A filter that is wrong is an error even then.
            filter_applies(rest, {})
        certain = verdict(rest)
        return (found for found in documents if _applies(certain(found), rest, found))

    def _copy_only_fields(self, doc: Document, fields: Any, container: type) -> Document:
        if fields is UNCOPIED:
            return doc
        shown = projected(doc, fields) if fields else None
        return super()._copy_only_fields(doc, fields, container) if shown is None else shown

    def _insert(self, data: Any, session: Any = None, ordered: bool = True) -> Any:
        """Add a document, checked as far as one that came as BSON has to be."""
        if wrong := [name for name in data if name.startswith("$")]:
            raise MongoError(52, f"The dollar ($) prefixed field '{wrong[0]}' is not allowed at the top")
        if any(isinstance(value, Timestamp) for value in data.values()):
            data = patch_datetime_awareness_in_document(data)
        data.setdefault("_id", bson.ObjectId())
        key = hashdict(data["_id"]) if isinstance(data["_id"], dict) else data["_id"]
        if key in self._store:
            raise mongomock.DuplicateKeyError("E11000 Duplicate Key Error", 11000)
        self._store[key] = data
        try:
            self._ensure_uniques(data)
        except mongomock.DuplicateKeyError:
            del self._store[key]
            raise
        return data["_id"]

    def _update(self, spec: Document, document: Any, upsert: bool = False, multi: bool = False) -> Document:
        """Update one document after the other, each wholly or not at all.

        mongomock applies the operators, to a copy. After an error the documents before it stay updated.
        """
        spec = patch_datetime_awareness_in_document(spec)
        matching = list(itertools.islice(self._iter_documents(spec), None if multi else 1))
        if not matching:
            return super()._update(spec, document, upsert=upsert)
        document = patch_datetime_awareness_in_document(document)
        modified = 0
        for old in matching:
            new = _copy(old)
            if isinstance(document, list):
                self._apply_update_pipeline(new, document, None)
            else:
                check_places(document, new)
                # the query would only serve for positional operators
                self._apply_update_document(new, {}, document, False)
            modified += self._replace(old, new)
        return {"n": len(matching), "nModified": modified, "upserted": None, "updatedExisting": True}

    def _replace(self, old: Document, new: Document) -> bool:
        if new.get("_id") != old["_id"]:
            raise MongoError(66, "the update would modify the immutable field '_id'")
        body = encoded(new)
        if body == bson.encode(old):
            return False
        self._store.put(old["_id"], body)
        try:
            self._ensure_uniques(new)
        except mongomock.DuplicateKeyError:
            self._store[old["_id"]] = old
            raise
        return True

    def _ensure_uniques(self, new_data: Document) -> None:
        """Compare a document that is in the store already with the others."""
        for name, index in self._store.indexes.items():
            partial = index.get("partialFilterExpression") or {}
            if not index.get("unique") or not filter_applies(partial, new_data):
                continue
            key = {path: _value(new_data, path) for path, _ in index["key"]}
            if index.get("sparse") and all(value is _MISSING for value in key.values()):
                continue
            key = {path: None if value is _MISSING else value for path, value in key.items()}
            # mongomock takes the document back after a DuplicateKeyError and after no other
            if any(isinstance(value, list) for value in key.values()):
                refusal = not_implemented("an array in a unique index")
                raise mongomock.DuplicateKeyError(str(refusal), refusal.code)
            query = {"$and": [partial, {path: {"$eq": value} for path, value in key.items()}]}
            if any(other["_id"] != new_data["_id"] for other in self._iter_documents(query)):
                message = f"E11000 duplicate key error collection: {self.full_name} index: {name} key: {key}"
                details = {"keyPattern": dict(index["key"]), "keyValue": key}
                raise mongomock.DuplicateKeyError(message, 11000, details)


_MISSING = object()


def _applies(certain: bool | None, query: Document, document: Document) -> bool:
    return filter_applies(query, document) if certain is None else certain


def _value(document: Document, path: str) -> Any:
    try:
        return get_value_by_dot(document, path, can_generate_array=True)
    except KeyError:
        return _MISSING


def _copy(document: Document) -> Document:
    return bson.decode(bson.encode(document), CODEC)
