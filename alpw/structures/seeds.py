"""Seeds of every random draw, derived from the campaign's one seed."""

from __future__ import annotations

import hashlib


def derive_seed(root: int, *purpose: str | int) -> int:
    """A reproducible seed for one purpose, between 1 and 2^31 - 1.

    Hashing makes seeds of different purposes independent, which adding small numbers to the root would not.

    Args:
        root: the campaign's seed.
        purpose: names and indices that identify the draw, such as ``("velocities", 0, "md.000.sys.001")``.
    """
    text = "/".join(str(part) for part in (root, *purpose))
    return 1 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % (2**31 - 1)
