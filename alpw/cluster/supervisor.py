"""Supervise campaigns: keep their workers alive, submit their jobs, repair what dies, say how they ended.

One process supervises a campaign at a time: the one that has its lease (`alpw.database.leases`).
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from fireworks import LaunchPad
from fireworks.core.launchpad import LockedWorkflowError
from pymongo.database import Database

from alpw.cluster import recovery, worker
from alpw.cluster.hold import held_by_hand
from alpw.cluster.interrupts import postponed
from alpw.cluster.journal import Journal
from alpw.cluster.queue import reconcile
from alpw.cluster.queue.files import categories_of, local_categories, queue_blocks
from alpw.cluster.queue.launcher import Launcher
from alpw.config.resource import InitResource, Resource
from alpw.database import campaigns, leases
from alpw.database.owner import is_here, process_identity
from alpw.errors import AlpwError

logger = logging.getLogger(__name__)

#: Seconds between repairs and checks of the workers.
ROUND = 5.0
#: Seconds between two looks into the queue for jobs that are gone.
QUEUE_ROUND = 15.0
#: Seconds after which a locked workflow is worth a line.
LONG_LOCK = 10.0

RESOURCES: dict[str, type[Resource]] = {
    campaigns.ACTIVE_LEARNING: Resource,
    campaigns.INIT_BULK: InitResource,
}
"""kind of campaign -> model of the resources in its document"""


class Summary(Protocol):
    """What the supervision needs to know of a campaign."""

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        ...


AnySummary = TypeVar("AnySummary", bound=Summary)


class CampaignStuck(AlpwError):
    """Nothing of the campaign can run any more, and it has not ended; the message lists why."""


class JobRefused(CampaignStuck):
    """The same, because SLURM takes no job of what there is to do, for reasons that do not pass."""


class Supervised(AlpwError):
    """Another process supervises the campaign; the message says which one, and since when."""


@dataclass
class Supervisor(Generic[AnySummary]):
    """Supervision of one campaign.

    Attributes:
        launchpad_file: absolute path of my_launchpad.yaml, which the workers read too.
        campaign: its name.
        directory: its folder.
        resource: decides between local workers and the queue; what the campaign's document holds wins.
        workers: most local workers at a time.
        summarise: looks at the campaign.
        on_update: called with the summary about once a second.
        on_trouble: called with one line when something is worth knowing.
        waits: for the lease while another process has it, instead of raising.
        owner: this process, as leases name it.
        leads: whether this process has the lease, as far as it knows.
    """

    launchpad_file: Path
    campaign: str
    directory: Path
    resource: Resource
    workers: int
    summarise: Callable[[Database, str], AnySummary]
    on_update: Callable[[AnySummary], None]
    on_trouble: Callable[[str], None]
    waits: bool = True
    owner: str = field(default_factory=process_identity)
    leads: bool = False
    journal: Journal = field(init=False)
    launcher: Launcher = field(init=False)
    _locked_since: dict[Any, float] = field(default_factory=dict)
    _told_of_lock: bool = False
    _other: str | None = None
    _stored_resource: dict[str, Any] | None = None
    _next_round: float = 0.0
    _next_queue_round: float = 0.0
    _last_obstacles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal = Journal(self.directory)
        self.launcher = Launcher(
            self.launchpad_file,
            self.campaign,
            self.directory,
            self.journal,
            # Not the function itself, which the caller may exchange.
            lambda line: self.on_trouble(line),
        )

    def step(self, launchpad: LaunchPad) -> AnySummary:
        """Look at the campaign, and once in `ROUND` seconds tend it.

        Raises:
            CampaignStuck: Fireworks fizzled for good and hold up the rest, or nothing is left to run.
            Supervised: another process has the lease, and this one does not wait for it.
        """
        summary = self.summarise(launchpad.db, self.campaign)
        self.on_update(summary)
        if not summary.finished and time.monotonic() >= self._next_round:
            try:
                self.tend(launchpad)
            except LockedWorkflowError as error:
                self.journal.note("waits", str(error))
            self._next_round = time.monotonic() + ROUND
        return summary

    def take_lease(self, db: Database) -> bool:
        """Whether this process may tend the campaign: it has the lease, is given it, or keeps it for longer.

        Raises:
            Supervised: another process has it, and this one does not wait.
        """
        lease = leases.take(db, self.campaign, self.owner)
        led, self.leads = self.leads, lease["owner"] == self.owner
        if self.leads and not led:
            self.journal.note("supervised", f"by {self.owner}")
            if self._other is not None:
                self.on_trouble(f"campaign '{self.campaign}' is supervised from here now")
        if not self.leads and lease["owner"] != self._other:
            text = held_by(lease)
            if led:
                self.journal.note("lost", f"the lease of {self.owner}: {text}")
            if not self.waits:
                raise Supervised(text)
            self.on_trouble(f"{text}; this command watches, and goes on with it when that ends")
        self._other = None if self.leads else lease["owner"]
        return self.leads

    def release_lease(self, db: Database) -> None:
        """Let another process supervise the campaign at once; its workers and jobs go on."""
        if self.leads:
            leases.release(db, [self.campaign], self.owner)
            self.journal.note("released", f"by {self.owner}")
            self.leads = False
        self.journal.close()

    def tend(self, launchpad: LaunchPad) -> None:
        """One round: repair, then see that somebody works, unless the campaign is held.

        Raises:
            CampaignStuck, Supervised: see :meth:`step`.
        """
        if not self.take_lease(launchpad.db):
            return
        self._heed_changes(launchpad.db)
        queued = queue_blocks(self.resource)
        alone = not queued and not worker.living(self.directory)
        repaired = recovery.recover(launchpad, self.campaign, self._locked_since, alone=alone)
        for what, count in repaired.items():
            if count:
                self.journal.note("repaired", f"{count} {what}", count)
        if self._waits_for_lock():
            return
        self._look_into_queue(launchpad)
        if not campaigns.is_running(launchpad.db, self.campaign):
            return
        if queued:
            categories = local_categories(self.resource)
            # Bookkeeping alone keeps one worker busy.
            self._staff(launchpad, categories, most=1 if len(categories) == 1 else self.workers)
            self.launcher.launch(launchpad, self.resource, lambda: self.take_lease(launchpad.db))
        else:
            self._staff(launchpad, categories=[], most=self.workers)
        self._see_that_something_runs(launchpad)

    def _waits_for_lock(self) -> bool:
        """Whether a workflow stays locked; whatever changes one would wait for it, jobs and workers too."""
        since = min(self._locked_since.values(), default=math.inf)
        long = time.monotonic() - since > LONG_LOCK
        if long and not self._told_of_lock:
            text = "a workflow is locked by a process that is busy or dead; nothing is begun until it is free"
            self.journal.note("waits", text)
            self.on_trouble(text)
        self._told_of_lock = long
        return bool(self._locked_since)

    def _heed_changes(self, db: Database) -> None:
        """Take over the resources that `--update` has stored since the last round, by whatever command."""
        document = campaigns.get(db, self.campaign)
        stored = document.get("resolved", {}).get("resource")
        if stored is not None and stored != self._stored_resource:
            self.resource = RESOURCES[campaigns.kind(document)].model_validate(stored)
            self.launcher.forget_refusals()
            self._stored_resource = stored

    def _staff(self, launchpad: LaunchPad, categories: list[str], most: int) -> None:
        """Start workers for the work that there is, up to the bound, which other commands share.

        Workers of other hosts do not count: nobody can tell from here whether they live.
        """
        wanted = min(most, recovery.active(launchpad, self.campaign, categories))
        with worker.staffing(self.directory):
            present = sum(map(is_here, worker.living(self.directory)))
            for _ in range(wanted - present):
                with postponed():
                    pid = worker.spawn(self.launchpad_file, self.campaign, self.directory, categories)
                self.journal.note("started", f"worker {pid} for {', '.join(categories) or 'everything'}")

    def _look_into_queue(self, launchpad: LaunchPad) -> None:
        if time.monotonic() >= self._next_queue_round:
            self._next_queue_round = time.monotonic() + QUEUE_ROUND
            if lost := reconcile.rerun_lost_jobs(launchpad, self.campaign):
                text = f"{lost} jobs are gone from the queue; their Fireworks run again"
                self.journal.note("lost", text, lost)
                self.on_trouble(text)

    def _see_that_something_runs(self, launchpad: LaunchPad) -> None:
        refused = self.launcher.refusals()
        kinds = [kind for name in refused for kind in categories_of(self.resource, name)]
        waiting = launchpad.fireworks.count_documents(
            {"spec.campaign": self.campaign, "spec._category": {"$in": kinds}, "state": "READY"}
        )
        reasons: list[str] = []
        if recovery.active(launchpad, self.campaign) <= waiting:
            reasons = self._obstacles(launchpad, [*refused.values()] if waiting else [])
        # In two rounds: somebody may just be letting a held campaign go on.
        if reasons and reasons == self._last_obstacles:
            self.journal.note("stuck", "; ".join(reasons))
            if set(reasons) <= set(refused.values()):
                raise JobRefused("\n".join(reasons))
            lines = "\n".join(f"  {reason}" for reason in reasons)
            raise CampaignStuck(f"campaign '{self.campaign}' cannot go on:\n{lines}")
        self._last_obstacles = reasons

    def _obstacles(self, launchpad: LaunchPad, refused: list[str]) -> list[str]:
        """Why nothing of a campaign that has not ended can run any more."""
        if self.summarise(launchpad.db, self.campaign).finished:
            return []
        if recovery.waits_for_queue(launchpad, self.campaign):
            return []
        failed = recovery.failure_reasons(launchpad, self.campaign)
        reasons = refused + [f"{firework}: {reason}" for firework, reason in failed.items()]
        reasons += held_by_hand(launchpad, self.campaign)
        return reasons or recovery.dead_end(launchpad, self.campaign)


def held_by(lease: dict[str, Any]) -> str:
    """Who supervises a campaign, in a sentence."""
    since = f"{lease['since']:%Y-%m-%d %H:%M:%S} UTC"
    return f"campaign '{lease['_id']}' is supervised by {lease['owner']} (host/pid/start) since {since}"


def default_workers(threads: int, resource: Resource) -> int:
    """Local workers that fit on this machine's cores, whatever each of them may run.

    Args:
        threads: of one training.
        resource: ``cpu_per_node`` of a block without queue is the number of cores that one task uses.
    """
    blocks = resource.blocks.values()
    widest = max([threads, *(block.cpu_per_node for block in blocks if not block.queue_name)])
    return max(1, len(os.sched_getaffinity(0)) // widest)
