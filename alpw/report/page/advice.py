"""What to do next with a campaign, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alpw.codes.failures import REMEDIES
from alpw.database.campaigns import IMPORTED, INIT_BULK, go_on_from, kind
from alpw.database.iteration_view import IterationView
from alpw.database.report_data import Failures

NEXT = {
    "running": "it goes on by itself; `alpw status {name}` tells how far it is, and the same "
    "`alpw {command}` goes on with it after anything that died.",
    "paused": "`alpw resume {name}` lets it go on.",
    "stopped": "`alpw resume {name}` lets it go on.",
    "converged": "try the model on what it is meant for: `alpw test MODEL FRAMES` compares it with "
    "labels of your own, and a hotter or larger stage in explore.md_jobs with `alpw run --update` goes on "
    "from here.",
    "exhausted": "look at the learning curve: if the error still falls, allow more "
    "(strategy.max_iterations or the budget that was spent) and go on with `alpw run --update`; if not, a "
    "larger net, a longer training or wider thresholds are due.",
    "stalled": "mend the cause above and give the same `alpw {command}` again; what succeeded stays.",
    "completed": "train on the data set, or name it as init_data of a campaign of active learning.",
}
"""By state; ``{name}`` is the campaign's, and ``{command}`` the one that began it."""


def advice(campaign: dict[str, Any], views: Sequence[IterationView], failures: Sequence[Failures]) -> str:
    """The next step: what the verdict asks for, else what the state does, and what its failures do.

    Args:
        campaign: its document.
        views: its iterations, oldest first; none of a campaign of init_bulk.
        failures: what of it failed.
    """
    if kind(campaign) == IMPORTED:
        return f"{go_on_from(campaign)}."
    command = "init_bulk" if kind(campaign) == INIT_BULK else "run"
    usual = NEXT.get(campaign["state"], "").format(name=campaign["_id"], command=command)
    step = next_step(campaign, views)
    text = f"{step}." if step else usual
    if failures and campaign["state"] in ("stalled", "running"):
        worst = failures[0]
        text += f" Most failures are of class {worst.kind.value}: {REMEDIES[worst.kind].advice}."
    return text


def next_step(campaign: dict[str, Any], views: Sequence[IterationView]) -> str:
    """What the newest verdict asks for, if the campaign has the state that it gave; empty otherwise."""
    # The last training has the verdict of the iteration before it, and asks for nothing.
    judged = [found for found in views if found.verdict and found.kind != "final"]
    return judged[-1].next_step if judged and judged[-1].verdict == campaign["state"] else ""
