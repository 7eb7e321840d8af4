"""One campaign at a glance, computed from the database alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from pymongo.database import Database

from alpw.database import campaigns, configurations, iterations, models
from alpw.database import labels as label_counts
from alpw.database.configurations import State


@dataclass(frozen=True)
class IterationSummary:
    """Counts and held-out errors (eV/Å, eV/atom) of one iteration; errors are None before they are known.

    ``unreached`` frames are those that trajectories did not come to, because they became unphysical before.
    """

    index: int
    stage: str
    frames: int
    accurate: int
    candidate: int
    failed: int
    selected: int
    labelled: int
    quarantined: int
    force_rmse_heldout: float | None
    energy_rmse_heldout: float | None
    unreached: int = 0


@dataclass(frozen=True)
class CampaignSummary:
    """What a campaign has done, and how far it is.

    Attributes:
        campaign: its name.
        state: running, paused, stopped, converged, exhausted or stalled.
        reason: why it has that state, once it has ended or is held.
        seconds: time from its creation to its end, or to now; None of an imported campaign.
        work_dir: its folder.
        stage: what the newest iteration is doing.
        iterations: explorations, oldest first.
        initial_labels: labels of the first data set.
        labels: labels by state, over the whole campaign.
        errors: quarantined labels by kind of failure.
        heldout_frames: number of frames behind the held-out errors.
        final: errors and id of the final model; None before the end.
        stragglers: labels still to come of iterations that have been judged, by index.
    """

    campaign: str
    state: str
    reason: str | None
    seconds: float | None
    work_dir: str
    stage: str
    iterations: list[IterationSummary]
    initial_labels: int
    labels: dict[str, int]
    errors: dict[str, int]
    heldout_frames: int
    final: dict[str, Any] | None
    stragglers: dict[int, int] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether there is nothing to wait for: it has ended, or is stopped."""
        return self.state not in (campaigns.CampaignState.RUNNING.value, campaigns.CampaignState.PAUSED.value)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON; ``verdict`` repeats the state under the name that reports use."""
        return {**asdict(self), "verdict": self.state}


def summarise(db: Database, name: str) -> CampaignSummary:
    """Gather a campaign's summary; raises :class:`InputError` for an unknown name."""
    campaign = campaigns.get(db, name)
    documents = iterations.of_campaign(db, name)
    prepared = [document for document in documents if document["kind"] == "prepare"]
    states = configurations.count_by_iteration(db, name)
    explored = [
        _iteration(document, states.get(document["index"], {}))
        for document in documents
        if document["kind"] == "explore"
    ]
    final = next((document for document in documents if document["kind"] == "final"), None)
    labels: Counter[str] = sum((Counter(counts) for counts in states.values()), Counter())
    return CampaignSummary(
        campaign=name,
        state=campaign["state"],
        reason=campaign["verdict"],
        seconds=_seconds(campaign),
        work_dir=campaign["work_dir"],
        stage=_stage(documents),
        iterations=explored,
        initial_labels=sum(
            states.get(document["index"], {}).get(State.LABELLED.value, 0) for document in prepared
        ),
        labels=dict(sorted(labels.items())),
        errors=configurations.count_errors(db, name),
        heldout_frames=max(
            (document.get("heldout", {}).get("n_frames", 0) for document in documents), default=0
        ),
        final=_final(db, name, final),
        stragglers=_stragglers(db, name, documents),
    )


def _stragglers(db: Database, name: str, documents: list[dict[str, Any]]) -> dict[int, int]:
    judged = {document["index"] for document in documents if document["stage"] == "done"}
    return {index: n for index, n in label_counts.pending(db, name).items() if index in judged}


def _seconds(campaign: dict[str, Any]) -> float | None:
    if campaigns.kind(campaign) == campaigns.IMPORTED:
        return None
    return seconds_between(campaign["created"], campaign.get("finished"))


def seconds_between(started: datetime, finished: datetime | None) -> float:
    """Seconds from one time to another, or to now."""
    return round(((finished or campaigns.now()) - started).total_seconds(), 1)


def _stage(documents: list[dict[str, Any]]) -> str:
    if not documents:
        return "starting"
    newest = documents[-1]
    name = {"prepare": "preparation", "final": "final training"}.get(newest["kind"])
    return f"{name or 'iteration ' + str(newest['index'])}: {newest['stage']}"


def _iteration(document: dict[str, Any], states: dict[str, int]) -> IterationSummary:
    counts = document.get("counts", {})
    heldout = document.get("heldout", {})
    return IterationSummary(
        index=document["index"],
        stage=document["stage"],
        frames=document.get("frames", 0),
        accurate=counts.get("accurate", 0),
        candidate=counts.get("candidate", 0),
        failed=counts.get("failed", 0),
        selected=sum(states.values()),
        labelled=states.get(State.LABELLED.value, 0),
        quarantined=states.get(State.QUARANTINED.value, 0),
        force_rmse_heldout=heldout.get("force_rmse"),
        energy_rmse_heldout=heldout.get("energy_rmse"),
        unreached=document.get("unreached", 0),
    )


def _final(db: Database, name: str, document: dict[str, Any] | None) -> dict[str, Any] | None:
    if document is None or "model_file" not in document:
        return None
    heldout = document.get("heldout", {})
    return {
        "model": document["model_file"],
        "members": len(models.committee(db, name, document["index"])),
        "force_rmse_heldout": heldout.get("force_rmse"),
        "energy_rmse_heldout": heldout.get("energy_rmse"),
    }
