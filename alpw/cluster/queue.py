"""Fireworks of a campaign in SLURM: submitted with FireWorks' queue launcher, taken back from dead jobs."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from fireworks import FWAction, FWorker, LaunchPad
from fireworks.queue.queue_launcher import launch_rocket_to_queue
from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter
from monty.serialization import dumpfn

from alpw.cluster import recovery, slurm
from alpw.cluster.qadapter import qadapter
from alpw.config.resource import Resource, ResourceBlock
from alpw.database import campaigns
from alpw.errors import AlpwError
from alpw.workflows.firework import CATEGORIES, DFT, EXPLORE, SCF, TRAIN

logger = logging.getLogger(__name__)

#: Most jobs of one category of a campaign that wait or run at a time.
MAX_JOBS = 20
#: Seconds after its submission in which a job may be missing from squeue.
GRACE = 30.0

#: Seconds within which a cancelled job has to end: SLURM first asks it to, and kills it 30 s later.
CANCEL_PATIENCE = 90.0

_HELD = {"$in": ["RESERVED", "RUNNING"]}
_ON_REQUEST = "its job was cancelled on request"


class JobRefused(AlpwError):
    """SLURM did not take a job; its Firework is ready again.

    Attributes:
        final: whether waiting cannot help.
    """

    def __init__(self, message: str, *, final: bool) -> None:
        self.final = final
        super().__init__(message)


def queue_blocks(resource: Resource) -> dict[str, ResourceBlock]:
    """The blocks of resource.json that name a queue, by category."""
    blocks = {TRAIN: resource.train, EXPLORE: resource.explore, DFT: resource.dft, SCF: resource.labels}
    return {category: block for category, block in blocks.items() if block.queue_name}


def local_categories(resource: Resource) -> list[str]:
    """Categories that workers on this machine take: bookkeeping, and whatever has no queue."""
    queued = queue_blocks(resource)
    return [category for category in CATEGORIES if category not in queued]


def fworker(campaign: str, category: str) -> dict[str, Any]:
    """The content of a my_fworker.yaml for one category of one campaign."""
    return {
        "name": f"{campaign}-{category}",
        "category": category,
        "query": f'{{"spec.campaign": "{campaign}"}}',
        "env": {},
    }


def write_files(
    launchpad_file: Path, campaign: str, directory: Path, category: str, block: ResourceBlock
) -> tuple[Path, Path]:
    """Write the FWorker and the queue adapter of a category and return their paths.

    They are `qlaunch`'s own files: ``qlaunch -l .. -w .. -q .. -r singleshot`` does by hand what
    :func:`launch` does.
    """
    folder = directory / "queue"
    folder.mkdir(parents=True, exist_ok=True)
    fworker_file, qadapter_file = (folder / f"my_{kind}_{category}.yaml" for kind in ("fworker", "qadapter"))
    dumpfn(fworker(campaign, category), fworker_file)
    dumpfn(qadapter(category, block, launchpad_file, fworker_file, folder), qadapter_file)
    return fworker_file, qadapter_file


def launch(
    launchpad: LaunchPad, launchpad_file: Path, campaign: str, directory: Path, resource: Resource
) -> int:
    """Submit the Fireworks that are ready, up to a bound per category; returns how many were submitted.

    None of a campaign that is held.

    Each is reserved for its job, so that no two jobs are made for one Firework. A job inherits the
    environment of this process, as sbatch does by default.

    Raises:
        JobRefused: SLURM took no job for some Firework.
    """
    if not campaigns.is_running(launchpad.db, campaign):
        return 0
    launches = directory / "launches"
    launches.mkdir(parents=True, exist_ok=True)
    submitted = 0
    for category, block in queue_blocks(resource).items():
        mine = {"spec.campaign": campaign, "spec._category": category}
        held = launchpad.fireworks.count_documents(mine | {"state": _HELD})
        ready = launchpad.fireworks.count_documents(mine | {"state": "READY"})
        if not ready:
            continue
        files = write_files(launchpad_file, campaign, directory, category, block)
        worker, adapter = FWorker.from_file(str(files[0])), CommonAdapter.from_file(str(files[1]))
        # With a folder for logs FireWorks also writes them to stdout, which belongs to the command.
        del adapter["logdir"]
        for _ in range(min(ready, MAX_JOBS - held)):
            job = launch_rocket_to_queue(
                launchpad,
                worker,
                adapter,
                str(launches),
                reserve=True,
                strm_lvl="CRITICAL",
                create_launcher_dir=True,
            )
            if job is False:
                raise _refused(category, block, adapter.get_script_str(str(launches)))
            submitted += job is not None
    return submitted


def _refused(category: str, block: ResourceBlock, script: str) -> JobRefused:
    reason = slurm.refusal(script) or "no reason was given, and the same job would be taken now"
    return JobRefused(
        f"SLURM refused a job of block '{category}' (queue_name '{block.queue_name}'): {reason}",
        final=slurm.is_final(reason),
    )


def rerun_lost_jobs(launchpad: LaunchPad, campaign: str) -> int:
    """Rerun Fireworks whose SLURM job is gone: cancelled, timed out, or lost with its node.

    A job that ends by itself has told the database first, so a Firework that is still reserved or running
    after squeue has forgotten its job was lost. Only jobs that :func:`launch` submitted are judged: others
    may live in a queue that this machine cannot see. After ``recovery.MAX_RUNS`` jobs a Firework fizzles
    with the job's last words.

    Returns:
        Number of Fireworks concerned; 0 when squeue does not answer.
    """
    suspects = _held_launches(launchpad, campaign, GRACE)
    jobs = slurm.live_jobs() if suspects else None
    if jobs is None:
        return 0
    lost = 0
    for launch in suspects:
        if job_of(launch, jobs) is None and _unchanged(launchpad, launch):
            job = _reservation(launch).get("reservation_id")
            reason = f"SLURM job {job} is gone{_last_words(launch['launch_dir'], job)}"
            again = recovery.runs(launchpad, launch["fw_id"]) < recovery.MAX_RUNS
            _take_back(launchpad, launch, reason, again=again)
            lost += 1
    return lost


def withdraw(launchpad: LaunchPad, campaign: str, *, running: bool) -> tuple[list[str], list[str]]:
    """Cancel the campaign's jobs that wait in the queue, and on request those that run; their Fireworks are
    ready again, and what is cancelled counts as no failure.

    Returns:
        Ids of the jobs that are gone, and of those that SLURM has not ended within `CANCEL_PATIENCE`: a job
        that begins to run meanwhile is one of these.
    """
    states = ["RESERVED", "RUNNING"] if running else ["RESERVED"]
    held = [launch for launch in _held_launches(launchpad, campaign) if launch["state"] in states]
    if not held:
        return [], []
    jobs = slurm.live_jobs()
    if jobs is None:
        known = [_reservation(launch).get("reservation_id") for launch in held]
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
        if _unchanged(launchpad, launch):
            _take_back(launchpad, launch, _ON_REQUEST, again=True)
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


def job_of(launch: dict[str, Any], jobs: dict[str, str]) -> str | None:
    """The job that holds a launch, out of those that live (id -> folder); None when it is gone."""
    job = _reservation(launch).get("reservation_id")
    if job:
        return job if job in jobs else None
    # The id is missing when the submitting process died before it could store it.
    folder = Path(launch["launch_dir"]).resolve()
    return next((job for job, place in jobs.items() if Path(place).resolve() == folder), None)


def _unchanged(launchpad: LaunchPad, launch: dict[str, Any]) -> bool:
    """Whether a launch is still as it was read: it may have ended while squeue was asked."""
    query = {"launch_id": launch["launch_id"], "state": launch["state"]}
    return launchpad.launches.find_one(query, {"_id": 1}) is not None


def _held_launches(launchpad: LaunchPad, campaign: str, grace: float = 0.0) -> list[dict[str, Any]]:
    """Launches that a job of ours has held for ``grace`` seconds: squeue may not know a new one yet."""
    held = launchpad.fireworks.find({"spec.campaign": campaign, "state": _HELD}, {"launches": 1})
    query = {
        "launch_id": {"$in": [launch for firework in held for launch in firework["launches"]]},
        "fworker.name": {"$in": [fworker(campaign, category)["name"] for category in CATEGORIES]},
        "state": _HELD,
    }
    limit = (datetime.now(timezone.utc) - timedelta(seconds=grace)).isoformat()
    return [
        launch
        for launch in launchpad.launches.find(query)
        if not grace or str(_reservation(launch).get("created_on", limit)) < limit
    ]


def _reservation(launch: dict[str, Any]) -> dict[str, Any]:
    history = launch["state_history"]
    return next((entry for entry in history if entry["state"] == "RESERVED"), {})


def _take_back(launchpad: LaunchPad, launch: dict[str, Any], reason: str, *, again: bool) -> None:
    """Make a Firework whose job is gone ready again, or let it fizzle with the reason."""
    fw_id, launch_id = launch["fw_id"], launch["launch_id"]
    logger.log(logging.INFO if reason == _ON_REQUEST else logging.WARNING, "Firework %d: %s", fw_id, reason)
    if again and launch["state"] == "RESERVED":
        launchpad.cancel_reservation(launch_id)
        return
    # In the form in which FireWorks stores the exception of a Firetask.
    stored = {"_message": reason, "_exception": {"_stacktrace": reason, "_details": None}}
    launchpad.complete_launch(launch_id, FWAction(stored_data=stored, exit=True), "FIZZLED")
    if again:
        launchpad.rerun_fw(fw_id)


def _last_words(launch_dir: str, job: str | None) -> str:
    """The last line of the job's standard error, where SLURM says why it ended it."""
    for file in Path(launch_dir).glob(f"*-{job}.error"):
        lines = file.read_text(errors="replace").split("\n")
        return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
    return ""
