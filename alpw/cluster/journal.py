"""What the supervision of a campaign did: a line for each act, in ``<work_dir>/queue/launch.log``."""

from __future__ import annotations

import logging
from collections import Counter
from logging.handlers import RotatingFileHandler
from pathlib import Path

#: Size in bytes at which the file is put aside, and how many such are kept: some 50,000 lines in all.
SIZE, KEPT = 1_000_000, 4


class Journal:
    """The log of one campaign, and how much of each was done since it was opened.

    Attributes:
        file: the newest log.
        counts: what was done -> how often.
    """

    def __init__(self, directory: Path) -> None:
        self.file = directory / "queue" / "launch.log"
        self.counts: Counter[str] = Counter()
        self._handler: RotatingFileHandler | None = None

    def note(self, what: str, text: str, count: int = 1) -> None:
        """Write a line, and count what was done."""
        self.counts[what] += count
        if self._handler is None:
            # Not before the first line: whoever only watches writes nothing.
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._handler = RotatingFileHandler(self.file, maxBytes=SIZE, backupCount=KEPT, encoding="utf-8")
            self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        line = " ".join(f"{what}: {text}".splitlines())
        record = logging.LogRecord(__name__, logging.INFO, "", 0, line, None, None)
        self._handler.handle(record)

    def close(self) -> None:
        """Let go of the file."""
        if self._handler is not None:
            self._handler.close()
            self._handler = None
