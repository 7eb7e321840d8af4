"""Settings with a calculator, and the driver in this process, where many short runs are affordable."""

import os
from pathlib import Path

import pytest
from ase.build import bulk

from alpw.codes.ase.outputs import read_result
from alpw.codes.ase.run import main
from alpw.codes.registry import code_of

EMT = "ase.calculators.emt.EMT"
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def toys_can_be_imported(monkeypatch):
    """``toys`` here and in the driver's own process."""
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def with_calculator(make_dft):
    """``dft`` with EMT or another calculator, and what its control file says."""

    def make(calculator=EMT, arguments=None, **motion):
        return make_dft(
            dft_style="ase", calculator=calculator, arguments=arguments or {}, motion=motion or None
        )

    return make


@pytest.fixture
def copper():
    """Four rattled Cu atoms in a sheared cell: nothing is zero by symmetry."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=5)
    atoms.set_cell(atoms.cell @ [[1, 0.02, 0.01], [0, 1.01, 0.005], [0.03, 0, 0.99]], scale_atoms=True)
    return atoms


class Driver:
    """The driver in this process: no handlers, no repairs, no second of start-up."""

    def __init__(self, root, monkeypatch):
        self.root, self.monkeypatch, self.code = root, monkeypatch, code_of("ase")

    def run(self, atoms, dft, task, name="run"):
        """Write the inputs into a new folder and run there; the folder."""
        folder = self.root / name
        folder.mkdir()
        self.code.write_inputs(atoms, folder, dft, task)
        self.go_on(folder)
        return folder

    def go_on(self, folder):
        """Run on the inputs in a folder."""
        with self.monkeypatch.context() as patch:
            patch.chdir(folder)
            main()

    def steps(self, atoms, dft, task, name="run"):
        """The steps of a run that must not fail."""
        folder = self.run(atoms, dft, task, name)
        assert read_result(folder)["error"] is None
        return self.code.read_steps(folder, atoms, dft, task)


@pytest.fixture
def drive(tmp_path, monkeypatch):
    return Driver(tmp_path, monkeypatch)
