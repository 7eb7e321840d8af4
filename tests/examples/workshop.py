"""Copies of the examples with what their users have and we may not ship: programs and pseudopotentials."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from alpw.config import load_inputs
from alpw.config.assign import assign
from alpw.database import daemon
from alpw.database.launchpad import open_launchpad, prepare, write_launchpad_file
from alpw.workflows.check import check_inputs
from alpw.workflows.plan import plan_trajectories

ROOT = Path(__file__).parents[2]
EXAMPLES, STANDINS = ROOT / "examples", ROOT / "tests" / "standins"
BIN = Path(sys.executable).parent

LEFT_BEHIND = shutil.ignore_patterns(
    *("collection", "init_bulk.png", "workers", "launches", "queue", "iter.*", "models"),
    *("summary.json", "history.png", "my_launchpad.yaml", "Si_POTCAR", "*.UPF", "in_skf"),
)
"""what running an example leaves in its folders, and what its user puts there"""

LICENSED: Mapping[str, tuple[str, Sequence[str]]] = {
    "si_vasp": (".", ("vasp_std", "--potcar", "Si")),
    "si_pwmat": (".", ("PWmat", "--upf", "Si")),
    "si_dftb": ("in_skf", ("PWmat", "--skf", "Si")),
}
"""example -> folder, and call of the stand-in that makes files with the headers of the licensed ones"""

POTCAR = "Si_POTCAR"
"""where the printed POTCAR goes; the others are written by their stand-ins"""

CP2K = "cp2k.psmp"

CP2K_DATA = {
    "BASIS_MOLOPT": " Si SZV-MOLOPT-SR-GTH SZV-MOLOPT-SR-GTH-q4\n",
    "GTH_POTENTIALS": " Si GTH-PBE-q4 GTH-PBE\n",
}
"""names that CP2K's own files offer for silicon, where CP2K is not installed"""


@dataclass(frozen=True)
class Workshop:
    """A folder with copies of examples, a database of their own, and programs to run them with.

    Attributes:
        folder: holds the copies.
        environment: of the commands; PATH leads to the stand-ins, and to the real CP2K where there is one.
        launchpad_file: of the database.
    """

    folder: Path
    environment: Mapping[str, str]
    launchpad_file: Path | None = None

    def copy(self, name: str) -> Path:
        """The folder of a fresh copy of an example, pseudopotentials included."""
        folder = self.folder / name
        shutil.copytree(EXAMPLES / name, folder, ignore=_left_behind)
        if name == "si_cp2k" and not shutil.which(CP2K):
            for place, (file, text) in product((folder, folder / "init_bulk"), CP2K_DATA.items()):
                (place / file).write_text(text)
        if name in LICENSED:
            place, call = LICENSED[name]
            (folder / place).mkdir(exist_ok=True)
            printed = self._output(call, folder / place)
            if "--potcar" in call:
                (folder / POTCAR).write_text(printed)
        return folder

    def change(self, name: str, assignments: Iterable[str]) -> None:
        """Set keys of a copy's param.json, such as ``train.optimizer.epochs=2``; all others stay as they are.

        Raises:
            InputError: an assignment that is none.
        """
        file = self.folder / name / "param.json"
        content = json.loads(file.read_text())
        for assignment in assignments:
            assign(content, assignment)
        file.write_text(json.dumps(content, indent=4))

    def init_bulk(self, name: str) -> dict[str, Any]:
        """Make the first data set of a copy; returns the campaign's summary."""
        return self._alpw(self.folder / name / "init_bulk", "init_bulk", "init_param.json")

    def run(self, name: str) -> dict[str, Any]:
        """Active learning to its end, after `init_bulk`; returns the campaign's summary."""
        return self._alpw(self.folder / name, "run", "param.json")

    def _alpw(self, folder: Path, command: str, param: str) -> dict[str, Any]:
        call = [str(BIN / "alpw"), command, param, "resource.json", "--json"]
        document: dict[str, Any] = json.loads(
            self._output([*call, "--launchpad", str(self.launchpad_file)], folder)
        )
        return document

    def _output(self, call: Sequence[str], folder: Path) -> str:
        """Standard output of a call.

        Raises:
            RuntimeError: it failed; has what it said.
        """
        program = shutil.which(call[0], path=self.environment["PATH"]) or call[0]
        done = subprocess.run(
            [program, *call[1:]], cwd=folder, env=self.environment, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{shlex.join(call)} in {folder.name}:\n{done.stderr}{done.stdout}")
        return done.stdout


@contextmanager
def workshop(folder: Path, *, with_database: bool = True) -> Iterator[Workshop]:
    """A workshop in an empty folder; its database, if it has one, ends with it."""
    environment = _environment(folder)
    if not with_database:
        yield Workshop(folder, environment)
        return
    server = daemon.start(folder / "db")
    launchpad = open_launchpad(write_launchpad_file(folder / "my_launchpad.yaml", server.uri))
    prepare(launchpad)
    try:
        yield Workshop(folder, environment, folder / "my_launchpad.yaml")
    finally:
        launchpad.connection.close()
        daemon.stop(folder / "db")


def _left_behind(folder: str, names: list[str]) -> set[str]:
    # The calculations of init_bulk lie in a folder of the same name as that of the example.
    calculations = {"init_bulk"} if Path(folder).name == "init_bulk" else set()
    return LEFT_BEHIND(folder, names) | calculations.intersection(names)


def _environment(folder: Path) -> dict[str, str]:
    """The stand-ins come first on PATH, after the Python that they run with."""
    if not shutil.which(CP2K):
        (folder / "bin").mkdir()
        program = folder / "bin" / CP2K
        program.write_text(f'#!/bin/sh\nexec {BIN / "python"} {STANDINS / "fake_cp2k.py"} "$@"\n')
        program.chmod(0o755)
    path = os.pathsep.join(map(str, (BIN, STANDINS, folder / "bin", os.environ["PATH"])))
    return {
        **os.environ,
        "PATH": path,
        "OMP_NUM_THREADS": "1",
        "ALPW_DB_DIR": str(folder / "db"),
        "COLUMNS": "120",
    }


@dataclass(frozen=True)
class Exploration:
    """What iteration 0 of a copy explores."""

    trajectories: int
    frames: int


def plan_exploration(folder: Path) -> Exploration:
    """Check the input files of ``alpw run`` as the command does, and plan iteration 0.

    Args:
        folder: of a copy that has its first data set.

    Raises:
        InputError: the files do not go with each other, or with what init_bulk made.
    """
    param, resource = load_inputs(folder / "param.json", folder / "resource.json")
    check_inputs(param, resource)
    starts = [index for index, system in enumerate(param.explore.sys_configs) for _ in system.files]
    plans = plan_trajectories(param, 0, starts, stage=0)
    return Exploration(len(plans), sum(plan["n_steps"] // plan["stride"] + 1 for plan in plans))
