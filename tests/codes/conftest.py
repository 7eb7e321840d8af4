"""Structures, settings and stand-ins that the tests of all codes share."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk

from alpw.config import Dft

STANDINS = Path(__file__).parents[1] / "standins"


@pytest.fixture
def silicon():
    """16 rattled, sheared Si atoms: nothing is zero by symmetry."""
    atoms = bulk("Si", cubic=True) * (2, 1, 1)
    atoms.rattle(0.05, seed=7)
    atoms.set_cell(atoms.cell @ [[1, 0.02, 0.01], [0, 1.01, 0.005], [0.03, 0, 0.99]], scale_atoms=True)
    return atoms


@pytest.fixture
def silicon8():
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=7)
    atoms.set_cell(atoms.cell @ [[1, 0.02, 0.01], [0, 1.01, 0.005], [0.03, 0, 0.99]], scale_atoms=True)
    return atoms


@pytest.fixture
def make_dft():
    def make(**settings):
        return Dft.model_validate(settings)

    return make


@pytest.fixture
def fake_cp2k():
    """Command of the CP2K stand-in with some fault."""

    def command(*arguments):
        return shlex.join([sys.executable, str(STANDINS / "fake_cp2k.py"), *arguments])

    return command


@pytest.fixture
def processes_in():
    """Command lines of live processes whose working directory is a folder; Linux only."""

    def find(folder):
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "cwd").resolve() == Path(folder).resolve():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return [line for line in found if line]

    return find


@pytest.fixture
def members_of():
    """Live (not zombie) members of a process group."""

    def find(group):
        listing = subprocess.run(
            ["ps", "-eo", "pgid=,pid=,stat="], capture_output=True, text=True, check=True
        )
        rows = (line.split() for line in listing.stdout.splitlines())
        return [int(pid) for pgid, pid, state in rows if int(pgid) == group and not state.startswith("Z")]

    return find
