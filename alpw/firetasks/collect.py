"""Count what the labels of an iteration came to, and decide what follows."""

from __future__ import annotations

from fireworks import FWAction, explicit_serialize

from alpw.database import campaigns, configurations, iterations
from alpw.database.configurations import State
from alpw.errors import CalculationError, FailureKind
from alpw.firetasks.base import CampaignTask, Context
from alpw.firetasks.evaluate import evaluate_history, fresh_label_errors
from alpw.firetasks.spawn import label_again
from alpw.sampling.converge import IterationOutcome, Verdict, judge
from alpw.workflows.launch import start_final, start_iteration

#: Times that a configuration is given to a label Firework which does not finish it.
MAX_ATTEMPTS = 3


@explicit_serialize
class CollectLabels(CampaignTask):
    """End an iteration: settle its labels, measure its errors, start what comes next or end the campaign.

    Label Fireworks that fizzled are allowed as parents: what they left undone is labelled again, a bounded
    number of times. Then the quorum decides whether enough labels came.
    """

    def work(self, context: Context) -> FWAction:
        """Settle, measure, judge, go on."""
        lost = configurations.release(context.db, context.campaign, context.index, MAX_ATTEMPTS)
        if lost:
            return label_again(context, lost)
        _settle_unfinished(context)
        outcome = _outcome(context)
        if context.index == iterations.PREPARATION:
            verdict, reason = _judge_preparation(context, outcome)
        else:
            context.record(fresh_errors=fresh_label_errors(context))
            evaluate_history(context.db, context.campaign)
            verdict, reason = _judge_iteration(context, outcome)
        context.record(
            stage="done",
            labelled=outcome.labelled,
            verdict=verdict.value,
            reason=reason,
            finished=campaigns.now(),
        )
        _follow(context, verdict, reason)
        return FWAction(stored_data={"verdict": verdict.value, "reason": reason})


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


def _outcome(context: Context) -> IterationOutcome:
    states = configurations.count_states(context.db, context.campaign, context.index)
    counts = context.iteration.get("counts", {})
    return IterationOutcome(
        index=context.index,
        frames=context.iteration.get("frames", 0),
        accurate=counts.get("accurate", 0),
        candidate=counts.get("candidate", 0),
        selected=sum(states.values()),
        labelled=states.get(State.LABELLED.value, 0),
    )


def _judge_preparation(context: Context, outcome: IterationOutcome) -> tuple[Verdict, str]:
    quorum = 1 - context.param.strategy.max_failed_ratio
    share = f"{outcome.labelled} of {outcome.selected} initial structures were labelled"
    if outcome.labelled == 0 or outcome.labelled < quorum * outcome.selected:
        return Verdict.STALLED, f"{share}, more failed than strategy.max_failed_ratio allows"
    return Verdict.CONTINUE, share


def _judge_iteration(context: Context, outcome: IterationOutcome) -> tuple[Verdict, str]:
    param = context.param
    stages = len(param.explore.md_jobs)
    return judge(
        outcome,
        n_stages=stages,
        max_iterations=param.strategy.max_iterations or stages,
        accurate_ratio=param.strategy.accurate_ratio,
        max_failed_ratio=param.strategy.max_failed_ratio,
    )


def _follow(context: Context, verdict: Verdict, reason: str) -> None:
    """Start the next workflow, or end the campaign."""
    if verdict is Verdict.STALLED:
        campaigns.finish(context.db, context.campaign, campaigns.CampaignState.STALLED, reason)
    elif verdict is Verdict.CONTINUE:
        start_iteration(context.launchpad, context.campaign, context.index + 1)
    else:
        start_final(context.launchpad, context.campaign, context.index + 1, verdict.value, reason)
