"""init_bulk through real FireWorks, with calculations that are arithmetic."""

import json
from types import SimpleNamespace

import numpy as np
from ase.build import bulk
from fireworks import FWorker
from fireworks.core.rocket_launcher import rapidfire

from alpw.codes.protocol import Steps, Task
from alpw.config import load_init_inputs
from alpw.database import configurations
from alpw.database.init_summary import summarise_init
from alpw.errors import CalculationError, FailureKind
from alpw.firetasks import calculate, harvest, label
from alpw.structures.frame import Label, LabelledFrame
from alpw.structures.frames import LabelledFrames
from alpw.workflows.launch_init import start_init, update_init

NAME = "init_bulk-bench"
STEPS = 4
"""frames of each arithmetic run of AIMD"""


class InitBench:
    """A folder with inputs, a database, and codes that answer at once."""

    def __init__(self, folder, launchpad, monkeypatch):
        self.folder, self.launchpad = folder, launchpad
        bulk("Si", cubic=True).repeat((2, 1, 1)).write(folder / "POSCAR", format="vasp", direct=True)
        (folder / "md.json").write_text(json.dumps({"steps": 3, "temperature": 300}))
        self.init = {
            "campaign": "bench",
            "dft_style": "xtb",
            "sys_configs": [self.entry()],
            "aimd_input": "md.json",
        }
        self.resource = {"dft": {}}
        self.broken: set[str] = set()
        self.calls: list[str] = []
        monkeypatch.setattr(calculate, "run_steps", self.run_steps)
        monkeypatch.setattr(harvest, "finished_steps", self.finished_steps)
        monkeypatch.setattr(label, "run_label", self.run_label)
        monkeypatch.chdir(folder)

    def entry(self, **more):
        return {"config": "POSCAR", "relax": False, "perturb": 0, "aimd": False, **more}

    def start(self, update=False):
        (self.folder / "init_param.json").write_text(json.dumps(self.init))
        (self.folder / "resource.json").write_text(json.dumps(self.resource))
        loaded = load_init_inputs(self.folder / "init_param.json", self.folder / "resource.json")
        if update:
            update_init(self.launchpad, *loaded)
        start_init(self.launchpad, *loaded)

    def run(self, update=False):
        self.start(update)
        return self.work()

    def work(self):
        rapidfire(self.launchpad, FWorker(), m_dir=str(self.folder), strm_lvl="CRITICAL")
        return summarise_init(self.launchpad.db, NAME)

    def run_steps(self, code, task, atoms, directory, dft, command=None, *, environment=None, timeout=None):
        name = str(directory).split("calculations/", 1)[-1]
        self.calls.append(name)
        if any(word in name for word in self.broken):
            raise CalculationError("it broke", FailureKind.GEOMETRY, directory, code.name)
        return self.finished_steps(code, task, atoms, directory, dft)

    def finished_steps(self, code, task, atoms, directory, dft):
        if any(word in str(directory) for word in self.broken):
            return None
        rng = np.random.default_rng(dft.seed or 0)
        frames = []
        for _ in range(1 if task is Task.RELAX else STEPS):
            moved = atoms.copy()
            moved.positions += 0.02 * rng.standard_normal(moved.positions.shape)
            frames.append(LabelledFrame(moved, Label(-1.0, np.zeros_like(moved.positions), np.eye(3))))
        return Steps(
            settings={"method": "arithmetic"},
            settings_hash="a" * 64,
            corrections=[],
            wall_time=36.0,
            directory=directory,
            frames=LabelledFrames.of(frames),
            hashes=["a" * 64] * len(frames),
            complete=True,
        )

    def run_label(self, code, atoms, directory, dft, command=None, **options):
        self.calls.append(str(directory).split("calculations/", 1)[-1])
        return SimpleNamespace(
            label=Label(-2.0, np.zeros_like(atoms.positions), np.eye(3)),
            settings={"method": "arithmetic"},
            settings_hash="b" * 64,
            corrections=[],
            changes=[],
            wall_time=3.6,
            directory=directory,
        )

    def frames(self, **query):
        return list(self.launchpad.db[configurations.COLLECTION].find(query))

    def files(self):
        root = self.folder / "collection"
        return {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()}
