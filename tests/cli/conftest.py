"""Labelled alloys, inputs of a tiny model, and a model, for the commands that need no database."""

import json
import shutil

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from typer.testing import CliRunner

from alpw.cli.main import app
from alpw.formats.extxyz import write_extxyz
from alpw.structures.frame import Label, LabelledFrame

TRAIN = {
    "atom_type": ["Cu", "Au"],
    "descriptor": {"rcut": 3.5, "rcut_smth": 1.0, "neuron": [4, 8], "axis_neuron": 3},
    "fitting_net": {"neuron": [10, 10]},
    "optimizer": {"optimizer": "LKF", "epochs": 2, "block_size": 400},
}


def alloys(count, seed):
    """Rattled crystals of four copper and gold atoms with energies, forces and virials of EMT."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True, a=3.8 + rng.uniform(-0.1, 0.1))
        atoms.symbols[rng.integers(4)] = "Au"
        atoms.rattle(0.15, rng=rng)
        atoms.calc = EMT()
        label = Label(
            atoms.get_potential_energy(),
            atoms.get_forces(),
            -atoms.get_stress(voigt=False) * atoms.get_volume(),
        )
        frames.append(LabelledFrame(atoms.copy(), label))
    return frames


class Folder:
    """A folder with inputs and data, and the command line run in it."""

    def __init__(self, path, monkeypatch):
        self.path = path
        monkeypatch.chdir(path)
        monkeypatch.setenv("COLUMNS", "100")
        self.param = {"init_data": ["train.xyz"], "valid_data": ["valid.xyz"], "seed": 3, "train": TRAIN}

    def write(self):
        (self.path / "param.json").write_text(json.dumps(self.param))

    def alpw(self, *words):
        """Run a command; the number of threads is put back."""
        threads = torch.get_num_threads()
        try:
            return CliRunner().invoke(app, [str(word) for word in words])
        finally:
            torch.set_num_threads(threads)

    def files(self):
        """Name and content of every file, hidden ones too."""
        return {str(file): file.read_bytes() for file in sorted(self.path.rglob("*")) if file.is_file()}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with data, param.json and what `alpw train` made of them; it must not be changed."""
    path = tmp_path_factory.mktemp("trained")
    write_extxyz(path / "train.xyz", alloys(10, 1))
    write_extxyz(path / "valid.xyz", alloys(14, 2))
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = Folder(path, monkeypatch)
        folder.write()
        result = folder.alpw("train", "param.json", "--out", "run", "--json")
    assert result.exit_code == 0, result.stderr
    (path / "train.out").write_text(result.stdout)
    (path / "train.err").write_text(result.stderr)
    return path


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """A copy of the folder `trained` that may be changed, as the working directory."""
    shutil.copytree(trained, tmp_path / "work")
    return Folder(tmp_path / "work", monkeypatch)
