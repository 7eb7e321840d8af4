"""Which frames make a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def epoch_batches(
    sizes: NDArray[np.int64], batch_size: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Every frame once, in random batches of frames of similar size, in random order.

    Frames are shuffled, sorted by size where sizes differ, and cut; so batches of large frames do not pay
    for the neighbour table of a larger one, and frames of one size mix freely.

    Args:
        sizes: number of atoms of each frame.
        batch_size: frames per batch; one batch may have fewer.
        rng: decides the order.
    """
    order = rng.permutation(len(sizes))
    order = order[np.argsort(sizes[order], kind="stable")]
    batches = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
    return [batches[index] for index in rng.permutation(len(batches))]
