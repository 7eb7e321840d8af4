"""A real SLURM for the tests of this folder, private to each test process."""

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

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
