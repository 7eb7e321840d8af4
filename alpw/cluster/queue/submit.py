"""One job for one Firework, or one job array for many that ask for the same.

As FireWorks' queue launcher does it in reservation mode: Fireworks are reserved, the adapter writes the
script, sbatch takes it, and the job's id is stored with the launches. A process that dies in between leaves
reserved Fireworks without an id: their job is known by its folder, and if there is none, they are freed
(`alpw.cluster.queue.reconcile`).
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fireworks import FWorker, LaunchPad
from fireworks.fw_config import QUEUE_JOBNAME_MAXLEN, SUBMIT_SCRIPT_NAME
from fireworks.queue.queue_adapter import QueueAdapterBase
from fireworks.utilities.fw_serializers import load_object, load_object_from_file
from fireworks.utilities.fw_utilities import get_slug

from alpw.cluster.queue.held import store_jobs
from alpw.cluster.queue.sbatch import SbatchFailed, sbatch

#: Fireworks from which on an array is made, and most of them; SLURM allows 1000, a site perhaps fewer.
LEAST_ARRAY, MOST_ARRAY = 8, 500
#: Seconds in which the members of an array are reserved; those that were have to get their job soon.
RESERVING = 10.0


@dataclass(frozen=True)
class Order:
    """What the jobs of one category of a campaign are made from.

    Attributes:
        launchpad: the LaunchPad.
        campaign: name of the campaign.
        worker: who reserves; the jobs' own FWorker.
        adapter: writes the job script.
        launches: folder in which launch folders are made.
    """

    launchpad: LaunchPad
    campaign: str
    worker: FWorker
    adapter: QueueAdapterBase
    launches: Path

    @classmethod
    def read(
        cls, launchpad: LaunchPad, campaign: str, directory: Path, fworker_file: Path, qadapter_file: Path
    ) -> Order:
        """From FireWorks' own files."""
        worker, adapter = FWorker.from_file(str(fworker_file)), load_object_from_file(str(qadapter_file))
        launches = directory / "launches"
        launches.mkdir(parents=True, exist_ok=True)
        return cls(launchpad, campaign, worker, adapter, launches)


@dataclass(frozen=True)
class Member:
    """A reserved Firework of a job."""

    fw_id: int
    launch_id: int
    name: str
    spec: dict[str, Any]


def ready(order: Order, most: int) -> list[list[int]]:
    """Ids of Fireworks that may be submitted, highest priority first, in groups that ask for the same.

    A Firework with a folder of its own (`_launch_dir`) is a group of its own: an array has one for all.
    """
    fields = {"fw_id": 1, "spec._queueadapter": 1, "spec._launch_dir": 1}
    found = order.launchpad.fireworks.find(order.worker.query | {"state": "READY"}, fields)
    groups: dict[str, list[int]] = {}
    for firework in found.sort([("spec._priority", -1), ("fw_id", 1)]).limit(most):
        spec = firework.get("spec", {})
        alone = firework["fw_id"] if "_launch_dir" in spec else None
        key = json.dumps([spec.get("_queueadapter"), alone], sort_keys=True, default=str)
        groups.setdefault(key, []).append(firework["fw_id"])
    return list(groups.values())


def submit(order: Order, fw_ids: Sequence[int], *, array: bool) -> tuple[str | None, list[int]]:
    """Submit one job for the Fireworks that are still ready, and reserve them for it.

    The job inherits the environment of this process, as sbatch does by default.

    Args:
        order: see `Order`.
        fw_ids: one id, or for an array those of many that ask for the same.
        array: whether the job is an array. Each Firework is one member then, in a folder that is named by its
            index, in the folder in which the array is submitted.

    Returns:
        Id of the job, None when none of the Fireworks was ready any more, and the ids of those that it runs.

    Raises:
        SbatchFailed: there is no job, and the Fireworks are ready again; or there may be one (`unknown`), and
            they stay reserved until that shows.
    """
    folder = _new_folder(order.launches, "array_" if array else "launcher_")
    members: list[Member] = []
    try:
        members += _reserved(order, folder, fw_ids, array)
        if not members:
            folder.rmdir()
            return None, []
        place, options = _write_script(order, folder, members, array)
        job = sbatch(SUBMIT_SCRIPT_NAME, place, options)
    except (SbatchFailed, OSError) as error:
        if not (isinstance(error, SbatchFailed) and error.unknown):
            for member in members:
                order.launchpad.cancel_reservation(member.launch_id)
            shutil.rmtree(folder, ignore_errors=True)
        raise
    names = [f"{job}_{index}" if array else job for index in range(len(members))]
    ids = [member.launch_id for member in members]
    store_jobs(order.launchpad, dict(zip(ids, names, strict=True)))
    return job, [member.fw_id for member in members]


def _new_folder(parent: Path, prefix: str) -> Path:
    """A folder that nobody else has, named by the time as FireWorks does."""
    while True:
        folder = parent / f"{prefix}{datetime.now(timezone.utc):%Y-%m-%d-%H-%M-%S-%f}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue


def _reserved(order: Order, folder: Path, fw_ids: Sequence[int], array: bool) -> Iterator[Member]:
    """Reserve Fireworks that are still ready, each for its launch folder."""
    deadline = time.monotonic() + RESERVING
    index = 0
    for fw_id in fw_ids:
        place = folder / str(index) if array else folder
        # Not by `fw_id` of reserve_fw, which takes what somebody else has reserved, too.
        only = FWorker(order.worker.name, order.worker.category, {"fw_id": fw_id})
        firework, launch_id = order.launchpad.reserve_fw(only, str(place))
        if firework is not None:
            index += 1
            yield Member(fw_id, launch_id, firework.name, firework.spec)
        if time.monotonic() > deadline:
            return


def _write_script(
    order: Order, folder: Path, members: Sequence[Member], array: bool
) -> tuple[Path, list[str]]:
    """Write the job script; returns the folder in which it lies, and options for sbatch."""
    first, adapter = members[0], load_object(order.adapter.to_dict())
    slug = get_slug(first.name)[:QUEUE_JOBNAME_MAXLEN]
    adapter.update(job_name=f"{slug}-{first.fw_id}-x{len(members)}" if array else slug)
    adapter.update(first.spec.get("_queueadapter", {}))
    options: list[str] = []
    if array:
        numbers = " ".join(str(member.fw_id) for member in members)
        adapter["rocket_launch"] = (
            f'fw_ids=({numbers}); cd "$SLURM_ARRAY_TASK_ID" && '
            f"{adapter['rocket_launch']} --fw_id ${{fw_ids[$SLURM_ARRAY_TASK_ID]}}"
        )
        log = f"%a/{adapter['job_name']}-%A_%a"
        options = [f"--array=0-{len(members) - 1}", f"--output={log}.out", f"--error={log}.error"]
        for index in range(len(members)):
            (folder / str(index)).mkdir()
    else:
        adapter["rocket_launch"] += f" --fw_id {first.fw_id}"
        if own := first.spec.get("_launch_dir"):
            folder.rmdir()
            folder = folder.parent / os.path.expandvars(own)
            folder.mkdir(parents=True, exist_ok=True)
            order.launchpad.change_launch_dir(first.launch_id, str(folder))
    (folder / SUBMIT_SCRIPT_NAME).write_text(adapter.get_script_str(str(folder)))
    return folder, options
