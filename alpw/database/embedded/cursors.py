"""Results that are longer than one reply.

Documents are never changed in place, so a cursor is what is left of the list that matched when it was opened.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any

import bson
from bson import Int64
from bson.raw_bson import RawBSONDocument

from alpw.database.embedded.errors import MongoError
from alpw.database.embedded.store import MAX_DOCUMENT_BYTES

MAX_OPEN_CURSORS = 1000


class Cursors:
    """The open cursors: number -> namespace and remaining documents."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[str, deque]] = {}
        self._numbers = itertools.count(1)

    def first(self, namespace: str, documents: list[dict], options: dict[str, Any] | None) -> dict[str, Any]:
        options, rest, number = options or {}, deque(documents), 0
        batch = _batch(rest, options.get("batchSize"))
        if rest and not options.get("singleBatch"):
            number = next(self._numbers)
            self._open[number] = namespace, rest
            if len(self._open) > MAX_OPEN_CURSORS:
                del self._open[min(self._open)]
        return {"cursor": {"firstBatch": batch, "id": Int64(number), "ns": namespace}}

    def next(self, namespace: str, number: int, size: int | None) -> dict[str, Any]:
        found, rest = self._open.get(number, ("", deque()))
        if found != namespace:
            raise MongoError(43, f"cursor id {number} not found")
        batch = _batch(rest, size)
        if not rest:
            del self._open[number]
        return {"cursor": {"nextBatch": batch, "id": Int64(number if rest else 0), "ns": namespace}}

    def kill(self, numbers: list[int]) -> dict[str, Any]:
        return {"cursorsKilled": [number for number in numbers if self._open.pop(number, None)]}


def _batch(documents: deque, size: int | None) -> list[RawBSONDocument]:
    """Take the next documents: at most ``size``, and no more than 16 MiB beyond the first."""
    taken: list[RawBSONDocument] = []
    total = 0
    while documents and (size is None or len(taken) < size):
        body = bson.encode(documents[0])
        total += len(body)
        if taken and total > MAX_DOCUMENT_BYTES:
            break
        taken.append(RawBSONDocument(body))
        documents.popleft()
    return taken
