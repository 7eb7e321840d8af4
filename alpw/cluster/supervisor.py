"""Watch one campaign: keep its workers alive, repair what dies, report progress, say how it ended."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from fireworks import LaunchPad
from pymongo.database import Database
from pymongo.errors import PyMongoError

from alpw.cluster import recovery, worker
from alpw.cluster.hold import held_by_hand
from alpw.cluster.queue import reconcile, submit
from alpw.cluster.queue.files import local_categories, queue_blocks
from alpw.config.resource import Resource
from alpw.database import campaigns
from alpw.database.access import ensure_running
from alpw.database.launchpad import open_launchpad
from alpw.errors import AlpwError, DatabaseError

logger = logging.getLogger(__name__)

#: Seconds between repairs and checks of the workers.
ROUND = 5.0
#: Seconds between two looks into the queue for jobs that are gone.
QUEUE_ROUND = 30.0
#: Seconds for which SLURM may refuse jobs, for a reason that can pass, before the supervision gives up.
REFUSAL_PATIENCE = 300.0
#: Most seconds between two submissions while SLURM refuses.
REFUSAL_PAUSE = 60.0
#: Seconds for which a lost database is waited for.
DATABASE_PATIENCE = 300.0


class Summary(Protocol):
    """What the supervision needs to know of a campaign."""

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        ...


AnySummary = TypeVar("AnySummary", bound=Summary)


class CampaignStuck(AlpwError):
    """Nothing of the campaign can run any more, and it has not ended; the message lists why."""


@dataclass
class Supervisor(Generic[AnySummary]):
    """Supervision of one campaign.

    Attributes:
        launchpad_file: absolute path of my_launchpad.yaml, which the workers read too.
        campaign: its name.
        directory: its folder.
        resource: decides between local workers and the queue.
        workers: most local workers at a time.
        summarise: looks at the campaign.
        on_update: called with the summary about once a second.
        on_trouble: called with one line when the database is lost or found again, or SLURM takes no job.
    """

    launchpad_file: Path
    campaign: str
    directory: Path
    resource: Resource
    workers: int
    summarise: Callable[[Database, str], AnySummary]
    on_update: Callable[[AnySummary], None]
    on_trouble: Callable[[str], None]
    _locked_since: dict[Any, float] = field(default_factory=dict)
    _refused_since: float | None = None
    _next_submission: float = 0.0
    _next_queue_round: float = 0.0
    _last_obstacles: list[str] = field(default_factory=list)

    def watch(self) -> AnySummary:
        """Supervise until the campaign ends.

        Raises:
            CampaignStuck: Fireworks fizzled for good and hold up the rest, or nothing is left to run.
            JobRefused: SLURM takes no job, for good or for five minutes; what is in the queue goes on.
            DatabaseError: the database stayed away for longer than five minutes.
        """
        launchpad = open_launchpad(self.launchpad_file)
        next_round = 0.0
        while True:
            try:
                summary = self.summarise(launchpad.db, self.campaign)
                self.on_update(summary)
                if summary.finished:
                    return summary
                if time.monotonic() >= next_round:
                    self.tend(launchpad)
                    next_round = time.monotonic() + ROUND
            except PyMongoError as error:
                launchpad = self._wait_for_database(error)
            time.sleep(1.0)

    def tend(self, launchpad: LaunchPad) -> None:
        """One round: repair, then see that somebody works, unless the campaign is held."""
        queued = queue_blocks(self.resource)
        alone = not queued and not worker.living(self.directory)
        recovery.recover(launchpad, self.campaign, self._locked_since, alone=alone)
        self._look_into_queue(launchpad)
        if not campaigns.is_running(launchpad.db, self.campaign):
            return
        if alone and self._locked_since:
            # A new worker would take what a dead one had half written.
            return
        if queued:
            categories = local_categories(self.resource)
            # Bookkeeping alone keeps one worker busy.
            self._staff(launchpad, categories, most=1 if len(categories) == 1 else self.workers)
            self._submit(launchpad)
        else:
            self._staff(launchpad, categories=[], most=self.workers)
        reasons = [] if recovery.active(launchpad, self.campaign) else self._obstacles(launchpad)
        # In two rounds: somebody may just be letting a held campaign go on.
        if reasons and reasons == self._last_obstacles:
            lines = "\n".join(f"  {reason}" for reason in reasons)
            raise CampaignStuck(f"campaign '{self.campaign}' cannot go on:\n{lines}")
        self._last_obstacles = reasons

    def _staff(self, launchpad: LaunchPad, categories: list[str], most: int) -> None:
        """Start workers for the work that there is, up to the bound, which a second supervisor shares."""
        wanted = min(most, recovery.active(launchpad, self.campaign, categories))
        with worker.staffing(self.directory):
            for _ in range(wanted - len(worker.living(self.directory))):
                worker.spawn(self.launchpad_file, self.campaign, self.directory, categories)

    def _submit(self, launchpad: LaunchPad) -> None:
        """Submit what is ready; while SLURM refuses, ever less often and not for ever."""
        if time.monotonic() < self._next_submission:
            return
        try:
            submit.launch(launchpad, self.launchpad_file, self.campaign, self.directory, self.resource)
        except submit.JobRefused as error:
            since = self._refused_since = self._refused_since or time.monotonic()
            waited = time.monotonic() - since
            if error.final or waited > REFUSAL_PATIENCE:
                raise
            pause = min(max(ROUND, waited), REFUSAL_PAUSE)
            self._next_submission = time.monotonic() + pause
            self.on_trouble(f"{error}; next try in {pause:.0f} s")
        else:
            self._refused_since = None

    def _look_into_queue(self, launchpad: LaunchPad) -> None:
        if time.monotonic() >= self._next_queue_round:
            self._next_queue_round = time.monotonic() + QUEUE_ROUND
            if lost := reconcile.rerun_lost_jobs(launchpad, self.campaign):
                self.on_trouble(f"{lost} jobs are gone from the queue; their Fireworks run again")

    def _obstacles(self, launchpad: LaunchPad) -> list[str]:
        """Why nothing of a campaign that has not ended can run any more."""
        if self.summarise(launchpad.db, self.campaign).finished:
            return []
        failed = recovery.failure_reasons(launchpad, self.campaign)
        reasons = [f"{firework}: {reason}" for firework, reason in failed.items()]
        reasons += held_by_hand(launchpad, self.campaign)
        return reasons or recovery.dead_end(launchpad, self.campaign)

    def _wait_for_database(self, error: PyMongoError) -> LaunchPad:
        # What follows are the driver's settings, which help nobody here.
        first_line = str(error).splitlines()[0].split(" (configured")[0].split(", Timeout")[0]
        self.on_trouble(f"database lost ({first_line}); the campaign goes on when it is back")
        deadline = time.monotonic() + DATABASE_PATIENCE
        while time.monotonic() < deadline:
            try:
                launchpad = open_launchpad(ensure_running(self.launchpad_file))
                self.on_trouble("database is back")
                return launchpad
            except DatabaseError:
                time.sleep(2.0)
        raise DatabaseError(f"the database stayed away for {DATABASE_PATIENCE:.0f} s: {first_line}")


def default_workers(threads: int, resource: Resource) -> int:
    """Local workers that fit on this machine's cores, whatever each of them may run.

    Args:
        threads: of one training.
        resource: ``cpu_per_node`` of a block without queue is the number of cores that one task uses.
    """
    blocks = (resource.train, resource.explore, resource.dft, resource.labels)
    widest = max([threads, *(block.cpu_per_node for block in blocks if not block.queue_name)])
    return max(1, len(os.sched_getaffinity(0)) // widest)
