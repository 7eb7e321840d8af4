"""An iteration's document as reports read it, whichever version of the campaign wrote it.

Fields came with time and come with the strategy: thresholds per measure and group, calibrations, health of
the committee. What a document does not hold is empty or None here, and nobody else looks into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpw.database.arrays import decode
from alpw.database.campaigns import now

Floats = NDArray[np.float64]

CLASSES = ("accurate", "candidate", "failed")
COMMITTEE, KPU = "committee", "kpu"

SERIES = {COMMITTEE: ("max_force_deviation",), KPU: ("max_force_kpu", "kpu", "u_force_max")}
"""Per-frame series of a trajectory that hold a measure, eV/Å; the first one that is there counts."""

PAIR_FIELDS = (("uncertainty", "error"), ("uncertainties", "errors"), ("u", "e"))
"""What a calibration's pairs may be called where they are two arrays."""


@dataclass(frozen=True)
class Threshold:
    """The interval of candidates that a measure had for a group of trajectories.

    Attributes:
        measure: ``committee`` or ``kpu``.
        group: block and structure, such as ``md.000.sys.001``; empty for all.
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
        document: fields of `alpw.uncertainty.calibration.Calibration`, as far as they are there.
        uncertainties, errors: ``(n_pairs,)`` in eV/Å; empty where the pairs are not kept.
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
        block: index of the entry of ``md_jobs`` that it explored by.
        seconds: wall time so far; to its end where it has ended.
        frames: that were classified.
        counts: frames by class.
        thresholds: of this iteration.
        definition: of the uncertainty, in words.
        heldout, fresh: ``force_rmse`` and ``force_mae`` in eV/Å, ``energy_rmse`` and ``energy_mae`` in
            eV/atom, ``n_frames``, over all.
        by_element, by_temperature: force RMSE of the fresh labels in eV/Å.
        n_train, n_validation: labelled frames that it trained on and held out; None if not known.
        training_hash: of the training set.
        core_hours: by stage, as recorded; empty if they are not.
        left_out: frames that were not labelled, by reason.
        ends: trajectories by how they ended.
        calibrations: one per measure.
        agreement: of two measures on the same frames: class by one, class by the other, frames.
        health: of the committee, as names and texts.
        verdict, reason: how it ended.
    """

    index: int
    kind: str
    stage: str
    block: int | None
    seconds: float
    frames: int
    counts: dict[str, int]
    thresholds: list[Threshold]
    definition: str
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

    def threshold(self, measure: str, group: str) -> Threshold | None:
        """The thresholds of a group of trajectories by one measure."""
        of_measure = [threshold for threshold in self.thresholds if threshold.measure == measure]
        exact = [threshold for threshold in of_measure if threshold.group == group]
        general = [threshold for threshold in of_measure if not threshold.group]
        return next(iter(exact + general), None)


def view(document: Mapping[str, Any]) -> IterationView:
    """Read an iteration's document."""
    training, sizes = document.get("training_set") or {}, document.get("dataset") or {}
    heldout, fresh = document.get("heldout") or {}, document.get("fresh_errors") or {}
    n_validation = sizes.get("validation", heldout.get("n_frames"))
    return IterationView(
        index=document["index"],
        kind=document["kind"],
        stage=document.get("stage", ""),
        block=document.get("md_jobs"),
        seconds=_seconds(document.get("started"), document.get("finished")),
        frames=document.get("frames") or 0,
        counts={name: (document.get("counts") or {}).get(name, 0) for name in CLASSES},
        thresholds=list(_thresholds(document.get("thresholds") or {}, document.get("definition") or "")),
        definition=document.get("definition") or "",
        heldout=_numbers(heldout),
        fresh=_numbers(fresh.get("overall") or fresh),
        by_element=_force_errors(fresh.get("by_element") or {}),
        by_temperature=_force_errors(fresh.get("by_temperature") or {}),
        n_train=sizes.get("train", len(training["ids"]) if "ids" in training else None),
        n_validation=n_validation,
        training_hash=training.get("hash"),
        core_hours=_core_hours(document.get("core_hours")),
        left_out=document.get("left_out") or {},
        ends=document.get("ends") or {},
        calibrations=[
            _calibration(measure, found)
            for measure, found in (document.get("calibration") or {}).items()
            if isinstance(found, Mapping)
        ],
        agreement=_agreement(document.get("agreement")),
        health=list(_flat(document.get("health") or {})),
        verdict=document.get("verdict"),
        reason=document.get("reason"),
    )


def measures_of(trajectory: Mapping[str, Any]) -> dict[str, Floats]:
    """The uncertainty of each frame of a trajectory, ``(n_frames,)`` in eV/Å, by measure."""
    series = trajectory.get("series") or {}
    found = {}
    for measure, names in SERIES.items():
        stored = next((series[name] for name in names if name in series), None)
        if stored is not None:
            found[measure] = np.asarray(decode(stored), dtype=float)
    if trajectory.get("deviation") == KPU and COMMITTEE in found:
        # One measure alone goes by the one name, whichever it is.
        found.setdefault(KPU, found[COMMITTEE])
        del found[COMMITTEE]
    return found


def _seconds(started: datetime | None, finished: datetime | None) -> float:
    return ((finished or now()) - started).total_seconds() if started else 0.0


def _numbers(errors: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in errors.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _thresholds(found: Mapping[str, Any], definition: str) -> Iterator[Threshold]:
    if "lower" in found or "upper" in found:
        yield _threshold(KPU if KPU in definition else COMMITTEE, "", found)
        return
    for measure, groups in found.items():
        if not isinstance(groups, Mapping):
            continue
        if "lower" in groups or "upper" in groups:
            yield _threshold(measure, "", groups)
            continue
        for group, bounds in groups.items():
            if isinstance(bounds, Mapping):
                yield _threshold(measure, group, bounds)


def _threshold(measure: str, group: str, bounds: Mapping[str, Any]) -> Threshold:
    lower, upper = (bounds[name] if _is_number(bounds.get(name)) else np.nan for name in ("lower", "upper"))
    return Threshold(measure, group, lower, upper, str(bounds.get("rule") or ""))


def _force_errors(found: Mapping[str, Any]) -> dict[str, float]:
    errors: dict[str, Any] = {
        str(name): value.get("force_rmse") if isinstance(value, Mapping) else value
        for name, value in found.items()
    }
    return {name: float(value) for name, value in errors.items() if _is_number(value)}


def _core_hours(found: Any) -> dict[str, float]:
    if isinstance(found, Mapping):
        return {str(stage): hours for stage, hours in found.items() if _is_number(hours) and stage != "total"}
    return {"all": float(found)} if _is_number(found) else {}


def _calibration(measure: str, document: Mapping[str, Any]) -> CalibrationView:
    u, e = _pairs(document.get("pairs"))
    rest = {name: value for name, value in document.items() if name != "pairs"}
    return CalibrationView(measure, rest, u, e)


def _pairs(found: Any) -> tuple[Floats, Floats]:
    if isinstance(found, Mapping) and "data" not in found:
        for names in PAIR_FIELDS:
            if all(name in found for name in names):
                u, e = (_array(found[name]) for name in names)
                return u, e
        return np.empty(0), np.empty(0)
    table = np.empty(0) if found is None or _is_number(found) else _array(found)
    if table.ndim != 2 or 2 not in table.shape:
        return np.empty(0), np.empty(0)
    columns = table.T if table.shape[1] == 2 else table
    return columns[0], columns[1]


def _array(found: Any) -> Floats:
    return np.asarray(decode(dict(found)) if isinstance(found, Mapping) else found, dtype=float)


def _agreement(found: Any) -> dict[str, dict[str, int]]:
    """Rows and columns by class; a plain matrix is in the order of `CLASSES`."""
    if isinstance(found, Mapping) and "data" in found:
        found = decode(dict(found)).tolist()
    if isinstance(found, list) and len(found) == len(CLASSES):
        rows = (zip(CLASSES, row, strict=False) for row in found)
        return {name: dict(row) for name, row in zip(CLASSES, rows, strict=True)}
    if isinstance(found, Mapping):
        return {str(name): dict(row) for name, row in found.items() if isinstance(row, Mapping)}
    return {}


def _flat(found: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """A nested document as lines of a table."""
    if isinstance(found, Mapping):
        for key, value in found.items():
            yield from _flat(value, f"{name}, {key}" if name else str(key).replace("_", " "))
    elif isinstance(found, list | tuple):
        yield name, ", ".join(_text(value) for value in found)
    else:
        yield name, _text(found)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
