"""NumPy files that grow while they are written, and that are read in pieces."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from alpw.errors import InputError

_HEADER_BYTES = 128


def open_npy(path: Path, width: int | None = None) -> NDArray[Any]:
    """An array of numbers, mapped from its file: rows are read when they are used.

    Args:
        path: the file.
        width: number of columns that it must have; None for any shape.

    Raises:
        InputError: no such file, cut short, not numbers, or another shape.
    """
    if not path.is_file():
        raise InputError("no such file; the data set is incomplete", path)
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"not an array of numbers: {error}", path) from error
    return checked(array, path, width)


def checked(array: Any, path: Path, width: int | None = None) -> Any:
    """The same array, mapped or not, if it holds numbers in rows of that width.

    Raises:
        InputError: not numbers, or another shape.
    """
    if array.dtype.kind not in "fiub":
        raise InputError(f"not an array of numbers: it holds {array.dtype}", path)
    if width is None:
        return array
    if array.ndim == 1 and width == 1:
        array = array[:][:, None]
    if array.ndim != 2 or array.shape[1] != width:
        raise InputError(f"has the shape {array.shape}; (frames, {width}) is needed", path)
    return array


def finite(rows: NDArray[Any], path: Path, first: int = 0) -> NDArray[np.float64]:
    """Rows as floating-point numbers; ``first`` is the frame of row 0, for the message.

    Raises:
        InputError: a number that is not finite.
    """
    values = np.array(rows, dtype=np.float64)
    if bad := np.flatnonzero(~np.isfinite(values).all(axis=1)).tolist():
        raise InputError("holds a number that is not finite", path, f"frame {first + bad[0]}")
    return values


class GrowingFolders:
    """Folders of ``.npy`` files whose rows are appended, made aside and put in place when all is written.

    As a context manager it removes what was not put in place: a conversion that fails leaves no trace.

    Args:
        directory: below which the folders will lie; files are made in a hidden folder there.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._aside = directory / f".writing.{uuid4().hex}"
        self._rows: dict[tuple[str, str], int] = {}
        self._kinds: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = {}

    def append(self, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add rows to the files ``<name>.npy`` of one folder; a name may hold a subfolder."""
        for name, array in arrays.items():
            array = np.ascontiguousarray(array)
            path = self._aside / key / f"{name}.npy"
            kind = (array.dtype.str, array.shape[1:])
            if self._kinds.setdefault((key, name), kind) != kind:
                raise ValueError(f"{path}: {kind} after {self._kinds[key, name]}")
            if (key, name) not in self._rows:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b" " * _HEADER_BYTES)
            with path.open("ab") as file:
                file.write(array.data)
            self._rows[key, name] = self._rows.get((key, name), 0) + len(array)

    def put(self, key: str, folder: Path) -> list[Path]:
        """Finish the files of a key and move them to ``folder``, replacing those of the same name."""
        placed = []
        for (owner, name), n_rows in self._rows.items():
            if owner != key:
                continue
            path = self._aside / key / f"{name}.npy"
            descr, tail = self._kinds[key, name]
            with path.open("r+b") as file:
                file.write(_header(descr, (n_rows, *tail)))
            target = folder / f"{name}.npy"
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            placed.append(target)
        return placed

    def __enter__(self) -> GrowingFolders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._aside, ignore_errors=True)


def _header(descr: str, shape: tuple[int, ...]) -> bytes:
    """Version 1.0 of NumPy's format, padded to a size that does not depend on the number of rows."""
    text = repr({"descr": descr, "fortran_order": False, "shape": shape})
    size = _HEADER_BYTES - 10
    return np.lib.format.magic(1, 0) + struct.pack("<H", size) + text.ljust(size - 1).encode() + b"\n"
