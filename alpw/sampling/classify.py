"""Frames sorted into accurate, candidate and failed by one uncertainty or by several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CLASSES = ("accurate", "candidate", "failed")
"""from the best to the worst; the index of a class is its code"""

ACCURATE, CANDIDATE, FAILED = range(3)


@dataclass(frozen=True)
class Classes:
    """The class of every frame of a trajectory, and how far into the candidates' interval it lies.

    Attributes:
        codes: index into `CLASSES`, ``(n_frames,)``.
        score: 0 at the lower threshold, 1 at the upper one, ``(n_frames,)``; not limited to that interval.
    """

    codes: NDArray[np.int8]
    score: Floats

    def of(self, code: int) -> NDArray[np.intp]:
        """Indices of the frames of a class, ascending."""
        return np.flatnonzero(self.codes == code)

    @property
    def counts(self) -> dict[str, int]:
        """Number of frames in each class."""
        return {name: int(np.count_nonzero(self.codes == code)) for code, name in enumerate(CLASSES)}


def classify(deviation: Floats, lower: float, upper: float) -> Classes:
    """Classify frames by one uncertainty, with intervals that leave no gap.

    Accurate: deviation < lower; candidate: lower <= deviation < upper; failed: the rest, and what is not a
    number. The thresholds and their names are DP-GEN's (Zhang et al., Comput. Phys. Commun. 253, 107206
    (2020), section 2.3).

    Args:
        deviation: ``(n_frames,)``, in the unit of the thresholds.
        lower: below it the model is trusted.
        upper: from it on a frame is taken to be unphysical; with ``lower == upper`` nothing is a candidate.
    """
    values = np.asarray(deviation, dtype=float)
    # NaN compares false with everything, so it must be sent to `failed` by the negations, not left out.
    accurate = values < lower
    candidate = ~accurate & (values < upper)
    codes = np.where(accurate, ACCURATE, np.where(candidate, CANDIDATE, FAILED)).astype(np.int8)
    width = upper - lower
    with np.errstate(over="ignore", invalid="ignore"):
        score = (values - lower) / width if 0 < width < np.inf else np.where(accurate, -1.0, 0.0)
    return Classes(codes, np.where(np.isnan(values), np.inf, score))


def worst(criteria: Sequence[Classes]) -> Classes:
    """Of every frame the worst class and the highest score that any criterion gives it.

    Args:
        criteria: classifications of the same frames, at least one.
    """
    return Classes(
        np.max([each.codes for each in criteria], axis=0), np.max([each.score for each in criteria], axis=0)
    )


def agreement(one: Sequence[Classes], other: Sequence[Classes]) -> NDArray[np.int64]:
    """How often two measures put a frame into each pair of classes.

    Args:
        one: classifications of the trajectories by one measure, the rows.
        other: by another measure, the columns.

    Returns:
        ``(3, 3)`` numbers of frames, in the order of `CLASSES`.
    """
    matrix = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    for first, second in zip(one, other, strict=True):
        np.add.at(matrix, (first.codes, second.codes), 1)
    return matrix
