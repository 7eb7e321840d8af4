"""What readers of a run's output leave out: the end of a run that was killed, frames with asterisks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from alpw.errors import InputError

logger = logging.getLogger(__name__)


class Incomplete(InputError):
    """A reader would leave something of this file out."""


_WHOLE_ONLY: ContextVar[bool] = ContextVar("whole files only", default=False)


@contextmanager
def whole_files() -> Iterator[None]:
    """Where readers refuse a file of which they would leave something out: the end of a run that was killed,
    or a frame with asterisks.

    Raises:
        Incomplete: something is missing or damaged; names file and frame.
    """
    before = _WHOLE_ONLY.set(True)
    try:
        yield
    finally:
        _WHOLE_ONLY.reset(before)


def left_out(path: str | Path, reason: object, frame: int | None = None, level: int = logging.INFO) -> None:
    """A frame, or whatever may have followed the last one, is not read.

    Raises:
        Incomplete: within :func:`whole_files`.
    """
    if _WHOLE_ONLY.get():
        raise Incomplete(str(reason), path, None if frame is None else f"frame {frame}")
    where = "" if frame is None else f"frame {frame} is left out: "
    logger.log(level, "%s: %s%s", path, where, reason)


class Omissions:
    """Says which frames of a file are left out: the first few one by one, the rest as a number."""

    SHOWN = 5

    def __init__(self, path: str | Path) -> None:
        self.path, self.count = path, 0

    def add(self, frame: int, reason: object) -> None:
        """Frame number ``frame``, counted from 0, is left out; see :func:`left_out`."""
        self.count += 1
        if self.count <= self.SHOWN:
            left_out(self.path, reason, frame, logging.WARNING)

    def close(self) -> None:
        """The file has been read."""
        if self.count > self.SHOWN:
            logger.warning("%s: %d frames are left out in all", self.path, self.count)
