"""Thresholds of an uncertainty: below `lower` a frame is accurate, from `upper` on it is not trusted.

    absolute        as given
    relative        lower = kpu_lower b,  upper = kpu_upper lower,
                    b = mean uncertainty of the frames with which the trajectories of a group begin
    calibrated      lower = max { t <= upper : <m²(u)> over the explored frames with u < t  <= target² }
                    upper = min { u : m(u) >= upper error }

with m(u) the expected force error (root mean square) of a frame whose uncertainty is u, which labels of
earlier iterations have taught. The calibrated `lower` is a statement about the accepted frames on the whole:
those near it are worse than the target, and those far below are better. The relative rule is that of the
Kalman prediction uncertainty, whose scale is arbitrary, in AL-PWMLFF.

Uncertainties have any unit, the same for all arguments of a function; force errors are in eV/Å.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alpw.errors import InputError

Floats = NDArray[np.float64]
Rule = Literal["absolute", "relative", "calibrated", "uncalibrated"]

FIRST_FRAMES, FIRST_SHARE = 5, 100
"""a trajectory begins with five frames, or one in a hundred if that is more"""

DOUBLINGS = 200
"""of an uncertainty until its expected error is too large; a map that rises in proportion needs a few"""


@dataclass(frozen=True)
class Bounds:
    """Two thresholds of one uncertainty, in its unit, and how they came about.

    Attributes:
        lower: a frame below is accurate.
        upper: a frame from here on has failed; in between, ``lower`` included, it is a candidate.
        rule: ``absolute``, ``relative``, ``calibrated``, or ``uncalibrated`` while there are too few labels
            to calibrate with.
    """

    lower: float
    upper: float
    rule: Rule


def absolute(lower: float | None, upper: float | None, rule: Rule = "absolute") -> Bounds:
    """Thresholds as the user gives them.

    Raises:
        InputError: one is missing, or they are not in order.
    """
    for key, value in (("lower_model_devi_f", lower), ("upper_model_devi_f", upper)):
        if value is None:
            raise InputError(
                "missing where a block or a structure has absolute thresholds; give both", key=key
            )
    assert lower is not None and upper is not None
    if lower >= upper:
        text = f"{lower:g} must be smaller than the upper threshold {upper:g} of the same block and structure"
        raise InputError(text, key="lower_model_devi_f")
    return Bounds(float(lower), float(upper), rule)


def relative(
    trajectories: Sequence[ArrayLike], factor_lower: float, factor_upper: float, rule: Rule = "relative"
) -> Bounds:
    """Thresholds in units of the uncertainty with which the trajectories of a group begin.

    Values that are not finite do not count. A group without any value has the thresholds zero, which its
    frames, none or without a number, do not feel.

    Args:
        trajectories: mean uncertainty of each frame, ``(n_frames,)`` for each trajectory of the group.
        factor_lower: lower threshold in units of the mean over these beginnings.
        factor_upper: upper threshold in units of the lower one, above 1.
        rule: what the result is called.
    """
    begins = [np.asarray(run, dtype=float) for run in trajectories]
    begins = [run[: max(FIRST_FRAMES, len(run) // FIRST_SHARE)] for run in begins]
    first = np.concatenate([np.empty(0), *begins])
    first = first[np.isfinite(first)]
    lower = float(first.mean()) * factor_lower if len(first) else 0.0
    return Bounds(lower, lower * factor_upper, rule)


def calibrated(
    target: float,
    upper_error: float,
    expected_square: Callable[[Floats], Floats],
    explored: ArrayLike,
) -> Bounds:
    """Thresholds from what labels have taught about the error of a frame.

    If the explored frames below ``upper`` have the target on the whole, all of them are accurate and both
    thresholds are one. Without explored frames, ``lower`` is where a single frame is expected to have the
    target.

    Args:
        target: force error that the accurate frames shall have on the whole, root mean square, eV/Å.
        upper_error: expected force error from which one frame is not trusted, eV/Å.
        expected_square: expected squared force error (eV/Å)² of frames with these uncertainties; it must not
            fall as they rise.
        explored: uncertainties of the frames that the thresholds are for, ``(n_frames,)``. Values that are
            not finite do not count.

    Raises:
        InputError: the expected error does not reach ``upper_error``, whatever the uncertainty.
    """
    u = np.asarray(explored, dtype=float)
    u = np.sort(u[np.isfinite(u)])
    upper = _reaches(expected_square, upper_error, float(u[-1]) if len(u) else 1.0)
    if not len(u):
        return Bounds(min(_reaches(expected_square, target, upper), upper), upper, "calibrated")
    on_the_whole = np.cumsum(expected_square(u)) / np.arange(1, len(u) + 1)
    # Never falls, because the expected error does not: a sorted search finds the first that is too large.
    accepted = int(np.searchsorted(on_the_whole, target**2, side="right"))
    lower = float(u[accepted]) if accepted < len(u) else upper
    return Bounds(min(lower, upper), upper, "calibrated")


def _reaches(expected_square: Callable[[Floats], Floats], error: float, scale: float) -> float:
    """The smallest uncertainty, to rounding, whose expected error is at least ``error``."""

    def reached(u: float) -> bool:
        return bool(expected_square(np.array([u]))[0] >= error**2)

    low, high = 0.0, max(scale, np.finfo(float).tiny)
    for _ in range(DOUBLINGS):
        if reached(high):
            break
        low, high = high, 2 * high
    else:
        raise InputError(f"the calibration never expects a force error of {error:g} eV/Å")
    if reached(low):
        return low
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
