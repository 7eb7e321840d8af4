"""Files of tensors and plain values, however large: written in one step, read without executing code."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from alpw.errors import InputError
from alpw.potential.checkpoint import UNREADABLE


def save_tensors(path: str | Path, format: str, version: int, content: dict[str, Any]) -> None:
    """Write ``content`` so that a reader sees the old file or the new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        # Streamed: a weight covariance of a gigabyte must not be held twice.
        with os.fdopen(descriptor, "wb") as file:
            torch.save({"format": format, "version": version, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_tensors(
    path: str | Path, format: str, version: int, *, device: torch.device | str | None = None
) -> dict[str, Any]:
    """What `save_tensors` wrote; no code in it is executed.

    Raises:
        InputError: no such file, truncated or foreign data, another version of the format.
    """
    what = format.removeprefix("alpw-").replace("-", " ")
    if not Path(path).is_file():
        raise InputError(f"there is no such {what} file", file=path)
    try:
        content = torch.load(path, map_location=device or "cpu", weights_only=True)
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"not a readable {what} file ({reason})", file=path) from error
    if not isinstance(content, dict) or content.get("format") != format:
        raise InputError(f"a torch file, but not a {what}", file=path)
    if content.get("version") != version:
        found = content.get("version")
        raise InputError(f"{what} format {found!r}; this code reads {version}", file=path, key="version")
    return content
