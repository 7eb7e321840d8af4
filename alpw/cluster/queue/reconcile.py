"""Fireworks whose job is gone from the queue."""

from __future__ import annotations

import logging
from pathlib import Path

from fireworks import LaunchPad

from alpw.cluster import recovery, slurm
from alpw.cluster.queue.held import held_launches, job_of, reservation, take_back, unchanged

logger = logging.getLogger(__name__)

#: Seconds after its submission in which a job may be missing from squeue.
GRACE = 30.0


def rerun_lost_jobs(launchpad: LaunchPad, campaign: str) -> int:
    """Rerun Fireworks whose SLURM job is gone: cancelled, timed out, or lost with its node.

    A job that ends by itself has told the database first, so a Firework that is still reserved or running
    after squeue has forgotten its job was lost. Only jobs that `alpw.cluster.queue.submit` submitted are
    judged: others may live in a queue that this machine cannot see. After ``recovery.MAX_RUNS`` jobs a
    Firework fizzles with the job's last words.

    Returns:
        Number of Fireworks concerned; 0 when squeue does not answer.
    """
    suspects = held_launches(launchpad, campaign, GRACE)
    jobs = slurm.live_jobs() if suspects else None
    if jobs is None:
        return 0
    lost = 0
    for launch in suspects:
        if job_of(launch, jobs) is None and unchanged(launchpad, launch):
            job = reservation(launch).get("reservation_id")
            reason = f"SLURM job {job} is gone{_last_words(launch['launch_dir'], job)}"
            again = recovery.runs(launchpad, launch["fw_id"]) < recovery.MAX_RUNS
            logger.warning("Firework %d: %s", launch["fw_id"], reason)
            take_back(launchpad, launch, reason, again=again)
            lost += 1
    return lost


def _last_words(launch_dir: str, job: str | None) -> str:
    """The last line of the job's standard error, where SLURM says why it ended it."""
    for file in Path(launch_dir).glob(f"*-{job}.error"):
        lines = file.read_text(errors="replace").split("\n")
        return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
    return ""
