"""Relaxation and MD with GFN-xTB: against single points, killed and gone on with, stopped."""

import json
import shutil
import sys
import time

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.optimize import LBFGS
from tblite.ase import TBLite

from alpw.codes.protocol import Task
from alpw.codes.registry import code_of
from alpw.codes.run import run_label, run_steps
from alpw.codes.xtb.inputs import CELL_WARNING
from alpw.errors import CalculationError, InputError

XTB = code_of("xtb")

KILLED_ONCE = """\
if [ -e ../died ]; then exec {python} -m alpw.codes.xtb.run; fi
{python} -m alpw.codes.xtb.run &
pid=$!
until [ -e steps.jsonl ] && [ "$(wc -l < steps.jsonl)" -ge 4 ]; do sleep 0.01; done
touch ../died
kill -9 $pid
kill -9 $$
"""


@pytest.fixture
def control(tmp_path, make_dft):
    """``dft`` with a control file of these entries."""

    def make(**entries):
        path = tmp_path / "control.json"
        path.write_text(json.dumps(entries))
        return make_dft(dft_style="xtb", input=path)

    return make


@pytest.fixture
def killed_once(tmp_path):
    script = tmp_path / "killed_once.sh"
    script.write_text(KILLED_ONCE.format(python=sys.executable))
    return f"sh {script}"


@pytest.fixture
def water():
    atoms = molecule("H2O")
    atoms.rattle(0.1, seed=4)
    return atoms


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_label_of_a_step_is_that_of_a_single_point(silicon, control, tmp_path, ensemble):
    result = run_steps(XTB, Task.AIMD, silicon, tmp_path / "md", control(steps=3, ensemble=ensemble))
    assert result.complete and len(result.frames) == 4
    frame = result.frames[2]
    single = run_label(XTB, frame.atoms, tmp_path / "label", control())
    # The SCF of a step starts from the density of the one before.
    assert frame.label.energy == pytest.approx(single.label.energy, abs=1e-5)
    np.testing.assert_allclose(frame.label.forces, single.label.forces, atol=2e-3)
    np.testing.assert_allclose(frame.label.virial, single.label.virial, atol=2e-3)
    assert single.settings_hash == result.settings_hash
    np.testing.assert_array_equal(result.frames.positions[0], silicon.positions)


def test_nve_conserves_the_energy_of_a_molecule(water, control, tmp_path):
    dft = control(steps=100, ensemble="nve", timestep=0.25, temperature=200)
    frames = run_steps(XTB, Task.AIMD, water, tmp_path / "md", dft).frames
    speeds = (frames.extras["velocities"] ** 2).sum(axis=2)
    kinetic = 0.5 * (speeds * water.get_masses()).sum(axis=1) * 1.036426966e-4  # u Å^2/ps^2 in eV
    assert np.ptp(frames.energies) > 0.1
    assert np.ptp(frames.energies + kinetic) < 0.02
    np.testing.assert_allclose(frames.extras["time"], np.arange(101) * 0.25e-3)


def test_thermostat_reaches_its_temperature_and_follows_its_seed(water, control, tmp_path):
    settings = {"steps": 400, "timestep": 0.5, "friction": 0.1, "temperature": 500}
    first = run_steps(XTB, Task.AIMD, water, tmp_path / "a", control(**settings, seed=1)).frames
    again = run_steps(XTB, Task.AIMD, water, tmp_path / "b", control(**settings, seed=1)).frames
    other = run_steps(XTB, Task.AIMD, water, tmp_path / "c", control(**settings, seed=2)).frames
    np.testing.assert_allclose(first.energies, again.energies, atol=1e-6)
    assert np.abs(first.energies - other.energies).max() > 1e-2
    # Nine degrees of freedom, some ten independent draws: 500 K within four standard errors.
    mean = np.mean([frames.extras["temperature"][100:].mean() for frames in (first, other)])
    assert 250 < mean < 800


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_killed_md_goes_on_and_ends_where_it_would_have_ended(
    silicon, control, tmp_path, ensemble, killed_once
):
    dft = control(steps=8, ensemble=ensemble)
    whole = run_steps(XTB, Task.AIMD, silicon, tmp_path / "whole", dft)
    killed = run_steps(XTB, Task.AIMD, silicon, tmp_path / "run", dft, killed_once)
    assert killed.complete and any("goes on from step" in change for change in killed.changes)
    assert [c["kind"] for c in killed.corrections] == ["node"]
    np.testing.assert_allclose(killed.frames.extras["time"], whole.frames.extras["time"])
    # Velocities and random numbers go on; the density, where an SCF begins, does not: measured 2e-7 eV.
    np.testing.assert_allclose(killed.frames.energies, whole.frames.energies, atol=1e-5)
    np.testing.assert_allclose(killed.frames.positions, whole.frames.positions, atol=1e-6)
    assert killed.settings_hash == whole.settings_hash


@pytest.mark.parametrize("optimizer", ["bfgs", "fire"])
def test_relaxed_molecule_has_no_forces_and_the_same_geometry_from_either_optimizer(
    water, control, tmp_path, optimizer
):
    result = run_steps(XTB, Task.RELAX, water, tmp_path / "run", control(optimizer=optimizer, fmax=0.005))
    assert result.complete
    assert np.linalg.norm(result.frames.forces[-1], axis=1).max() < 0.005
    np.testing.assert_array_equal(result.frames.positions[0], water.positions)
    water.calc = TBLite(method="GFN1-xTB", verbosity=0)
    LBFGS(water, logfile=None).run(fmax=0.001)
    assert result.structure.get_distance(0, 1) == pytest.approx(water.get_distance(0, 1), abs=1e-3)
    assert result.structure.get_angle(1, 0, 2) == pytest.approx(water.get_angle(1, 0, 2), abs=0.5)


def test_killed_relaxation_goes_on(water, control, tmp_path, killed_once):
    dft = control(optimizer="fire", fmax=0.01)
    whole = run_steps(XTB, Task.RELAX, water, tmp_path / "whole", dft)
    killed = run_steps(XTB, Task.RELAX, water, tmp_path / "run", dft, killed_once)
    assert killed.complete and any("goes on from step" in change for change in killed.changes)
    assert np.abs(np.diff(killed.frames.positions, axis=0)).max(axis=(1, 2)).min() > 0
    assert killed.frames.energies[-1] == pytest.approx(whole.frames.energies[-1], abs=1e-3)


def test_relaxation_of_a_cell_is_done_with_a_warning(control, tmp_path, caplog):
    atoms = bulk("Si", cubic=True) * (2, 1, 1)
    dft = control(cell=True, steps=2)
    tmp_path.joinpath("run").mkdir()
    changes = XTB.write_inputs(atoms, tmp_path / "run", dft, Task.RELAX)
    assert CELL_WARNING in changes and "pressure" in caplog.text
    XTB.job(None).run(tmp_path / "run").wait(120)
    frames = XTB.read_steps(tmp_path / "run", atoms, dft, Task.RELAX)
    assert len(frames) == 3 and np.abs(frames.cells[-1] - frames.cells[0]).max() > 1e-3
    assert not XTB.complete(tmp_path / "run", Task.RELAX)


def test_stop_file_ends_md_after_its_step(water, control, tmp_path):
    dft = control(steps=100_000)
    XTB.write_inputs(water, tmp_path, dft, Task.AIMD)
    job = XTB.job(None)
    process = job.run(tmp_path)
    try:
        while (found := XTB.read_steps(tmp_path, water, dft, Task.AIMD)) is None or len(found) < 3:
            assert process.poll() is None
            time.sleep(0.05)
        assert XTB.stop(tmp_path)
        assert process.wait(60) == 0
    finally:
        job.close()
    assert not XTB.complete(tmp_path, Task.AIMD)
    assert not any(validator.check(tmp_path) for validator in XTB.validators(Task.AIMD))
    assert len(XTB.read_steps(tmp_path, water, dft, Task.AIMD)) >= 3


def test_line_that_was_being_written_is_no_step(water, control, tmp_path):
    dft = control(steps=4)
    run_steps(XTB, Task.AIMD, water, tmp_path / "run", dft)
    folder = shutil.copytree(tmp_path / "run", tmp_path / "torn")
    path = folder / "steps.jsonl"
    path.write_text(path.read_text()[:-30])
    assert len(XTB.read_steps(folder, water, dft, Task.AIMD)) == 4
    assert XTB.resume(water, folder, dft, Task.AIMD, done=4) == ["goes on from step 3"]
    assert XTB.resume(water, folder, dft, Task.AIMD, done=4) == ["goes on from step 3"]
    assert json.loads((folder / "xtb.json").read_text())["start"]["step"] == 3


def test_unconverged_scf_on_the_way_is_repaired_and_md_goes_on(silicon, control, tmp_path, monkeypatch):
    dft = control(steps=3)
    whole = run_steps(XTB, Task.AIMD, silicon, tmp_path / "whole", dft)
    # Later steps start from a converged density and need fewer iterations than the first.
    monkeypatch.setattr("alpw.codes.xtb.inputs.SCF", {"max_iterations": 8, "mixer_damping": 0.4})
    repaired = run_steps(XTB, Task.AIMD, silicon, tmp_path / "run", dft)
    assert "XtbScfHandler" in {c["handler"] for c in repaired.corrections}
    np.testing.assert_allclose(repaired.frames.energies, whole.frames.energies, atol=1e-4)
    assert repaired.settings_hash == whole.settings_hash


def test_steps_of_other_atoms_are_refused(water, control, tmp_path):
    dft = control(steps=1)
    run_steps(XTB, Task.AIMD, water, tmp_path, dft)
    water.positions[0, 0] += 0.01
    with pytest.raises(CalculationError, match="atom 0"):
        XTB.read_steps(tmp_path, water, dft, Task.AIMD)


@pytest.mark.parametrize(
    ("task", "entries", "message"),
    [
        (Task.AIMD, {"step": 5}, "step: unknown; allowed are ensemble"),
        (Task.AIMD, {"ensemble": "nph"}, "nvt, nve, npt"),
        (Task.AIMD, {"timestep": -1}, "positive"),
        (Task.AIMD, {"steps": 0}, "whole number"),
        (Task.AIMD, {"seed": "x"}, "whole number"),
        (Task.RELAX, {"fmax": 0}, "positive"),
        (Task.RELAX, {"cell": 1}, "true or false"),
        (Task.RELAX, {"temperature": 300}, "temperature: unknown"),
    ],
)
def test_control_file_that_cannot_be_meant_is_refused_by_its_key(control, task, entries, message):
    with pytest.raises(InputError, match=message):
        XTB.check(control(**entries), ["Si"], task)


def test_control_file_that_is_no_json_is_refused(control):
    dft = control()
    dft.input.write_text("fmax = 0.02")
    with pytest.raises(InputError, match="JSON"):
        XTB.check(dft, ["Si"], Task.RELAX)
    XTB.check(dft, ["Si"], Task.LABEL)
