"""A tiny but real campaign: 16 silicon atoms, xTB labels, small nets, short trajectories."""

import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest
from ase.build import bulk
from hypothesis import HealthCheck, settings
from pymongo import MongoClient

from alpw.database import daemon
from alpw.database.launchpad import open_launchpad, prepare, write_launchpad_file

# Nothing may fail because the machine is busy, and where drawing more is worth it a test says so.
settings.register_profile(
    "patient", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

BIN = Path(sys.executable).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules with slow tests first, so that at the end no worker is left alone with one of them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


TINY = {
    "campaign": "tiny",
    "initial": {"perturb": 4, "cell_pert_fraction": 0.0, "atom_pert_distance": 0.1},
    "train": {
        "atom_type": ["Si"],
        "descriptor": {"rcut": 4.0, "rcut_smth": 1.0, "axis_neuron": 4, "neuron": [8, 8]},
        "fitting_net": {"neuron": [16, 16]},
        "optimizer": {"steps": 60, "learning_rate": 0.01},
    },
    "strategy": {
        "model_num": 3,
        "lower_model_devi_f": 0.02,
        "upper_model_devi_f": 5.0,
        "max_select": 2,
        "validation_frames": 2,
    },
    "explore": {
        "sys_configs": [{"config": "POSCAR", "format": "vasp/poscar"}],
        "md_jobs": [
            {"sys_idx": [0], "temps": [300], "nsteps": 20, "trj_freq": 4},
            {"sys_idx": [0], "temps": [500], "nsteps": 20, "trj_freq": 4},
        ],
    },
    "dft": {"dft_style": "xtb"},
}
RESOURCE = {"train": {}, "explore": {}, "dft": {"group_size": 2}}


class Inputs:
    """Input files in a folder, and the commands run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.param, self.resource = copy.deepcopy(TINY), copy.deepcopy(RESOURCE)
        bulk("Si", cubic=True).repeat((2, 1, 1)).write(folder / "POSCAR", format="vasp", direct=True)
        self.write()

    def write(self) -> None:
        (self.folder / "param.json").write_text(json.dumps(self.param))
        (self.folder / "resource.json").write_text(json.dumps(self.resource))

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "ALPW_DB_DIR": str(self.folder / "db"),
            "COLUMNS": "120",
        }

    def command(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess:
        """Run one of our or FireWorks' commands in the folder."""
        program, *arguments = words
        return subprocess.run(
            [str(BIN / program), *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def popen(self, *words: str) -> subprocess.Popen:
        """Start a command in the folder, in a session of its own."""
        program, *arguments = words
        with (self.folder / "command.log").open("ab") as log:
            return subprocess.Popen(
                [str(BIN / program), *arguments],
                cwd=self.folder,
                env=self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
                # It may be ignored where the tests were started in the background, and is inherited.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def kill_everything(self) -> int:
        """SIGKILL to every process that works in the folder: workers, supervisor, database, programs."""
        victims = []
        for process in psutil.process_iter(["cwd", "cmdline"]):
            traces = " ".join([*(process.info["cmdline"] or []), process.info["cwd"] or ""])
            if process.pid != os.getpid() and str(self.folder) in traces:
                victims.append(process)
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        psutil.wait_procs(victims, timeout=10)
        return len(victims)


@pytest.fixture
def inputs(tmp_path):
    """Valid inputs of the tiny campaign; change ``inputs.param`` and call ``inputs.write()``."""
    return Inputs(tmp_path)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A private server for all tests that leave it alive."""
    directory = tmp_path_factory.mktemp("server")
    yield daemon.start(directory)
    daemon.stop(directory)


@pytest.fixture
def own_launchpad(inputs):
    """A fresh LaunchPad on a server that the test may kill."""
    with opened(inputs, daemon.start(inputs.folder / "db"), "fireworks") as launchpad:
        yield launchpad


@contextlib.contextmanager
def opened(inputs, server, name):
    """A fresh LaunchPad, known to every command in the folder of ``inputs``."""
    launchpad = open_launchpad(write_launchpad_file(inputs.folder / "my_launchpad.yaml", server.uri, name))
    prepare(launchpad)
    yield launchpad
    inputs.kill_everything()
    launchpad.connection.close()


@pytest.fixture
def launchpad(inputs, server):
    """A fresh LaunchPad on the server that tests share."""
    name = f"test_{uuid.uuid4().hex}"
    with opened(inputs, server, name) as launchpad:
        yield launchpad
    with MongoClient(server.uri) as client:
        client.drop_database(name)
