"""Inputs written as for a run, and read back, for the tests of this folder."""

import warnings

from alpw.codes.protocol import Task
from alpw.codes.vasp import inputs
from alpw.codes.vasp.incar import Incar


def run(tmp_path, atoms, dft, task=Task.LABEL, **settings):
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    changes = inputs.write_inputs(atoms, folder, dft, task, **settings)
    return folder, Incar.read(folder / "INCAR"), changes


def quietly(read, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read(str(path))
