"""Models as bytes, for files and databases."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from alpw.potential.tensor_file import read_tensors, write_tensors

FORMAT, VERSION = "alpw-deep-potential", 2


def pack(
    config: dict[str, Any], state: dict[str, torch.Tensor], tables: dict[str, Any] | None = None
) -> bytes:
    """Serialise a model's settings and tensors, and how its embedding nets are tabulated if they are."""
    buffer = io.BytesIO()
    write_tensors(buffer, FORMAT, VERSION, {"config": config, "state": state, "tables": tables})
    return buffer.getvalue()


def unpack(
    data: bytes, device: torch.device | str | None = None, file: str | Path | None = None
) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, Any] | None]:
    """The settings and tensors in ``data``, and how the embedding nets are tabulated if they are.

    Raises:
        InputError: truncated or foreign data, or another format version; names ``file``.
    """
    content = read_tensors(io.BytesIO(data), FORMAT, VERSION, device=device, file=file)
    return content["config"], content["state"], content.get("tables")
