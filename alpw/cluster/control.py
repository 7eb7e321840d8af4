"""What the user tells a campaign: wait, stop, stop at once, go on; what is finished stays."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from fireworks import LaunchPad
from pymongo.database import Database

from alpw.cluster import locks, recovery, worker
from alpw.cluster.hold import release, startable
from alpw.cluster.queue.withdraw import withdraw
from alpw.database import campaigns
from alpw.database.campaigns import CampaignState
from alpw.database.owner import WORKER_PREFIX, is_dead, is_here, process_id
from alpw.errors import InputError

logger = logging.getLogger(__name__)

#: Seconds in which workers that were killed have to be gone.
DEATH_PATIENCE = 20.0


@dataclass(frozen=True)
class Halt:
    """What came of holding a campaign.

    Attributes:
        campaign: its name.
        state: paused or stopped; another one if it ended meanwhile.
        held: Fireworks that wait until it goes on.
        running: Fireworks that are running, and end normally.
        cancelled: jobs that are gone from the queue.
        jobs: jobs that SLURM has not ended yet.
        killed: workers of this host that were ended, as ``host/pid/start``.
        workers: workers that live; those of other hosts end nothing that is running.
    """

    campaign: str
    state: str
    held: int
    running: int
    cancelled: list[str]
    jobs: list[str]
    killed: list[str]
    workers: list[str]


def find(db: Database, name: str) -> dict[str, Any]:
    """The campaign that a command is to change; raises :class:`InputError` for none and an imported one."""
    campaign = campaigns.get(db, name)
    refuse_imported(campaign, "CAMPAIGN")
    return campaign


def refuse_imported(campaign: dict[str, Any] | None, key: str) -> None:
    """See that a campaign, if it is one, is of ALPW itself.

    Raises:
        InputError: it was imported; there are no Fireworks of it, and what it ran is not all known.
    """
    if campaign and campaigns.kind(campaign) == campaigns.IMPORTED:
        name = campaign["_id"]
        text = f"campaign '{name}' was imported and cannot be run; {campaigns.go_on_from(campaign)}"
        raise InputError(text, key=key)


def find_loop(db: Database, name: str) -> dict[str, Any]:
    """The same of a campaign with iterations; raises :class:`InputError` for one of init_bulk."""
    campaign = find(db, name)
    if campaigns.kind(campaign) != campaigns.ACTIVE_LEARNING:
        text = f"campaign '{name}' is one of {campaigns.kind(campaign)}, which has no iterations"
        raise InputError(text, key="CAMPAIGN")
    return campaign


def refuse_held(db: Database, name: str) -> None:
    """See that a campaign, if there is one of the name, is not held by its user.

    Raises:
        InputError: it is; going on silently would undo what was asked for.
    """
    campaign = campaigns.find(db, name)
    refuse_imported(campaign, "campaign")
    if campaign and campaign["state"] in campaigns.HELD_STATES:
        text = f"campaign '{name}' is {campaign['state']}; `alpw resume {name}` lets it go on"
        raise InputError(text, key="campaign")


def halt(launchpad: LaunchPad, name: str, state: CampaignState, *, now: bool = False) -> Halt:
    """Let nothing of a campaign start any more, until :func:`resume`.

    May be repeated, also when an earlier call died half-way.

    Args:
        launchpad: the LaunchPad.
        name: of the campaign, of either kind.
        state: paused, and the workers wait; or stopped, and they leave.
        now: end what is running too: workers of this host with all that they started, and jobs in the queue.
            Their Fireworks are put back. Workers of other hosts leave after the Firework in hand.

    Raises:
        InputError: there is none of that name, or it has ended, or it is stopped and would be paused.
    """
    campaign = find(launchpad.db, name)
    reason = f"on request; `alpw resume {name}` lets it go on"
    if not campaigns.hold(launchpad.db, name, state, reason):
        text = f"campaign '{name}' is {campaign['state']} already; there is nothing to hold"
        raise InputError(text, key="CAMPAIGN")
    directory = Path(campaign["work_dir"])
    killed = _kill_workers(directory) if now else []
    cancelled, jobs = withdraw(launchpad, name, running=now)
    _settle(launchpad, name, directory, killed, now=now)
    fireworks = launchpad.fireworks
    mine = {"spec.campaign": name}
    return Halt(
        campaign=name,
        state=campaigns.get(launchpad.db, name)["state"],
        held=fireworks.count_documents({**mine, "state": "PAUSED"}),
        running=fireworks.count_documents({**mine, "state": {"$in": ["RESERVED", "RUNNING"]}}),
        cancelled=cancelled,
        jobs=jobs,
        killed=killed,
        workers=worker.living(directory),
    )


def _kill_workers(directory: Path) -> list[str]:
    """End the workers of this host that serve the campaign in a folder, with all their descendants."""
    victims = [identity for identity in worker.living(directory) if is_here(identity)]
    processes: list[psutil.Process] = []
    for identity in victims:
        try:
            process = psutil.Process(process_id(identity))
            # Suspended, it can start nothing between the look at its children and its end.
            process.suspend()
            processes += [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    deadline = time.monotonic() + DEATH_PATIENCE
    while not all(map(is_dead, victims)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return victims


def _settle(launchpad: LaunchPad, name: str, directory: Path, killed: list[str], *, now: bool) -> None:
    """Put back what died, and hold all that could start, also behind a lock that a dead process left.

    Of a campaign that ends now, what died between two steps of a checkout or of its end is waited for.
    """
    locked: dict[Any, float] = {}
    deadline = time.monotonic() + recovery.PATIENCE + recovery.PATIENCE_ALONE
    while time.monotonic() < deadline:
        recovery.recover(launchpad, name, locked, alone=not worker.living(directory))
        between = now and (recovery.half_reserved(launchpad, name) or locks.late_ends(launchpad, name, 0.0))
        if not locked and not between and not startable(launchpad, name):
            break
        time.sleep(0.5)
    # Recovery marks them so without an action; a Firetask that raised has one.
    names = [WORKER_PREFIX + identity for identity in killed]
    ended = {"fworker.name": {"$in": names}, "state": "FIZZLED", "action": None}
    launchpad.launches.update_many(ended, {"$set": {recovery.ON_REQUEST: True}})


def resume(launchpad: LaunchPad, name: str) -> int:
    """Let a held campaign go on, and whatever of it was paused or defused with ``lpad``.

    Workers that wait go on at once; new ones and jobs are started by whoever watches it.

    Returns:
        Number of Fireworks that were held.

    Raises:
        InputError: there is none of that name, or it has ended, or another command left it half changed.
    """
    campaign = find(launchpad.db, name)
    if campaign["state"] not in campaigns.OPEN_STATES:
        text = (
            f"campaign '{name}' is {campaign['state']}; `alpw run` tries again what has stalled, `alpw run "
        )
        raise InputError(text + "--update` extends what has ended", key="CAMPAIGN")
    for field, command in {"rerun": "alpw rerun", "sharing": "alpw branch"}.items():
        if campaign.get(field):
            text = f"the `{command}` that changes campaign '{name}' was cut short; give it once more"
            raise InputError(text, key="CAMPAIGN")
    campaigns.reopen(launchpad.db, name)
    released = release(launchpad, name)
    recovery.CONTINUE[campaigns.kind(campaign)](launchpad, name)
    return released
