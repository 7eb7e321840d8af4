"""Cursors: results that are longer than one reply.

Documents are never changed in place, so a cursor is a plain list of what matched when it was opened.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from bson import Int64

from alpw.database.embedded.errors import MongoError
from alpw.database.embedded.wire import raw

IDLE_SECONDS = 600.0
MAX_BATCH_BYTES = 16 * 1024 * 1024


@dataclass
class Cursor:
    namespace: str
    documents: deque[dict]
    last_used: float = field(default_factory=time.monotonic)

    def batch(self, size: int | None) -> list:
        """The next documents: at most ``size``, and no more than 16 MiB beyond the first."""
        taken: list = []
        total = 0
        while self.documents and (size is None or len(taken) < size):
            document = raw(self.documents[0])
            total += len(document.raw)
            if taken and total > MAX_BATCH_BYTES:
                break
            taken.append(document)
            self.documents.popleft()
        return taken


class Cursors:
    """The open cursors of a server."""

    def __init__(self) -> None:
        self._open: dict[int, Cursor] = {}
        self._numbers = itertools.count(1)

    def first_reply(
        self, namespace: str, documents: list[dict], batch_size: int | None = None, single_batch: bool = False
    ) -> dict[str, Any]:
        """Reply of a command that opens a cursor over the documents."""
        cursor = Cursor(namespace, deque(documents))
        batch = cursor.batch(batch_size)
        number = 0
        if cursor.documents and not single_batch:
            number = next(self._numbers)
            self._open[number] = cursor
        return {"cursor": {"firstBatch": batch, "id": Int64(number), "ns": namespace}, "ok": 1.0}

    def next_reply(self, number: int, namespace: str, batch_size: int | None) -> dict[str, Any]:
        """Reply of ``getMore``.

        Raises:
            MongoError: CursorNotFound.
        """
        cursor = self._open.get(number)
        if cursor is None or cursor.namespace != namespace:
            raise MongoError(43, f"cursor id {number} not found")
        cursor.last_used = time.monotonic()
        batch = cursor.batch(batch_size)
        if not cursor.documents:
            del self._open[number]
            number = 0
        return {"cursor": {"nextBatch": batch, "id": Int64(number), "ns": namespace}, "ok": 1.0}

    def kill(self, numbers: list[int]) -> tuple[list, list]:
        """Close cursors: those that were open, and those that were not."""
        killed = [number for number in numbers if self._open.pop(number, None) is not None]
        return killed, [number for number in numbers if number not in killed]

    def drop_idle(self) -> None:
        limit = time.monotonic() - IDLE_SECONDS
        for number in [number for number, cursor in self._open.items() if cursor.last_used < limit]:
            del self._open[number]

    def __len__(self) -> int:
        return len(self._open)
