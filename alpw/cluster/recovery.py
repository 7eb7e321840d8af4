"""Repair of a campaign after anything died: workers, supervisor, database server, the whole machine.

Everything here may run at any time and more than once; work in progress is left alone.
"""

from __future__ import annotations

import logging
import re
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from fireworks import FWAction, LaunchPad
from fireworks.fw_config import RUN_EXPIRATION_SECS

from alpw.cluster import locks
from alpw.cluster.hold import hold
from alpw.cluster.queue.fizzled import heed, undecided
from alpw.cluster.queue.held import fizzle_launch
from alpw.database import (
    campaigns,
    claims,
    configurations,
    iterations,
    preparations,
    queue_events,
    trajectories,
)
from alpw.database.campaigns import now
from alpw.database.owner import WORKER_PREFIX, is_dead
from alpw.workflows.launch import continue_campaign
from alpw.workflows.launch_init import continue_init

logger = logging.getLogger(__name__)

#: States of Fireworks that are running or will run without help.
ACTIVE_STATES = ("READY", "RESERVED", "RUNNING")
#: Runs of a Firework that fizzled, before it is left to the user.
MAX_RUNS = 3
#: Seconds for which a workflow may stay locked, or a Firework without workflow; both last milliseconds.
PATIENCE = 30.0
#: The same when no worker is known to live.
PATIENCE_ALONE = 5.0

#: Field of launches that the user ended.
ON_REQUEST = "ended_on_request"

_OURS = f"^{WORKER_PREFIX}"

CONTINUE: dict[str, Callable[[LaunchPad, str], None]] = {
    campaigns.ACTIVE_LEARNING: continue_campaign,
    campaigns.INIT_BULK: continue_init,
}
"""kind of campaign -> sees that its workflows are in the LaunchPad"""


def active(launchpad: LaunchPad, campaign: str, categories: Sequence[str] = ()) -> int:
    """Number of the campaign's Fireworks that are running or ready to run, in some categories or in all."""
    query: dict[str, Any] = {"spec.campaign": campaign, "state": {"$in": list(ACTIVE_STATES)}}
    if categories:
        query["spec._category"] = {"$in": list(categories)}
    return launchpad.fireworks.count_documents(query)


def runs(launchpad: LaunchPad, fw_id: int) -> int:
    """How often a Firework ran or had a job in the queue.

    A job that SLURM refused does not count, nor does a run that the user ended, or the queue through no fault
    of the Firework.
    """
    began = [{"state_history.state": "RUNNING"}, {"state_history.reservation_id": {"$exists": True}}]
    excused = queue_events.excused(launchpad.db, fw_id)
    own = {"fw_id": fw_id, ON_REQUEST: {"$ne": True}, "launch_id": {"$nin": excused}}
    return launchpad.launches.count_documents({**own, "$or": began})


def recover(launchpad: LaunchPad, campaign: str, locked_since: dict[Any, float], *, alone: bool) -> Counter:
    """Put right what a dead process left behind; of a held campaign nothing starts by that.

    Args:
        launchpad: the LaunchPad.
        campaign: name of the campaign.
        locked_since: when each locked workflow was first seen; kept by the caller between calls.
        alone: no worker of the campaign is known to be alive.

    Returns:
        How many of each were repaired: ``locks``, ``orphans``, ``ends``, ``lost``, ``fizzled``, ``changes``.
    """
    patience = PATIENCE_ALONE if alone else PATIENCE
    document = campaigns.get(launchpad.db, campaign)
    running = document["state"] == campaigns.CampaignState.RUNNING.value
    released, orphans = locks.release_stale(launchpad, campaign, locked_since, patience)
    repaired = Counter(locks=released, orphans=orphans)
    if not locked_since:
        # These take locks themselves, and would wait minutes for one whose owner is dead.
        repaired.update(
            orphans=locks.delete_orphans(launchpad, campaign, patience),
            ends=locks.catch_up(launchpad, locks.late_ends(launchpad, campaign, patience)),
            lost=_rerun_lost(launchpad, campaign) + _rerun_half_reserved(launchpad, campaign, patience),
            fizzled=_rerun_fizzled(launchpad, campaign) if running else 0,
        )
        if not active(launchpad, campaign):
            repaired["changes"] = locks.redo_lost_changes(launchpad, campaign, patience)
        for collection in (iterations.COLLECTION, preparations.COLLECTION):
            claims.release_dead(launchpad.db[collection], campaign)
        if document["state"] in campaigns.HELD_STATES:
            hold(launchpad, campaign)
        CONTINUE[campaigns.kind(document)](launchpad, campaign)
    for what, count in repaired.items():
        if count:
            logger.info("campaign %s: repaired %d %s", campaign, count, what)
    return repaired


def close_ended(launchpad: LaunchPad, campaign: str) -> int:
    """Complete the last Firework of an ended campaign whose worker died when all was done but to say so.

    Returns:
        How many were completed.
    """
    if campaigns.get(launchpad.db, campaign)["state"] not in campaigns.ENDED_STATES:
        return 0
    query = {"spec.campaign": campaign, "spec.task": "FinishCampaign", "state": "RUNNING"}
    closed = 0
    for firework in launchpad.fireworks.find(query, {"launches": 1}):
        mine = {"launch_id": {"$in": firework["launches"]}, "state": "RUNNING"}
        launch = launchpad.launches.find_one({**mine, "fworker.name": {"$regex": _OURS}})
        if launch and is_dead(launch["fworker"]["name"].split(":", 1)[1]):
            launchpad.complete_launch(launch["launch_id"], FWAction(), "COMPLETED")
            closed += 1
    return closed


def _rerun_lost(launchpad: LaunchPad, campaign: str) -> int:
    """Rerun Fireworks that are RUNNING for a process that is dead.

    Our own workers on this host are known by name; others (on another host, ``rlaunch`` by hand, a job in the
    queue) by FireWorks' own heartbeat, which takes ``RUN_EXPIRATION_SECS`` to expire.
    """
    fireworks = {
        document["fw_id"]: document["launches"]
        for document in launchpad.fireworks.find(
            {"spec.campaign": campaign, "state": "RUNNING"}, {"fw_id": 1, "launches": 1}
        )
    }
    lost = 0
    for fw_id, launches in fireworks.items():
        launch = launchpad.launches.find_one(
            {"launch_id": {"$in": launches}, "fworker.name": {"$regex": _OURS}}, sort=[("launch_id", -1)]
        )
        if launch and is_dead(launch["fworker"]["name"].split(":", 1)[1]):
            if launch["state"] == "RUNNING":
                fizzle_launch(launchpad, launch["launch_id"])
            launchpad.rerun_fw(fw_id)
            lost += 1
    _, expired, _ = launchpad.detect_lostruns(
        expiration_secs=RUN_EXPIRATION_SECS,
        rerun=True,
        query={"spec.campaign": campaign, "state": "RUNNING"},
        launch_query={"fworker.name": {"$not": {"$regex": f"{_OURS}{re.escape(socket.gethostname())}/"}}},
    )
    return lost + len(expired)


def half_reserved(launchpad: LaunchPad, campaign: str, patience: float = 0.0) -> list[int]:
    """Ids of Fireworks whose checkout is under way, or was cut short if it began so many seconds ago.

    A checkout, for a worker or for the queue, first marks the Firework RESERVED, with a date where FireWorks
    else writes a string, and only then gives it a launch, which every other repair starts from. A job marks
    the Firework that was reserved for it in the same way, and then takes long to import what it runs: that
    one has its launch already.
    """
    limit = now() - timedelta(seconds=patience)
    query = {"spec.campaign": campaign, "state": "RESERVED", "updated_on": {"$type": "date", "$lte": limit}}
    query["launches"] = []
    return [firework["fw_id"] for firework in launchpad.fireworks.find(query, {"fw_id": 1})]


def _rerun_half_reserved(launchpad: LaunchPad, campaign: str, patience: float) -> int:
    halves = half_reserved(launchpad, campaign, patience)
    for fw_id in halves:
        launchpad.rerun_fw(fw_id)
    return len(halves)


def _rerun_fizzled(launchpad: LaunchPad, campaign: str) -> int:
    """Rerun Fireworks that raised, a bounded number of times.

    A Firework whose children went on without it (they allow fizzled parents) is left alone: running it
    again would run them again too. One whose job SLURM ended gets first what it lacked.
    """
    fizzled = _fizzled(launchpad, campaign)
    barred = heed(launchpad, campaign, fizzled) if fizzled else set()
    again = [firework["fw_id"] for firework in fizzled if firework["fw_id"] not in barred]
    again = [fw_id for fw_id in again if runs(launchpad, fw_id) < MAX_RUNS]
    for fw_id in again:
        launchpad.rerun_fw(fw_id)
    return len(again)


def _fizzled(launchpad: LaunchPad, campaign: str) -> list[dict[str, Any]]:
    """Ids and launches of Fireworks that fizzled and hold up others."""
    query = {"spec.campaign": campaign, "state": "FIZZLED"}
    found = launchpad.fireworks.find(query, {"fw_id": 1, "launches": 1})
    return [firework for firework in found if _children_wait(launchpad, firework["fw_id"])]


def waits_for_queue(launchpad: LaunchPad, campaign: str) -> bool:
    """Whether a Firework fizzled whose job is not gone yet, or SLURM does not say: it may run again."""
    fizzled = _fizzled(launchpad, campaign)
    return bool(fizzled) and bool(undecided(launchpad, fizzled))


def _children_wait(launchpad: LaunchPad, fw_id: int) -> bool:
    workflow = launchpad.workflows.find_one({"nodes": fw_id}, {"links": 1, "fw_states": 1})
    children = workflow["links"].get(str(fw_id), [])
    return all(workflow["fw_states"][str(child)] == "WAITING" for child in children)


def is_stuck(launchpad: LaunchPad, campaign: str) -> bool:
    """Whether nothing of a campaign can run any more: Fireworks of it have failed, or none are left."""
    if active(launchpad, campaign) or waits_for_queue(launchpad, campaign):
        return False
    return bool(failure_reasons(launchpad, campaign)) or bool(dead_end(launchpad, campaign))


def dead_end(launchpad: LaunchPad, campaign: str) -> list[str]:
    """Of a running campaign whose newest iteration is all done while nothing follows from it: a line on that.

    A Firework that has ended adds what follows, or ends the campaign, before its workflow is said to be
    complete.
    """
    newest = iterations.latest(launchpad.db, campaign)
    added = newest and "added" in (newest["workflow"] or {})
    if not newest or not added or not campaigns.is_running(launchpad.db, campaign):
        return []
    query = {"metadata.campaign": campaign, "metadata.iteration": newest["index"]}
    workflows = list(launchpad.workflows.find(query, {"state": 1, "locked": 1}))
    if not workflows or any(w["state"] != "COMPLETED" or "locked" in w for w in workflows):
        return []
    return [
        f"every Firework of iteration {newest['index']} has ended and nothing follows; the same `alpw run` "
        f"once more judges it anew, `alpw stop {campaign}` and `alpw rerun {campaign}` do a stage again"
    ]


def retry(launchpad: LaunchPad, campaign: str) -> None:
    """Give everything of the newest iteration that failed one more chance, and reopen the campaign.

    For a user who has mended the cause: failed labels become candidates again, trajectories that could not
    run are forgotten, and the Fireworks concerned run once more. What succeeded stays. A verdict that stalled
    the campaign is reached anew, from the selection on. May be repeated when it was cut short.
    """
    db = launchpad.db
    newest = iterations.latest(db, campaign)
    if newest is None:
        return
    index = newest["index"]
    labels = {str(configuration) for configuration in configurations.reopen(db, campaign, index)}
    trajectories.forget_failed(db, campaign, index)
    # Whoever forgot them: an earlier call may have been cut short after that.
    there = {run["key"] for run in trajectories.without_frames(db, campaign, index)}
    runs = {plan["key"] for plan in newest.get("plan", ())} - there
    query = {"spec.campaign": campaign, "spec.iteration": index}
    fields = {"fw_id": 1, "state": 1, "spec._tasks": 1, "spec.task": 1}
    fireworks = list(launchpad.fireworks.find(query, fields).sort("fw_id", 1))
    again = []
    for firework in fireworks:
        task = firework["spec"]["_tasks"][0]
        concerned = labels & set(task.get("configurations", ())) or runs & set(task.get("trajectories", ()))
        if firework["state"] == "FIZZLED" or concerned:
            again.append(firework["fw_id"])
    if not again or not campaigns.is_running(db, campaign):
        again += _deciding(newest, fireworks)
    for fw_id in again:
        queue_events.forgive(db, fw_id)
        launchpad.rerun_fw(fw_id)
    # Last: a campaign that is still stalled is tried again by the next command.
    campaigns.reopen(db, campaign)


def _deciding(iteration: dict[str, Any], fireworks: Sequence[dict[str, Any]]) -> list[int]:
    """Id of the Firework, in a list of one, that a new verdict on an iteration begins with.

    That is the selection, with all that it appended; where there is none in this course of the iteration, or
    the verdict is one to keep, the newest collector. While labels are being made their collector is to come.
    """
    if any(firework["state"] in ("RESERVED", "RUNNING") for firework in fireworks):
        return []
    verdict = (iteration.get("collector") or {}).get("verdict")
    if verdict not in (None, campaigns.CampaignState.STALLED.value):
        wanted: tuple[str, ...] = ("CollectLabels",)
    else:
        wanted = ("SelectCandidates", "GenerateStructures", "CollectLabels")
    for task in wanted:
        found = [firework["fw_id"] for firework in fireworks if firework["spec"].get("task") == task]
        if found:
            return found[-1:]
    return []


def failure_reasons(launchpad: LaunchPad, campaign: str, structure: int | None = None) -> dict[str, str]:
    """For each fizzled Firework of a campaign, or of a structure of it, the last line of its exception."""
    reasons = {}
    query: dict[str, Any] = {"spec.campaign": campaign, "state": "FIZZLED"}
    if structure is not None:
        query["spec.structure"] = structure
    for firework in launchpad.fireworks.find(query, {"fw_id": 1, "name": 1, "launches": 1}):
        launch = launchpad.launches.find_one({"launch_id": {"$in": firework["launches"]}}) or {}
        stored = (launch.get("action") or {}).get("stored_data") or {}
        trace = (stored.get("_exception") or {}).get("_stacktrace") or "no message was stored"
        where = launch.get("launch_dir", "no launch directory")
        reasons[f"{firework['fw_id']} {firework['name']}"] = f"{trace.strip().splitlines()[-1]} ({where})"
    return reasons
