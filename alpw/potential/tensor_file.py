"""Tensors and plain values in torch's format, with a name and a version; read without executing code."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import torch

from alpw.errors import InputError
from alpw.files import replacing

# What torch.load raises, depending on where the data end and on what they are.
UNREADABLE = (RuntimeError, EOFError, OSError, ValueError, KeyError, BadZipFile, pickle.UnpicklingError)


def write_tensors(target: IO[bytes], format: str, version: int, content: dict[str, Any]) -> None:
    """Write ``content`` to an open file."""
    torch.save({"format": format, "version": version, **content}, target)


def read_tensors(
    source: IO[bytes] | Path,
    format: str,
    version: int,
    *,
    device: torch.device | str | None = None,
    file: str | Path | None = None,
) -> dict[str, Any]:
    """What `write_tensors` wrote, from an open file or the path of one; no code in it is executed.

    Raises:
        InputError: truncated or foreign data, or another version of the format; names ``file``.
    """
    what = format.removeprefix("alpw-").replace("-", " ")
    try:
        content = torch.load(source, map_location=device or "cpu", weights_only=True)
    except UNREADABLE as error:
        # Not torch's own words, which advise to read the file in the unsafe way.
        raise InputError(f"not a readable {what}: truncated, or not a file of ours", file=file) from error
    if not isinstance(content, dict) or content.get("format") != format:
        raise InputError(f"a torch file, but not a {what} of format {format!r}", file=file)
    found = content.get("version")
    if found != version:
        raise InputError(
            f"{what} format {found!r}; this code reads {version}. Make the file anew with this ALPW",
            file=file,
            key="version",
        )
    return content


def save_tensors(path: str | Path, format: str, version: int, content: dict[str, Any]) -> None:
    """Write ``content`` to ``path`` in one step, streamed: a covariance of a gigabyte is not held twice.

    Raises:
        OSError: the disk is full, or the folder cannot be written to; names the file.
    """
    try:
        with replacing(path) as file:
            write_tensors(file, format, version, content)
    except RuntimeError as error:
        # torch hides the reason, which nearly always is a full disk.
        raise OSError(
            errno.ENOSPC, "could not be written completely; is the disk full?", str(path)
        ) from error


def load_tensors(
    path: str | Path, format: str, version: int, *, device: torch.device | str | None = None
) -> dict[str, Any]:
    """What `save_tensors` wrote.

    Raises:
        InputError: no such file, or what `read_tensors` raises.
    """
    if not Path(path).is_file():
        what = format.removeprefix("alpw-").replace("-", " ")
        raise InputError(f"there is no such {what} file", file=path)
    return read_tensors(Path(path), format, version, device=device, file=path)
