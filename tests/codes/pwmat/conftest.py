"""A user's folder with etot.input and potentials without data, and the stand-in for PWmat."""

import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ase.build import bulk

from alpw.codes.protocol import Task
from alpw.codes.pwmat.code import Pwmat
from alpw.codes.run import run_label, run_steps
from alpw.errors import CalculationError

STANDINS = Path(__file__).parents[2] / "standins"
COMMAND = shlex.join([sys.executable, str(STANDINS / "PWmat")])

UPF = '<UPF version="2.0.1">\n<PP_HEADER element="{element}" z_valence="4.0"/>\n</UPF>\n'

BASIS = """\
# {element}
 {element} SZV-GTH SZV-GTH-q4
 1
   1.2032422345  0.3290350445  0.0
 {element} DZVP-GTH DZVP-GTH-q4
 1
   1.2032422345  0.3290350445  0.0
"""
POTENTIAL = " {element} GTH-PBE-q4 GTH-PBE\n    2    2\n     0.44000000    1    -6.26928833\n"


@pytest.fixture
def carbide():
    """8 rattled atoms whose elements take turns, so that PWmat brings them into another order."""
    atoms = bulk("SiC", "zincblende", a=4.36, cubic=True)
    atoms.rattle(0.05, seed=3)
    atoms.set_cell(atoms.cell @ [[1, 0.02, 0.01], [0, 1.01, 0.005], [0.03, 0, 0.99]], scale_atoms=True)
    return atoms


@pytest.fixture
def user(tmp_path, make_dft):
    """The user's files: ``user.dft(lines, elements, ...)`` writes etot.input and potentials."""
    folder = tmp_path / "user"
    folder.mkdir()

    def upf(element, name=None, text=None):
        path = folder / (name or f"{element}.SG15.PBE.UPF")
        path.write_text(text or UPF.format(element=element))
        return path

    def dft(lines="ECUT = 50", elements=("Si", "C"), nodes="1 1", name="etot.input", **settings):
        control = folder / name
        control.write_text(f"{nodes}\n{lines}\n")
        settings.setdefault("pseudo", [upf(element) for element in elements])
        return make_dft(dft_style="pwmat", input=control, **settings)

    def gaussian(elements=("Si", "C")):
        """``gaussian_param`` with the two files of basis sets and potentials."""
        basis, potential = folder / "BASIS_GTH", folder / "GTH_POTENTIALS"
        basis.write_text("".join(BASIS.format(element=element) for element in elements))
        potential.write_text("".join(POTENTIAL.format(element=element) for element in elements))
        return {
            "basis_set_file": str(basis),
            "potential_file": str(potential),
            "atom_list": list(elements),
            "basis_set_list": ["SZV-GTH"] * len(elements),
            "potential_list": ["GTH-PBE-q4"] * len(elements),
        }

    def slater_koster(*elements):
        skf = folder / "skf"
        skf.mkdir(exist_ok=True)
        for a in elements:
            for b in elements:
                (skf / f"{a}-{b}.skf").write_text(f"0.02 0 no data: {a}-{b}\n")
        return skf

    return SimpleNamespace(folder=folder, dft=dft, upf=upf, gaussian=gaussian, slater_koster=slater_koster)


@pytest.fixture
def pwmat():
    return Pwmat()


@pytest.fixture
def label(tmp_path, pwmat):
    """Label through the engine with the stand-in; ``faults`` as its documentation lists them."""

    def run(atoms, dft, *faults, folder="run", command=COMMAND, environment=None, **options):
        variables = {"PWMAT_FAULTS": json.dumps(faults), **(environment or {})}
        return run_label(
            options.pop("code", pwmat),
            atoms,
            tmp_path / folder,
            dft,
            command,
            environment=variables,
            **options,
        )

    return run


@pytest.fixture
def steps(tmp_path, pwmat):
    """Relaxation or AIMD through the engine with the stand-in."""

    def run(task, atoms, dft, *faults, folder="run", environment=None, **options):
        variables = {"PWMAT_FAULTS": json.dumps(faults), **(environment or {})}
        return run_steps(
            pwmat, Task(task), atoms, tmp_path / folder, dft, COMMAND, environment=variables, **options
        )

    return run


@pytest.fixture
def failure():
    """The error of a call that must fail."""

    def run(call, *arguments, **options):
        with pytest.raises(CalculationError) as caught:
            call(*arguments, **options)
        return caught.value

    return run


@pytest.fixture
def runs(tmp_path):
    """How often the stand-in was started in a folder."""

    def count(folder="run"):
        return json.loads((tmp_path / folder / ".pwmat_faults_state.json").read_text())["runs"]

    return count
