"""Repair of a campaign after anything died: workers, supervisor, database server, the whole machine.

Everything here may run at any time and more than once; work in progress is left alone.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from fireworks import LaunchPad
from fireworks.fw_config import RUN_EXPIRATION_SECS

from alpw.database import campaigns, claims, configurations, iterations, preparations, trajectories
from alpw.database.campaigns import now
from alpw.database.owner import is_dead
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

_OURS = "^alpw:"

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
    """How often a Firework ran or had a job in the queue; a job that SLURM refused does not count."""
    began = [{"state_history.state": "RUNNING"}, {"state_history.reservation_id": {"$exists": True}}]
    return launchpad.launches.count_documents({"fw_id": fw_id, "$or": began})


def recover(launchpad: LaunchPad, campaign: str, locked_since: dict[Any, float], *, alone: bool) -> Counter:
    """Put right what a dead process left behind.

    Args:
        launchpad: the LaunchPad.
        campaign: name of the campaign.
        locked_since: when each locked workflow was first seen; kept by the caller between calls.
        alone: no worker of the campaign is known to be alive.

    Returns:
        How many of each were repaired: ``locks``, ``orphans``, ``lost``, ``fizzled``.
    """
    patience = PATIENCE_ALONE if alone else PATIENCE
    repaired = Counter(locks=_release_locks(launchpad, campaign, locked_since, patience))
    if not locked_since:
        # These take locks themselves, and would wait minutes for one whose owner is dead.
        repaired.update(
            orphans=_delete_orphans(launchpad, campaign, patience),
            lost=_rerun_lost(launchpad, campaign) + _rerun_half_reserved(launchpad, campaign, patience),
            fizzled=_rerun_fizzled(launchpad, campaign),
        )
        for collection in (iterations.COLLECTION, preparations.COLLECTION):
            claims.release_dead(launchpad.db[collection], campaign)
        CONTINUE[campaigns.kind(campaigns.get(launchpad.db, campaign))](launchpad, campaign)
    for what, count in repaired.items():
        if count:
            logger.info("campaign %s: repaired %d %s", campaign, count, what)
    return repaired


def _release_locks(
    launchpad: LaunchPad, campaign: str, locked_since: dict[Any, float], patience: float
) -> int:
    """Unlock workflows whose locker died; FireWorks would wait five minutes and then give up."""
    locked = launchpad.workflows.find({"metadata.campaign": campaign, "locked": True}, {"_id": 1})
    present = {document["_id"] for document in locked}
    for workflow in set(locked_since) - present:
        del locked_since[workflow]
    count = 0
    for workflow in present:
        if time.monotonic() - locked_since.setdefault(workflow, time.monotonic()) >= patience:
            launchpad.workflows.update_one({"_id": workflow}, {"$unset": {"locked": 1}})
            count += 1
    return count


def _delete_orphans(launchpad: LaunchPad, campaign: str, patience: float) -> int:
    """Delete Fireworks that were written, but whose workflow does not know them.

    FireWorks adds new Fireworks before it links them; a process killed in between leaves them READY, and
    whoever checks one out crashes. The Firework that wanted them runs again and makes new ones.
    """
    count = 0
    limit = (now() - timedelta(seconds=patience)).isoformat()
    query = {"spec.campaign": campaign, "state": {"$in": ["READY", "WAITING"]}, "created_on": {"$lte": limit}}
    for firework in launchpad.fireworks.find(query, {"fw_id": 1}):
        if not launchpad.workflows.find_one({"nodes": firework["fw_id"]}, {"_id": 1}):
            launchpad.fireworks.delete_one({"fw_id": firework["fw_id"]})
            count += 1
    return count


def _rerun_lost(launchpad: LaunchPad, campaign: str) -> int:
    """Rerun Fireworks that are RUNNING for a process that is dead.

    Our own workers are known by name; others (``rlaunch`` by hand, a job in the queue) by FireWorks' own
    heartbeat, which takes ``RUN_EXPIRATION_SECS`` to expire.
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
                launchpad.mark_fizzled(launch["launch_id"])
            launchpad.rerun_fw(fw_id)
            lost += 1
    _, expired, _ = launchpad.detect_lostruns(
        expiration_secs=RUN_EXPIRATION_SECS,
        rerun=True,
        query={"spec.campaign": campaign, "state": "RUNNING"},
        launch_query={"fworker.name": {"$not": {"$regex": _OURS}}},
    )
    return lost + len(expired)


def _rerun_half_reserved(launchpad: LaunchPad, campaign: str, patience: float) -> int:
    """Free Fireworks whose checkout was cut short.

    A checkout, for a worker or for the queue, first marks the Firework RESERVED, with a date where FireWorks
    else writes a string, and only then gives it a launch, which every other repair starts from.
    """
    limit = now() - timedelta(seconds=patience)
    query = {"spec.campaign": campaign, "state": "RESERVED", "updated_on": {"$type": "date", "$lte": limit}}
    halves = [firework["fw_id"] for firework in launchpad.fireworks.find(query, {"fw_id": 1})]
    for fw_id in halves:
        launchpad.rerun_fw(fw_id)
    return len(halves)


def _rerun_fizzled(launchpad: LaunchPad, campaign: str) -> int:
    """Rerun Fireworks that raised, a bounded number of times.

    A Firework whose children went on without it (they allow fizzled parents) is left alone: running it
    again would run them again too.
    """
    query = {"spec.campaign": campaign, "state": "FIZZLED"}
    count = 0
    for firework in launchpad.fireworks.find(query, {"fw_id": 1}):
        fw_id = firework["fw_id"]
        if runs(launchpad, fw_id) < MAX_RUNS and _children_wait(launchpad, fw_id):
            launchpad.rerun_fw(fw_id)
            count += 1
    return count


def _children_wait(launchpad: LaunchPad, fw_id: int) -> bool:
    workflow = launchpad.workflows.find_one({"nodes": fw_id}, {"links": 1, "fw_states": 1})
    children = workflow["links"].get(str(fw_id), [])
    return all(workflow["fw_states"][str(child)] == "WAITING" for child in children)


def retry(launchpad: LaunchPad, campaign: str) -> None:
    """Give everything of the newest iteration that failed one more chance, and reopen the campaign.

    For a user who has mended the cause: failed labels become candidates again, trajectories that could not
    run are forgotten, and the Fireworks concerned run once more. What succeeded stays.
    """
    db = launchpad.db
    newest = iterations.latest(db, campaign)
    if newest is None:
        return
    labels = {str(configuration) for configuration in configurations.reopen(db, campaign, newest["index"])}
    runs = set(trajectories.forget_failed(db, campaign, newest["index"]))
    campaigns.reopen(db, campaign)
    query = {"spec.campaign": campaign, "spec.iteration": newest["index"]}
    for firework in list(launchpad.fireworks.find(query, {"fw_id": 1, "state": 1, "spec._tasks": 1})):
        task = firework["spec"]["_tasks"][0]
        concerned = labels & set(task.get("configurations", ())) or runs & set(task.get("trajectories", ()))
        if firework["state"] == "FIZZLED" or concerned:
            launchpad.rerun_fw(firework["fw_id"])


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
