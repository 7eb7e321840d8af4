"""Fireworks that failed because their job was ended: the program dies first, and its launcher calls that a
failure of the Firework."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fireworks import LaunchPad

from alpw.cluster import jobs, slurm
from alpw.cluster.queue import remedies
from alpw.cluster.queue.ends import OUTSIDE, End, Remedy
from alpw.cluster.queue.held import reservation
from alpw.cluster.queue.remedies import Judge, Verdict
from alpw.database import queue_events


def heed(launchpad: LaunchPad, campaign: str, fireworks: Sequence[dict[str, Any]]) -> set[int]:
    """Give fizzled Fireworks what their jobs lacked, before they run again.

    Args:
        launchpad: the LaunchPad.
        campaign: name of the campaign.
        fireworks: those that fizzled, with ``fw_id`` and ``launches``.

    Returns:
        Ids of those that must not run again: they have had all that may be given, or their job is not gone
        yet, or SLURM does not say.
    """
    last = _last_launches(fireworks)
    barred = {last[launch] for launch in queue_events.given_up(launchpad.db, list(last))}
    ran = undecided(launchpad, fireworks)
    if not ran:
        return barred
    live = slurm.live_jobs()
    gone = None if live is None else jobs.ended([job for _, job in ran if job not in live])
    if live is None or gone is None:
        return barred | {launch["fw_id"] for launch, _ in ran}
    judge = Judge(launchpad, campaign)
    for launch, job in ran:
        if job in live:
            barred.add(launch["fw_id"])
            continue
        ended = gone.get(job)
        verdict = judge.judge(launch, ended, spent=False)
        if verdict.end not in OUTSIDE:
            verdict = Verdict(End.OWN, Remedy.NONE, {}, "the Firework failed by itself")
        event = remedies.begin(launchpad, campaign, launch, ended, verdict)
        if event is None or event["remedy"] == Remedy.FAIL.value:
            barred.add(launch["fw_id"])
        if event:
            queue_events.settle(launchpad.db, launch["launch_id"])
    return barred


def undecided(launchpad: LaunchPad, fireworks: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    """Last launches of fizzled Fireworks about the end of whose job nothing is known yet, with the job."""
    last = _last_launches(fireworks)
    ids = sorted(set(last) - queue_events.known(launchpad.db, list(last)))
    launches = launchpad.launches.find({"launch_id": {"$in": ids}}) if ids else ()
    return [(launch, job) for launch in launches if (job := reservation(launch).get("reservation_id"))]


def _last_launches(fireworks: Sequence[dict[str, Any]]) -> dict[int, int]:
    return {max(firework["launches"]): firework["fw_id"] for firework in fireworks if firework["launches"]}
