"""Fireworks of a campaign held in the LaunchPad, where every launcher heeds it, and let go again.

What FireWorks calls PAUSED is not taken by ``rlaunch`` and ``qlaunch`` of anybody, whatever they query.
"""

from __future__ import annotations

from typing import Any

from fireworks import LaunchPad

from alpw.database import campaigns, iterations

#: States of Fireworks that have not begun and would.
STARTABLE = ("WAITING", "READY")

#: States that only a user gives to Fireworks of a campaign that runs -> what becomes of them by `release`.
HELD = {"PAUSED": "resume_fw", "DEFUSED": "reignite_fw"}


def startable(launchpad: LaunchPad, campaign: str) -> int:
    """Number of the campaign's Fireworks that may still begin."""
    return launchpad.fireworks.count_documents({"spec.campaign": campaign, "state": {"$in": list(STARTABLE)}})


def hold(launchpad: LaunchPad, campaign: str) -> int:
    """Pause the campaign's Fireworks that have not begun; returns how many were paused.

    May run at any time and more than once. Those of a workflow that somebody is changing are left for the
    next call, and so are Fireworks without workflow, which are about to get one or will be deleted.
    """
    count = 0
    query = {"spec.campaign": campaign, "state": {"$in": list(STARTABLE)}}
    for firework in list(launchpad.fireworks.find(query, {"fw_id": 1})):
        free = {"nodes": firework["fw_id"], "locked": {"$exists": False}}
        if launchpad.workflows.find_one(free, {"_id": 1}):
            count += launchpad.pause_fw(firework["fw_id"]) is not None
    return count


def release(launchpad: LaunchPad, campaign: str) -> int:
    """Let every held Firework of the campaign go on, whoever held it; returns how many."""
    count = 0
    for state, method in HELD.items():
        query = {"spec.campaign": campaign, "state": state}
        for firework in list(launchpad.fireworks.find(query, {"fw_id": 1})):
            count += getattr(launchpad, method)(firework["fw_id"]) is not None
    return count


def held_by_hand(launchpad: LaunchPad, campaign: str) -> list[str]:
    """What of a running campaign somebody has taken out of the launchers' sight with ``lpad``, in lines."""
    if not campaigns.is_running(launchpad.db, campaign):
        return []
    lines = []
    for state in HELD:
        query = {"spec.campaign": campaign, "state": state}
        if count := launchpad.fireworks.count_documents(query):
            first = launchpad.fireworks.find_one(query, {"fw_id": 1, "name": 1}, sort=[("fw_id", 1)])
            lines.append(
                f"{_number(count)} {state} in the LaunchPad (first: {first['fw_id']} {first['name']}); "
                f"`alpw resume {campaign}` lets them go on"
            )
    return lines + _archived(launchpad, campaign)


def _archived(launchpad: LaunchPad, campaign: str) -> list[str]:
    """The same of a newest iteration whose workflow is archived, which nothing brings back."""
    newest = iterations.latest(launchpad.db, campaign)
    if newest is None:
        return []
    query: dict[str, Any] = {"spec.campaign": campaign, "spec.iteration": newest["index"]}
    states = launchpad.fireworks.distinct("state", query)
    if states != ["ARCHIVED"]:
        return []
    return [
        f"the workflow of iteration {newest['index']} is ARCHIVED in the LaunchPad, which cannot be undone; "
        f"`alpw stop {campaign}` and `alpw rerun {campaign} --iteration {newest['index']} --from collect`, "
        "or an earlier stage, make a new one"
    ]


def _number(count: int) -> str:
    return "1 Firework is" if count == 1 else f"{count} Fireworks are"
