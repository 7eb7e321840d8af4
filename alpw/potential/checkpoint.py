"""Models as bytes and as files: plain tensors and plain Python types, read without executing code."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from alpw.errors import InputError

FORMAT, VERSION = "alpw-deep-potential", 2

# What torch.load raises, depending on where the data end and on what they are.
UNREADABLE = (RuntimeError, EOFError, OSError, ValueError, KeyError, BadZipFile, pickle.UnpicklingError)


def pack(
    config: dict[str, Any], state: dict[str, torch.Tensor], tables: dict[str, Any] | None = None
) -> bytes:
    """Serialise a model's settings and tensors, and how its embedding nets are tabulated if they are."""
    content = {"format": FORMAT, "version": VERSION, "config": config, "state": state, "tables": tables}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def unpack(
    data: bytes, device: torch.device | str | None = None, file: str | Path | None = None
) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, Any] | None]:
    """The settings and tensors in ``data``, and how the embedding nets are tabulated if they are.

    Raises:
        InputError: truncated or foreign data, or another format version; names ``file``.
    """
    try:
        content = torch.load(io.BytesIO(data), map_location=device or "cpu", weights_only=True)
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"not a readable model ({len(data)} bytes; {reason})", file=file) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"a torch file, but not a model of format {FORMAT!r}", file=file)
    found = content.get("version")
    if found != VERSION:
        raise InputError(f"model format {found!r}; this code reads {VERSION}", file=file, key="version")
    return content["config"], content["state"], content.get("tables")


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old file or the new one, never a part."""
    path = Path(path)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
