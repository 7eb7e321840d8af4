"""The thresholds of an iteration's frames, from the inputs, its trajectories and earlier calibrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alpw.config.strategy import BOTH, COMMITTEE, KPU, UPPER_ERROR_FACTOR, Strategy, override
from alpw.database import iterations, judged, trajectories
from alpw.firetasks.base import Context
from alpw.sampling.classify import CLASSES
from alpw.sampling.thresholds import Bounds, Floats, Rule, absolute, calibrated, relative
from alpw.uncertainty.calibration import Calibration
from alpw.uncertainty.frames import calibrate_frames, calibration_document, calibration_of

WINDOW = 3
"""newest iterations whose labels calibrate, while they are few"""

ENOUGH_PAIRS = 8
"""labels that calibrate without those of earlier iterations

An early model errs two to three times as much as its uncertainty says, a later one about as much: a few pairs
of the newest model are worth more than many of all."""

BoundsByMeasure = dict[str, dict[str, Bounds]]
"""The bounds of each measure's groups."""

Thresholds = dict[str, float | None]


def measures(strategy: Strategy) -> list[str]:
    """The measures by which a campaign's frames are classified."""
    return [COMMITTEE, KPU] if strategy.uncertainty == BOTH else [strategy.uncertainty]


def uncertainties(run: dict[str, Any], measure: str) -> Floats:
    """The uncertainty of a trajectory's frames by a measure, ``(n_frames,)`` in eV/Å; NaN where not known."""
    return trajectories.series(run, trajectories.MEASURES[measure])


def bounds_of_iteration(context: Context, runs: Sequence[dict[str, Any]]) -> BoundsByMeasure:
    """The thresholds of every group of an iteration by every measure of the campaign.

    Frames whose groups have the same target share calibrated thresholds: the target is met by all of them
    together. Relative thresholds are a group's own.

    Args:
        context: of the iteration.
        runs: its trajectories, with their series.

    Returns:
        ``{measure: {group: bounds}}``, the measures as `measures` gives them.

    Raises:
        InputError: a group has one absolute threshold only, or two that are not in order.
    """
    wanted = {run["group"]: _thresholds(context, run) for run in runs}
    found: BoundsByMeasure = {}
    for measure in measures(context.param.strategy):
        rules = _Rules(context.param.strategy, measure, calibration_before(context, measure))
        values = {
            group: [uncertainties(run, measure) for run in runs if run["group"] == group] for group in wanted
        }
        found[measure] = {
            group: rules.bounds(
                mine,
                values[group],
                [run for other in wanted if wanted[other] == mine for run in values[other]],
            )
            for group, mine in wanted.items()
        }
    return found


def upper_before(context: Context, plan: dict[str, Any], measure: str) -> float | None:
    """The upper threshold of a trajectory that is still to be run; None if its own frames will decide it."""
    rules = _Rules(context.param.strategy, measure, calibration_before(context, measure))
    return rules.upper(_thresholds(context, plan))


def uncertainty_at_selection(source: dict[str, Any], measure: str) -> float | None:
    """The uncertainty that a configuration was chosen by, from its ``source``; None if it has none."""
    value = source.get("uncertainty", {}).get(trajectories.MEASURES[measure])
    return value if value is not None and np.isfinite(value) else None


def classes_at_selection(context: Context, sources: Sequence[dict[str, Any]]) -> list[str | None]:
    """The classes of chosen frames by the iteration's thresholds, each the worst that a measure gives.

    None where thresholds or uncertainty are not known.
    """
    runs = trajectories.without_frames(context.db, context.campaign, context.index)
    groups = {run["_id"]: run["group"] for run in runs}
    found = []
    for source in sources:
        worst = -1
        for measure, of_group in context.iteration.get("thresholds", {}).items():
            u = uncertainty_at_selection(source, measure) if measure in trajectories.MEASURES else None
            bounds = of_group.get(groups.get(source.get("trajectory")))
            if u is not None and bounds is not None:
                worst = max(worst, (u >= bounds["lower"]) + (u >= bounds["upper"]))
        found.append(CLASSES[worst] if worst >= 0 else None)
    return found


def calibrations(context: Context) -> dict[str, dict[str, Any]]:
    """Calibrate each measure on the newest labels, as the models had them that chose the frames.

    Models change, and what their uncertainty means with them: whole iterations are taken, from this one
    backwards, until there are enough pairs, and no more than `WINDOW` of them.

    Returns:
        For each measure with a pair: the calibration, its ``pairs`` of uncertainty and force error (both
        eV/Å), the ``iterations`` that they are from, and the ``definition`` of the uncertainty.
    """
    first = context.index - WINDOW + 1
    labels = judged.of_iterations(context.db, context.campaign, first, context.index)
    found = {}
    for measure in measures(context.param.strategy):
        wanted = definition(context, measure)
        pairs: list[tuple[float, float]] = []
        used = []
        for index in range(context.index, first - 1, -1):
            fresh = [
                (u, label["model_error"]["force_rmse"])
                for label in labels
                if label["model_error"]["iteration"] == index
                and (measure == KPU or label["source"].get("deviation") == wanted)
                and (u := uncertainty_at_selection(label["source"], measure)) is not None
            ]
            pairs += fresh
            used += [index] if fresh else []
            if len(pairs) >= ENOUGH_PAIRS:
                break
        if pairs:
            table = np.array(pairs)
            found[measure] = {
                **calibration_document(calibrate_frames(table[:, 0], table[:, 1], measure)),
                "definition": wanted,
                "iterations": used,
                "pairs": table.tolist(),
            }
    return found


def calibration_before(context: Context, measure: str) -> Calibration | None:
    """The newest calibration of a measure from an earlier iteration; None while there is none.

    One of the other definition of a committee's deviation does not count.
    """
    wanted = definition(context, measure)
    for calibrations in iterations.newest_first(context.db, context.campaign, context.index, "calibration"):
        found = calibrations.get(measure)
        if found and not found["identity"] and found["definition"] == wanted:
            return calibration_of(found)
    return None


def is_calibrated(context: Context) -> bool:
    """Whether thresholds of the iteration, or of a part of it, follow the errors that labels have."""
    return any(_thresholds(context, plan)["target_force_error"] for plan in context.iteration["plan"])


def definition(context: Context, measure: str) -> str:
    """What the numbers of a measure are: the definition of the deviation, or ``kpu``.

    Other trainers have pair styles with a definition of their own, which their trajectories tell.
    """
    if measure == KPU:
        return KPU
    newest = trajectories.newest(context.db, context.campaign)
    told = trajectories.deviation(newest) if newest else None
    own = context.param.train.trainer == "alpw"
    return context.param.strategy.deviation if own or told is None else told


def _thresholds(context: Context, plan: dict[str, Any]) -> Thresholds:
    """What the inputs say about a trajectory's thresholds; see `alpw.config.strategy.override`."""
    return plan.get("thresholds") or override(context.param.strategy)


@dataclass(frozen=True)
class _Rules:
    """How a campaign's strategy turns what the inputs say into thresholds of one measure."""

    strategy: Strategy
    measure: str
    calibration: Calibration | None

    def bounds(self, wanted: Thresholds, group: Sequence[Floats], together: Sequence[Floats]) -> Bounds:
        """Thresholds of a group, from its trajectories and those of all groups that want the same."""
        target, strategy = wanted["target_force_error"], self.strategy
        if target and self.calibration:
            explored = np.concatenate([np.empty(0), *together])
            return calibrated(target, self._upper_error(target), self._expected_square, explored)
        rule: Rule = "uncalibrated" if target else "relative"
        return self._given(wanted) or relative(group, strategy.kpu_lower, strategy.kpu_upper, rule)

    def upper(self, wanted: Thresholds) -> float | None:
        """The upper threshold, if no frame is needed for it."""
        target = wanted["target_force_error"]
        if target and self.calibration:
            return calibrated(target, self._upper_error(target), self._expected_square, []).upper
        given = self._given(wanted)
        return given.upper if given else None

    def _given(self, wanted: Thresholds) -> Bounds | None:
        """Thresholds that the inputs give as numbers; None for relative ones.

        KPU has a scale of its own: unless it is said to be absolute, a force deviation is none of its
        thresholds.
        """
        if self.measure == KPU and self.strategy.kpu_mode == "relative":
            return None
        lower, upper = wanted["lower_model_devi_f"], wanted["upper_model_devi_f"]
        target = wanted["target_force_error"]
        if not target:
            return absolute(lower, upper)
        if lower is not None and upper is not None:
            return absolute(lower, upper, "uncalibrated")
        # A force error is a guess at a committee's deviation, and none at KPU.
        if self.measure == COMMITTEE:
            return absolute(target, self._upper_error(target), "uncalibrated")
        return None

    def _upper_error(self, target: float) -> float:
        """Expected error of a frame that is not trusted, eV/Å, in the strategy's ratio to its target."""
        usual, upper = self.strategy.target_force_error, self.strategy.upper_force_error
        return target * (upper / usual if upper and usual else UPPER_ERROR_FACTOR)

    def _expected_square(self, uncertainty: Floats) -> Floats:
        assert self.calibration is not None
        return np.square(self.calibration(uncertainty))
