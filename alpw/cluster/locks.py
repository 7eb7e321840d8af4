"""Locks of workflows whose holder died, and the change that it had half written.

FireWorks changes a workflow under a lock: first it writes the Fireworks concerned one by one, new ones among
them, and at last the workflow's document with the links and a copy of all states. A process that dies in
between leaves Fireworks that have ended while their children wait for ever, and new ones that no workflow
knows: whoever checks one of those out waits five minutes for the lock of a workflow that does not exist.
The document is the last consistent state, and the launches tell what has happened since.

A lock does not say whose it is. A holder that is merely slow, on a machine with too much to do, writes its
document after its lock was taken from it, over what others have written since; so one that is seen to live is
given longer, and a change that was lost nevertheless is done again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from fireworks import LaunchPad
from fireworks.core.launchpad import LockedWorkflowError, WFLock

from alpw.database import queue_events
from alpw.database.campaigns import now
from alpw.database.owner import WORKER_PREFIX, is_dead, is_here
from alpw.errors import AlpwError

#: States of Fireworks that a process outside the lock may have given them.
CHECKED_OUT = ("RUNNING", "RESERVED")
#: Seconds for which a workflow may stay locked whose changes under way are all those of living processes;
#: those that wait for the lock give up after 300.
PATIENCE_LIVING = 120.0
#: Seconds in which a living holder, that needs milliseconds, is seen to let go of a lock.
MOMENT = 1.0
#: Seconds for which a process that frees locks may itself wait for one.
BRIEF = 10.0


@contextmanager
def brief_waits() -> Iterator[None]:
    """Let this process wait for the lock of a workflow for `BRIEF` seconds, and not for minutes.

    A supervisor that waits for the lock of a dead process is not there to free it, and jobs that wait for it
    too run into their time limit. What is not done for want of the lock is done in a later round.

    Raises:
        AlpwError: a lock was not to be had.
    """
    before = WFLock.__init__.__defaults__
    # WFLOCK_EXPIRATION_SECS, as FireWorks has bound it when it was imported.
    WFLock.__init__.__defaults__ = (BRIEF, False)
    try:
        yield
    except LockedWorkflowError as error:
        text = "a workflow is locked, by a process that changes it or has died; try again in a minute"
        raise AlpwError(f"{text}. Whoever supervises its campaign (`alpw launch`) frees it") from error
    finally:
        WFLock.__init__.__defaults__ = before


def release_stale(
    launchpad: LaunchPad, campaign: str, locked_since: dict[Any, float], patience: float
) -> tuple[int, int]:
    """Finish what holders of stale locks began, and unlock; FireWorks would wait five minutes and give up.

    Args:
        launchpad: the LaunchPad.
        campaign: name of the campaign.
        locked_since: when each locked workflow was first seen as it is, by its id and last change; kept by
            the caller between calls. Many holders one after another change it, and are no stale lock.
        patience: seconds for which a workflow may stay locked; `PATIENCE_LIVING` if its holder lives.

    Returns:
        How many locks were stale, and how many Fireworks without workflow were deleted.
    """
    present = _lasting(launchpad, campaign)
    for gone in set(locked_since) - present:
        del locked_since[gone]
    moment = time.monotonic()
    held = {
        workflow: moment - locked_since.setdefault((workflow, changed), moment)
        for workflow, changed in present
    }
    stale = [
        workflow
        for workflow, seconds in held.items()
        if seconds >= patience and (seconds >= PATIENCE_LIVING or not _holder_lives(launchpad, workflow))
    ]
    if not stale or len(stale) < len(present):
        # Beside a living holder nobody can tell whose a Firework without workflow is.
        return 0, 0
    # Before the change is done again, which makes new ones of them.
    orphans = delete_orphans(launchpad, campaign, patience, stale)
    for workflow in stale:
        _finish_change(launchpad, workflow)
        launchpad.workflows.update_one({"_id": workflow}, {"$unset": {"locked": 1}})
    for freed in [key for key in locked_since if key[0] in stale]:
        del locked_since[freed]
    return len(stale), orphans


def _lasting(launchpad: LaunchPad, campaign: str) -> set[tuple[Any, Any]]:
    """Workflows that are locked, and stay so without a change for longer than one takes, as they are."""
    query, fields = {"metadata.campaign": campaign, "locked": True}, {"updated_on": 1}
    lasting, deadline = None, time.monotonic() + MOMENT
    while lasting is None or (lasting and time.monotonic() < deadline):
        locked = {(each["_id"], each.get("updated_on")) for each in launchpad.workflows.find(query, fields)}
        lasting = locked if lasting is None else lasting & locked
        if lasting:
            time.sleep(MOMENT / 20)
    return lasting


class LateEnd(NamedTuple):
    """A Firework that counts as reserved or running although its launch has ended."""

    fw_id: int
    state: str
    launch: int
    launch_state: str


def late_ends(launchpad: LaunchPad, campaign: str, patience: float) -> list[LateEnd]:
    """Launches whose end was written to the launch, and no further.

    Whoever ends a launch writes that first, and then waits for the workflow's lock: he may die, lose the
    database, or give up without a word (FireWorks: "locked. Can't refresh!").

    Args:
        launchpad: the LaunchPad.
        campaign: name of the campaign.
        patience: seconds for which a workflow may be without that.
    """
    limit = (now() - timedelta(seconds=patience)).isoformat()
    query = {"spec.campaign": campaign, "state": {"$in": list(CHECKED_OUT)}, "launches": {"$ne": []}}
    held = launchpad.fireworks.find(query, {"fw_id": 1, "state": 1, "launches": 1})
    by_launch = {firework["launches"][-1]: firework for firework in held}
    ended = {"launch_id": {"$in": list(by_launch)}, "state": {"$nin": list(CHECKED_OUT)}}
    fields = {"launch_id": 1, "state": 1, "state_history": 1}
    found = []
    for launch in launchpad.launches.find(ended, fields).sort("launch_id", 1):
        if str(launch["state_history"][-1]["created_on"]) <= limit:
            firework = by_launch[launch["launch_id"]]
            found.append(LateEnd(firework["fw_id"], firework["state"], launch["launch_id"], launch["state"]))
    return found


def catch_up(launchpad: LaunchPad, ends: Sequence[LateEnd]) -> int:
    """Tell workflows, none of which is locked for long, of late ends; returns of how many."""
    if not ends:
        return 0
    again = queue_events.to_run_again(launchpad.db, [end.launch for end in ends])
    for end in ends:
        if end.launch_state == "READY" or end.launch in again:
            # Its reservation was cancelled, or whoever took it back died.
            launchpad.rerun_fw(end.fw_id)
            queue_events.settle(launchpad.db, end.launch)
        else:
            launchpad._refresh_wf(end.fw_id)
    return len(ends)


def delete_orphans(
    launchpad: LaunchPad, campaign: str, patience: float, stale: list[Any] | None = None
) -> int:
    """Delete Fireworks that were written, but whose workflow does not know them, whatever their state.

    Args:
        launchpad: the LaunchPad.
        campaign: name of the campaign.
        patience: seconds for which a Firework of a workflow that is being added may be without it.
        stale: workflows whose lock nobody holds any more.

    Returns:
        How many were deleted.
    """
    limit = (now() - timedelta(seconds=patience)).isoformat()
    query = {
        "spec.campaign": campaign,
        "state": {"$nin": ["COMPLETED", "ARCHIVED"]},
        "created_on": {"$lte": limit},
    }
    found = [firework["fw_id"] for firework in launchpad.fireworks.find(query, {"fw_id": 1})]
    held = {"metadata.campaign": campaign, "locked": True, "_id": {"$nin": stale or []}}
    if launchpad.workflows.find_one(held, {"_id": 1}):
        return 0
    # In this order: what was found and is held by nobody, its workflow knows by now.
    orphans = [fw_id for fw_id in found if not launchpad.workflows.find_one({"nodes": fw_id}, {"_id": 1})]
    if orphans:
        launchpad.fireworks.delete_many({"fw_id": {"$in": orphans}})
    return len(orphans)


def redo_lost_changes(launchpad: LaunchPad, campaign: str, patience: float) -> int:
    """Do again what a workflow that nobody has locked does not know of Fireworks that have ended.

    Two processes that hold one lock each write the whole document as they read it; the children of a Firework
    whose end is not in the last one would wait for ever.

    Args:
        launchpad: the LaunchPad.
        campaign: name of the campaign; none of its Fireworks is running or ready.
        patience: seconds for which the end of a Firework may be unknown to its workflow.

    Returns:
        How many workflows had lost a change.
    """
    limit = (now() - timedelta(seconds=patience)).isoformat()
    unlocked = {"locked": {"$exists": False}}
    query = {"metadata.campaign": campaign, "state": {"$nin": ["COMPLETED", "ARCHIVED"]}, **unlocked}
    redone = 0
    for workflow in list(launchpad.workflows.find(query, {"nodes": 1, "fw_states": 1})):
        lost = _unknown_ends(launchpad, workflow, {"updated_on": {"$lte": limit}})
        mine = {"_id": workflow["_id"], **unlocked}
        if lost and launchpad.workflows.find_one_and_update(mine, {"$set": {"locked": True}}):
            _finish_change(launchpad, workflow["_id"])
            launchpad.workflows.update_one({"_id": workflow["_id"]}, {"$unset": {"locked": 1}})
            redone += 1
    return redone


def _holder_lives(launchpad: LaunchPad, workflow: Any) -> bool:
    """Whether the processes that are seen to have a change of a locked workflow under way are all alive.

    A Firework's last launch has a state that the workflow's document does not know yet.
    """
    document = launchpad.workflows.find_one({"_id": workflow}, {"nodes": 1, "fw_states": 1})
    query = {"fw_id": {"$in": document["nodes"]}}
    launches = launchpad.launches.find(query, {"fw_id": 1, "state": 1, "fworker.name": 1}).sort(
        "launch_id", 1
    )
    last = {launch["fw_id"]: launch for launch in launches}
    names = {
        launch["fworker"]["name"]
        for fw_id, launch in last.items()
        if launch["state"] != document["fw_states"][str(fw_id)]
    }
    ours = [name.removeprefix(WORKER_PREFIX) for name in names if name.startswith(WORKER_PREFIX)]
    return bool(ours) and all(is_here(identity) and not is_dead(identity) for identity in ours)


def _unknown_ends(
    launchpad: LaunchPad, workflow: dict[str, Any], query: dict[str, Any] | None = None
) -> list[int]:
    """Ids of Fireworks of a workflow whose state is another one than it says, but for those checked out."""
    states = workflow["fw_states"]
    wanted = {"fw_id": {"$in": workflow["nodes"]}, "state": {"$nin": list(CHECKED_OUT)}, **(query or {})}
    found = launchpad.fireworks.find(wanted, {"fw_id": 1, "state": 1})
    return [firework["fw_id"] for firework in found if firework["state"] != states[str(firework["fw_id"])]]


def _finish_change(launchpad: LaunchPad, workflow: Any) -> None:
    """Do a half-written change of a locked workflow again, from the launches; FireWorks' own `_refresh_wf`.

    Nothing is written before the whole of it is known, so that it may be cut short as well.
    """
    document = launchpad.workflows.find_one({"_id": workflow}, {"nodes": 1, "fw_states": 1})
    before = {int(fw_id): state for fw_id, state in document["fw_states"].items()}
    changed = _unknown_ends(launchpad, document)
    if not changed:
        return
    whole = launchpad.get_wf_by_fw_id_lzyfw(changed[0])
    for fw_id in changed:
        whole.id_fw[fw_id].state = before[fw_id]
    updated: set[int] = set(changed)
    for fw_id in changed:
        updated = whole.refresh(fw_id, updated)
    launchpad._update_wf(whole, updated)
