"""Jobs that are cancelled because the user wants so."""

from __future__ import annotations

import time

from fireworks import LaunchPad

from alpw.cluster import recovery, slurm
from alpw.cluster.queue.held import held_launches, job_of, reservation, take_back, unchanged

#: Seconds within which a cancelled job has to end: SLURM first asks it to, and kills it 30 s later.
CANCEL_PATIENCE = 90.0

_ON_REQUEST = "its job was cancelled on request"


def withdraw(launchpad: LaunchPad, campaign: str, *, running: bool) -> tuple[list[str], list[str]]:
    """Cancel the campaign's jobs that wait in the queue, and on request those that run; their Fireworks are
    ready again, and what is cancelled counts as no failure.

    Returns:
        Ids of the jobs that are gone, and of those that SLURM has not ended within `CANCEL_PATIENCE`: a job
        that begins to run meanwhile is one of these.
    """
    states = ["RESERVED", "RUNNING"] if running else ["RESERVED"]
    held = [launch for launch in held_launches(launchpad, campaign) if launch["state"] in states]
    if not held:
        return [], []
    jobs = slurm.live_jobs()
    if jobs is None:
        known = [reservation(launch).get("reservation_id") for launch in held]
        return [], [str(job) for job in known if job]
    found = {launch["launch_id"]: job_of(launch, jobs) for launch in held}
    wanted = {job for job in found.values() if job}
    slurm.cancel(sorted(wanted), running=running)
    deadline = time.monotonic() + (CANCEL_PATIENCE if running else 0)
    alive = _alive(wanted)
    while alive and time.monotonic() < deadline:
        time.sleep(0.5)
        alive = _alive(wanted)
    for launch in held:
        if found[launch["launch_id"]] in alive:
            continue
        own = {"launch_id": launch["launch_id"]}
        if unchanged(launchpad, launch):
            take_back(launchpad, launch, _ON_REQUEST, again=True)
        elif running and launchpad.launches.find_one({**own, "state": "FIZZLED"}, {"_id": 1}):
            # The program died before the launcher, which took its end for a failure.
            launchpad.rerun_fw(launch["fw_id"])
        else:
            continue
        launchpad.launches.update_one(own, {"$set": {recovery.ON_REQUEST: True}})
    return sorted(wanted - alive), sorted(alive)


def _alive(jobs: set[str]) -> set[str]:
    """Those of the jobs that live, as far as squeue tells."""
    found = slurm.live_jobs()
    return jobs if found is None else jobs & set(found)
