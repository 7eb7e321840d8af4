"""Jobs for the Fireworks of a campaign that are ready: a launcher per category, each with its own limits.

What SLURM refuses in one category does not stop the others. A refusal that may pass is tried again, ever less
often and for ever; one that cannot holds the category, and is tried again so rarely that nobody minds.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fireworks import LaunchPad

from alpw.cluster import slurm
from alpw.cluster.interrupts import postponed
from alpw.cluster.journal import Journal
from alpw.cluster.queue.files import categories_of, queue_blocks, write_all
from alpw.cluster.queue.held import held_launches, reservation
from alpw.cluster.queue.sbatch import SbatchFailed, about_arrays, key_of
from alpw.cluster.queue.submit import LEAST_ARRAY, MOST_ARRAY, Order, ready, submit
from alpw.config.resource import Resource, ResourceBlock
from alpw.database import campaigns

#: Seconds between two submissions after a refusal: at first, at most, and after one that cannot pass.
FIRST_PAUSE, LONGEST_PAUSE, FINAL_PAUSE = 5.0, 60.0, 600.0
#: Seconds that one category may submit before it is another's turn.
TURN = 10.0


@dataclass
class Lane:
    """What is known of the submissions of one category.

    Attributes:
        next_try: when something may be submitted again, by the monotonic clock.
        refused_since: when SLURM began to refuse; None while it does not.
        final: the message of a refusal that cannot pass.
        largest: most members of an array. A refusal sets it to 1, each success doubles it: a limit on jobs is
            approached from below, and nothing is reserved in vain for a queue that is closed.
        ceiling: most members that this SLURM takes, as far as it has said.
    """

    next_try: float = 0.0
    refused_since: float | None = None
    final: str | None = None
    largest: int = MOST_ARRAY
    ceiling: int = MOST_ARRAY


@dataclass
class Launcher:
    """Submits what of one campaign is ready.

    Attributes:
        launchpad_file: absolute path of my_launchpad.yaml, which the jobs read.
        campaign: its name.
        directory: its folder.
        journal: where each submission and refusal is written.
        on_trouble: called with one line when SLURM begins to refuse, and when it takes jobs again.
    """

    launchpad_file: Path
    campaign: str
    directory: Path
    journal: Journal
    on_trouble: Callable[[str], None]
    _lanes: dict[str, Lane] = field(default_factory=lambda: defaultdict(Lane))

    def launch(
        self, launchpad: LaunchPad, resource: Resource, may_go_on: Callable[[], bool] = lambda: True
    ) -> int:
        """Submit Fireworks that are ready, as far as limits and SLURM allow; returns how many were.

        None of a campaign that is held. Each is reserved for its job, so that no two jobs are made for one.

        Args:
            launchpad: the LaunchPad.
            resource: its blocks with a queue are the categories.
            may_go_on: asked before each submission.
        """
        if not campaigns.is_running(launchpad.db, self.campaign):
            return 0
        submitted = 0
        for category, block in queue_blocks(resource).items():
            if time.monotonic() >= self._lanes[category].next_try:
                submitted += self._fill(launchpad, resource, category, block, may_go_on)
        return submitted

    def refusals(self) -> dict[str, str]:
        """Categories whose jobs SLURM refuses for good, and why."""
        return {category: lane.final for category, lane in self._lanes.items() if lane.final}

    def forget_refusals(self) -> None:
        """Try everything at once: the resources are others now."""
        self._lanes.clear()

    def _fill(
        self,
        launchpad: LaunchPad,
        resource: Resource,
        category: str,
        block: ResourceBlock,
        may_go_on: Callable[[], bool],
    ) -> int:
        kinds = {"$in": categories_of(resource, category)}
        room = _room(launchpad, self.campaign, category, block, kinds)
        mine = {"spec.campaign": self.campaign, "spec._category": kinds, "state": "READY"}
        if room <= 0 or launchpad.fireworks.find_one(mine, {"_id": 1}) is None:
            return 0
        lane, submitted, deadline = self._lanes[category], 0, time.monotonic() + TURN
        batch: list[int] = []
        try:
            files = write_all(self.launchpad_file, self.campaign, self.directory, resource)[category]
            order = Order.read(launchpad, self.campaign, self.directory, *files)
            for batch in _batches(ready(order, room), lane):
                if time.monotonic() > deadline or not may_go_on():
                    break
                with postponed():
                    job, fw_ids = submit(order, batch, array=len(batch) > 1)
                    if job:
                        self._accepted(lane, category, job, fw_ids)
                        submitted += len(fw_ids)
        except (SbatchFailed, OSError) as error:
            if isinstance(error, SbatchFailed) and len(batch) > 1 and about_arrays(error.reason):
                lane.ceiling = len(batch) // 2
                self.journal.note("refused", f"{category}: {error}; arrays are smaller from now on")
            else:
                self._refused(lane, category, block, error)
        return submitted

    def _accepted(self, lane: Lane, category: str, job: str, fw_ids: list[int]) -> None:
        numbers = " ".join(map(str, fw_ids))
        fireworks = f"Firework {numbers}" if len(fw_ids) == 1 else f"{len(fw_ids)} Fireworks {numbers}"
        self.journal.note("submitted", f"{category}, job {job}, {fireworks}", len(fw_ids))
        lane.largest = min(2 * lane.largest, MOST_ARRAY)
        if lane.refused_since is not None:
            self.on_trouble(f"SLURM takes jobs of block '{category}' again")
        lane.refused_since, lane.final = None, None

    def _refused(
        self, lane: Lane, category: str, block: ResourceBlock, error: SbatchFailed | OSError
    ) -> None:
        """Note a refusal and when to try again; nothing is said of one that is known."""
        reason = error.reason if isinstance(error, SbatchFailed) else f"files cannot be written: {error}"
        now = time.monotonic()
        began = lane.refused_since is None
        if lane.refused_since is None:
            lane.refused_since = now
        lane.largest = 1
        key = key_of(reason)
        text = f"SLURM refused a job of block '{category}' ({key} '{getattr(block, key)}'): {reason}"
        final = isinstance(error, SbatchFailed) and slurm.is_final(reason)
        if final:
            pause = FINAL_PAUSE
            advice = "its jobs are held and other work goes on; correct the key and use --update"
        else:
            pause = min(max(FIRST_PAUSE, now - lane.refused_since), LONGEST_PAUSE)
            advice = f"next try in {pause:.0f} s, and again until it is taken"
        if began or (final and not lane.final):
            self.on_trouble(f"{text}; {advice}")
        self.journal.note("refused", f"{text}; next try in {pause:.0f} s")
        lane.final = text if final else None
        lane.next_try = now + pause


def _batches(groups: list[list[int]], lane: Lane) -> Iterator[list[int]]:
    """Fireworks for one job each, of which those with more than one make an array."""
    for group in groups:
        while group:
            size = min(len(group), lane.largest, lane.ceiling)
            size = size if size >= LEAST_ARRAY else 1
            yield group[:size]
            group = group[size:]


def _room(
    launchpad: LaunchPad, campaign: str, category: str, block: ResourceBlock, kinds: dict[str, list[str]]
) -> int:
    """How many more jobs a category may have now; only its own are counted, whatever else is in the queue."""
    mine = {"spec.campaign": campaign, "spec._category": kinds}
    count = launchpad.fireworks.count_documents
    room = block.max_jobs - count({**mine, "state": {"$in": ["RESERVED", "RUNNING"]}})
    if block.max_queued is None or room <= 0:
        return room
    waiting = count({**mine, "state": "RESERVED"})
    if waiting:
        waiting -= _starting(launchpad, campaign, category)
    return min(room, block.max_queued - waiting)


def _starting(launchpad: LaunchPad, campaign: str, category: str) -> int:
    """Number of reserved Fireworks of a category whose job has begun, as squeue says: they wait no more."""
    jobs = slurm.live_jobs()
    if jobs is None:
        return 0
    names = {
        reservation(launch).get("reservation_id")
        for launch in held_launches(launchpad, campaign)
        if launch["state"] == "RESERVED" and launch["fworker"]["name"] == f"{campaign}-{category}"
    }
    return sum(job.state != "PENDING" for name, job in jobs.items() if name in names)
