"""Text files of any size, packed or not, line by line."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path
from typing import TextIO

from alpw.errors import InputError
from alpw.formats.streaming import open_any


@contextmanager
def open_text(path: str | Path) -> Iterator[TextIO]:
    """A file opened for text, unpacked if its name ends in .gz, .xz, .lzma or .bz2.

    Raises:
        InputError: no such file, or one that cannot be read or unpacked, also while lines are read from it.
    """
    try:
        with io.TextIOWrapper(open_any(path), encoding="utf-8", errors="replace") as file:
            yield file
    except EOFError as error:
        raise InputError("the packed file is cut short", path) from error
    except (OSError, zlib.error, LZMAError) as error:
        raise InputError(f"cannot be read: {error}", path) from error


def read_text(path: str | Path) -> str:
    """The whole text of a file, see :func:`open_text`."""
    with open_text(path) as file:
        return file.read()
