"""To which part of a divided data set a frame belongs: by a hash, together with its neighbours in time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from alpw.errors import InputError

ORIGINS = ("trajectory", "calculation", "file")
"""Fields of ``source`` that frames of one run have in common."""


def origin(document: Mapping[str, Any]) -> str:
    """What a frame must not be separated from: its trajectory, AIMD or file; else it stands alone."""
    source = document.get("source") or {}
    # The file of a start structure is no run: what was made of it are not neighbours in time.
    names = ORIGINS if "structure" not in source else ORIGINS[:-1]
    found = next((name for name in names if name in source), None)
    return str(document["structure_hash"]) if found is None else f"{found} {source[found]}"


def part_of(
    document: Mapping[str, Any], parts: Mapping[str, float], *, seed: int = 0, by_frame: bool = False
) -> str:
    """The part of a frame; the same today and tomorrow, here and in a copy of the database.

    Args:
        document: of a configuration, with ``source`` and ``structure_hash``.
        parts: name -> share.
        seed: another one gives another division.
        by_frame: whether frames of one trajectory may part.

    Raises:
        InputError: a share that is not positive, or none.
    """
    if not parts or any(not share > 0 for share in parts.values()):
        raise InputError("each part needs a share above 0, as in train=0.8 valid=0.2", key="parts")
    group = str(document["structure_hash"]) if by_frame else origin(document)
    digest = hashlib.sha256(f"{seed} {group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64 * sum(parts.values())
    bounds = zip(parts, accumulate(parts.values()), strict=True)
    return next((name for name, bound in bounds if place < bound), list(parts)[-1])
