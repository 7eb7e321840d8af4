"""A campaign's Fireworks submitted to SLURM through FireWorks' queue launcher."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from fireworks import FWorker, LaunchPad
from fireworks.queue.queue_launcher import launch_rocket_to_queue
from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter
from monty.serialization import dumpfn

from alpw.cluster.qadapter import qadapter
from alpw.config.resource import Resource, ResourceBlock
from alpw.errors import AlpwError
from alpw.workflows.active_learning import CATEGORIES, DFT, EXPLORE, TRAIN

logger = logging.getLogger(__name__)

#: Most jobs of one category of a campaign that wait or run at a time.
MAX_JOBS = 20


def queue_blocks(resource: Resource) -> dict[str, ResourceBlock]:
    """The blocks of resource.json that name a queue, by category."""
    blocks = {TRAIN: resource.train, EXPLORE: resource.explore, DFT: resource.dft}
    return {category: block for category, block in blocks.items() if block.queue_name}


def uses_queue(resource: Resource) -> bool:
    """Whether any part of the campaign goes through the queue."""
    return bool(queue_blocks(resource))


def local_categories(resource: Resource) -> list[str]:
    """Categories that a worker on this machine takes: bookkeeping, and whatever has no queue."""
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
    """Write the FWorker and the queue adapter of a category and return their paths."""
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

    Each is reserved for its job, so that no two jobs are made for one Firework.

    Raises:
        AlpwError: SLURM refused a job; the Firework is ready again and FireWorks' log has the reason.
    """
    launches = directory / "launches"
    launches.mkdir(parents=True, exist_ok=True)
    submitted = 0
    for category, block in queue_blocks(resource).items():
        mine = {"spec.campaign": campaign, "spec._category": category}
        waiting = launchpad.fireworks.count_documents(mine | {"state": {"$in": ["RESERVED", "RUNNING"]}})
        ready = launchpad.fireworks.count_documents(mine | {"state": "READY"})
        if not ready:
            continue
        files = write_files(launchpad_file, campaign, directory, category, block)
        worker, adapter = FWorker.from_file(str(files[0])), CommonAdapter.from_file(str(files[1]))
        for _ in range(min(ready, MAX_JOBS - waiting)):
            job = launch_rocket_to_queue(
                launchpad, worker, adapter, str(launches), reserve=True, create_launcher_dir=True
            )
            if job is False:
                raise AlpwError(
                    f"SLURM refused a job of category '{category}' (queue '{block.queue_name}'); "
                    f"the submission script lies in the newest folder of {launches}"
                )
            submitted += job is not None
    return submitted
