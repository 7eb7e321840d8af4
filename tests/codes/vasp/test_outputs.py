"""What is read from a run, against ASE and pymatgen; nothing doubtful becomes a label."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from pymatgen.io.vasp import Vasprun

from alpw.codes.protocol import Task
from alpw.codes.vasp import outputs
from alpw.codes.vasp.code import Vasp
from alpw.codes.vasp.inputs import write_inputs
from alpw.codes.vasp.jobs import command_words
from alpw.codes.vasp.validators import validators
from alpw.errors import CalculationError, FailureKind, InputError

VASP_STD = [sys.executable, str(Path(__file__).parents[2] / "standins" / "vasp_std")]

INCAR = "ENCUT = 400\nKSPACING = 0.5\nEDIFF = 1E-6\nISMEAR = 1\nSIGMA = 0.2\n"


@pytest.fixture
def atoms():
    """Elements mixed, skewed, one atom outside the cell."""
    alloy = Atoms("CuAuCuAu", cell=[[3.8, 0, 0], [0.3, 3.9, 0], [0.1, -0.2, 4.1]], pbc=True)
    alloy.set_scaled_positions([[0.01, 0, 0], [0.52, 0.5, 0.01], [0.5, 0.02, 0.5], [0.03, 0.5, 0.49]])
    alloy.positions[1] += alloy.cell[0]
    return alloy


@pytest.fixture
def dft(user):
    def make(incar=INCAR, **settings):
        return user.dft(incar, ("Au", "Cu"), **settings)

    return make


@pytest.fixture
def ran(tmp_path, atoms, dft):
    """Folder of a run that has just ended."""

    def run(incar=INCAR, task=Task.LABEL):
        write_inputs(atoms, tmp_path, dft(incar), task)
        subprocess.run(VASP_STD, cwd=tmp_path, check=True, capture_output=True)
        return tmp_path

    return run


def edit(path, pattern, replacement, count=0):
    text, times = re.subn(pattern, replacement, path.read_text(), count=count)
    assert times
    path.write_text(text)


def test_a_label_equals_what_ase_and_pymatgen_read(ran, atoms, dft):
    folder = ran()
    label = outputs.read_label(folder, atoms, dft())
    other = read(folder / "vasprun.xml")
    order = [0, 2, 1, 3]  # VASP has the copper first
    assert other.get_chemical_symbols() == ["Cu", "Cu", "Au", "Au"]
    assert label.forces[order] == pytest.approx(other.get_forces(), abs=1e-5)
    assert label.energy == pytest.approx(other.get_potential_energy(force_consistent=True), abs=1e-6)
    virial = -other.get_stress(voigt=False) * other.get_volume()
    assert label.virial == pytest.approx(virial, abs=1e-4)
    run = Vasprun(str(folder / "vasprun.xml"), parse_potcar_file=False)
    assert label.forces[order] == pytest.approx(np.array(run.ionic_steps[0]["forces"]), abs=1e-5)


def test_the_energy_without_smearing(ran, atoms, dft):
    folder = ran()
    free = outputs.read_label(folder, atoms, dft()).energy
    sigma0 = outputs.read_label(folder, atoms, dft(energy="sigma0")).energy
    assert sigma0 == pytest.approx(read(folder / "vasprun.xml").get_potential_energy(), abs=1e-6)
    assert sigma0 != pytest.approx(free, abs=1e-7)


@pytest.mark.parametrize("change", ["moved", "strained", "permuted", "other element"])
def test_a_label_of_another_structure_is_refused(ran, atoms, dft, change):
    folder = ran()
    other = atoms.copy()
    if change == "moved":
        other.positions[2, 1] += 1e-3
    elif change == "strained":
        other.set_cell(atoms.cell * 1.001, scale_atoms=True)
    elif change == "permuted":
        other.positions = atoms.positions[[2, 1, 0, 3]]
    else:
        other.numbers[0] = 47
    with pytest.raises(CalculationError) as caught:
        outputs.read_label(folder, other, dft())
    assert caught.value.kind is FailureKind.UNKNOWN


def test_an_atom_in_another_cell_is_the_same_atom(ran, atoms, dft):
    folder = ran()
    expected = outputs.read_label(folder, atoms, dft())
    atoms.positions[3] -= atoms.cell[1] + 2 * atoms.cell[2]
    assert outputs.read_label(folder, atoms, dft()).forces == pytest.approx(expected.forces)


def test_two_outputs_that_disagree_are_no_label(ran, atoms, dft):
    folder = ran()
    original = (folder / "OUTCAR").read_text()
    edit(folder / "OUTCAR", r"(free  energy   TOTEN  = *-?\d+\.\d)\d", r"\g<1>9")
    with pytest.raises(CalculationError, match="two outputs disagree: energies"):
        outputs.read_label(folder, atoms, dft())
    (folder / "OUTCAR").write_text(original)
    lines = original.splitlines()
    row = next(k for k, line in enumerate(lines) if "TOTAL-FORCE" in line) + 2
    lines[row] = lines[row][:-3] + ("111" if lines[row][-3:] != "111" else "222")
    words = lines[row].split()
    words[3] = f"{float(words[3]) + 0.01:.6f}"
    lines[row] = " ".join(words)
    (folder / "OUTCAR").write_text("\n".join(lines) + "\n")
    with pytest.raises(CalculationError, match="two outputs disagree: forces"):
        outputs.read_label(folder, atoms, dft())


def test_an_outcar_cut_short_is_no_label(ran, atoms, dft):
    folder = ran()
    text = (folder / "OUTCAR").read_text()
    (folder / "OUTCAR").write_text(text[: text.index("Elapsed time")])
    with pytest.raises(CalculationError) as caught:
        outputs.read_label(folder, atoms, dft())
    assert caught.value.kind is FailureKind.NODE and validators(Task.LABEL)[0].check(folder)


def test_an_unconverged_scf_is_no_label(ran, atoms, dft):
    folder = ran(INCAR + "NELM = 4\n")
    with pytest.raises(CalculationError) as caught:
        outputs.read_label(folder, atoms, dft())
    assert caught.value.kind is FailureKind.SCF


def test_several_steps_are_no_label(ran, atoms, dft):
    folder = ran(INCAR + "NSW = 3\nIBRION = 2\n", Task.RELAX)
    with pytest.raises(CalculationError, match="a label has one"):
        outputs.read_label(folder, atoms, dft())


def test_a_folder_without_output_is_no_label(tmp_path, atoms, dft):
    with pytest.raises(CalculationError):
        outputs.read_label(tmp_path, atoms, dft())
    assert outputs.read_steps(tmp_path, atoms, dft(), Task.AIMD) is None
    assert not any(outputs.complete(tmp_path, task) for task in Task)
    assert outputs.last_words(tmp_path) == ""


def test_steps_equal_what_ase_reads(ran, atoms, dft):
    folder = ran(INCAR + "NSW = 6\nIBRION = 0\nPOTIM = 2\nTEBEG = 500\n", Task.AIMD)
    frames = outputs.read_steps(folder, atoms, dft(), Task.AIMD)
    others = read(folder / "vasprun.xml", index=":")
    order = [0, 2, 1, 3]
    assert len(frames) == len(others) == 6 and frames.converged.all()
    assert np.array_equal(frames.numbers, atoms.numbers)
    for frame, other in zip(frames, others, strict=True):
        assert frame.label.forces[order] == pytest.approx(other.get_forces(), abs=1e-5)
        assert frame.label.energy == pytest.approx(
            other.get_potential_energy(force_consistent=True), abs=1e-6
        )
    assert outputs.complete(folder, Task.AIMD)
    edit(folder / "OUTCAR", r"NSW    =      6", "NSW    =      7")
    assert not outputs.complete(folder, Task.AIMD)


def test_steps_of_other_atoms_are_refused(ran, atoms, dft):
    folder = ran()
    with pytest.raises(CalculationError, match="asked for"):
        outputs.read_steps(folder, atoms[:3], dft(), Task.RELAX)


def test_a_relaxation_is_complete_when_vasp_says_so(ran):
    folder = ran(INCAR + "NSW = 60\nIBRION = 2\nEDIFFG = -0.02\n", Task.RELAX)
    assert outputs.complete(folder, Task.RELAX)
    edit(folder / "OUTCAR", "reached required accuracy", "reached nothing")
    assert not outputs.complete(folder, Task.RELAX)


def test_the_call_is_the_users_or_the_one_on_path(monkeypatch, tmp_path):
    assert command_words("mpirun -np 4 vasp_gam") == ["mpirun", "-np", "4", "vasp_gam"]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="no VASP on PATH"):
        command_words(None)
    program = tmp_path / "vasp_std"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert command_words("") == [str(program)] and Vasp().available()[0]


def test_a_new_attempt_finds_no_output_of_the_one_before(ran):
    folder = ran()
    job = Vasp().job(shlex.join(["/bin/true"]))
    job.run(folder).wait()
    job.close()
    left = {path.name for path in folder.iterdir()}
    assert not left & {"OUTCAR", "OSZICAR", "vasprun.xml", "CONTCAR", "XDATCAR", "STOPCAR"}
    assert left >= {"INCAR", "POSCAR", "POTCAR", "WAVECAR"}
