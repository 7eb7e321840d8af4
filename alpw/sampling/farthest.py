"""Few points that stand for many: greedy farthest-point selection.

    i_{k+1} = argmax_i d_i,     d_i = min over the points chosen and known of |x_i - x_c|

The covering radius max_i d_i of k points chosen like this is at most twice the smallest that any k points
have (Gonzalez, Theor. Comput. Sci. 38, 293 (1985)). Every beginning of the order is itself such a choice, so
that a budget may be cut later.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alpw.errors import InputError

Floats = NDArray[np.float64]

# Of distances held at a time, 8 MB: known points are gone through in blocks, never all pairs at once.
DISTANCES_PER_BLOCK = 1_000_000

# A column that varies less than this fraction of its values varies by the rounding of sums.
ROUNDING = 1e-10


def _distances(points: Floats, others: Floats) -> Floats:
    # Late: it brings SciPy, for which no command should wait.
    from scipy.spatial.distance import cdist

    found: Floats = cdist(points, others)
    return found


class Chosen(NamedTuple):
    """Points in the order of their choice.

    Attributes:
        order: indices into the features, ``(n_chosen,)``.
        distances: of each point to the nearest one that was known or chosen before it, ``(n_chosen,)``;
            infinite for the first one if nothing is known. Without ``start`` they never increase.
        radius: largest distance of any point to the nearest one known or chosen.
    """

    order: NDArray[np.intp]
    distances: Floats
    radius: float


def farthest_points(
    features: ArrayLike,
    n: int,
    *,
    start: int | None = None,
    known: ArrayLike | None = None,
    min_distance: float = 0.0,
) -> Chosen:
    """Choose up to ``n`` points, each the farthest from everything known or chosen before.

    Ties go to the lower index, and a duplicate of something chosen is taken last. The result depends on
    nothing but the arguments. Time is O((n + n_known) n_points n_features), memory O(n_points) besides the
    features.

    Args:
        features: ``(n_points, n_features)``, on scales that make Euclidean distances meaningful: see
            `standardise`.
        n: number of points wanted; with as many or fewer points, all of them are taken.
        start: index of the first point, taken wherever it lies; None takes the farthest from what is known,
            or, if nothing is, the one nearest the mean.
        known: features of points that count as chosen already, such as a training set,
            ``(n_known, n_features)``, on the same scales.
        min_distance: stop when no point is as far as this from those known or chosen.

    Raises:
        InputError: features that are not a finite array of that shape, ``known`` with another number of
            columns, a ``start`` that is no index, or a negative ``n``.
    """
    points = _checked(features, "features")
    n_points = len(points)
    if n < 0:
        raise InputError(f"found {n}; allowed: a number of points, 0 or more", key="n")
    if start is not None and not 0 <= start < n_points:
        raise InputError(f"found {start}; allowed: an index below {n_points}", key="start")
    nearest = _to_known(points, known)
    forced = start
    if start is None and n_points and np.isinf(nearest[0]):
        forced = int(_distances(points, points.mean(axis=0, keepdims=True)).argmin())
    order: list[int] = []
    distances: list[float] = []
    for _ in range(min(n, n_points)):
        index = int(nearest.argmax()) if forced is None else forced
        if forced is None and nearest[index] < min_distance:
            break
        forced = None
        order.append(index)
        distances.append(float(nearest[index]))
        np.minimum(nearest, _distances(points, points[index : index + 1]).ravel(), out=nearest)
        # Below every distance, so that a duplicate goes before a point that has been chosen.
        nearest[index] = -1.0
    return Chosen(
        np.array(order, dtype=np.intp), np.array(distances, dtype=float), float(nearest.max(initial=0.0))
    )


def standardise(features: ArrayLike) -> Floats:
    """Features of zero mean and unit variance, column by column; constant columns become zero.

    Points that are to be compared, such as a pool and a training set, are standardised together.

    Args:
        features: ``(n_points, n_features)``.

    Raises:
        InputError: features that are not a finite array of that shape.
    """
    values = _checked(features, "features")
    if not len(values):
        return values
    centred = values - values.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    constant = spread <= ROUNDING * np.abs(values).max(axis=0)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, spread))


def _checked(features: ArrayLike, key: str) -> Floats:
    values = np.asarray(features, dtype=float)
    if values.ndim != 2:
        raise InputError(f"found shape {values.shape}; allowed: (n_points, n_features)", key=key)
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{np.count_nonzero(~finite)} of {len(values)} points have features that are not finite; "
            f"leave out the structure of point {int(finite.argmin())}",
            key=key,
        )
    return values


def _to_known(points: Floats, known: ArrayLike | None) -> Floats:
    """Distance of each point to the nearest known one, ``(n_points,)``; infinite if there is none."""
    nearest = np.full(len(points), np.inf)
    if known is None:
        return nearest
    others = _checked(known, "known")
    if others.shape[1] != points.shape[1]:
        raise InputError(f"found {others.shape[1]} features; the points have {points.shape[1]}", key="known")
    block = max(1, DISTANCES_PER_BLOCK // max(1, len(points)))
    for first in range(0, len(others), block):
        np.minimum(nearest, _distances(points, others[first : first + block]).min(axis=1), out=nearest)
    return nearest
