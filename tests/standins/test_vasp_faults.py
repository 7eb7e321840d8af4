"""The stand-in for VASP fails as told, and refuses the inputs that VASP refuses."""

import json
import signal
import time
import warnings

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read
from custodian.vasp.handlers import StdErrHandler, VaspErrorHandler
from custodian.vasp.validators import VaspFilesValidator, VasprunXMLValidator
from vasp.faults import MESSAGES
from vasp_folder import MD, SCF, VaspFolder

DYNAMICS = {**MD, "NSW": 6, "SMASS": -3, "TEBEG": 300}


@pytest.fixture
def silicon():
    atoms = bulk("Si")
    atoms.rattle(0.05, seed=7)
    return atoms


@pytest.fixture
def run(tmp_path, silicon):
    """Two atoms of silicon, a single point."""
    return VaspFolder(tmp_path).write(silicon, SCF)


@pytest.fixture
def dynamics(run):
    run.incar(DYNAMICS)
    return run


def n_frames(run):
    return len(read(run.folder / "OUTCAR", ":"))


# ---- inputs


def lines(text, number, new):
    rows = text.splitlines()
    rows[number] = new
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"ENCUT": "high"}, "Error reading item 'ENCUT' from file INCAR."),
        ({"NSW": "10.5"}, "Error reading item 'NSW'"),
        ({"LWAVE": "maybe"}, "Error reading item 'LWAVE'"),
        ({"ALGO": "Quick"}, "Error reading item 'ALGO'"),
        ({"PREC": "Xtra"}, "Error reading item 'PREC'"),
        ({"ISPIN": 2, "MAGMOM": "1.0"}, "Error reading item 'MAGMOM'"),
        ({"ISPIN": 2, "MAGMOM": "3*1.0"}, "Error reading item 'MAGMOM'"),
        ({"ISPIN": 2, "MAGMOM": "1.0 up"}, "Found N=   1 data"),
        ({"LDAU": "T", "LDAUU": "4.0 0.0"}, "Error reading item 'LDAUU'"),
        ({"MDALGO": 3, "LANGEVIN_GAMMA": "10 10"}, "Error reading item 'LANGEVIN_GAMMA'"),
        ({"IBRION": 0, "NSW": 5}, "Error reading item 'POTIM'"),
        ({"NBANDS": 3}, "TOO FEW BANDS"),
        ({"ISMEAR": -5, "KSPACING": 5.0}, "Tetrahedron method fails (number of k-points < 4)"),
        ({"ICHARG": 11}, "charge density could not be read"),
    ],
)
def test_a_bad_tag_stops_the_program_before_it_writes_anything(run, tags, words):
    run.incar({**SCF, **tags})
    assert run() == 1
    assert words in run.text("vasp.out")
    assert not (run.folder / "OUTCAR").exists()


def test_incar_is_read_as_vasp_does(run):
    run.incar(SCF)
    run()
    plain = run.energy()
    (run.folder / "INCAR").write_text(
        "# a comment\n encut = 3.0d2 eV ! another\nISMEAR = 0; sigma=.05\nENCUT = 500\n EDIFF = \\\n 1E-6\n"
        "KSPACING = 0.5\nUNKNOWN_TAG = 7\nMAGMOM = 9*1.0\n"
    )
    assert run() == 0
    assert run.energy() == plain


@pytest.mark.parametrize("name", ["INCAR", "POSCAR", "POTCAR"])
def test_a_missing_input_file_stops_the_program(run, name):
    (run.folder / name).unlink()
    assert run() != 0
    assert name in run.text("vasp.out") + run.text("std_err.txt")


def test_k_points_need_no_file(run):
    """KSPACING = 0.5 is VASP's default."""
    run()
    (with_tag,) = run.vasprun().kpoints.kpts
    run.incar({tag: value for tag, value in SCF.items() if tag != "KSPACING"})
    assert run() == 0
    assert run.vasprun().kpoints.kpts == [with_tag]
    assert max(with_tag) > 1


@pytest.mark.parametrize(
    ("text", "mesh", "n_points"),
    [
        ("m\n0\nGamma\n2 2 2\n0 0 0\n", (2, 2, 2), 8),
        ("m\n0\nMonkhorst\n3 3 3\n", (3, 3, 3), 14),
        ("m\n0\nAuto\n20\n", (6, 6, 6), 112),
        ("m\n2\nReciprocal\n0 0 0 1\n0.5 0.5 0.5 3\n", None, 2),
    ],
)
def test_forms_of_kpoints(run, text, mesh, n_points):
    """Points that are their own negatives stay single, the others come in pairs: 3x3x3 has (27+1)/2."""
    (run.folder / "KPOINTS").write_text(text)
    assert run() == 0
    result = run.vasprun()
    assert len(result.actual_kpoints) == n_points
    assert sum(result.actual_kpoints_weights) == pytest.approx(1)
    if mesh:
        assert tuple(result.kpoints.kpts[0]) == mesh


@pytest.mark.parametrize(
    ("text", "line"),
    [("m\n0\nGamma\n2 2\n", 4), ("m\n0\nGamma\na b c\n", 4), ("m\nno\n", 2), ("m\n0\nLine\n1 1 1\n", 3)],
)
def test_unreadable_kpoints(run, text, line):
    (run.folder / "KPOINTS").write_text(text)
    assert run() == 1
    assert "Error reading KPOINTS file" in run.text("vasp.out")
    assert run.text("vasp.out").split()[-1] == str(line)


@pytest.mark.parametrize(
    ("row", "new", "words", "code"),
    [
        (-1, "0.25 0.25 x", "list-directed I/O syntax error", 59),
        (-1, "", "end-of-file during read", 24),
        (1, "1.0 1.0", "1 or 3 items on line 2", 1),
        (2, "0.0 2.7", "list-directed I/O syntax error", 59),
        (6, "2 1", "end-of-file during read", 24),
    ],
)
def test_an_unreadable_poscar_stops_the_program(run, row, new, words, code):
    text = lines(run.text("POSCAR"), row, new)
    (run.folder / "POSCAR").write_text(text.rstrip("\n") + "\n")
    assert run() == code
    assert words in run.text("vasp.out") + run.text("std_err.txt")


def test_a_left_handed_cell_is_refused(run, silicon):
    silicon.set_cell(silicon.cell[[1, 0, 2]])
    run.write(silicon, SCF)
    assert run() == 1
    assert "the triple product of the basis vectors" in run.text("vasp.out")


def test_more_species_in_poscar_than_in_potcar(run, silicon):
    silicon.symbols[1] = "Ge"
    run.write(silicon, SCF, labels=["Si"])
    assert run() == 1
    assert "number of potentials on File POTCAR incompatible with number" in run.text("vasp.out")


def test_atoms_on_top_of_each_other_break_the_run(run, silicon):
    silicon.positions[1] = silicon.positions[0]
    run.write(silicon, SCF)
    assert run() == 1
    assert "ZPOTRF" in run.text("vasp.out")
    assert run.text("OUTCAR")


# ---- faults


@pytest.mark.parametrize("name", sorted(set(MESSAGES) - {"aliasing_incar"}))
def test_messages_are_those_that_custodian_looks_for(tmp_path, name):
    (tmp_path / "INCAR").write_text("ENCUT = 300\n")
    (tmp_path / "vasp.out").write_text(MESSAGES[name] + "\n")
    handler = VaspErrorHandler()
    assert handler.check(str(tmp_path))
    assert name in handler.errors


def test_there_is_a_message_for_every_error_of_custodian():
    # The change of NBANDS to suit the number of ranks is a remark, not an error.
    assert set(VaspErrorHandler.error_msgs) - {"auto_nbands"} <= set(MESSAGES)


def test_a_message_strikes_at_its_step_with_its_exit_status(dynamics):
    assert dynamics.process({"fault": "brmix", "step": 3, "exit": 7}) == 7
    assert "BRMIX: very serious problems" in dynamics.text("vasp.out")
    assert n_frames(dynamics) == 2
    assert "Elapsed time" not in dynamics.text("OUTCAR")
    assert VasprunXMLValidator().check(str(dynamics.folder))


def test_a_message_can_be_a_mere_warning(dynamics):
    assert dynamics({"fault": "eddrmm", "step": 2, "go_on": True}) == 0
    assert "WARNING in EDDRMM" in dynamics.text("vasp.out")
    assert n_frames(dynamics) == 6


def test_step_0_strikes_before_any_file_is_written(run):
    assert run({"fault": "exit", "step": 0, "exit": 3}) == 3
    assert not (run.folder / "OUTCAR").exists()
    assert run.text("vasp.out") == ""


def test_faults_are_counted_over_the_runs_in_a_folder(run):
    fault = {"fault": "zheev", "times": 2}
    assert [run(fault) for _ in range(4)] == [1, 1, 0, 0]
    assert json.loads(run.text(".vasp_standin.json"))["runs"] == 4


def test_a_fault_lasts_until_incar_has_the_cure(run):
    fault = {"fault": "brmix", "until": {"IMIX": 1, "AMIX": ">=0.1", "LWAVE": "F"}}
    assert run(fault) == 1
    run.incar({**SCF, "IMIX": 1, "AMIX": 0.05, "LWAVE": ".FALSE."})
    assert run(fault) == 1
    run.incar({**SCF, "IMIX": 1, "AMIX": 0.2, "LWAVE": ".FALSE."})
    assert run(fault) == 0


def test_faults_can_stand_in_a_file(run):
    (run.folder / "vasp_faults.json").write_text('[{"fault": "exit", "times": 1}]')
    assert [run(), run()] == [1, 0]
    elsewhere = run.folder / "elsewhere.json"
    elsewhere.write_text('[{"fault": "exit", "exit": 5}]')
    assert run(VASP_FAULTS=str(elsewhere)) == 5


def test_a_misspelt_fault_is_no_success(run):
    assert run.process({"fault": "brimx"}) != 0
    assert "unknown fault 'brimx'" in run.text("std_err.txt")


@pytest.mark.parametrize(("fault", "number"), [("sigkill", signal.SIGKILL), ("segv", signal.SIGSEGV)])
def test_signals(dynamics, fault, number):
    assert dynamics.process({"fault": fault, "step": 4}) == -number
    assert n_frames(dynamics) == 3
    assert ("SIGSEGV" in dynamics.text("std_err.txt")) == (fault == "segv")


def test_memory_runs_out(run):
    assert run.process({"fault": "oom"}) == -signal.SIGKILL
    assert "oom-kill" in run.text("std_err.txt")
    assert "Out of memory" in run.text("std_err.txt")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("licence", "no license available"),
        ("full_disk", "No space left on device"),
        ("stderr:something odd", "something odd"),
    ],
)
def test_words_on_the_standard_error(run, fault, words):
    assert run({"fault": fault}) > 0
    assert words in run.text("std_err.txt")
    assert words not in run.text("vasp.out")


def test_words_on_the_standard_output(run):
    assert run({"fault": "stdout: something odd"}) == 1
    assert run.text("vasp.out").endswith(" something odd\n")


def test_an_exit_without_words(run):
    assert run({"fault": "exit", "exit": 9}) == 9
    assert run.text("std_err.txt") == ""
    assert "entering main loop" in run.text("vasp.out").splitlines()[-1]


def test_custodian_finds_a_message_on_the_standard_error(run):
    message = StdErrHandler.error_msgs["out_of_memory"][0]
    assert run({"fault": f"stderr:{message}", "go_on": True}) == 0
    assert StdErrHandler(output_filename="std_err.txt").check(str(run.folder))


@pytest.mark.parametrize(("fault", "survives"), [("hang", False), ("hang_hard", True)])
def test_hanging(dynamics, fault, survives):
    process = dynamics.start({"fault": fault, "step": 3})
    try:
        waited = time.monotonic()
        while not (dynamics.folder / "OSZICAR").exists() or dynamics.text("OSZICAR").count(" F= ") < 2:
            assert time.monotonic() - waited < 60
            time.sleep(0.05)
        time.sleep(0.3)
        assert process.poll() is None
        process.terminate()
        if survives:
            time.sleep(0.3)
            assert process.poll() is None
        else:
            assert process.wait(timeout=30) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()


def test_slow_steps(dynamics):
    began = time.monotonic()
    assert dynamics({"fault": "slow", "step": 5, "seconds": 0.5}) == 0
    assert time.monotonic() - began > 1.0


def test_nelm_is_reached_from_a_step_on_and_cured_by_the_ladder(dynamics):
    fault = {"fault": "nelm", "step": 4, "until": {"ALGO": "All"}}
    assert dynamics(fault) == 0
    steps = dynamics.vasprun().ionic_steps
    assert [len(step["electronic_steps"]) == 60 for step in steps] == [False] * 3 + [True] * 3
    assert dynamics.text("OUTCAR").count("EDIFF was not reached (unconverged)") == 3
    dynamics.incar({**DYNAMICS, "ALGO": "All"})
    dynamics(fault)
    assert "unconverged" not in dynamics.text("OUTCAR")


def test_a_single_unconverged_step(dynamics):
    dynamics({"fault": "nelm", "step": 2, "last": 2})
    assert dynamics.text("OUTCAR").count("EDIFF was not reached (unconverged)") == 1


def test_positive_energy(run):
    assert run({"fault": "positive_energy"}) == 0
    assert run.energy() > 9e4


def test_forces_that_are_no_numbers_end_a_dynamics(dynamics):
    assert dynamics({"fault": "nan_forces", "step": 2}) == 1
    assert "NaN" in dynamics.text("OUTCAR")
    assert "NaN" in dynamics.text("vasprun.xml")


def test_forces_that_are_no_numbers_in_a_single_point(run):
    assert run({"fault": "nan_forces"}) == 0
    assert np.isnan(np.array(run.vasprun().ionic_steps[0]["forces"], dtype=float)).all()


def test_huge_forces_keep_their_sum(run):
    assert run({"fault": "huge_forces"}) == 0
    forces = np.array(run.vasprun().ionic_steps[0]["forces"])
    assert np.abs(forces).max() > 1e3
    assert np.abs(forces.sum(axis=0)).max() < 1e-6


def test_a_net_force(run):
    assert run({"fault": "net_force"}) == 0
    total = np.array(run.vasprun().ionic_steps[0]["forces"]).sum(axis=0)
    np.testing.assert_allclose(total, [1.0, 0, 0], atol=1e-6)  # 0.5 eV/Å on each of two atoms


def test_no_stress_in_one_step(dynamics):
    assert dynamics({"fault": "no_stress", "step": 3}) == 0
    assert dynamics.text("OUTCAR").count("in kB") == 5
    found = ["stress" in step for step in dynamics.vasprun().ionic_steps]
    assert found == [True, True, False, True, True, True]


def test_truncated_outputs_come_with_success(dynamics):
    assert dynamics({"fault": "truncate", "keep": 0.5}) == 0
    assert "</modeling>" not in dynamics.text("vasprun.xml")
    assert "Elapsed time" not in dynamics.text("OUTCAR")
    assert 0 < n_frames(dynamics) < 6
    assert not VaspFilesValidator().check(str(dynamics.folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert VasprunXMLValidator().check(str(dynamics.folder))


def test_only_one_file_is_truncated(run):
    run({"fault": "truncate", "files": ["OUTCAR"]})
    assert "Elapsed time" not in run.text("OUTCAR")
    assert not VasprunXMLValidator().check(str(run.folder))


def test_no_vasprun(run):
    assert run({"fault": "no_vasprun"}) == 0
    assert not (run.folder / "vasprun.xml").exists()
    assert "Elapsed time" in run.text("OUTCAR")
