"""Launches that jobs in the queue hold, and how they are taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fireworks import FWAction, LaunchPad
from pymongo import UpdateOne

from alpw.cluster.queue.files import fworker
from alpw.cluster.slurm import LiveJob
from alpw.workflows.firework import CATEGORIES

_HELD = {"$in": ["RESERVED", "RUNNING"]}


def held_launches(launchpad: LaunchPad, campaign: str) -> list[dict[str, Any]]:
    """Launches that a job of ours holds."""
    held = launchpad.fireworks.find({"spec.campaign": campaign, "state": _HELD}, {"launches": 1})
    query = {
        "launch_id": {"$in": [launch for firework in held for launch in firework["launches"]]},
        "fworker.name": {"$in": [fworker(campaign, category)["name"] for category in CATEGORIES]},
        "state": _HELD,
    }
    return list(launchpad.launches.find(query))


def reservation(launch: dict[str, Any]) -> dict[str, Any]:
    """The entry of a launch's history that tells its job; empty when no queue was involved."""
    history = launch["state_history"]
    return next((entry for entry in history if entry["state"] == "RESERVED"), {})


def job_of(launch: dict[str, Any], jobs: dict[str, LiveJob]) -> str | None:
    """The job that holds a launch, out of those that live; None when it is gone."""
    job = reservation(launch).get("reservation_id")
    if job:
        return job if job in jobs else None
    # The id is missing when the submitting process died before it could store it. A job is submitted in the
    # folder of its launch, an array in the folder that holds those of its members, named by their index.
    folder = Path(launch["launch_dir"]).resolve()
    for job, live in jobs.items():
        place = Path(live.folder).resolve()
        _, _, member = job.partition("_")
        if (place / member if member else place) == folder:
            return job
    return None


def store_jobs(launchpad: LaunchPad, jobs: dict[int, str]) -> None:
    """Store with reserved launches, by id, the job that holds each; of an array with the member's index."""
    # In one step each: the job may begin at any time, and then the launcher in it writes the launch.
    launchpad.launches.bulk_write(
        [
            UpdateOne(
                {"launch_id": launch_id, "state_history.0.state": "RESERVED"},
                {"$set": {"state_history.0.reservation_id": job}},
            )
            for launch_id, job in jobs.items()
        ]
    )


def unchanged(launchpad: LaunchPad, launch: dict[str, Any]) -> bool:
    """Whether a launch is still as it was read: it may have ended while squeue was asked."""
    query = {"launch_id": launch["launch_id"], "state": launch["state"]}
    return launchpad.launches.find_one(query, {"_id": 1}) is not None


def take_back(launchpad: LaunchPad, launch: dict[str, Any], reason: str, *, again: bool) -> None:
    """Make a Firework whose job is gone ready again, or let it fizzle with the reason."""
    fw_id, launch_id = launch["fw_id"], launch["launch_id"]
    if again and launch["state"] == "RESERVED":
        launchpad.cancel_reservation(launch_id)
        return
    # In the form in which FireWorks stores the exception of a Firetask.
    stored = {"_message": reason, "_exception": {"_stacktrace": reason, "_details": None}}
    action = FWAction(stored_data=stored, exit=True)
    if again:
        fizzle_launch(launchpad, launch_id, action)
        launchpad.rerun_fw(fw_id)
    else:
        launchpad.complete_launch(launch_id, action, "FIZZLED")


def fizzle_launch(launchpad: LaunchPad, launch_id: int, action: FWAction | None = None) -> None:
    """Let a launch fail whose Firework is to run again.

    Its workflow does not see that: children that allow fizzled parents would begin.
    """
    launch = launchpad.get_launch_by_id(launch_id)
    launch.state = "FIZZLED"
    launch.action = action
    launchpad.launches.find_one_and_replace({"launch_id": launch_id, "state": _HELD}, launch.to_db_dict())
