"""Fireworks of a campaign in SLURM: submitted with FireWorks' queue launcher, taken back from dead jobs."""

from __future__ import annotations

import logging
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
from alpw.errors import AlpwError
from alpw.workflows.firework import CATEGORIES, DFT, EXPLORE, SCF, TRAIN

logger = logging.getLogger(__name__)

#: Most jobs of one category of a campaign that wait or run at a time.
MAX_JOBS = 20
#: Seconds after its submission in which a job may be missing from squeue.
GRACE = 30.0

_HELD = {"$in": ["RESERVED", "RUNNING"]}


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

    Each is reserved for its job, so that no two jobs are made for one Firework. A job inherits the
    environment of this process, as sbatch does by default.

    Raises:
        JobRefused: SLURM took no job for some Firework.
    """
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
    suspects = _held_launches(launchpad, campaign)
    jobs = slurm.live_jobs() if suspects else None
    if jobs is None:
        return 0
    folders = {str(Path(folder).resolve()) for folder in jobs.values()}
    lost = 0
    for launch in suspects:
        job = _reservation(launch).get("reservation_id")
        # The id is missing when the submitting process died before it could store it.
        alive = job in jobs if job else str(Path(launch["launch_dir"]).resolve()) in folders
        # Read again: it may have ended while squeue was asked.
        unchanged = {"launch_id": launch["launch_id"], "state": launch["state"]}
        if not alive and launchpad.launches.find_one(unchanged, {"_id": 1}):
            _take_back(launchpad, launch, f"SLURM job {job} is gone{_last_words(launch['launch_dir'], job)}")
            lost += 1
    return lost


def _held_launches(launchpad: LaunchPad, campaign: str) -> list[dict[str, Any]]:
    """Launches that a job of ours holds, beyond the time in which squeue may not know it."""
    held = launchpad.fireworks.find({"spec.campaign": campaign, "state": _HELD}, {"launches": 1})
    query = {
        "launch_id": {"$in": [launch for firework in held for launch in firework["launches"]]},
        "fworker.name": {"$in": [fworker(campaign, category)["name"] for category in CATEGORIES]},
        "state": _HELD,
    }
    limit = (datetime.now(timezone.utc) - timedelta(seconds=GRACE)).isoformat()
    return [
        launch
        for launch in launchpad.launches.find(query)
        if str(_reservation(launch).get("created_on", limit)) < limit
    ]


def _reservation(launch: dict[str, Any]) -> dict[str, Any]:
    history = launch["state_history"]
    return next((entry for entry in history if entry["state"] == "RESERVED"), {})


def _take_back(launchpad: LaunchPad, launch: dict[str, Any], reason: str) -> None:
    fw_id, launch_id = launch["fw_id"], launch["launch_id"]
    logger.warning("Firework %d: %s", fw_id, reason)
    again = recovery.runs(launchpad, fw_id) < recovery.MAX_RUNS
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
