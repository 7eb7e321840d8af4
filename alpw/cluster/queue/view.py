"""Fireworks and jobs of a campaign by category: the LaunchPad's words next to SLURM's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fireworks import LaunchPad

from alpw.cluster import slurm
from alpw.cluster.queue.ends import End
from alpw.cluster.queue.held import held_launches, job_of
from alpw.database import queue_events
from alpw.workflows.firework import CATEGORIES

#: Seconds for which an answer of squeue is waited for.
PATIENCE = 5.0

STATES = ("READY", "RESERVED", "RUNNING", "FIZZLED")


@dataclass
class CategoryView:
    """One category of Fireworks.

    Attributes:
        states: number of Fireworks by state, of those that are to be done.
        jobs: number of their jobs by SLURM's word for the state.
        reasons: number of waiting jobs by SLURM's reason.
        gone: number of Fireworks whose job is gone.
    """

    states: Counter[str] = field(default_factory=Counter)
    jobs: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    gone: int = 0


@dataclass
class QueueView:
    """What of a campaign waits and runs.

    Attributes:
        categories: with something to do, by name.
        silent: whether SLURM was asked and did not answer.
        ends: jobs that ended before their Firework did, by how.
    """

    categories: dict[str, CategoryView]
    silent: bool
    ends: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        categories = {
            name: {"states": dict(v.states), "jobs": dict(v.jobs), "reasons": dict(v.reasons), "gone": v.gone}
            for name, v in self.categories.items()
        }
        return {"categories": categories, "silent": self.silent, "ends": self.ends}


def look(launchpad: LaunchPad, campaign: str) -> QueueView:
    """Count a campaign's Fireworks and jobs; SLURM is asked only when a Firework has a job there."""
    found = {category: CategoryView() for category in CATEGORIES}
    place = {}
    query = {"spec.campaign": campaign, "state": {"$in": list(STATES)}}
    fields = {"fw_id": 1, "state": 1, "spec._category": 1}
    for firework in launchpad.fireworks.find(query, fields):
        category = firework["spec"]["_category"]
        place[firework["fw_id"]] = category
        found.setdefault(category, CategoryView()).states[firework["state"]] += 1
    launches = held_launches(launchpad, campaign)
    answer = slurm.live_jobs(PATIENCE) if launches else {}
    live = answer or {}
    for launch in launches if answer is not None else ():
        view = found[place.get(launch["fw_id"], CATEGORIES[0])]
        job = job_of(launch, live)
        if job is None:
            view.gone += 1
            continue
        view.jobs[live[job].state] += 1
        if live[job].state == "PENDING":
            view.reasons[live[job].reason] += 1
    ends = Counter(event["end"] for event in queue_events.of_campaign(launchpad.db, campaign))
    del ends[End.OWN.value]
    busy = {category: view for category, view in found.items() if view.states}
    return QueueView(busy, answer is None, dict(ends))
