"""Files that are replaced in one step: a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


@contextmanager
def replacing_path(path: str | Path) -> Iterator[Path]:
    """A path beside ``path`` at which to make a file, which takes its place when all is written.

    For writers that want a name instead of an open file. The folder is created.

    Raises:
        OSError: it cannot be written; names ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by tempfile, whose files nobody else may read: models are shared.
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of ``path`` when all is written; its folder is created.

    Raises:
        OSError: it cannot be written; names ``path``.
    """
    with replacing_path(path) as temporary, temporary.open("xb") as file:
        yield file


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path`` in one step."""
    with replacing(path) as file:
        file.write(data)
