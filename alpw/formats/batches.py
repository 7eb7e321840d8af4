"""Frames one by one or in batches: every writer takes both, every reader gives batches.

A batch is a :class:`~alpw.structures.frames.LabelledFrames`: frames of the same atoms in the same order, few
enough that a file of any length passes through memory in pieces.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np

from alpw.structures.frame import LabelledFrame
from alpw.structures.frames import LabelledFrames

logger = logging.getLogger(__name__)

Frames = Iterable[LabelledFrame | LabelledFrames]
"""What writers take: an iterator is used up once."""

ATOMS_PER_BATCH = 50_000
"""Atoms of all frames of a batch together, about 4 MB with positions, forces and velocities."""
FRAMES_PER_BATCH = 1_000


def frames_per_batch(n_atoms: int) -> int:
    """How many frames of that many atoms are read at a time."""
    return max(1, min(FRAMES_PER_BATCH, ATOMS_PER_BATCH // max(n_atoms, 1)))


def in_batches(frames: Frames) -> Iterator[LabelledFrames]:
    """The same frames in batches, in their order; batches that come in are passed on as they are.

    Single frames count as converged, as they do in :meth:`LabelledFrames.of`.
    """
    gathered: list[LabelledFrame] = []
    for item in frames:
        is_batch = isinstance(item, LabelledFrames)
        if gathered and (is_batch or not _fits(gathered, item)):
            yield LabelledFrames.of(gathered)
            gathered = []
        if isinstance(item, LabelledFrames):
            if len(item):
                yield item
        else:
            gathered.append(item)
    if gathered:
        yield LabelledFrames.of(gathered)


def _fits(gathered: list[LabelledFrame], item: LabelledFrame | LabelledFrames) -> bool:
    first = gathered[0].atoms
    return (
        isinstance(item, LabelledFrame)
        and len(gathered) < frames_per_batch(len(first))
        and np.array_equal(item.atoms.numbers, first.numbers)
        and np.array_equal(item.atoms.pbc, first.pbc)
    )


def by_virial(batch: LabelledFrames) -> Iterator[LabelledFrames]:
    """The frames with a virial, then those without; the arrays of each are whole."""
    lacks = np.isnan(batch.filled_virials()).any(axis=(1, 2))
    for mask in (~lacks, lacks):
        if mask.all():
            yield batch
        elif mask.any():
            yield batch.select(mask)


def composition(numbers: Iterable[int]) -> dict[int, int]:
    """How many atoms of each atomic number, ascending."""
    distinct, counts = np.unique(np.asarray(list(numbers)), return_counts=True)
    return dict(zip(distinct.tolist(), counts.tolist(), strict=True))


class PeriodicOnly:
    """Tells once, for a format that is periodic in all directions or in none, what it cannot express."""

    def __init__(self, format: str) -> None:
        self._format, self._told = format, False

    def check(self, batch: LabelledFrames) -> None:
        """Warn of directions that will be taken as periodic."""
        if not all(batch.pbc) and not self._told:
            self._told = True
            logger.warning(
                "%s: frames that are periodic along %s only are written as periodic in all directions",
                self._format,
                "".join(axis for axis, is_periodic in zip("abc", batch.pbc, strict=True) if is_periodic)
                or "no axis",
            )
