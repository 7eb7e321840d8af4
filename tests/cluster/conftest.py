"""A real SLURM for the tests of this folder, private to each test process."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from fireworks import Firework, ScriptTask

from alpw.cluster.journal import Journal
from alpw.cluster.queue.launcher import Launcher
from alpw.cluster.supervisor import Supervisor
from alpw.config.resource import Resource, ResourceBlock
from alpw.database import campaigns, iterations
from alpw.database.indexes import ensure_indexes
from alpw.database.summary import summarise

SCRIPT = Path(__file__).parents[1] / "slurm" / "slurm.sh"
PROGRAMS = ("sbatch", "squeue", "slurmctld", "slurmd", "munged")


def free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [str(each.getsockname()[1]) for each in sockets]


def start(folder):
    """Start SLURM; another process may take a free port first, so a second and third try are allowed."""
    for _ in range(3):
        started = subprocess.run(
            [SCRIPT, "start", folder, *free_ports(2)], stderr=subprocess.PIPE, text=True, timeout=120
        )
        if started.returncode == 0:
            return
        subprocess.run([SCRIPT, "stop", folder], check=True, timeout=120)
        folder.mkdir(mode=0o755)
    pytest.fail(f"SLURM does not start:\n{started.stderr}")


@pytest.fixture(scope="session")
def slurm():
    """The environment variables that lead to a running SLURM with one node; they are set here too."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = [program for program in PROGRAMS if not shutil.which(program, path=path)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (Debian packages slurm-wlm and munge)")
    # Not below pytest's own folder: the paths of sockets must be short.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o755)
    environment = {"SLURM_CONF": str(folder / "slurm.conf")}
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("SLURM_", "SBATCH_", "SQUEUE_")):
                patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            start(folder)
            yield environment
        finally:
            subprocess.run([SCRIPT, "stop", folder], check=True, timeout=120)


@pytest.fixture
def campaign_ends(inputs, launchpad):
    """End the workers that a campaign which was given up leaves behind."""
    yield
    inputs.kill_everything()


QUEUED = {"queue_name": "debug", "memory": "1G", "walltime": "0:10:00"}
NAME = "c"


@pytest.fixture
def queued(inputs):
    """The tiny campaign in one iteration, all of it in the queue: two partitions, a card for the training.

    One job for all members and one for all labels of an iteration.
    """
    inputs.param["explore"]["md_jobs"] = inputs.param["explore"]["md_jobs"][:1]
    inputs.param["train"]["together"] = True
    inputs.resource["dft"]["group_size"] = 4
    for block in inputs.resource.values():
        block |= QUEUED
    inputs.resource["train"]["gpu_per_node"] = 1
    inputs.resource["dft"]["queue_name"] = "labels"
    inputs.write()
    return inputs


class Site:
    """A campaign with hand-made Fireworks, submitted as the supervisor does it."""

    def __init__(self, inputs, launchpad, **block):
        self.launchpad, self.folder, self.complaints = launchpad, inputs.folder, []
        file, self.journal = self.folder / "my_launchpad.yaml", Journal(self.folder)
        self.launcher = Launcher(file, NAME, self.folder, self.journal, self.complaints.append)
        self.resource = Resource(
            train=ResourceBlock(), explore=ResourceBlock(), dft=ResourceBlock.model_validate(QUEUED | block)
        )
        ensure_indexes(launchpad.db)
        resolved = {"resource": self.resource.model_dump(mode="json")}
        campaigns.create(launchpad.db, NAME, {"work_dir": str(self.folder), "resolved": resolved})
        iterations.create(launchpad.db, NAME, 0, {"kind": "explore", "workflow": {"added": None}})

    def add(self, script, category="dft", **spec):
        task = ScriptTask.from_str(script, {"fizzle_bad_rc": True})
        spec |= {"campaign": NAME, "iteration": 0, "_category": category}
        return next(iter(self.launchpad.add_wf(Firework(task, spec=spec)).values()))

    def ask(self, category="dft", **keys):
        """Another block of resource.json for a category."""
        block = ResourceBlock.model_validate(QUEUED | keys)
        self.resource = self.resource.model_copy(update={category: block})

    def launch(self):
        return self.launcher.launch(self.launchpad, self.resource)

    def supervisor(self, **options):
        resource = self.resource.model_dump(mode="json")
        campaigns.update(self.launchpad.db, NAME, resolved={"resource": resource})
        return Supervisor(
            launchpad_file=self.folder / "my_launchpad.yaml",
            campaign=NAME,
            directory=self.folder,
            resource=self.resource,
            workers=1,
            summarise=summarise,
            on_update=lambda summary: None,
            on_trouble=self.complaints.append,
            **options,
        )

    def state(self, fw_id):
        return self.launchpad.fireworks.find_one({"fw_id": fw_id})["state"]

    def job(self, fw_id):
        return self.launchpad.get_reservation_id_from_fw_id(fw_id)

    def wait(self, fw_id, *states, seconds=60):
        deadline = time.monotonic() + seconds
        while self.state(fw_id) not in states and time.monotonic() < deadline:
            time.sleep(0.1)
        assert self.state(fw_id) in states


@pytest.fixture
def site(slurm, inputs, launchpad):
    yield Site(inputs, launchpad)
    subprocess.run(["scancel", "--state=PENDING", "--me"], check=False)
    subprocess.run(["scancel", "--me"], check=False)
