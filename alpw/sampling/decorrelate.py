"""How many frames of a trajectory say the same thing, and a thinned choice of those that do not.

    C(t) = <δx(0) δx(t)> / <δx^2>              δx = x - <x>
    g    = 1 + 2 Σ_{t>=1} C(t)

g is the statistical inefficiency: n correlated frames are worth n / g independent ones (Friedberg and
Cameron, J. Chem. Phys. 52, 6049 (1970); Chodera et al., J. Chem. Theory Comput. 3, 26 (2007)). Many texts
call g / 2 the integrated autocorrelation time; here, as in "every g-th frame is independent", it is g itself.

The sum over all t of an estimated C is pure noise and must be cut off. The rule is Geyer's initial positive
sequence (Statist. Sci. 7, 473 (1992), section 3.3): the sums Γ_m = C(2m) + C(2m+1) of a reversible Markov
chain are positive, so that the first Γ_m <= 0 is noise and ends the sum, which is g = 2 Σ Γ_m - 1. It has no
constant to tune. Molecular dynamics oscillates, which a reversible chain does not: the rule then stops
where C first crosses zero, and g errs on the safe side (a sine of period P frames gives P / π).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alpw.errors import InputError

Floats = NDArray[np.float64]

WHITE_NOISE = 1.96
"""C(1) of n independent values is normal with variance 1/n (Bartlett, J. R. Stat. Soc. Suppl. 8, 27 (1946));
this many standard deviations hold 95 % of it."""


class Thinned(NamedTuple):
    """Frames kept from a trajectory, and what became of the others.

    Attributes:
        kept: indices of frames, ascending, ``(n_kept,)``.
        dropped: number of frames by reason: ``equilibration``, ``unconverged``, ``correlated``. With the
            frames kept they make up the trajectory.
        interval: smallest distance of two frames kept, in frames: the one given, or what ``auto`` found.
    """

    kept: NDArray[np.intp]
    dropped: dict[str, int]
    interval: int


def autocorrelation_time(series: ArrayLike) -> float:
    """The statistical inefficiency g of a series, in frames; 1 when frames are independent.

    A series whose C(1) lies within that of white noise (:data:`WHITE_NOISE`), or below, has g = 1; so has
    every series of four values or fewer, which can show no correlation. A constant series repeats one value,
    so that g is its length.

    Args:
        series: a scalar observable of equidistant frames, such as the potential energy, ``(n_frames,)``.

    Returns:
        g, between 1 and ``n_frames``.

    Raises:
        InputError: the series is not one-dimensional or holds values that are not finite.
    """
    values = np.asarray(series, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(
            f"found a series of shape {values.shape} with {np.count_nonzero(~np.isfinite(values))} values "
            "that are not finite; give one finite number per frame"
        )
    n_frames = len(values)
    if n_frames < 2 or np.ptp(values) == 0:
        return float(max(1, n_frames))
    correlation = _autocorrelation(values)
    if correlation[1] <= WHITE_NOISE / math.sqrt(n_frames):
        return 1.0
    pairs = correlation[: n_frames - n_frames % 2].reshape(-1, 2).sum(axis=1)
    end = int(np.argmin(np.append(pairs > 0, False)))
    return max(1.0, float(2 * pairs[:end].sum() - 1))


def _autocorrelation(values: Floats) -> Floats:
    """C(t) for t = 0 ... n_frames - 1 with the usual divisor n_frames for all t, by FFT."""
    n_frames = len(values)
    # Divided by the range, so that no square of a small number becomes zero; padded with zeros against
    # the correlation of the end with the beginning.
    spectrum = np.fft.rfft((values - values.mean()) / np.ptp(values), 2 * n_frames)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2)[:n_frames]
    return np.asarray(covariance / covariance[0], dtype=float)


def thin(
    n_frames: int,
    *,
    discard: int = 0,
    interval: int | Literal["auto"] = 1,
    series: ArrayLike | None = None,
    usable: ArrayLike | None = None,
) -> Thinned:
    """Keep every ``interval``-th frame of a trajectory after its equilibration.

    The first frame after equilibration is kept, then the one ``interval`` frames later, and so on. A frame
    that is not usable is replaced by the next usable one, and the distance counts from that one on: no two
    frames kept are closer than ``interval``.

    Args:
        n_frames: length of the trajectory.
        discard: number of frames at the beginning that equilibrate.
        interval: in frames; ``auto`` is the `autocorrelation_time` of ``series`` after equilibration,
            rounded up.
        series: a scalar observable, ``(n_frames,)``; for ``auto`` only. Its values at frames that are not
            usable are not read.
        usable: False for a frame that must not be kept, such as one whose self-consistent field did not
            converge, ``(n_frames,)``; None if all may be kept.

    Raises:
        InputError: a negative ``discard``, an ``interval`` below 1, ``auto`` without a series, an array that
            is not one value per frame, or a value of the series that is not finite.
    """
    if discard < 0:
        raise InputError(f"found {discard}; allowed: a number of frames, 0 or more", key="discard")
    mask = np.ones(n_frames, dtype=bool) if usable is None else np.asarray(usable, dtype=bool)
    _check_length(mask, n_frames, "usable")
    available = np.flatnonzero(mask)
    available = available[available >= discard]
    spacing = _spacing(interval, series, available, n_frames)
    kept = _spaced(available, spacing)
    n_discarded = min(discard, n_frames)
    dropped = {
        "equilibration": n_discarded,
        "unconverged": n_frames - n_discarded - len(available),
        "correlated": len(available) - len(kept),
    }
    return Thinned(kept, dropped, spacing)


def _spacing(
    interval: int | str, series: ArrayLike | None, available: NDArray[np.intp], n_frames: int
) -> int:
    if interval != "auto":
        if not isinstance(interval, int | np.integer) or interval < 1:
            raise InputError(f"found {interval!r}; allowed: a whole number from 1, or 'auto'", key="interval")
        return int(interval)
    if series is None:
        raise InputError("'auto' needs a series, such as the potential energy of the frames", key="interval")
    values = np.asarray(series, dtype=float)
    _check_length(values, n_frames, "series")
    if len(available) == 0:
        return 1
    # Bridged, not cut out: cutting would move frames closer together and shorten the correlation time.
    bridged = np.interp(np.arange(available[0], available[-1] + 1), available, values[available])
    return math.ceil(autocorrelation_time(bridged))


def _check_length(array: NDArray, n_frames: int, key: str) -> None:
    if array.shape != (n_frames,):
        raise InputError(f"found shape {array.shape}; the trajectory has {n_frames} frames", key=key)


def _spaced(available: NDArray[np.intp], spacing: int) -> NDArray[np.intp]:
    """The first of ``available`` (ascending), and each next one at least ``spacing`` after the last."""
    kept: list[int] = []
    position = 0
    while position < len(available):
        kept.append(int(available[position]))
        position = int(np.searchsorted(available, kept[-1] + spacing))
    return np.array(kept, dtype=np.intp)
