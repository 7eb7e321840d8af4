"""Relaxations and AIMD with a program that writes VASP's files: no step is lost, none is made twice."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.geometry import find_mic

from alpw.codes.protocol import Task
from alpw.codes.run import run_steps
from alpw.codes.vasp import outputs
from alpw.codes.vasp.code import Vasp
from alpw.codes.vasp.continuation import resume
from alpw.codes.vasp.incar import Incar
from alpw.codes.vasp.inputs import write_inputs
from alpw.errors import CalculationError, FailureKind
from alpw.formats.poscar import read_poscar, write_poscar

VASP_STD = shlex.join([sys.executable, str(Path(__file__).parents[2] / "standins" / "vasp_std")])

LEVEL = "ENCUT = 300\nKSPACING = 0.5\nEDIFF = 1E-6\nISMEAR = 0\nSIGMA = 0.05\nALGO = Fast\n"
DYNAMICS = LEVEL + "IBRION = 0\nNSW = 12\nPOTIM = 1\nTEBEG = 300\nSMASS = -3\n"
RELAXATION = LEVEL + "IBRION = 2\nNSW = 100\nISIF = 3\nEDIFFG = -0.01\n"


@pytest.fixture
def atoms():
    structure = bulk("Si", cubic=True)
    structure.rattle(0.05, seed=7)
    return structure


@pytest.fixture
def steps(tmp_path, user, atoms):
    """Runs some steps with faults."""

    def run(*faults, incar=DYNAMICS, task=Task.AIMD, name="run", timeout=None, **settings):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        if faults:
            (folder / "vasp_faults.json").write_text(json.dumps(faults))
        return run_steps(Vasp(), task, atoms, folder, user.dft(incar, **settings), VASP_STD, timeout=timeout)

    return run


@pytest.fixture
def reference(steps):
    return steps(name="reference").frames


def relax(steps, *faults, incar=RELAXATION, **options):
    return steps(*faults, incar=incar, task=Task.RELAX, **options)


@pytest.mark.parametrize(
    "faults",
    [
        [{"fault": "sigkill", "step": 5, "times": 1}],
        [{"fault": "segv", "step": 12, "times": 1}],
        [{"fault": "sigkill", "step": 4, "times": 2}],
        [{"fault": "sigkill", "step": 0, "times": 1}],
        [{"fault": "truncate", "times": 1, "files": ["vasprun.xml"]}],
    ],
    ids=["killed", "crashed", "killed twice", "killed at once", "other output cut short"],
)
def test_dynamics_that_was_cut_off_follows_the_same_trajectory(steps, reference, faults):
    result = steps(*faults)
    assert result.complete and len(result.frames) == 12 and result.rejected == {}
    assert result.frames.positions == pytest.approx(reference.positions, abs=1e-8)
    assert result.frames.energies == pytest.approx(reference.energies, abs=1e-6)
    assert len(set(result.hashes)) == 1


def test_an_outcar_cut_short_keeps_its_whole_steps(steps, reference):
    result = steps({"fault": "truncate", "times": 1, "files": ["OUTCAR"], "keep": 0.6})
    assert result.complete and len(result.frames) == 12
    # CONTCAR is that of the end, several steps later: the trajectory goes on from the last step that is left.
    assert "does not follow" in " ".join(result.changes)
    assert result.frames.positions == pytest.approx(reference.positions, abs=2e-4)


def test_a_correction_in_the_middle_loses_no_step(steps, reference):
    result = steps({"fault": "eddrmm", "step": 6, "times": 1})
    assert result.frames.positions == pytest.approx(reference.positions, abs=1e-8)
    assert [entry["changed"] for entry in result.corrections] == [["INCAR/ALGO"]]


def test_dynamics_that_hangs_is_killed_and_goes_on(steps, reference, tmp_path, processes_in):
    result = steps({"fault": "hang", "step": 6, "times": 1}, max_silence=2.0)
    assert result.frames.positions == pytest.approx(reference.positions, abs=1e-8)
    assert processes_in(tmp_path / "run") == []


def test_an_unconverged_step_is_marked_and_the_dynamics_goes_on(steps):
    result = steps({"fault": "nelm", "step": 6, "last": 6})
    assert result.complete and len(result.frames) == 12 and result.corrections == []
    assert np.flatnonzero(~result.frames.converged).tolist() == [5]


def test_a_step_with_a_positive_energy_is_marked(steps):
    result = steps({"fault": "positive_energy", "step": 6})
    assert np.flatnonzero(~result.frames.converged).tolist() == [5]


def test_dynamics_whose_scf_never_converges_climbs_the_ladder(steps):
    result = steps({"fault": "nelm", "step": 2, "until": {"NELM": 200}}, {"fault": "slow", "seconds": 0.6})
    assert result.complete and len(result.frames) == 12
    assert [entry["changed"] for entry in result.corrections] == [["INCAR/ALGO", "INCAR/NELM"]]
    assert result.frames.converged[[0, -1]].all() and not result.frames.converged[1:6].any()


def test_dynamics_stays_dynamics_whatever_the_user_allows(steps, tmp_path):
    """custodian's corrections of these would change the time step, or make it a relaxation."""
    for fault in ("zpotrf", "brions"):
        with pytest.raises(CalculationError, match=fault.upper()):
            steps({"fault": fault, "step": 4}, name=fault, allow_physics=True)
        incar = Incar.read(tmp_path / fault / "INCAR")
        assert incar.integer("IBRION", -1) == 0 and incar.real("POTIM", 0) == 1


def test_time_is_up_and_a_second_call_goes_on(steps, reference, monkeypatch):
    monkeypatch.setenv("VASP_STEP_DELAY", "0.5")
    first = steps(timeout=4.5)
    assert not first.complete and 0 < len(first.frames) < 12
    monkeypatch.setenv("VASP_STEP_DELAY", "0")
    second = steps()
    assert second.complete and len(second.frames) == 12
    assert second.frames.positions == pytest.approx(reference.positions, abs=1e-4)


def test_stopcar_ends_a_run_after_its_present_step(tmp_path, user, atoms):
    write_inputs(atoms, tmp_path, user.dft(DYNAMICS), Task.AIMD)
    assert Vasp().stop(tmp_path)
    subprocess.run(shlex.split(VASP_STD), cwd=tmp_path, check=True, capture_output=True)
    frames = outputs.read_steps(tmp_path, atoms, user.dft(DYNAMICS), Task.AIMD)
    assert len(frames) == 1 and not outputs.complete(tmp_path, Task.AIMD)


def test_a_relaxation_ends_where_the_forces_vanish(steps):
    result = relax(steps)
    assert result.complete and np.abs(result.frames.forces[-1]).max() < 0.01


def test_a_relaxation_goes_on_after_its_limit_of_steps(steps):
    whole = relax(steps, name="whole")
    parts = relax(steps, name="parts", incar=RELAXATION.replace("NSW = 100", "NSW = 5"))
    assert parts.complete and len(parts.frames) > 5
    assert parts.frames.energies[-1] == pytest.approx(whole.frames.energies[-1], abs=1e-3)


def test_a_relaxation_that_was_killed_goes_on_from_its_last_geometry(steps):
    whole = relax(steps, name="whole")
    result = relax(steps, {"fault": "sigkill", "step": 4, "times": 1}, name="killed")
    assert result.frames.energies[:3] == pytest.approx(whole.frames.energies[:3], abs=1e-6)
    assert result.frames.energies[3] < whole.frames.energies[0] and result.complete


@pytest.mark.parametrize(("fault", "tag"), [("zbrent", "NELMIN"), ("zpotrf", "POTIM"), ("eddrmm", "ALGO")])
def test_a_relaxation_may_take_another_way(steps, fault, tag):
    result = relax(steps, {"fault": fault, "step": 3, "times": 1})
    assert result.complete and result.corrections[0]["changed"] == [f"INCAR/{tag}"]


def test_physics_of_a_relaxation_changes_only_if_the_user_allows_it(steps):
    fault = {"fault": "rhosyg", "step": 3, "times": 1}
    with pytest.raises(CalculationError) as caught:
        relax(steps, fault, name="strict")
    assert caught.value.kind is FailureKind.GEOMETRY
    result = relax(steps, fault, name="lenient", allow_physics=True)
    assert result.complete and result.corrections[0]["changed"] == ["INCAR/SYMPREC"]


@pytest.fixture
def stopped(tmp_path, user, atoms):
    """A finished run of five steps of twelve, and the settings of the whole."""

    def make(incar=DYNAMICS, structure=None):
        folder = tmp_path / "stopped"
        folder.mkdir()
        structure = atoms if structure is None else structure
        write_inputs(structure, folder, user.dft(incar), Task.AIMD)
        half = Incar.read(folder / "INCAR")
        half.set("NSW", "5")
        (folder / "INCAR").write_text(str(half))
        subprocess.run(shlex.split(VASP_STD), cwd=folder, check=True, capture_output=True)
        return folder, user.dft(incar)

    return make


def test_what_is_left_is_what_was_asked_for_minus_what_is_done(stopped, atoms):
    folder, dft = stopped(DYNAMICS + "TEEND = 630\nRANDOM_SEED = 7 0 0\n")
    for _ in range(2):
        resume(atoms, folder, dft, Task.AIMD, 5)
    incar = Incar.read(folder / "INCAR")
    assert incar.integer("NSW", 0) == 7
    # VASP goes from TEBEG in the first step to TEEND in the last: 30 K a step.
    assert incar.real("TEBEG", 0) == pytest.approx(300 + 5 * 30) and incar.get("TEEND") == "630"
    assert incar.get("RANDOM_SEED") == "12 0 0"
    assert (folder / "POSCAR").read_bytes() == (folder / "CONTCAR").read_bytes()


@pytest.mark.parametrize("damage", ["missing", "cut short", "without velocities", "one step behind"])
def test_a_useless_contcar_is_replaced_by_the_next_step_of_a_leapfrog(stopped, atoms, damage):
    folder, dft = stopped()
    contcar = folder / "CONTCAR"
    expected = read_poscar(contcar)
    lines = contcar.read_text().splitlines()
    if damage == "missing":
        contcar.unlink()
    elif damage == "cut short":
        contcar.write_text("\n".join(lines[:12]))
    elif damage == "without velocities":
        contcar.write_text("\n".join(lines[:16]) + "\n")
    else:
        positions = outputs.read_steps(folder, atoms, dft, Task.AIMD).positions
        behind = expected.copy()
        behind.positions = positions[-1]
        behind.set_velocities(find_mic(positions[-1] - positions[-2], atoms.cell)[0] / units.fs)
        write_poscar(contcar, behind)
    changes = resume(atoms, folder, dft, Task.AIMD, 5)
    made = read_poscar(folder / "POSCAR")
    assert "one step beyond" in changes[0]
    assert made.positions == pytest.approx(expected.positions, abs=3e-5)
    assert made.get_velocities() == pytest.approx(expected.get_velocities(), abs=3e-4)


def test_fixed_atoms_stay_fixed(stopped, atoms):
    atoms.set_constraint(FixAtoms([0, 3]))
    folder, dft = stopped()
    (folder / "CONTCAR").unlink()
    resume(atoms, folder, dft, Task.AIMD, 5)
    made = read_poscar(folder / "POSCAR")
    assert made.constraints[0].index.tolist() == [0, 3]
    shift = np.linalg.norm(find_mic(made.positions - atoms.positions, atoms.cell)[0], axis=1)
    assert shift[[0, 3]].max() < 1e-5 and np.delete(shift, [0, 3]).min() > 1e-3


def test_a_contcar_of_another_run_is_not_followed(stopped, atoms):
    folder, dft = stopped()
    other = read_poscar(folder / "CONTCAR")
    lines = (folder / "CONTCAR").read_text().splitlines()
    fractions = other.get_scaled_positions() + np.array([0.2, 0.0, 0.0])
    lines[7:15] = [" ".join(f"{x:.16f}" for x in row) for row in fractions]
    lines = [line for line in lines if not line.startswith("Selective")]
    (folder / "CONTCAR").write_text("\n".join(lines) + "\n")
    assert "does not follow" in resume(atoms, folder, dft, Task.AIMD, 5)[0]


def test_a_relaxation_without_contcar_goes_on_from_the_last_step(tmp_path, user, atoms):
    dft = user.dft(RELAXATION.replace("NSW = 100", "NSW = 4"))
    write_inputs(atoms, tmp_path, dft, Task.RELAX)
    subprocess.run(shlex.split(VASP_STD), cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "CONTCAR").unlink()
    (tmp_path / "STOPCAR").write_text("LSTOP = .TRUE.\n")
    before = (tmp_path / "INCAR").read_text()
    resume(atoms, tmp_path, dft, Task.RELAX, 4)
    last = outputs.read_steps(tmp_path, atoms, dft, Task.RELAX)[-1].atoms
    made = read_poscar(tmp_path / "POSCAR")
    assert np.asarray(made.cell) == pytest.approx(np.asarray(last.cell))
    assert made.get_scaled_positions() == pytest.approx(last.get_scaled_positions(), abs=1e-6)
    assert (tmp_path / "INCAR").read_text() == before and not (tmp_path / "STOPCAR").exists()


def test_there_is_nothing_to_go_on_from_without_a_step(stopped, atoms):
    folder, dft = stopped()
    (folder / "OUTCAR").unlink()
    with pytest.raises(CalculationError, match="no step to go on from"):
        resume(atoms, folder, dft, Task.AIMD, 5)


def test_dynamics_that_was_given_up_is_not_complete_when_it_is_asked_for_again(steps):
    """VASP reported an error and made all its steps all the same."""
    fault = {"fault": "rhosyg", "step": 12, "go_on": True}
    for _ in range(2):
        with pytest.raises(CalculationError):
            steps(fault)
