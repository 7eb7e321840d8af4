"""Frames sorted into accurate, candidate and failed by their force deviation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Classes:
    """Frame indices by class; every frame is in exactly one.

    Attributes:
        accurate: deviation < lower, ``(n_accurate,)``.
        candidate: lower <= deviation < upper, ``(n_candidate,)``.
        failed: deviation >= upper, or not a number, ``(n_failed,)``.
    """

    accurate: NDArray[np.intp]
    candidate: NDArray[np.intp]
    failed: NDArray[np.intp]

    @property
    def counts(self) -> dict[str, int]:
        """Number of frames in each class."""
        return {name: len(getattr(self, name)) for name in ("accurate", "candidate", "failed")}


def classify(deviation: NDArray[np.float64], lower: float, upper: float) -> Classes:
    """Classify frames by deviation, with intervals that leave no gap.

    The thresholds and their names are DP-GEN's (Zhang et al., Comput. Phys. Commun. 253, 107206 (2020),
    section 2.3); the candidate interval is closed below and open above.

    Args:
        deviation: ``(n_frames,)`` maximum force deviation in eV/Å; NaN counts as failed.
        lower: threshold below which the model is trusted, eV/Å.
        upper: threshold from which a frame is taken to be unphysical, eV/Å.
    """
    # NaN compares false with everything, so it must be sent to `failed` by the negations, not left out.
    accurate = deviation < lower
    candidate = ~accurate & (deviation < upper)
    failed = ~accurate & ~candidate
    return Classes(*(np.flatnonzero(mask) for mask in (accurate, candidate, failed)))
