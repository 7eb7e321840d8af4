"""Going on before the last label is there: who collects an iteration, and what becomes of late labels.

With ``strategy.quorum`` below one, the chunk of labels that makes the quorum adds a collector when it ends.
The collector at the end of the labelling workflow stays: it sees that every label is settled in the end,
and judges if nobody has. One collector at a time may judge an iteration, and its verdict is kept, so that a
further one, or the same one run again, changes nothing. Labels that come after the verdict belong to the
training set of whatever iteration begins after them; the last training waits for all of them.
"""

from __future__ import annotations

from typing import Any

from fireworks import Workflow

from alpw.database import iterations, labels
from alpw.database.campaigns import CampaignState
from alpw.firetasks.base import Context, Surroundings
from alpw.sampling.converge import Verdict
from alpw.workflows.active_learning import firework
from alpw.workflows.launch import start_final

_GONE = (None, "FIZZLED", "DEFUSED", "ARCHIVED")
"""states of a Firework that will not go on by itself"""

LAST = frozenset({Verdict.CONVERGED, Verdict.EXHAUSTED})
"""verdicts that the last training follows"""


def begin_labels(context: Surroundings) -> None:
    """Say that labels are made, unless the iteration has been judged and these are late ones."""
    if not isinstance(context, Context) or not context.iteration.get("collector"):
        context.record(stage="label")


def early_collector(context: Surroundings) -> list[Workflow]:
    """The collector to add when a chunk ends: one, if the quorum is there and no chunk has added it before.

    Two chunks that end at the same time may both add one; of these one has nothing to do.
    """
    if not isinstance(context, Context) or context.param.strategy.quorum >= 1 or not quorum_reached(context):
        return []
    mine = {"spec.campaign": context.campaign, "spec.iteration": context.index, "spec.task": "CollectLabels"}
    fireworks = context.launchpad.fireworks
    if fireworks.find_one({**mine, "spec._tasks.early": True}, {"fw_id": 1}):
        return []
    title = "collect what is labelled"
    collector = firework("CollectLabels", title, context.campaign, context.index, early=True)
    return [Workflow([collector])]


def quorum_reached(context: Context) -> bool:
    """Whether so many labels are settled that the iteration may be judged although some are still to come.

    Where more of them failed than is allowed, the others are waited for: they may turn the verdict.
    """
    strategy = context.param.strategy
    found = labels.progress(context.db, context.campaign, context.index)
    if found.settled in (0, found.total) or found.settled < strategy.quorum * found.total:
        return False
    return found.quarantined <= strategy.max_failed_ratio * found.settled


def another_comes(context: Context) -> bool:
    """Whether there is a collector that will see to late labels; if not, this one does."""
    mine = {"spec.campaign": context.campaign, "spec.iteration": context.index, "spec.task": "CollectLabels"}
    ended = {"fw_id": {"$ne": context.fw_id}, "state": {"$nin": ["COMPLETED", *filter(None, _GONE)]}}
    return context.launchpad.fireworks.find_one({**mine, **ended}, {"fw_id": 1}) is not None


def take(context: Context, early: bool, follows: int | None = None) -> bool:
    """Become the one collector that judges the iteration; False if there is nothing to judge.

    Args:
        context: of the collector.
        early: whether it comes before the last label.
        follows: the collector in whose place it comes, when the user's functions have been called.
    """
    holder = context.iteration.get("collector")
    # One that has begun ends it, although the last label may have come meanwhile.
    mine = holder is not None and _holds(context, holder, follows)
    if early and not mine and not quorum_reached(context):
        return False
    if holder and not mine and not _may_replace(context, holder):
        return False
    return iterations.take_over(context.db, context.campaign, context.index, holder, context.fw_id)


def _holds(context: Context, holder: dict[str, Any], follows: int | None) -> bool:
    return holder["fw_id"] == context.fw_id or (holder["fw_id"] == follows and "verdict" not in holder)


def _may_replace(context: Context, holder: dict[str, Any]) -> bool:
    if "verdict" in holder:
        # What stalled is judged again when the user has mended it.
        running = context.document["state"] == CampaignState.RUNNING.value
        return running and holder["verdict"] == Verdict.STALLED.value
    found = context.launchpad.fireworks.find_one({"fw_id": holder["fw_id"]}, {"state": 1}) or {}
    return found.get("state") in _GONE


def judged(context: Context) -> tuple[Verdict, str] | None:
    """The verdict that this collector has reached before, in a run that was cut short."""
    holder = context.iteration.get("collector") or {}
    if holder.get("fw_id") != context.fw_id or holder.get("verdict") in (None, Verdict.STALLED.value):
        return None
    return Verdict(holder["verdict"]), holder["reason"]


def keep(context: Context, verdict: Verdict, reason: str) -> None:
    """Make a verdict the one that counts."""
    holder = {"fw_id": context.fw_id, "verdict": verdict.value, "reason": reason}
    context.record(collector=holder)


def finish_when_settled(context: Context) -> bool:
    """Begin the last training if the campaign's end is decided and no label is still to come.

    Whoever settles the last label and whoever decides both ask, so that one of them finds both true.
    """
    newest = iterations.latest(context.db, context.campaign)
    verdict = ((newest or {}).get("collector") or {}).get("verdict")
    if newest is None or verdict not in {last.value for last in LAST}:
        return False
    if labels.pending(context.db, context.campaign):
        return False
    start_final(
        context.launchpad, context.campaign, newest["index"] + 1, verdict, newest["collector"]["reason"]
    )
    return True
