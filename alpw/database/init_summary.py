"""An init_bulk campaign at a glance, computed from the database alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from pymongo.database import Database

from alpw.database import calculations, campaigns, configurations, preparations
from alpw.database.summary import seconds_between


@dataclass(frozen=True)
class StructureSummary:
    """What came of one start structure so far.

    Attributes:
        name: of the start structure.
        state: running, done or incomplete.
        stage: what is being done with it.
        relax: state of its relaxation; None without one.
        structures: generated structures by stage.
        runs: runs of dynamics by state.
        labels: frames by state.
        frames: labelled frames by role.
        dropped: sampled frames that were left out, by reason.
        problems: what failed, in a line each.
    """

    name: str
    state: str
    stage: str
    relax: str | None
    structures: dict[str, int]
    runs: dict[str, int]
    labels: dict[str, int]
    frames: dict[str, int]
    dropped: dict[str, int]
    problems: list[str]


@dataclass(frozen=True)
class InitSummary:
    """What an init_bulk campaign has done, and how far it is.

    Attributes:
        campaign: its name.
        state: running, paused, stopped, completed or stalled.
        reason: why it has that state, once it has ended or is held.
        seconds: time from its creation to its end, or to now.
        work_dir: its folder.
        structures: the start structures in their order.
    """

    campaign: str
    state: str
    reason: str | None
    seconds: float
    work_dir: str
    structures: list[StructureSummary]

    @property
    def finished(self) -> bool:
        """Whether there is nothing to wait for: it has ended, or is stopped."""
        return self.state not in (campaigns.CampaignState.RUNNING.value, campaigns.CampaignState.PAUSED.value)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON; ``verdict`` repeats the state under the name that reports use."""
        return {**asdict(self), "verdict": self.state}


def summarise_init(db: Database, name: str) -> InitSummary:
    """Gather a campaign's summary; raises :class:`InputError` for an unknown name."""
    campaign = campaigns.get(db, name)
    runs = _counts(db, calculations.COLLECTION, name, "$task", "$state")
    frames = _counts(db, configurations.COLLECTION, name, "$role", "$state")
    return InitSummary(
        campaign=name,
        state=campaign["state"],
        reason=campaign["verdict"],
        seconds=seconds_between(campaign["created"], campaign.get("finished")),
        work_dir=campaign["work_dir"],
        structures=[
            _structure(document, runs[document["name"]], frames[document["name"]])
            for document in preparations.of_campaign(db, name)
        ],
    )


def _structure(
    document: dict[str, Any], runs: dict[tuple[str, str], int], frames: dict[tuple[str, str], int]
) -> StructureSummary:
    labels: Counter[str] = Counter()
    for (_, state), count in frames.items():
        labels[state] += count
    return StructureSummary(
        name=document["name"],
        state=document["state"],
        stage=document["stage"],
        relax=next((state for task, state in runs if task == "relax"), None),
        structures=document.get("structures", {}),
        runs={state: count for (task, state), count in runs.items() if task == "aimd"},
        labels=dict(labels),
        frames={role: count for (role, state), count in frames.items() if state == "labelled"},
        dropped=document.get("dropped", {}),
        problems=document.get("problems", []),
    )


def _counts(
    db: Database, collection: str, campaign: str, first: str, second: str
) -> defaultdict[str, dict[tuple[str, str], int]]:
    """Number of documents of each start structure by the values of two fields."""
    pipeline: list[dict[str, Any]] = [
        {"$match": {"campaign": campaign}},
        {"$group": {"_id": {"s": "$source.structure", "a": first, "b": second}, "count": {"$sum": 1}}},
    ]
    counts: defaultdict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for row in db[collection].aggregate(pipeline):
        key = row["_id"]
        counts[key["s"]][key["a"], key["b"]] = row["count"]
    return counts
