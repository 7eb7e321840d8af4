"""Jobs for the Fireworks that are ready."""

from __future__ import annotations

from pathlib import Path

from fireworks import FWorker, LaunchPad
from fireworks.queue.queue_launcher import launch_rocket_to_queue
from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

from alpw.cluster import slurm
from alpw.cluster.queue.files import queue_blocks, write_files
from alpw.config.resource import Resource, ResourceBlock
from alpw.database import campaigns
from alpw.errors import AlpwError

#: Most jobs of one category of a campaign that wait or run at a time.
MAX_JOBS = 20


class JobRefused(AlpwError):
    """SLURM did not take a job; its Firework is ready again.

    Attributes:
        final: whether waiting cannot help.
    """

    def __init__(self, message: str, *, final: bool) -> None:
        self.final = final
        super().__init__(message)


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
        held = launchpad.fireworks.count_documents(mine | {"state": {"$in": ["RESERVED", "RUNNING"]}})
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
