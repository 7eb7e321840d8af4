"""Calibration: what an uncertainty means as a force error in eV/Å.

A committee deviation has the unit of a force but not its size, and a KPU has an arbitrary scale. Pairs of an
uncertainty u and the true error e of the same atoms turn either into a force error:

    expected error   m(u)                  monotone in u
    bound            q m(u)                at least the error of a new atom with probability `coverage`

    "conformal"      m(u) = u <e>/<u>
    "isotonic"       m = the monotone function nearest to the pairs in least squares (pool adjacent violators)

q is the ceil((n + 1) coverage)-th smallest of the n ratios e/m(u), which gives the coverage for every finite
n whatever the distribution, as long as new atoms are drawn like those of the pairs (split conformal
prediction: Papadopoulos et al., ECML 2002; Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018)). The isotonic m
is fitted to one half of the pairs and q taken from the other, because the ratios must not have been fitted.

Outside the calibrated range the isotonic m stays what it is at the lowest u (little disagreement is no proof
of a small error), and grows in proportion to u beyond the highest (new ground is worse than the worst seen).
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from alpw.errors import InputError
from alpw.files import write_atomically

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]

FORMAT, VERSION = "alpw-calibration", 2
METHODS = ("isotonic", "conformal")
NUMBERS, KNOTS = ("coverage", "quantile", "largest"), ("uncertainties", "errors")

#: With fewer pairs a calibration would be noise, and the uncertainty is passed on as it is.
LEAST_PAIRS = 50

#: Least m(u) in units of the mean error: a ratio to zero is no number.
FLOOR = 1e-3

# (n + 1) coverage is often meant to be a whole number, such as 20 * 0.95.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Source:
    """Where uncertainties come from: those of another source have another size.

    Attributes:
        covariance: kind of the covariance of a KPU; empty for a committee.
        models: fingerprints (`alpw.potential.weights.fingerprint`) of the model or the members, sorted.
    """

    covariance: str = ""
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class Calibration:
    """A monotone map from an uncertainty to a force error.

    Attributes:
        method: ``isotonic`` or ``conformal``.
        coverage: probability with which `bound` is at least the error. An identity keeps no promise.
        measure: what the uncertainty is, ``committee`` or ``kpu``.
        source: the models, and for a KPU the covariance, that it was calibrated for.
        n_pairs: pairs that were given.
        identity: too few pairs; expected error and bound are the uncertainty itself.
        uncertainties, errors: ``(n_knots,)``, the expected error in eV/Å at these uncertainties, linear
            between them; one knot at (<u>, <e>) for the proportional map.
        quantile: q, the bound in units of the expected error.
        largest: the highest uncertainty that the expected error was fitted to; it is extrapolated beyond.
    """

    method: str
    coverage: float
    measure: str
    source: Source
    n_pairs: int
    identity: bool
    uncertainties: tuple[float, ...]
    errors: tuple[float, ...]
    quantile: float
    largest: float

    @classmethod
    def fit(
        cls,
        uncertainty: ArrayLike,
        error: ArrayLike,
        *,
        method: str = "isotonic",
        coverage: float = 0.9,
        measure: str = "",
        source: Source | None = None,
        groups: ArrayLike | None = None,
        seed: int = 1,
        least: int = LEAST_PAIRS,
    ) -> Calibration:
        """Calibrate with pairs from frames that the model was not trained on.

        With too few of them, ``least`` or what ``coverage`` needs, the map is the identity, and a warning is
        logged.

        Args:
            uncertainty: ``(n_pairs,)``, zero or more, in any unit.
            error: ``(n_pairs,)``, zero or more, eV/Å; see `force_error`.
            method: ``isotonic`` or ``conformal``.
            coverage: of `bound`, below 1. With 0 there is no bound, and the isotonic m is fitted to all
                pairs.
            measure: what the uncertainty is, ``committee`` or ``kpu``.
            source: of the uncertainty.
            groups: ``(n_pairs,)``, the frame of each pair. The halves then share no frame: atoms of one
                frame resemble each other more than those of the next.
            seed: of the halves.
            least: fewest pairs that make a calibration.

        Raises:
            InputError: shapes that differ, numbers that are negative or not finite, an unknown method, a
                coverage that is no probability.
        """
        if method not in METHODS:
            raise InputError(f"found {method!r}; allowed: {', '.join(METHODS)}", key="method")
        if not 0 <= coverage < 1:
            raise InputError(f"found {coverage!r}; allowed: from 0 to 1, the latter excluded", key="coverage")
        u, e = _checked(uncertainty, "uncertainty"), _checked(error, "error")
        if u.shape != e.shape:
            raise InputError(f"{len(u)} uncertainties and {len(e)} errors; allowed: as many of both")
        source = source or Source()
        everything = np.ones(len(u), dtype=bool)
        halved = method == "isotonic" and coverage > 0
        fitted, ranked = _halves(len(u), groups, seed) if halved else (everything, everything)
        n_ranked = int(ranked.sum())
        rank = math.ceil((n_ranked + 1) * coverage - ROUNDING)
        if len(u) < least or rank > n_ranked or not u[fitted].any():
            logger.warning(
                "%d pairs do not suffice for a calibration (%s, and at least %d for a coverage of %g): "
                "the uncertainty is used as it is",
                len(u),
                f"{least} needed, with uncertainties above zero",
                math.ceil(coverage / (1 - coverage) - ROUNDING) * (2 if method == "isotonic" else 1),
                coverage,
            )
            largest = float(u.max(initial=0))
            return cls(method, coverage, measure, source, len(u), True, (1.0,), (1.0,), 1.0, largest)
        floor = max(FLOOR * float(e.mean()), np.finfo(float).tiny)
        if method == "conformal":
            knots = np.array([u.mean()]), np.array([max(float(e.mean()), floor)])
        else:
            knots = _isotonic(u[fitted], e[fitted], floor)
        ratios = np.sort(e[ranked] / np.maximum(_interpolate(u[ranked], *knots), floor))
        return cls(
            method=method,
            coverage=coverage,
            measure=measure,
            source=source,
            n_pairs=len(u),
            identity=False,
            uncertainties=tuple(knots[0].tolist()),
            errors=tuple(knots[1].tolist()),
            quantile=float(ratios[rank - 1]) if rank else 0.0,
            largest=float(u[fitted].max()),
        )

    def __call__(self, uncertainty: ArrayLike) -> Floats:
        """The expected force error in eV/Å; the shape stays."""
        return _interpolate(
            np.asarray(uncertainty, dtype=float), np.array(self.uncertainties), np.array(self.errors)
        )

    def bound(self, uncertainty: ArrayLike) -> Floats:
        """The force error in eV/Å that is not exceeded with probability `coverage`; the shape stays."""
        return self.quantile * self(uncertainty)

    def extrapolated(self, uncertainty: ArrayLike) -> NDArray[np.bool_]:
        """Where the uncertainty is above all that were calibrated; the shape stays."""
        return np.asarray(np.asarray(uncertainty, dtype=float) > self.largest)

    def check_measure(self, measure: str) -> None:
        """Make sure that this calibrates uncertainties of that measure.

        Raises:
            InputError: it does not.
        """
        if self.measure != measure:
            raise InputError(
                f"calibrates the measure {self.measure!r}, and the uncertainty is {measure!r}; make a "
                f"calibration of {measure!r} with --calibrate",
                key="measure",
            )

    def check(self, measure: str, source: Source) -> bool:
        """Make sure that this calibrates uncertainties of that measure and covariance.

        Returns:
            Whether it was made for the same models too.

        Raises:
            InputError: another measure, or another kind of covariance.
        """
        self.check_measure(measure)
        if self.source.covariance != source.covariance:
            raise InputError(
                f"calibrates uncertainties of a covariance of kind {self.source.covariance!r}, and this one "
                f"is {source.covariance!r}, on another scale; make a calibration with this covariance "
                "(--calibrate), or take the covariance that it was made with (--covariance)",
                key="source.covariance",
            )
        return self.source.models == source.models

    def save(self, path: str | Path) -> None:
        """Write JSON, replacing the file as a whole."""
        document = {"format": FORMAT, "version": VERSION, **asdict(self)}
        write_atomically(path, (json.dumps(document, indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what `save` wrote.

        Raises:
            InputError: no such file, or one that is no calibration of this version.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", path) from error
        except ValueError as error:
            raise InputError(f"not a calibration: not valid JSON ({error})", path) from error
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise InputError(f"not a calibration: no {FORMAT!r} in it", path, "format")
        if (found := content.pop("version", None)) != VERSION:
            text = f"found {found!r}; this code reads {VERSION}; make it again with --calibrate"
            raise InputError(text, path, "version")
        return _restored(content, path)


def force_error(forces: ArrayLike, reference: ArrayLike) -> Floats:
    """The true error of each atom, |F - F_ref|: what the deviation of a committee estimates.

    Args:
        forces: ``(n_atoms, 3)`` of the model, in eV/Å.
        reference: ``(n_atoms, 3)``, the labels, in eV/Å.

    Returns:
        ``(n_atoms,)`` in eV/Å.
    """
    return np.asarray(np.linalg.norm(np.asarray(forces) - np.asarray(reference), axis=-1), dtype=float)


def _checked(values: ArrayLike, what: str) -> Floats:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1:
        raise InputError(f"found the shape {array.shape}; allowed: one number per pair", key=what)
    if not np.isfinite(array).all() or (array < 0).any():
        bad = np.count_nonzero(~(np.isfinite(array) & (array >= 0)))
        raise InputError(f"{bad} values are negative or not finite", key=what)
    return array


def _halves(n: int, groups: ArrayLike | None, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Pairs to fit to and pairs to take the quantile from: disjoint, drawn by group."""
    members = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if members.shape != (n,):
        raise InputError(f"found the shape {members.shape}; allowed: ({n},)", key="groups")
    order = np.random.default_rng(seed).permutation(int(members.max(initial=-1)) + 1)
    fitted = np.isin(members, order[: len(order) // 2])
    return fitted, ~fitted


def _isotonic(u: Floats, e: Floats, floor: float) -> tuple[Floats, Floats]:
    """The ends of each level of the isotonic fit, at least ``floor``."""
    at, place, counts = np.unique(u, return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=e) / counts
    fit = np.maximum(isotonic_regression(means, weights=counts).x, floor)
    inner = (fit[1:-1] == fit[:-2]) & (fit[1:-1] == fit[2:])
    kept = np.concatenate(([True], ~inner, [True]))[: len(fit)]
    return at[kept], fit[kept]


def _interpolate(u: Floats, at: Floats, values: Floats) -> Floats:
    """Linear between the knots, constant below them, proportional above; a single knot is proportional."""
    above = values[-1] * u / at[-1] if at[-1] > 0 else np.full_like(u, values[-1])
    if len(at) == 1:
        return np.asarray(above)
    return np.where(u > at[-1], above, np.interp(u, at, values))


def _restored(content: dict[str, Any], path: str | Path) -> Calibration:
    _check_keys(content, Calibration, "", path)
    source = content["source"]
    if not isinstance(source, dict):
        raise InputError(f"found {source!r}; allowed: an object", path, "source")
    _check_keys(source, Source, "source.", path)
    allowed: dict[str, tuple[bool, str]] = {
        "method": (content["method"] in METHODS, f"one of {', '.join(METHODS)}"),
        "measure": (isinstance(content["measure"], str), "text"),
        "identity": (isinstance(content["identity"], bool), "true or false"),
        "n_pairs": (type(content["n_pairs"]) is int, "a whole number"),
        "source.covariance": (isinstance(source["covariance"], str), "text"),
        "source.models": (_all_are(source["models"], str), "a list of texts"),
        **{key: (_all_are([content[key]], float, int), "a number") for key in NUMBERS},
        **{key: (_all_are(content[key], float, int), "a list of numbers") for key in KNOTS},
    }
    for key, (is_allowed, what) in allowed.items():
        if not is_allowed:
            raise InputError(f"allowed: {what}", path, key)
    for key in KNOTS:
        content[key] = tuple(float(value) for value in content[key])
    content["source"] = Source(source["covariance"], tuple(source["models"]))
    calibration = Calibration(**content)
    at, values = np.array(calibration.uncertainties), np.array(calibration.errors)
    numbers = np.array([*at, *values, *(getattr(calibration, key) for key in NUMBERS)], dtype=float)
    if len(at) != len(values) or not len(at) or not np.isfinite(numbers).all():
        raise InputError("not a calibration: its knots are not pairs of finite numbers", path, "errors")
    if (np.diff(at) < 0).any() or (np.diff(values) < 0).any() or (numbers < 0).any():
        raise InputError("not a calibration: its knots do not rise", path, "errors")
    return calibration


def _check_keys(content: dict[str, Any], kind: type, prefix: str, path: str | Path) -> None:
    names = [field.name for field in fields(kind)]
    for name in names:
        if name not in content:
            text = "missing; take the file as it was written, or make it again with --calibrate"
            raise InputError(text, path, prefix + name)
    for name in content:
        if name not in names:
            raise InputError("no such key in a calibration; remove it", path, prefix + name)


def _all_are(values: Any, *kinds: type) -> bool:
    return isinstance(values, list) and all(type(value) in kinds for value in values)
