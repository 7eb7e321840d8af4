"""SLURM against the database: Fireworks whose job is gone from the queue, and what is done for them.

A job that ends by itself has told the database first, so a Firework that is still reserved or running after
squeue has forgotten its job was lost. Only jobs that `alpw.cluster.queue.submit` submitted are judged: others
may live in a queue that this machine cannot see. Whatever state SLURM gives to a job that is not one of its
ends counts as alive, and a queue that is silent says nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from fireworks import LaunchPad

from alpw.cluster import jobs, recovery, slurm
from alpw.cluster.queue import remedies
from alpw.cluster.queue.ends import Remedy
from alpw.cluster.queue.held import held_launches, job_of, reservation, store_jobs, take_back, unchanged
from alpw.cluster.queue.remedies import Judge, Verdict
from alpw.database import queue_events

logger = logging.getLogger(__name__)

#: Seconds after its submission in which a job may be missing from squeue.
GRACE = 30.0


@dataclass(frozen=True)
class Finding:
    """A Firework that a job holds, or held.

    Attributes:
        launch: the launch, from the database.
        job: id of the job; None if it is not known.
        queue_state: SLURM's word for the job's state or end; None if SLURM does not know the job.
        ended: what SLURM says of a job that is gone, if it remembers it.
        verdict: what is to be done; None while nothing is.
    """

    launch: dict[str, Any]
    job: str | None
    queue_state: str | None
    ended: jobs.EndedJob | None = None
    verdict: Verdict | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        verdict = self.verdict
        return {
            "fw_id": self.launch["fw_id"],
            "launch": self.launch["launch_id"],
            "state": self.launch["state"],
            "job": self.job,
            "queue_state": self.queue_state,
            "end": verdict.end.value if verdict else None,
            "remedy": verdict.remedy.value if verdict else None,
            "asks": verdict.asks if verdict else {},
            "reason": verdict.reason if verdict else None,
        }


def examine(launchpad: LaunchPad, campaign: str) -> list[Finding] | None:
    """Look at every Firework of a campaign that a job holds, and change nothing.

    Returns:
        None when SLURM does not answer.
    """
    launches = held_launches(launchpad, campaign)
    live = slurm.live_jobs() if launches else {}
    if live is None:
        return None
    holders = {launch["launch_id"]: job_of(launch, live) for launch in launches}
    gone = [launch for launch in launches if holders[launch["launch_id"]] is None and not _fresh(launch)]
    known = jobs.ended([job for launch in gone if (job := reservation(launch).get("reservation_id"))])
    if known is None:
        return None
    judge, findings = Judge(launchpad, campaign), []
    for launch in launches:
        holder = holders[launch["launch_id"]]
        job = holder or reservation(launch).get("reservation_id")
        if holder or launch not in gone:
            state = live[holder].state if holder else None
            findings.append(Finding(launch, job, state))
            continue
        ended = known.get(job or "")
        spent = recovery.runs(launchpad, launch["fw_id"]) >= recovery.MAX_RUNS
        verdict = judge.judge(launch, ended, spent=spent)
        findings.append(Finding(launch, job, ended.state if ended else None, ended, verdict))
    return findings


def _fresh(launch: dict[str, Any]) -> bool:
    """Whether squeue may not know the job of a launch yet."""
    limit = (datetime.now(timezone.utc) - timedelta(seconds=GRACE)).isoformat()
    return bool(GRACE) and str(reservation(launch).get("created_on", limit)) >= limit


def carry_out(launchpad: LaunchPad, campaign: str, findings: Sequence[Finding]) -> int:
    """Do for each Firework whose job is gone what its verdict says; returns for how many.

    Those that have changed since they were looked at are left alone, and those that another process has begun
    with. May be cut short and repeated.
    """
    done = 0
    for finding in findings:
        launch, verdict = finding.launch, finding.verdict
        if verdict is None and finding.job and not reservation(launch).get("reservation_id"):
            store_jobs(launchpad, {launch["launch_id"]: finding.job})
        if verdict is None or not unchanged(launchpad, launch):
            continue
        event = remedies.begin(launchpad, campaign, launch, finding.ended, verdict)
        if event is None:
            continue
        if not unchanged(launchpad, launch):
            # Somebody else has dealt with it in between.
            queue_events.withdraw(launchpad.db, launch["launch_id"])
            continue
        logger.warning("Firework %d: %s", launch["fw_id"], event["reason"])
        take_back(launchpad, launch, event["reason"], again=event["remedy"] != Remedy.FAIL.value)
        queue_events.settle(launchpad.db, launch["launch_id"])
        done += 1
    return done


def rerun_lost_jobs(launchpad: LaunchPad, campaign: str) -> int:
    """Look, and do what is to be done.

    Returns:
        Number of Fireworks concerned; 0 when SLURM does not answer.
    """
    return carry_out(launchpad, campaign, examine(launchpad, campaign) or [])
