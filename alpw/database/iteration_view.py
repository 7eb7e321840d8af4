"""An iteration's document as reports read it, however far the iteration has come.

Fields come with its stages and with the strategy: thresholds per measure and group, calibrations, health of
the committee. What a document does not hold is empty or None here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpw.database.arrays import decode
from alpw.database.summary import seconds_between
from alpw.database.trajectories import MEASURES
from alpw.sampling.classify import CLASSES

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Threshold:
    """The interval of candidates that a measure had for a group of trajectories.

    Attributes:
        measure: ``committee`` or ``kpu``.
        group: block and structure, such as ``md.000.sys.001``.
        lower, upper: eV/Å; NaN where not known.
        rule: where they come from, such as ``calibrated``; empty where not said.
    """

    measure: str
    group: str
    lower: float
    upper: float
    rule: str = ""


@dataclass(frozen=True)
class CalibrationView:
    """A calibration as it is stored.

    Attributes:
        measure: ``committee`` or ``kpu``.
        document: what `alpw.uncertainty.frames.calibration_of` reads.
        uncertainties, errors: ``(n_pairs,)`` in eV/Å.
    """

    measure: str
    document: dict[str, Any]
    uncertainties: Floats
    errors: Floats


@dataclass(frozen=True)
class IterationView:
    """One iteration.

    Attributes:
        index: -1 is the preparation.
        kind: ``prepare``, ``explore`` or ``final``.
        stage: what it is doing, or ``done``.
        seconds: wall time in s so far; to its end where it has ended; None if that was not recorded.
        frames: that were classified.
        counts: frames by class.
        thresholds: of this iteration.
        heldout, fresh: ``force_rmse`` and ``force_mae`` in eV/Å, ``energy_rmse`` and ``energy_mae`` in
            eV/atom, ``n_frames``, over all.
        by_element, by_temperature: force RMSE of the fresh labels in eV/Å.
        n_train, n_validation: labelled frames that it trained on and held out; None if not known.
        training_hash: of the training set.
        core_hours: by stage, in h, as recorded; empty before it has been judged.
        left_out: frames that were not labelled, by reason.
        ends: trajectories by how they ended.
        calibrations: one per measure.
        agreement: of two measures on the same frames: class by one, class by the other, frames.
        health: of the committee, as names and texts.
        verdict, reason: how it ended.
        next_step: what the user can do about that; empty where nothing is needed.
    """

    index: int
    kind: str
    stage: str
    seconds: float | None
    frames: int
    counts: dict[str, int]
    thresholds: list[Threshold]
    heldout: dict[str, float]
    fresh: dict[str, float]
    by_element: dict[str, float]
    by_temperature: dict[str, float]
    n_train: int | None
    n_validation: int | None
    training_hash: str | None
    core_hours: dict[str, float]
    left_out: dict[str, int]
    ends: dict[str, int]
    calibrations: list[CalibrationView]
    agreement: dict[str, dict[str, int]]
    health: list[tuple[str, str]]
    verdict: str | None
    reason: str | None
    next_step: str

    def threshold(self, measure: str, group: str) -> Threshold | None:
        """The thresholds of a group of trajectories by one measure."""
        wanted = (measure, group)
        return next((found for found in self.thresholds if (found.measure, found.group) == wanted), None)


def view(document: Mapping[str, Any]) -> IterationView:
    """Read an iteration's document."""
    training, sizes = document.get("training_set") or {}, document.get("dataset") or {}
    heldout, fresh = document.get("heldout") or {}, document.get("fresh_errors") or {}
    n_validation = sizes.get("validation", heldout.get("n_frames"))
    return IterationView(
        index=document["index"],
        kind=document["kind"],
        stage=document.get("stage", ""),
        seconds=_seconds(document),
        frames=document.get("frames") or 0,
        counts={name: (document.get("counts") or {}).get(name, 0) for name in CLASSES},
        thresholds=list(_thresholds(document.get("thresholds") or {})),
        heldout=_numbers(heldout),
        fresh=_numbers(fresh),
        by_element=_force_errors(fresh.get("by_element") or {}),
        by_temperature=_force_errors(fresh.get("by_temperature") or {}),
        # What its models were trained on; the data set's own size has this iteration's labels as well.
        n_train=training.get("n", sizes.get("train")),
        n_validation=n_validation,
        training_hash=training.get("hash"),
        core_hours=document.get("core_hours") or {},
        left_out=document.get("left_out") or {},
        ends=document.get("ends") or {},
        calibrations=[
            _calibration(measure, found) for measure, found in (document.get("calibration") or {}).items()
        ],
        agreement=_agreement(document.get("agreement")),
        health=_health(document.get("health") or {}),
        verdict=document.get("verdict"),
        reason=document.get("reason"),
        next_step=document.get("next_step") or "",
    )


def _seconds(document: Mapping[str, Any]) -> float | None:
    started = document.get("started")
    return seconds_between(started, document.get("finished")) if started else None


def measures_of(trajectory: Mapping[str, Any]) -> dict[str, Floats]:
    """The uncertainty of each frame of a trajectory, ``(n_frames,)`` in eV/Å, by measure."""
    series = trajectory["series"]
    return {
        measure: np.asarray(decode(series[name]), dtype=float)
        for measure, name in MEASURES.items()
        if name in series
    }


def _numbers(errors: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in errors.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _thresholds(found: Mapping[str, Any]) -> Iterator[Threshold]:
    for measure, groups in found.items():
        for group, bounds in groups.items():
            yield _threshold(measure, group, bounds)


def _threshold(measure: str, group: str, bounds: Mapping[str, Any]) -> Threshold:
    lower, upper = (bounds[name] if _is_number(bounds.get(name)) else np.nan for name in ("lower", "upper"))
    return Threshold(measure, group, lower, upper, str(bounds.get("rule") or ""))


def _force_errors(found: Mapping[str, Any]) -> dict[str, float]:
    return {name: errors["force_rmse"] for name, errors in found.items()}


def _calibration(measure: str, document: Mapping[str, Any]) -> CalibrationView:
    u, e = np.array(document["pairs"], dtype=float).reshape(-1, 2).T
    rest = {name: value for name, value in document.items() if name != "pairs"}
    return CalibrationView(measure, rest, u, e)


def _agreement(found: Any) -> dict[str, dict[str, int]]:
    """Rows and columns by class."""
    rows = (zip(CLASSES, row, strict=True) for row in found or [])
    return {name: dict(row) for name, row in zip(CLASSES, rows, strict=False)}


def _health(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How different the members of a committee are, as lines of a table."""
    if not found:
        return []
    behind = found.get("stragglers")
    return [
        ("members most alike", " and ".join(map(str, found["pair"]))),
        ("distance of their weights, relative to their length", _text(found["min_distance"])),
        ("below which they would be one model", _text(found["limit"])),
        ("committee has collapsed", "yes" if found["collapsed"] else "no"),
        *([("members far worse in training", ", ".join(map(str, behind)))] if behind else []),
    ]


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
