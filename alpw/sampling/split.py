"""Training or validation, decided by the structure alone.

    u = SHA-256(seed / hash) in [0, 1),     training if u < ratio

A split by position moves frames between the sets whenever one is added, removed or sorted differently, and
a validation frame that has once been trained on measures nothing. Here the others have no say, and a larger
ratio only moves frames from validation to training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from alpw.errors import InputError


def is_training(structure_hash: str, ratio: float, seed: int) -> bool:
    """Whether a structure belongs to the training set.

    Args:
        structure_hash: of the structure, `alpw.structures.hash.structure_hash`; duplicates stay together.
        ratio: expected share of training frames, from 0 (none) to 1 (all). Of n frames the share differs
            from it by about sqrt(ratio (1 - ratio) / n).
        seed: another seed is another, independent split.

    Raises:
        InputError: a ratio outside [0, 1].
    """
    if not 0 <= ratio <= 1:
        raise InputError(f"found {ratio}; allowed: from 0 to 1", key="ratio")
    # As many bits as a float holds: with more, the largest fractions would be rounded up to 1.
    return (int.from_bytes(_digest(structure_hash, seed)[:8], "big") >> 11) / 2**53 < ratio


def shuffled(hashes: Iterable[str], seed: int) -> list[str]:
    """Hashes in a random order that does not depend on the order in which they come.

    Adding or removing one leaves the order of the others as it is. The order is that of u: of the same seed,
    those that `is_training` come first, whatever the ratio.
    """
    return sorted(hashes, key=lambda structure_hash: _digest(structure_hash, seed))


def _digest(structure_hash: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{structure_hash}".encode()).digest()
