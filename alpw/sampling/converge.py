"""When the campaign is done, what that claim rests on, and what to do otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

STILL_FALLING = 0.05
"""part by which the held-out error falls per iteration while more iterations are worth their labels"""

MOSTLY = 0.5
"""share of frames that are not trusted, and so never labelled, from which they are worth a word"""

CHANCE = 0.05
"""probability below which failures are not put down to chance: of few labels many may fail"""

RECENT = 3
"""newest iterations that the trend of the error is taken from"""


class Verdict(str, Enum):
    """How an iteration, and with it perhaps the campaign, ended."""

    CONTINUE = "continue"
    CONVERGED = "converged"
    EXHAUSTED = "exhausted"
    STALLED = "stalled"


@dataclass(frozen=True)
class Criteria:
    """What convergence asks for.

    Attributes:
        accurate_ratio: share of accurate frames.
        max_force_rmse: force error on labels that the models have not seen, eV/Å; None is not asked.
        error_key: what the user calls ``max_force_rmse``: this, or ``target_force_error``.
        converge_after: iterations in a row on the last stage in which both must hold.
        max_failed_ratio: share of labels that may fail; an iteration's must be above it by more than chance.
    """

    accurate_ratio: float
    max_force_rmse: float | None = None
    error_key: str = "max_force_rmse"
    converge_after: int = 1
    max_failed_ratio: float = 0.5


@dataclass(frozen=True)
class IterationOutcome:
    """What one iteration found and what became of its labels.

    Attributes:
        frames, accurate, candidate: explored, by class.
        selected: frames given to be labelled, training and validation.
        labelled: those that have a label.
        force_error: of the model that explored, on labels that it has not seen, eV/Å; None without any.
        failure: what most of the labels that failed died of; empty if none did.
        unreached: frames that trajectories did not come to, because they became unphysical before. Bad models
            may agree until then, so these count as frames that are not accurate.
    """

    frames: int
    accurate: int
    candidate: int
    selected: int
    labelled: int
    force_error: float | None = None
    failure: str = ""
    unreached: int = 0

    @property
    def share(self) -> float:
        """Of accurate frames, among those that were explored or should have been."""
        wanted = self.frames + self.unreached
        return self.accurate / wanted if wanted else 0.0


@dataclass(frozen=True)
class Budget:
    """A limit of the campaign: its key, how much is used up, and what of.

    Attributes:
        key: of param.json, as a person looks for it.
        spent, limit: in ``unit``; reached when not below.
        unit: such as ``iterations``.
    """

    key: str
    spent: float
    limit: float
    unit: str

    def __str__(self) -> str:
        return f"{self.key} is used up ({self.spent:.4g} of {self.limit:.4g} {self.unit})"


@dataclass(frozen=True)
class Standing:
    """Where the campaign stands besides this iteration.

    Attributes:
        last_stage: whether it explored by the last entry of ``md_jobs``.
        held_before: iterations in a row, directly before and on the same stage, in which the criteria held.
        calibrated: whether thresholds will follow the errors that were found.
        budgets: the limits that are set.
        errors: force errors of the iterations' models on the same held-out frames, oldest first, eV/Å.
    """

    last_stage: bool = True
    held_before: int = 0
    calibrated: bool = False
    budgets: Sequence[Budget] = ()
    errors: Sequence[float] = ()

    @property
    def fall(self) -> float | None:
        """Part by which the held-out error fell per iteration of late; None before there are two."""
        recent = self.errors[-RECENT:]
        if len(recent) < 2 or recent[0] <= 0:
            return None
        return float(1 - (recent[-1] / recent[0]) ** (1 / (len(recent) - 1)))


@dataclass(frozen=True)
class Judgement:
    """What follows an iteration.

    Attributes:
        verdict: what follows.
        reason: why, in one sentence without a stop.
        next_step: what the user can do about it; empty where nothing is needed.
        in_a_row: iterations in a row of this stage in which the criteria held, this one included.
        stage_converged: whether that is enough to go on to the next stage.
    """

    verdict: Verdict
    reason: str
    next_step: str = ""
    in_a_row: int = 0
    stage_converged: bool = False

    @property
    def text(self) -> str:
        """Reason and next step."""
        return f"{self.reason}; {self.next_step}" if self.next_step else self.reason


def judge(outcome: IterationOutcome, criteria: Criteria, standing: Standing) -> Judgement:
    """Decide what follows an iteration, say why, and what to do about it.

    The campaign converges only on its last exploration stage: an easy first stage proves nothing about a
    later, hotter one. An iteration that explored nothing, or whose labels mostly failed, stalls the campaign
    instead of going on without data; so does one after which another would do the same again.
    """
    if outcome.frames == 0:
        step = "see how its trajectories ended, mend the start structures or md_jobs, and run again"
        return Judgement(Verdict.STALLED, "exploration gave no frame", step)
    if stalled := _failed_labels(outcome, criteria, "frames"):
        return stalled
    has_ratio = outcome.share >= criteria.accurate_ratio
    has_error = criteria.max_force_rmse is None or (
        outcome.force_error is not None and outcome.force_error <= criteria.max_force_rmse
    )
    in_a_row = standing.held_before + 1 if has_ratio and has_error else 0
    converged = in_a_row >= criteria.converge_after
    found = _found(outcome, criteria, in_a_row)

    def judged(verdict: Verdict, reason: str = found, next_step: str = "") -> Judgement:
        return Judgement(verdict, reason, next_step, in_a_row, converged)

    if converged and standing.last_stage:
        return judged(Verdict.CONVERGED)
    for budget in standing.budgets:
        if budget.spent >= budget.limit:
            step = _after_budget(outcome, criteria, standing, budget)
            return judged(Verdict.EXHAUSTED, f"{budget}, {found}", step)
    if standing.last_stage and not in_a_row and (why := _in_vain(outcome, criteria, standing, has_ratio)):
        return judged(Verdict.STALLED, *why)
    return judged(Verdict.CONTINUE)


def judge_preparation(
    outcome: IterationOutcome, criteria: Criteria, budgets: Sequence[Budget] = ()
) -> Judgement:
    """Decide whether the first data set is enough to begin with, and whether a budget is left for more."""
    share = f"{outcome.labelled} of {outcome.selected} initial structures were labelled"
    nothing = Judgement(Verdict.STALLED, share, "give structures that can be labelled")
    spent = next((budget for budget in budgets if budget.spent >= budget.limit), None)
    if outcome.labelled:
        nothing = Judgement(Verdict.CONTINUE, share)
        if spent:
            step = f"raise {spent.key} and give alpw run --update"
            nothing = Judgement(Verdict.EXHAUSTED, f"{spent}, {share}", step)
    return _failed_labels(outcome, criteria, "initial structures") or nothing


def _failed_labels(outcome: IterationOutcome, criteria: Criteria, what: str) -> Judgement | None:
    failed = outcome.selected - outcome.labelled
    everything = failed and not outcome.labelled
    if not failed:
        return None
    if not everything and _by_chance(failed, outcome.selected, criteria.max_failed_ratio) > CHANCE:
        return None
    limit = f"strategy.max_failed_ratio = {criteria.max_failed_ratio:g}"
    reason = f"{outcome.labelled} of {outcome.selected} {what} were labelled, more failed than {limit} allows"
    if everything:
        reason = f"{outcome.labelled} of {outcome.selected} {what} were labelled"
    if outcome.failure:
        reason += f"; mostly {outcome.failure}"
    step = (
        "mend the cause and run again, what has a label keeps it; "
        "or raise strategy.max_failed_ratio and give alpw run --update"
    )
    return Judgement(Verdict.STALLED, reason, step)


def _by_chance(failed: int, number: int, share: float) -> float:
    """Probability of so many failures or more among a number of labels of which a share fails."""
    # Imported late: it takes a second, and few labels fail.
    from scipy.stats import binom

    return float(binom.sf(failed - 1, number, share))


def _found(outcome: IterationOutcome, criteria: Criteria, in_a_row: int) -> str:
    parts = [
        f"{outcome.share:.1%} of the frames are accurate "
        f"(strategy.accurate_ratio = {criteria.accurate_ratio:g})"
    ]
    if outcome.unreached:
        planned = outcome.frames + outcome.unreached
        parts.append(f"trajectories became unphysical before {outcome.unreached} of {planned} frames")
    if criteria.max_force_rmse is not None:
        wanted = f"(strategy.{criteria.error_key} = {criteria.max_force_rmse:g})"
        error = "not known" if outcome.force_error is None else f"{outcome.force_error:.3g} eV/Å"
        parts.append(f"the force error on labels that the model has not seen is {error} {wanted}")
    if criteria.converge_after > 1 and in_a_row:
        parts.append(f"so far in {in_a_row} of {criteria.converge_after} iterations in a row")
    return ", ".join(parts)


def _in_vain(
    outcome: IterationOutcome, criteria: Criteria, standing: Standing, has_ratio: bool
) -> tuple[str, str] | None:
    """Why another iteration of the same kind would add nothing, and the way out; None if it would."""
    if outcome.candidate and not outcome.selected:
        reason = "no candidate passed the checks, so repeating adds nothing"
        return reason, "see for which reasons frames were left out, and relax that rule or change md_jobs"
    if not has_ratio or outcome.candidate:
        return None
    if outcome.force_error is None:
        reason = f"{_found(outcome, criteria, 0)}: all frames are accurate, and no label says how accurate"
        return reason, "set strategy.validation_frames, so that some are labelled and held out"
    if standing.calibrated:
        return None
    return f"{_found(outcome, criteria, 0)}: no frame is left to learn from", _LOWER


_LOWER = "lower strategy.lower_model_devi_f, or give strategy.target_force_error instead of thresholds"


def _after_budget(outcome: IterationOutcome, criteria: Criteria, standing: Standing, budget: Budget) -> str:
    """What to do when a budget ended a campaign that has not converged."""
    more = f"raise {budget.key} and give alpw run --update"
    has_ratio = outcome.share >= criteria.accurate_ratio
    error, wanted = outcome.force_error, criteria.max_force_rmse
    if not standing.last_stage:
        return f"the last entry of md_jobs has not been explored: {more}"
    if has_ratio and wanted is not None and (error is None or error > wanted):
        if error is None:
            return "nothing measures the force error: set strategy.validation_frames"
        if not standing.calibrated:
            return f"the accurate ratio holds but the force error does not: {_LOWER}"
    elif has_ratio:
        return f"the criteria hold, but not yet in {criteria.converge_after} iterations in a row: {more}"
    if outcome.unreached > MOSTLY * (outcome.frames + outcome.unreached):
        return f"models drive trajectories apart: train longer, or begin with milder md_jobs; then {more}"
    failed = 1 - (outcome.accurate + outcome.candidate) / outcome.frames
    if failed > MOSTLY:
        return (
            f"{failed:.0%} of the frames are above the upper threshold, and never labelled: raise "
            f"strategy.upper_model_devi_f or upper_force_error, or begin with milder md_jobs; then {more}"
        )
    fall = standing.fall
    if fall is None:
        return more
    if fall >= STILL_FALLING:
        return f"the held-out force error still falls by {fall:.0%} per iteration: {more}"
    return (
        "the held-out force error does not fall any more: a larger network, longer training, a larger cutoff "
        f"or wider thresholds will do more than iterations; for these, {more}"
    )
