"""Locks of workflows whose holder died, and the change that it had half written.

FireWorks changes a workflow under a lock: first it writes the Fireworks concerned one by one, new ones among
them, and at last the workflow's document with the links and a copy of all states. A process that dies in
between leaves Fireworks that have ended while their children wait for ever, and new ones that no workflow
knows: whoever checks one of those out waits five minutes for the lock of a workflow that does not exist.
The document is the last consistent state, and the launches tell what has happened since.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from fireworks import LaunchPad

from alpw.database.campaigns import now

#: States of Fireworks that a process outside the lock may have given them.
_CHECKED_OUT = ("RUNNING", "RESERVED")


def release_stale(
    launchpad: LaunchPad, campaign: str, locked_since: dict[Any, float], patience: float
) -> tuple[int, int]:
    """Finish what holders of stale locks began, and unlock; FireWorks would wait five minutes and give up.

    Args:
        launchpad: the LaunchPad.
        campaign: name of the campaign.
        locked_since: when each locked workflow was first seen; kept by the caller between calls.
        patience: seconds for which a workflow may stay locked.

    Returns:
        How many locks were stale, and how many Fireworks without workflow were deleted.
    """
    query = {"metadata.campaign": campaign, "locked": True}
    present = [document["_id"] for document in launchpad.workflows.find(query, {"_id": 1})]
    for workflow in set(locked_since) - set(present):
        del locked_since[workflow]
    moment = time.monotonic()
    stale = [
        workflow for workflow in present if moment - locked_since.setdefault(workflow, moment) >= patience
    ]
    if not stale or len(stale) < len(present):
        # Beside a living holder nobody can tell whose a Firework without workflow is.
        return 0, 0
    # Before the change is done again, which makes new ones of them.
    orphans = delete_orphans(launchpad, campaign, patience, stale)
    for workflow in stale:
        _finish_change(launchpad, workflow)
        launchpad.workflows.update_one({"_id": workflow}, {"$unset": {"locked": 1}})
        del locked_since[workflow]
    return len(stale), orphans


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


def _finish_change(launchpad: LaunchPad, workflow: Any) -> None:
    """Do a half-written change of a locked workflow again, from the launches; FireWorks' own `_refresh_wf`.

    Nothing is written before the whole of it is known, so that it may be cut short as well.
    """
    document = launchpad.workflows.find_one({"_id": workflow}, {"nodes": 1, "fw_states": 1})
    before = {int(fw_id): state for fw_id, state in document["fw_states"].items()}
    found = launchpad.fireworks.find({"fw_id": {"$in": document["nodes"]}}, {"fw_id": 1, "state": 1})
    changed = [
        firework["fw_id"]
        for firework in found
        if firework["state"] != before[firework["fw_id"]] and firework["state"] not in _CHECKED_OUT
    ]
    if not changed:
        return
    whole = launchpad.get_wf_by_fw_id_lzyfw(changed[0])
    for fw_id in changed:
        whole.id_fw[fw_id].state = before[fw_id]
    updated: set[int] = set(changed)
    for fw_id in changed:
        updated = whole.refresh(fw_id, updated)
    launchpad._update_wf(whole, updated)
