"""Relaxations and AIMD through the engine: no finished step is lost, and what was asked for is done."""

import json
import re

import numpy as np
import pytest
from ase import units
from ase.constraints import FixAtoms

from alpw.codes.protocol import INPUTS_FILE, Task
from alpw.codes.pwmat.code import Pwmat
from alpw.codes.pwmat.etot import read_etot
from alpw.codes.pwmat.steps import read_frames
from alpw.errors import FailureKind
from alpw.structures.atom_config import read_atom_config, write_atom_config

PWMAT = Pwmat()
COMMON = "ECUT = 50\nMP_N123 = 2 2 2 0 0 0 3\nRANDOM_SEED = 5\n"
NVE = COMMON + "MD_DETAIL = 1 12 1.0 300 300"
NVT = COMMON + "MD_DETAIL = 2, 12, 1.0, 300, 300"
RAMP = COMMON + "MD_DETAIL = 2 12 1.0 300 900"
RELAX = COMMON + "RELAX_DETAIL = 1 60 0.02"
ALIKE = {"rtol": 0, "atol": 1e-9}
TIMES = np.arange(1, 13) / 1000


@pytest.fixture(scope="module")
def undisturbed():
    """Trajectories of runs to which nothing happened, made once."""
    return {}


@pytest.fixture
def clean(undisturbed, steps, carbide, user):
    def run(lines=NVE):
        if lines not in undisturbed:
            undisturbed[lines] = steps("aimd", carbide, user.dft(lines, name="clean.input"), folder="clean")
        return undisturbed[lines]

    return run


@pytest.fixture
def md(user):
    return user.dft(NVE)


def whole(found, expected):
    """Every step once, in order, with the numbers of a run that nothing disturbed."""
    assert found.complete and len(found.frames) == len(expected.frames) == 12
    np.testing.assert_allclose(found.frames.extras["time"], TIMES, **ALIKE)
    np.testing.assert_allclose(found.frames.positions, expected.frames.positions, **ALIKE)
    np.testing.assert_allclose(found.frames.energies, expected.frames.energies, rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.frames.forces, expected.frames.forces, rtol=0, atol=1e-7)
    assert found.settings_hash == expected.settings_hash


def test_aimd_makes_its_steps_in_the_order_of_atoms_that_was_asked_for(steps, label, carbide, md):
    result = steps("aimd", carbide, md)
    frames = result.frames
    assert result.complete and len(frames) == 12 and frames.converged.all() and not result.rejected
    np.testing.assert_allclose(frames.extras["time"], TIMES, **ALIKE)
    assert frames.numbers.tolist() == carbide.numbers.tolist()
    moved = np.linalg.norm(np.diff(frames.positions, axis=0), axis=2)
    assert 0 < moved.max() < 0.05
    # Verlet: displacement over 2 dt is velocity in between.
    velocity = (frames.positions[6] - frames.positions[4]) / 0.002
    np.testing.assert_allclose(frames.extras["velocities"][5], velocity, atol=0.02 * np.abs(velocity).max())
    single = label(frames[5].atoms, md, folder="single").label
    np.testing.assert_allclose(frames[5].label.forces, single.forces, atol=1e-7)
    np.testing.assert_allclose(frames[5].label.virial, single.virial, atol=1e-5)
    assert frames[5].label.energy == pytest.approx(single.energy, abs=1e-6)


def test_label_and_aimd_of_one_level_of_theory_have_equal_settings(steps, label, carbide, md):
    result = steps("aimd", carbide, md)
    assert label(carbide, md, folder="single").settings_hash == result.settings_hash


@pytest.mark.parametrize("lines", [NVE, NVT])
@pytest.mark.parametrize("step", [1, 5, 12])
def test_aimd_that_is_killed_keeps_its_steps_and_goes_on_to_exactly_the_last_one(
    steps, clean, carbide, user, lines, step
):
    dft = user.dft(lines)
    killed = steps("aimd", carbide, dft, {"fault": "sigkill", "step": step, "times": 1})
    whole(killed, clean(lines))
    assert any(entry["kind"] == "node" for entry in killed.corrections)


def test_aimd_that_is_killed_again_and_again_still_arrives(steps, clean, carbide, md):
    killed = steps("aimd", carbide, md, {"fault": "sigkill", "step": 4, "times": 3})
    whole(killed, clean())


def test_continued_aimd_uses_the_method_that_takes_velocities_from_the_file(steps, carbide, user, tmp_path):
    result = steps("aimd", carbide, user.dft(NVT), {"fault": "sigkill", "step": 8, "times": 1})
    assert read_etot(tmp_path / "run" / "etot.input").get("MD_DETAIL") == "22 5 1.0 300 300"
    assert any("final.config" in change for change in result.changes)
    assert any("MD_DETAIL: 2, 12, 1.0, 300, 300 -> 22 5 1.0 300 300" in change for change in result.changes)


def test_a_temperature_ramp_goes_on_where_it_was(steps, carbide, user, tmp_path):
    steps("aimd", carbide, user.dft(RAMP), {"fault": "sigkill", "step": 7, "times": 1})
    method, left, _, first, last = read_etot(tmp_path / "run" / "etot.input").numbers("MD_DETAIL")
    assert (method, left, first, last) == (22, 6, 600.0, 900.0)


@pytest.mark.parametrize("fault", ["nan", "crash", "stars"])
def test_aimd_goes_on_from_the_last_step_with_good_numbers(steps, clean, carbide, md, fault):
    result = steps("aimd", carbide, md, {"fault": fault, "step": 6, "times": 1})
    assert result.complete and np.isfinite(result.frames.forces).all()
    if fault != "stars":
        whole(result, clean())
    else:
        assert len(result.frames) == 12, "the frame that could not be printed is made up for"


def test_a_trajectory_that_is_cut_short_on_disk_is_completed(steps, clean, carbide, md):
    cut = steps("aimd", carbide, md, {"fault": "truncate_movement", "times": 1})
    whole(cut, clean())


def test_aimd_that_hangs_is_stopped_and_goes_on(steps, clean, carbide, md):
    impatient = md.model_copy(update={"max_silence": 2.0})
    hung = steps("aimd", carbide, impatient, {"fault": "hang", "step": 5, "times": 1})
    whole(hung, clean())


def test_aimd_whose_time_is_up_goes_on_in_a_later_call(steps, clean, carbide, md):
    slow = {"environment": {"PWMAT_STEP_DELAY": "0.4"}}
    first = steps("aimd", carbide, md, timeout=5, **slow)
    assert not first.complete and 0 < len(first.frames) < 12
    whole(steps("aimd", carbide, md), clean())


def test_a_worker_that_dies_while_it_prepares_to_go_on_loses_and_repeats_nothing(
    steps, clean, carbide, md, tmp_path
):
    """Its successor finds the inputs of the next attempt beside the outputs of the last one."""
    first = steps("aimd", carbide, md, timeout=5, environment={"PWMAT_STEP_DELAY": "0.4"})
    run = tmp_path / "run"
    for _ in range(2):
        PWMAT.resume(carbide, run, md, Task.AIMD, len(first.frames))
        assert not PWMAT.complete(run, Task.AIMD)
        assert PWMAT.read_steps(run, carbide, md, Task.AIMD) is None, "they have been saved already"
    whole(steps("aimd", carbide, md), clean())


@pytest.mark.parametrize("damage", ["nan", "stale", "cut", "missing"])
def test_without_a_trustworthy_final_config_it_goes_on_from_movement(
    steps, clean, carbide, md, tmp_path, damage
):
    first = steps("aimd", carbide, md, timeout=5, environment={"PWMAT_STEP_DELAY": "0.4"})
    run = tmp_path / "run"
    final = run / "final.config"
    text = final.read_text()
    if damage == "nan":
        final.write_text(text.replace("1  1  1", "NaN 1 1", 1))
    elif damage == "cut":
        final.write_text(text[: len(text) // 2])
    elif damage == "missing":
        final.unlink()
    else:
        before = read_frames(run / "MOVEMENT")[-2].atoms
        before.set_velocities(np.zeros((8, 3)))
        write_atom_config(final, before, velocities=True)
    changes = PWMAT.resume(carbide, run, md, Task.AIMD, len(first.frames))
    assert changes[0] == "atom.config: the last complete step, from MOVEMENT"
    whole(steps("aimd", carbide, md), clean())


def test_a_version_that_writes_the_start_into_movement_repeats_no_step(steps, carbide, md, tmp_path):
    """A continued run then begins with the last frame of the one before: one more is made, and dropped."""
    steps("aimd", carbide, md)
    run = tmp_path / "run"
    frames = re.split(r"^ -+\w*\n", (run / "MOVEMENT").read_text(), flags=re.MULTILINE)[:12]
    (run / "atom.config").write_text(frames[0])
    order = np.argsort(carbide.numbers != 14, kind="stable").tolist()
    record = json.loads((run / INPUTS_FILE).read_text())
    before = {"head": "of the attempt before", "order": order, "time": 0.0005}
    (run / INPUTS_FILE).write_text(json.dumps({**record, "resumed": before}))
    assert len(PWMAT.read_steps(run, carbide, md, Task.AIMD)) == 11
    PWMAT.resume(carbide, run, md, Task.AIMD, 10)
    assert read_etot(run / "etot.input").words("MD_DETAIL")[:2] == ["11", "3"], "two are left"
    (run / "MOVEMENT").write_text("".join(frame + " -----------\n" for frame in (frames[11], *frames[:2])))
    found = PWMAT.read_steps(run, carbide, md, Task.AIMD)
    assert len(found) == 2 and PWMAT.complete(run, Task.AIMD)
    assert found.extras["time"][0] > 0.012, "time goes on where a version counts anew"


def _grouped(atoms):
    return np.argsort(atoms.numbers != 14, kind="stable").tolist()


def test_an_scf_that_fails_in_aimd_is_marked_and_mended_from_where_it_was(steps, carbide, md, tmp_path):
    fault = {"fault": "scf_unconverged", "step": 4, "until": {"SCF_ITER1_1": ">=100 * * * * *"}}
    result = steps("aimd", carbide, md, fault, environment={"PWMAT_STEP_DELAY": "0.3"})
    assert result.complete and len(result.frames) == 12
    failed = np.flatnonzero(~result.frames.converged)
    assert failed[0] == 3 and 3 <= len(failed) < 9 and (np.diff(failed) == 1).all()
    assert result.rejected == {"SCF not converged": len(failed)}
    assert [(c["handler"], c["kind"]) for c in result.corrections] == [("PwmatScfHandler", "scf")]
    assert read_etot(tmp_path / "run" / "etot.input").words("SCF_ITER1_1")[0] == "100"


def test_failed_scfs_mark_their_own_steps(steps, carbide, user):
    """Two are not worth stopping for. REPORT says which, and counts the first structure too."""
    lines = COMMON + "MD_DETAIL = 1 3 1.0 300 300"
    result = steps("aimd", carbide, user.dft(lines), {"fault": "scf_unconverged", "step": 2})
    assert result.frames.converged.tolist() == [True, False, False] and not result.corrections


def test_aimd_that_can_never_start_is_given_up(steps, carbide, md, failure):
    error = failure(steps, "aimd", carbide, md, {"fault": "sigkill", "step": 0})
    assert error.kind is FailureKind.NODE


@pytest.mark.parametrize("mode", ["dftb", "gaussian"])
def test_aimd_and_relaxation_run_in_the_other_modes(steps, carbide, user, mode):
    if mode == "dftb":
        head = "USE_DFTB = T\nDFTB_DETAIL = 1, 1, 0, 500, 1e-5, 1, 1\n"
        files = {"in_skf": str(user.slater_koster("Si", "C")), "pseudo": []}
    else:
        head, files = "USE_GAUSSIAN = T\n", {"gaussian_param": user.gaussian(), "pseudo": []}
    moving = steps(
        "aimd", carbide, user.dft(head + NVT, **files), {"fault": "sigkill", "step": 6, "times": 1}
    )
    assert moving.complete and len(moving.frames) == 12
    relaxed = steps("relax", carbide, user.dft(head + RELAX, **files), folder="relaxed")
    assert relaxed.complete and relaxed.settings["mode"].lower().startswith(mode)


def test_a_relaxation_ends_where_the_forces_vanish(steps, silicon8, user):
    result = steps("relax", silicon8, user.dft(RELAX, ("Si",)))
    assert result.complete and not result.corrections
    assert np.linalg.norm(result.frames.forces[-1], axis=1).max() < 0.02
    assert result.frames.energies[-1] < result.frames.energies[0]
    assert not np.array_equal(result.frames.positions[-1], result.frames.positions[-2]), "no step twice"
    assert result.structure.get_chemical_symbols() == silicon8.get_chemical_symbols()
    np.testing.assert_allclose(result.frames.positions[0], silicon8.positions, atol=1e-9)


def test_a_relaxation_that_used_up_its_steps_goes_on(steps, silicon8, user):
    at_once = steps("relax", silicon8, user.dft(RELAX, ("Si",)), folder="once")
    pieces = steps("relax", silicon8, user.dft(RELAX.replace("1 60", "1 5"), ("Si",)))
    assert pieces.complete and len(pieces.frames) > 5
    assert np.linalg.norm(pieces.frames.forces[-1], axis=1).max() < 0.02
    assert pieces.frames.energies[-1] == pytest.approx(at_once.frames.energies[-1], abs=1e-3)


def test_a_relaxation_that_is_killed_goes_on_from_its_last_geometry(steps, silicon8, user):
    result = steps("relax", silicon8, user.dft(RELAX, ("Si",)), {"fault": "sigkill", "step": 4, "times": 1})
    assert result.complete
    repeated = np.abs(np.diff(result.frames.positions, axis=0)).max(axis=(1, 2)) < 1e-9
    assert not repeated.any()
    assert np.linalg.norm(result.frames.forces[-1], axis=1).max() < 0.02


def test_a_relaxation_of_the_cell_keeps_the_order_of_atoms(steps, carbide, user):
    result = steps("relax", carbide, user.dft(COMMON + "RELAX_DETAIL = 1 100 0.05 1 0.05"))
    assert result.complete and result.frames.virials is not None
    assert np.abs(result.frames.cells[-1] - result.frames.cells[0]).max() > 1e-3
    assert result.structure.numbers.tolist() == carbide.numbers.tolist()


def test_a_relaxation_that_is_stuck_is_a_matter_of_its_geometry(steps, silicon8, user, failure, runs):
    error = failure(
        steps, "relax", silicon8, user.dft(RELAX.replace("1 60", "1 12"), ("Si",)), {"fault": "relax_stuck"}
    )
    assert error.kind is FailureKind.GEOMETRY and "stuck" in str(error) and runs() == 1


def test_fixed_atoms_and_magnetic_moments_survive_a_continuation(steps, carbide, user, tmp_path):
    carbide.set_constraint(FixAtoms([0, 3]))
    carbide.set_initial_magnetic_moments(np.arange(8) / 10)
    result = steps("aimd", carbide, user.dft(NVE), {"fault": "sigkill", "step": 6, "times": 1})
    assert result.complete and len(result.frames) == 12
    np.testing.assert_allclose(
        result.frames.positions[:, [0, 3]], carbide.positions[None, [0, 3]].repeat(12, 0)
    )
    written = read_atom_config(tmp_path / "run" / "atom.config", velocities=True)
    order = _grouped(carbide)
    np.testing.assert_allclose(written.get_initial_magnetic_moments(), np.array(order) / 10)
    assert written.numbers.tolist() == carbide.numbers[order].tolist()
    speed = np.linalg.norm(written.get_velocities(), axis=1) * 1000 * units.fs
    assert (speed[[order.index(0), order.index(3)]] == 0).all() and np.count_nonzero(speed) == 6
