"""Relaxation and AIMD with a stand-in that writes CP2K's files: finished, killed, unconverged, stopped."""

import shutil

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.lj import LennardJones

from alpw.codes.cp2k.sections import read
from alpw.codes.protocol import Task
from alpw.codes.registry import code_of
from alpw.codes.run import run_label, run_steps
from alpw.errors import CalculationError, FailureKind, InputError

CP2K = code_of("cp2k")

CONTROL = """\
&FORCE_EVAL
  &DFT
    &SCF
      EPS_SCF 1.0E-6
      &MIXING
        ALPHA 0.4
      &END MIXING
    &END SCF
    &QS
      METHOD xTB
    &END QS
  &END DFT
&END FORCE_EVAL
&MOTION
  &MD
    ENSEMBLE NVE
    STEPS 8
    TIMESTEP 1.0
    TEMPERATURE 300
  &END MD
&END MOTION
"""


@pytest.fixture
def dft(tmp_path, make_dft):
    control = tmp_path / "user.inp"
    control.write_text(CONTROL)
    return make_dft(dft_style="cp2k", input=control)


@pytest.fixture
def packed():
    """Eight atoms near the one minimum of the potential, unlike silicon's structure, which collapses."""
    atoms = bulk("Si", "fcc", a=3.35, cubic=True) * (2, 1, 1)
    atoms.rattle(0.08, seed=2)
    return atoms


@pytest.fixture
def run(silicon, packed, tmp_path, dft, fake_cp2k):
    def steps(task, name, *arguments, **options):
        atoms = packed if task is Task.RELAX else silicon
        return run_steps(CP2K, task, atoms, tmp_path / name, dft, fake_cp2k(*arguments), **options)

    return steps


@pytest.mark.parametrize("form", [(), ("--newer",)])
@pytest.mark.parametrize("task", [Task.AIMD, Task.RELAX])
def test_every_step_has_the_label_of_the_potential_behind_the_output(run, task, form):
    result = run(task, "run", *form)
    assert result.complete and result.corrections == [] and result.frames.converged.all()
    for frame in result.frames:
        atoms = frame.atoms
        atoms.calc = LennardJones(epsilon=0.5, sigma=2.1, rc=5.0, smooth=True)
        assert frame.label.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
        np.testing.assert_allclose(frame.label.forces, atoms.get_forces(), atol=1e-6)
        virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
        np.testing.assert_allclose(frame.label.virial, virial, atol=1e-5)


def test_aimd_begins_with_the_structure_given_and_makes_all_steps(run, silicon):
    frames = run(Task.AIMD, "run").frames
    assert len(frames) == 9
    np.testing.assert_allclose(frames.extras["time"], np.arange(9) / 1000)
    np.testing.assert_allclose(frames.positions[0], silicon.positions, atol=1e-9)
    # The atoms move as their velocities say: Å/ps, and a central difference.
    moved = (frames.positions[4] - frames.positions[2]) / 0.002
    np.testing.assert_allclose(frames.extras["velocities"][3], moved, atol=0.02)
    assert frames.extras["temperature"][0] > 0


def test_relaxation_begins_with_the_structure_given_and_ends_relaxed(run, packed):
    result = run(Task.RELAX, "run")
    np.testing.assert_array_equal(result.frames.positions[0], packed.positions)
    assert np.linalg.norm(result.frames.forces[-1], axis=1).max() < 0.05
    # The second evaluation of the last geometry is no step.
    assert np.abs(result.frames.positions[-1] - result.frames.positions[-2]).max() > 1e-6


@pytest.mark.parametrize("step", [1, 2, 5])
def test_killed_md_goes_on_and_ends_where_it_would_have_ended(run, step):
    whole = run(Task.AIMD, "whole")
    killed = run(Task.AIMD, "killed", "--fault", "sigkill", "--step", str(step), "--times", "1")
    assert killed.complete and [c["kind"] for c in killed.corrections] == ["node"]
    assert any(f"goes on from step {step - 1} of 8" in change for change in killed.changes)
    np.testing.assert_allclose(killed.frames.energies, whole.frames.energies, atol=1e-9)
    np.testing.assert_allclose(killed.frames.positions, whole.frames.positions, atol=1e-9)
    np.testing.assert_array_equal(killed.frames.extras["time"], whole.frames.extras["time"])
    assert killed.settings_hash == whole.settings_hash


def test_md_goes_on_from_its_trajectory_files_where_the_restart_file_is_torn(run, tmp_path, silicon, dft):
    whole = run(Task.AIMD, "whole")
    folder = tmp_path / "killed"
    # As left by a kill: six steps, and a restart file that was being written.
    shutil.copytree(tmp_path / "whole", folder)
    restart = folder / "run-1.restart"
    restart.write_text(restart.read_text()[:-200])
    for name in ("pos", "frc", "vel"):
        path = folder / f"run-{name}-1.xyz"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[: 18 * 6]))
    told = CP2K.resume(silicon, folder, dft, Task.AIMD, done=6)
    assert told == ["MD goes on from step 5 of 8, state from the trajectory files"]
    root = read(folder / "cp2k.inp")
    assert root.need("MOTION/MD").get("STEPS") == "3" and root.need("MOTION/MD").get("STEP_START_VAL") == "5"
    rows = [f"{x} {rest}".split() for x, rest in root.need("FORCE_EVAL/SUBSYS/VELOCITY").keywords]
    velocities = np.array(rows, dtype=float) * units.Bohr / units.AUT * 1000 * units.fs
    np.testing.assert_allclose(velocities, whole.frames.extras["velocities"][5], atol=1e-6)
    # Asking twice does no harm.
    assert CP2K.resume(silicon, folder, dft, Task.AIMD, done=6) == told
    assert read(folder / "cp2k.inp").need("MOTION/MD").get("STEPS") == "3"


def test_killed_relaxation_goes_on_from_its_last_geometry(run):
    whole = run(Task.RELAX, "whole")
    killed = run(Task.RELAX, "killed", "--fault", "sigkill", "--step", "3", "--times", "1")
    assert killed.complete and "relaxation goes on from the geometry of step 2" in killed.changes
    np.testing.assert_allclose(killed.frames.energies[:3], whole.frames.energies[:3], atol=1e-9)
    # The geometry that it goes on from is not there twice.
    moves = np.abs(np.diff(killed.frames.positions, axis=0)).max(axis=(1, 2))
    assert moves.min() > 1e-6
    assert killed.frames.energies[-1] == pytest.approx(whole.frames.energies[-1], abs=1e-2)


def test_relaxation_that_reached_its_limit_of_steps_goes_on(run, dft):
    motion = "&MOTION\n  &GEO_OPT\n    MAX_ITER 3\n  &END GEO_OPT\n&END MOTION\n"
    dft.input.write_text(CONTROL[: CONTROL.index("&MOTION")] + motion)
    result = run(Task.RELAX, "run")
    assert result.complete and len(result.frames) > 4
    assert "relaxation goes on from the geometry of step 3" in result.changes
    assert np.linalg.norm(result.frames.forces[-1], axis=1).max() < 0.05


def test_few_unconverged_steps_are_marked_and_no_error(run):
    result = run(Task.AIMD, "run", "--fault", "unconverged", "--step", "8")
    assert result.complete and result.corrections == []
    assert result.frames.converged.tolist() == [True] * 8 + [False]
    assert result.rejected == {"SCF not converged": 1}


def test_trajectory_with_many_unconverged_steps_is_given_up(run):
    with pytest.raises(CalculationError, match="NOT converged") as caught:
        run(Task.AIMD, "run", "--fault", "unconverged", "--step", "4")
    assert caught.value.kind is FailureKind.SCF


def test_abort_of_an_unconverged_scf_climbs_the_ladder_and_goes_on_from_the_step_before(run, tmp_path):
    result = run(Task.AIMD, "run", "--newer", "--fault", "unconverged", "--step", "4", "--until", "ALPHA=0.1")
    assert result.complete and len(result.frames) == 9 and result.frames.converged.all()
    assert [c["handler"] for c in result.corrections] == ["Cp2kScfHandler"] * 2
    assert len(set(result.hashes)) == 1
    whole = run(Task.AIMD, "whole", "--newer")
    assert result.settings_hash == whole.settings_hash
    np.testing.assert_allclose(result.frames.energies, whole.frames.energies, atol=1e-9)


def test_stop_file_ends_the_run_after_its_step_and_a_later_call_goes_on(run, tmp_path, silicon, dft):
    folder = tmp_path / "run"
    folder.mkdir()
    CP2K.write_inputs(silicon, folder, dft, Task.AIMD)
    assert CP2K.stop(folder)
    assert (folder / "EXIT").is_file()
    # The next attempt must not find it.
    assert run(Task.AIMD, "run").complete
    assert not (folder / "EXIT").exists()


def test_label_relaxation_and_aimd_have_one_level_of_theory(run, silicon, tmp_path, dft, fake_cp2k):
    label = run_label(CP2K, silicon, tmp_path / "label", dft, fake_cp2k())
    hashes = {run(task, task.value).settings_hash for task in (Task.RELAX, Task.AIMD)}
    assert hashes == {label.settings_hash}


@pytest.mark.parametrize("key", ["ENSEMBLE", "STEPS", "TIMESTEP", "TEMPERATURE"])
def test_aimd_without_what_it_needs_is_refused_by_name(dft, key):
    lines = [line for line in CONTROL.splitlines() if not line.strip().startswith(key)]
    dft.input.write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"MOTION/MD/{key}"):
        CP2K.check(dft, ["Si"], Task.AIMD)
    CP2K.check(dft, ["Si"], Task.LABEL)


def test_aimd_without_a_section_for_it_is_refused(dft):
    dft.input.write_text(CONTROL[: CONTROL.index("&MOTION")])
    with pytest.raises(InputError, match="&MOTION/&MD"):
        CP2K.check(dft, ["Si"], Task.AIMD)
    CP2K.check(dft, ["Si"], Task.RELAX)


def test_steps_of_other_atoms_are_refused(run, silicon, tmp_path, dft):
    run(Task.AIMD, "run")
    silicon.symbols[3] = "Ge"
    with pytest.raises(CalculationError, match=r"belongs to Si16, not to Si3Ge"):
        CP2K.read_steps(tmp_path / "run", silicon, dft, Task.AIMD)
