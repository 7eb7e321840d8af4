"""Hand-made Fireworks of a campaign in a real SLURM, submitted with FireWorks' own queue launcher."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from fireworks import Firework, FWorker, LaunchPad, ScriptTask
from fireworks.queue.queue_launcher import launch_rocket_to_queue
from fireworks.utilities.fw_serializers import load_object_from_file

from alpw.cluster import slurm
from alpw.cluster.queue.files import write_all
from alpw.config.resource import Resource, ResourceBlock
from alpw.database import campaigns, iterations
from alpw.database.indexes import ensure_indexes

QUEUED = {"queue_name": "debug", "memory": "1G", "walltime": "0:10:00"}


class Site:
    """A campaign without calculations, whose category ``dft`` goes to SLURM.

    Args:
        launchpad: of a running database.
        folder: where my_launchpad.yaml is.
        name: of the campaign.
        block: keys of the block ``dft`` besides those of `QUEUED`.
    """

    def __init__(self, launchpad: LaunchPad, folder: Path, name: str = "c", **block: Any) -> None:
        self.launchpad, self.folder, self.name = launchpad, folder, name
        self.block = ResourceBlock.model_validate(QUEUED | block)
        resource = Resource(train=ResourceBlock(), explore=ResourceBlock(), dft=self.block)
        ensure_indexes(launchpad.db)
        resolved = {"resource": resource.model_dump(mode="json")}
        campaigns.create(launchpad.db, name, {"work_dir": str(folder), "resolved": resolved})
        iterations.create(launchpad.db, name, 0, {"kind": "explore", "workflow": {"added": None}})

    def add(self, script: str) -> int:
        """A Firework that runs a shell script."""
        task = ScriptTask.from_str(script, {"fizzle_bad_rc": True})
        spec = {"campaign": self.name, "iteration": 0, "_category": "dft"}
        return next(iter(self.launchpad.add_wf(Firework(task, spec=spec)).values()))

    def submit(self) -> str:
        """Submit a job for the next Firework and return the job's id."""
        launches = self.folder / "launches"
        launches.mkdir(exist_ok=True)
        file = self.folder / "my_launchpad.yaml"
        resource = Resource(train=ResourceBlock(), explore=ResourceBlock(), dft=self.block)
        worker, adapter = write_all(file, self.name, self.folder, resource)["dft"]
        job = launch_rocket_to_queue(
            self.launchpad,
            FWorker.from_file(str(worker)),
            load_object_from_file(str(adapter)),
            str(launches),
            reserve=True,
            strm_lvl="CRITICAL",
            create_launcher_dir=True,
        )
        assert job
        return str(job)

    def firework(self, fw_id: int) -> dict[str, Any]:
        found: dict[str, Any] = self.launchpad.fireworks.find_one({"fw_id": fw_id})
        return found

    def state(self, fw_id: int) -> str:
        return str(self.firework(fw_id)["state"])


def wait_until_gone(job: str, seconds: float = 60.0) -> None:
    """Wait until SLURM has ended a job."""
    deadline = time.monotonic() + seconds
    while (live := slurm.live_jobs()) is None or job in live:
        assert time.monotonic() < deadline, f"job {job} does not end"
        time.sleep(0.1)
