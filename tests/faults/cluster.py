"""A real SLURM, and campaigns on it whose labels take their time."""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ase.build import bulk
from bson.objectid import ObjectId
from fireworks import LaunchPad

from alpw.database import configurations, queue_events
from alpw.database.launchpad import write_launchpad_file
from tests.conftest import RESOURCE, TINY

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "slurm" / "slurm.sh"
BIN = Path(sys.executable).parent

#: SLURM looks each second how much memory a job has, and kills it when that is too much.
LINES = """SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill"""


class Cluster:
    """SLURM with one node, in a folder of its own; `SLURM_CONF` leads to it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self.folder.chmod(0o755)
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            ports = [str(each.getsockname()[1]) for each in sockets]
        subprocess.run(
            [SCRIPT, "start", self.folder, *ports], env=os.environ | {"SLURM_LINES": LINES}, check=True
        )
        os.environ["SLURM_CONF"] = str(self.folder / "slurm.conf")
        os.environ["PATH"] += ":/usr/sbin:/sbin"

    def kill_controller(self) -> None:
        os.kill(int((self.folder / "slurmctld.pid").read_text()), signal.SIGKILL)

    def start_controller(self) -> None:
        subprocess.run(["slurmctld", "-f", os.environ["SLURM_CONF"]], check=True)

    def node(self, state: str) -> None:
        """Give the node a state; resuming one that has come back by itself is no error."""
        command = ["scontrol", "update", "nodename=node1", f"state={state}", "reason=fault"]
        subprocess.run(command, check=state != "resume", stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        subprocess.run([SCRIPT, "stop", self.folder], check=True)


def moment(value: Any) -> datetime:
    """A time as FireWorks stores it."""
    found = datetime.fromisoformat(str(value))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


class Run:
    """A campaign under `alpw run`, until its first labels are made.

    Args:
        launchpad: of the database.
        uri: of its server.
        folder: of the campaign; its name is that of the campaign.
        seconds: that each label takes.
        memory: MiB that each label needs, and what its job asks for at first, if not 1G.
    """

    def __init__(
        self, launchpad: LaunchPad, uri: str, folder: Path, seconds: float, memory: tuple[int, str] | None
    ) -> None:
        self.launchpad, self.folder, self.name, self.seconds = launchpad, folder, folder.name, seconds
        folder.mkdir()
        param, resource = copy.deepcopy(TINY), copy.deepcopy(RESOURCE)
        param |= {"campaign": self.name, "work_dir": str(folder)}
        param["dft"] = {"dft_style": "ase", "calculator": "tests.faults.slow.Slow"}
        resource["dft"] = {
            "group_size": 1,
            "queue_name": "debug",
            "memory": memory[1] if memory else "1G",
            "walltime": "0:10:00",
            "max_jobs": 3,
        }
        (folder / "param.json").write_text(json.dumps(param))
        (folder / "resource.json").write_text(json.dumps(resource))
        bulk("Si", cubic=True).write(folder / "POSCAR", format="vasp", direct=True)
        write_launchpad_file(folder / "my_launchpad.yaml", uri, launchpad.name)
        self.environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "ALPW_SLOW_SECONDS": str(seconds),
            "ALPW_SLOW_MEMORY": str(memory[0] if memory else 0),
            "ALPW_SLOW_LOG": str(folder / "computed.log"),
        }

    def supervise(self, path: str = "") -> None:
        """Start `alpw run`; a folder may be put before all others on its PATH."""
        environment = self.environment | {
            "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]
        }
        with (self.folder / "run.log").open("ab") as log:
            self.supervisor = subprocess.Popen(
                [BIN / "alpw", "run", "param.json", "resource.json"],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self) -> None:
        """End the supervision, all jobs and workers."""
        if self.supervisor.poll() is None:
            self.supervisor.send_signal(signal.SIGINT)
            try:
                self.supervisor.wait(60)
            except subprocess.TimeoutExpired:
                self.supervisor.kill()
                self.supervisor.wait()
        command = [BIN / "alpw", "kill", self.name]
        subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, check=False)

    def labels(self) -> list[dict[str, Any]]:
        """The campaign's label Fireworks, with their launches in ``launches``, also of earlier runs."""
        found = []
        query = {"spec.campaign": self.name, "spec.task": "LabelChunk"}
        for firework in self.launchpad.fireworks.find(query):
            ids = firework["launches"] + firework.get("archived_launches", [])
            launches = list(self.launchpad.launches.find({"launch_id": {"$in": ids}}).sort("launch_id", 1))
            found.append({**firework, "launches": launches})
        return found

    def job(self, state: str, seconds: float = 600.0) -> tuple[int, str]:
        """A label Firework in some state, and its job; waits for one, and until its program has begun."""

        def look() -> tuple[int, str] | None:
            for firework in self.labels():
                if firework["state"] == state and firework["launches"]:
                    history = firework["launches"][-1]["state_history"]
                    job = next((entry.get("reservation_id") for entry in history), None)
                    if job and (state != "RUNNING" or self._began(firework)):
                        return firework["fw_id"], str(job)
            return None

        found: tuple[int, str] = self.wait(look, seconds)
        return found

    def launch_state(self, fw_id: int) -> str:
        """State of the newest launch of a label Firework, or that it is ready for one."""
        [firework] = [each for each in self.labels() if each["fw_id"] == fw_id]
        return str(firework["launches"][-1]["state"]) if firework["launches"] else "READY"

    def _began(self, firework: dict[str, Any]) -> bool:
        [configuration] = firework["spec"]["_tasks"][0]["configurations"]
        query = {"_id": ObjectId(configuration), "state": configurations.State.LABELLING.value}
        return self.launchpad.db[configurations.COLLECTION].find_one(query, {"_id": 1}) is not None

    def done(self) -> bool:
        """Whether every label has been made."""
        return set(self._states()) == {configurations.State.LABELLED.value}

    def _states(self) -> list[str]:
        collection = self.launchpad.db[configurations.COLLECTION]
        return [
            each["state"] for each in collection.find({"campaign": self.name, "iteration": -1}, {"state": 1})
        ]

    def lost(self) -> int:
        """Number of labels that are not made."""
        return sum(state != configurations.State.LABELLED.value for state in self._states())

    def twice(self) -> int:
        """How often something was computed again that had been computed before."""
        file = self.folder / "computed.log"
        lines = [line.split()[-1] for line in file.read_text().splitlines()] if file.exists() else []
        return len(lines) - len(set(lines))

    def again(self, since: datetime, fw_id: int | None) -> datetime | None:
        """When a label Firework, a certain one or any, first began to run after some time."""
        times = [
            moment(entry["created_on"])
            for firework in self.labels()
            if fw_id in (None, firework["fw_id"])
            for launch in firework["launches"]
            for entry in launch["state_history"]
            if entry["state"] == "RUNNING"
        ]
        return min((each for each in times if each > since), default=None)

    def events(self) -> list[dict[str, Any]]:
        return queue_events.of_campaign(self.launchpad.db, self.name)

    def wait(self, condition: Callable[[], Any], seconds: float) -> Any:
        """What a condition gives once it is true; raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"not within {seconds:.0f} s: {(self.folder / 'run.log').read_text()[-500:]}"
                )
            time.sleep(0.3)
        return found
