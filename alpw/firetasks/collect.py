"""Count what the labels of an iteration came to, and decide what follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from fireworks import FWAction, explicit_serialize

from alpw.config.strategy import Strategy
from alpw.database import campaigns, configurations, costs, iterations, judged
from alpw.database.configurations import State
from alpw.errors import CalculationError, FailureKind
from alpw.firetasks import stragglers
from alpw.firetasks.base import CampaignTask, Context
from alpw.firetasks.evaluate import error_in_use, evaluate_history, fresh_errors, judge_new_labels
from alpw.firetasks.forget import forget_frames
from alpw.firetasks.spawn import MAX_ATTEMPTS, call_first, label_again
from alpw.firetasks.thresholds import calibrations, is_calibrated
from alpw.notify import tell
from alpw.sampling.converge import (
    Budget,
    Criteria,
    IterationOutcome,
    Judgement,
    Standing,
    Verdict,
    judge,
    judge_preparation,
)
from alpw.workflows.launch import start_iteration


@explicit_serialize
class CollectLabels(CampaignTask):
    """End an iteration: settle its labels, measure its errors, start what comes next or end the campaign.

    Label Fireworks that fizzled are allowed as parents: what they left undone is labelled again, a bounded
    number of times. An iteration is judged once; a collector that finds it judged settles late labels only.

    Optional parameters:
        early: it comes with the quorum; labels that are still to come are left to those who make them.
        follows: id of the collector's Firework in whose place it comes, after the user's functions.
    """

    optional_params: ClassVar = ["early", "follows"]

    def work(self, context: Context) -> FWAction:
        """Settle, measure, judge, go on."""
        early = self.get("early", False) and stragglers.another_comes(context)
        if not early:
            lost = configurations.release(context.db, context.campaign, context.index, MAX_ATTEMPTS)
            if lost:
                return label_again(context, lost, self.get("follows"))
            _settle_unfinished(context)
        if not stragglers.take(context, early, self.get("follows")):
            return FWAction(stored_data={"last": stragglers.finish_when_settled(context)})
        before = stragglers.judged(context)
        if not before and (first := call_first(context, early)):
            return first
        verdict, reason = before or self._judge(context)
        _follow(context, verdict, reason)
        if not before:
            _tell(context, verdict, reason)
        if verdict is not Verdict.STALLED and not context.param.reserve_md_traj:
            forget_frames(context)
        return FWAction(stored_data={"verdict": verdict.value, "reason": reason})

    def _judge(self, context: Context) -> tuple[Verdict, str]:
        prepares = context.index == iterations.PREPARATION
        judgement = _judge_preparation(context) if prepares else _judge_iteration(context)
        context.record(
            stage="done",
            labelled=_labelled(context),
            dataset=judged.count_roles(context.db, context.campaign),
            core_hours=costs.spent(context.db, context.campaign, context.index),
            verdict=judgement.verdict.value,
            reason=judgement.reason,
            next_step=judgement.next_step,
            in_a_row=judgement.in_a_row,
            stage_converged=judgement.stage_converged,
            finished=campaigns.now(),
        )
        stragglers.keep(context, judgement.verdict, judgement.text)
        return judgement.verdict, judgement.text


def _settle_unfinished(context: Context) -> None:
    """Give configurations whose Firework fizzled a reason, so that none stays open for ever."""
    query = {
        "campaign": context.campaign,
        "iteration": context.index,
        "state": {"$in": list(configurations.PENDING_STATES)},
    }
    lost = CalculationError("the label's Firework fizzled; see lpad get_fws -s FIZZLED", FailureKind.UNKNOWN)
    for document in context.db[configurations.COLLECTION].find(query, {"_id": 1}):
        configurations.quarantine(context.db, document["_id"], lost)


def _labelled(context: Context) -> int:
    states = configurations.count_states(context.db, context.campaign, context.index)
    return states.get(State.LABELLED.value, 0)


def _outcome(context: Context, force_error: float | None = None) -> IterationOutcome:
    states = configurations.count_states(context.db, context.campaign, context.index)
    counts = context.iteration.get("counts", {})
    return IterationOutcome(
        frames=context.iteration.get("frames", 0),
        accurate=counts.get("accurate", 0),
        candidate=counts.get("candidate", 0),
        unreached=context.iteration.get("unreached", 0),
        # Late labels have neither succeeded nor failed.
        selected=sum(n for state, n in states.items() if state not in configurations.PENDING_STATES),
        labelled=_labelled(context),
        force_error=force_error,
        failure=judged.usual_failure(context.db, context.campaign, context.index),
    )


def _judge_preparation(context: Context) -> Judgement:
    return judge_preparation(_outcome(context), _criteria(context.param.strategy), _budgets(context, 0))


def _judge_iteration(context: Context) -> Judgement:
    """Measure what the new labels say about the models, and what follows."""
    judge_new_labels(context)
    fresh = fresh_errors(context)
    error, measured_on = error_in_use(fresh)
    context.record(
        fresh_errors=fresh,
        error_in_use={"force_rmse": error, "measured_on": measured_on},
        calibration=calibrations(context),
    )
    evaluate_history(context)
    strategy = context.param.strategy
    return judge(_outcome(context, error), _criteria(strategy), _standing(context))


def _criteria(strategy: Strategy) -> Criteria:
    calibrated = strategy.max_force_rmse is None
    return Criteria(
        accurate_ratio=strategy.accurate_ratio,
        max_force_rmse=strategy.target_force_error if calibrated else strategy.max_force_rmse,
        error_key="target_force_error" if calibrated else "max_force_rmse",
        converge_after=strategy.converge_after,
        max_failed_ratio=strategy.max_failed_ratio,
    )


def _standing(context: Context) -> Standing:
    history = iterations.of_campaign(context.db, context.campaign)
    explored = [past for past in history if past["kind"] == "explore" and past["index"] <= context.index]
    stages = [past["md_jobs"] for past in explored]
    again = len(stages) > 1 and stages[-2] == stages[-1]
    last = stages[-1] == len(context.param.explore.md_jobs) - 1
    return Standing(
        last_stage=last,
        held_before=explored[-2].get("in_a_row", 0) if again else 0,
        calibrated=is_calibrated(context),
        budgets=_budgets(context, stages.count(stages[-1]) if last else 0),
        errors=[past["heldout"]["force_rmse"] for past in explored if past.get("heldout")],
    )


def _budgets(context: Context, on_last_stage: int) -> list[Budget]:
    """What the campaign may use up, as far as it is limited."""
    db, name, explore = context.db, context.campaign, context.param.explore
    strategy, done = context.param.strategy, context.index + 1
    repeats = explore.stage_iterations
    usual = None if repeats else len(explore.md_jobs)
    # What is not limited is not counted: it takes a look at every label of the campaign.
    budgets: tuple[tuple[str, Callable[[], float], float | None, str], ...] = (
        ("strategy.max_iterations", lambda: done, strategy.max_iterations or usual, "iterations"),
        (
            "explore.stage_iterations",
            lambda: on_last_stage,
            repeats[-1] if repeats else None,
            "on the last stage",
        ),
        ("strategy.max_labels", lambda: judged.count_computed(db, name), strategy.max_labels, "labels"),
        (
            "strategy.max_core_hours",
            lambda: sum(costs.spent(db, name).values()),
            strategy.max_core_hours,
            "core-hours",
        ),
    )
    return [Budget(key, used(), limit, unit) for key, used, limit, unit in budgets if limit is not None]


def _follow(context: Context, verdict: Verdict, reason: str) -> None:
    """Start the next workflow, or end the campaign."""
    if verdict is Verdict.STALLED:
        campaigns.finish(context.db, context.campaign, campaigns.CampaignState.STALLED, reason)
    elif verdict is Verdict.CONTINUE:
        start_iteration(context.launchpad, context.campaign, context.index + 1)
    else:
        stragglers.finish_when_settled(context)


def _tell(context: Context, verdict: Verdict, reason: str) -> None:
    """News of what the campaign goes on or stalls with; that of its end comes with the last training."""
    if verdict in stragglers.LAST:
        return
    event, state = ("iteration", "running") if verdict is Verdict.CONTINUE else (verdict.value, verdict.value)
    done = "the preparation" if context.index == iterations.PREPARATION else f"iteration {context.index}"
    text = f"campaign {context.campaign}: {done} has ended, {_labelled(context)} labels; {reason}"
    news = {"event": event, "iteration": context.index, "state": state, "text": text}
    tell(context.param.webhook, campaign=context.campaign, **news)
