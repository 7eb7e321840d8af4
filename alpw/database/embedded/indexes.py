"""Index definitions: what they may say, and the entries that a document has in them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from alpw.database.embedded.errors import MongoError, not_implemented
from alpw.database.embedded.query import Predicate, compile_filter
from alpw.database.embedded.values import MISSING, index_keys, is_number, leaves

OPTIONS = {
    "v",
    "key",
    "name",
    "ns",
    "unique",
    "sparse",
    "background",
    "expireAfterSeconds",
    "partialFilterExpression",
}


@dataclass(frozen=True)
class Index:
    """One index of a collection; ``spec`` is the document that the client sent."""

    spec: dict[str, Any]

    @classmethod
    def from_client(cls, spec: Mapping[str, Any]) -> Index:
        """The index for one entry of ``createIndexes``.

        Raises:
            MongoError: for kinds and options that MongoDB or this server does not have.
        """
        if unknown := set(spec) - OPTIONS:
            if unknown & {"collation", "hidden", "wildcardProjection", "weights", "default_language", "bits"}:
                raise not_implemented(f"the index option {sorted(unknown)[0]!r}")
            raise MongoError(197, f"The field {sorted(unknown)[0]!r} is not valid for an index specification")
        if not spec.get("key") or "name" not in spec:
            raise MongoError(9, "An index specification needs 'key' and 'name'")
        for path, kind in spec["key"].items():
            if isinstance(kind, str) or "$**" in path:
                raise not_implemented(f"an index of kind {kind if isinstance(kind, str) else path!r}")
            if isinstance(kind, bool) or not is_number(kind) or kind == 0:
                raise MongoError(67, f"Values in the index key pattern must be 1 or -1: {path}: {kind}")
            if not path or path.startswith("$"):
                raise MongoError(67, f"Index key contains an illegal field name: {path!r}")
        expiry = spec.get("expireAfterSeconds")
        if expiry is not None and (not is_number(expiry) or expiry < 0 or len(spec["key"]) > 1):
            raise MongoError(67, "TTL indexes are single-field indexes with a positive expireAfterSeconds")
        compile_filter(spec.get("partialFilterExpression", {}))
        kept = {name: value for name, value in spec.items() if name not in ("v", "ns", "background")}
        return cls({"v": 2, **kept})

    @property
    def name(self) -> str:
        return self.spec["name"]

    @cached_property
    def paths(self) -> list[str]:
        return list(self.spec["key"])

    @cached_property
    def unique(self) -> bool:
        return bool(self.spec.get("unique"))

    @cached_property
    def expire_after(self) -> float | None:
        return self.spec.get("expireAfterSeconds")

    @cached_property
    def _covers(self) -> Predicate | None:
        partial = self.spec.get("partialFilterExpression")
        return compile_filter(partial) if partial else None

    def same_keys(self, other: Index) -> bool:
        return list(self.spec["key"].items()) == list(other.spec["key"].items())

    def equivalent(self, other: Index) -> bool:
        """Whether creating the other beside this one is the same index again."""

        def options(index: Index) -> tuple:
            spec = index.spec
            flags = bool(spec.get("unique")), bool(spec.get("sparse"))
            return *flags, spec.get("expireAfterSeconds"), spec.get("partialFilterExpression")

        return self.same_keys(other) and options(self) == options(other)

    def entries(self, document: dict) -> set[tuple]:
        """The key tuples of the document; none where a sparse or partial index leaves it out."""
        if self._covers is not None and not self._covers(document):
            return set()
        if self.spec.get("sparse") and all(
            value is MISSING for path in self.paths for value in leaves(document, path.split("."))
        ):
            return set()
        return set(itertools.product(*(index_keys(document, path) for path in self.paths)))
