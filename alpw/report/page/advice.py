"""What to do next with a campaign, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alpw.codes.failures import REMEDIES
from alpw.database.campaigns import INIT_BULK, kind
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


def advice(campaign: dict[str, Any], failures: Sequence[Failures]) -> str:
    """The next step: what the campaign says itself, else what its state and its failures ask for.

    Args:
        campaign: its document.
        failures: what of it failed.
    """
    given = campaign.get("next") or campaign.get("advice")
    command = "init_bulk" if kind(campaign) == INIT_BULK else "run"
    usual = NEXT.get(campaign["state"], "").format(name=campaign["_id"], command=command)
    text = str(given) if given else usual
    if failures and campaign["state"] in ("stalled", "running"):
        worst = failures[0]
        text += f" Most failures are of class {worst.kind.value}: {REMEDIES[worst.kind].advice}."
    return text
