"""A folder in which the stand-in for VASP runs, for its tests."""

import contextlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

from ase.build import bulk
from pymatgen.io.vasp.outputs import Vasprun
from vasp.calculation import main
from vasp.potcar import potcar

PROGRAM = Path(__file__).parent / "vasp_std"
SCF = {"ENCUT": 300, "ISMEAR": 0, "SIGMA": 0.05, "EDIFF": 1e-6, "KSPACING": 0.5}
MD = {**SCF, "IBRION": 0, "POTIM": 1.0, "ISIF": 2}


def distorted_silicon():
    """Eight atoms in a sheared cell: nothing is zero by symmetry."""
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=7)
    atoms.set_cell(atoms.cell @ [[1, 0.02, 0.01], [0, 1.01, 0.005], [0.03, 0, 0.99]], scale_atoms=True)
    return atoms


@contextlib.contextmanager
def working_in(folder):
    """`contextlib.chdir`, which Python 3.10 does not have."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


class VaspFolder:
    """A folder with inputs, in which the program runs."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, atoms, incar, labels=None, kpoints=None):
        atoms.write(self.folder / "POSCAR", format="vasp", direct=True)
        self.incar(incar)
        species = (self.folder / "POSCAR").read_text().splitlines()[5].split()
        (self.folder / "POTCAR").write_text(potcar(labels or species))
        if kpoints:
            (self.folder / "KPOINTS").write_text(kpoints)
        return self

    def incar(self, tags):
        (self.folder / "INCAR").write_text("".join(f"{tag} = {value}\n" for tag, value in tags.items()))

    def start(self, *faults, **environment):
        """Start the program with some faults; the process."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        if faults:
            environment["VASP_FAULTS"] = json.dumps(faults)
        with (self.folder / "vasp.out").open("w") as out, (self.folder / "std_err.txt").open("w") as err:
            return subprocess.Popen(
                [sys.executable, str(PROGRAM)], cwd=self.folder, env=environment, stdout=out, stderr=err
            )

    def process(self, *faults, **environment):
        """Run the program to its end in a process; its exit status, negative for a signal."""
        return self.start(*faults, **environment).wait(timeout=120)

    def __call__(self, *faults, **environment):
        """Run the program in this process, which is faster; its exit status."""
        if faults:
            environment["VASP_FAULTS"] = json.dumps(faults)
        with (
            working_in(self.folder),
            mock.patch.dict(os.environ, environment),
            (self.folder / "vasp.out").open("w") as out,
            (self.folder / "std_err.txt").open("w") as err,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                return main([])
            except SystemExit as stop:
                return stop.code

    def text(self, name):
        return (self.folder / name).read_text()

    def vasprun(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Vasprun(self.folder / "vasprun.xml", parse_potcar_file=False)

    def energy(self):
        return self.vasprun().ionic_steps[-1]["e_fr_energy"]
