"""A trajectory in its own process: completed, blown up, killed and gone on with."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk

from alpw.codes.lammps import EndReason, ExplorationTask, Limits, available, explore, read_result, run
from alpw.codes.lammps.handlers import FAULT
from alpw.codes.lammps.outputs import TASK_FILE
from alpw.errors import CalculationError, FailureKind
from alpw.potential.config import DeepPotentialConfig
from alpw.potential.model import DeepPotential
from alpw.potential.weights import fingerprint
from alpw.uncertainty.committee import committee_deviation
from alpw.uncertainty.kpu import Samples, sampled_kpu

RUN = [sys.executable, "-m", "alpw.codes.lammps.run"]

KILLED_ONCE = """
import os, signal, sys
from pathlib import Path
from alpw.codes.lammps import frames, run

append, attempts = frames.TrajectoryWriter.append, Path("attempts")
attempts.write_text(attempts.read_text() + "x" if attempts.exists() else "x")

def append_or_die(self, step, *args, **values):
    append(self, step, *args, **values)
    if step == {step} and len(attempts.read_text()) <= {kills}:
        os.kill(os.getpid(), signal.SIGKILL)

frames.TrajectoryWriter.append = append_or_die
sys.exit(run.main())
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Eight cool silicon atoms, a cell smaller than the cutoff, and two weak models with random weights."""
    folder = tmp_path_factory.mktemp("models")
    paths = [folder / f"{seed}.pt" for seed in (1, 2)]
    for seed, path in enumerate(paths, start=1):
        torch.manual_seed(seed)
        model = DeepPotential(
            DeepPotentialConfig(("Si",), neuron=(8, 8), axis_neuron=4, fitting_neuron=(8, 8), seed=seed)
        )
        with torch.no_grad():
            list(model.fitting.parameters())[-2].mul_(0.02)
        model.save(path)
    atoms = bulk("Si", cubic=True)
    return ExplorationTask(atoms, paths, "npt-tri", 20.0, 200, pressure=0.0, seed=3, restart_stride=50)


@pytest.fixture(scope="module")
def complete(task, tmp_path_factory):
    """The whole trajectory, run once."""
    return explore(task, tmp_path_factory.mktemp("complete"))


def test_lammps_is_available():
    found, version = available()
    assert found
    assert version.startswith("LAMMPS 20")


def test_launcher_that_expects_mpi_ranks_does_no_harm(monkeypatch):
    for name, value in {"PMI_FD": "7", "PMI_RANK": "0", "PMI_SIZE": "2", "PMI_JOBID": "1"}.items():
        monkeypatch.setenv(name, value)
    assert available()[0]


def test_complete_trajectory(task, complete):
    assert complete.end.reason is EndReason.COMPLETED
    assert complete.end.steps_done == 200
    assert len(complete) == task.n_frames == 21
    np.testing.assert_allclose(complete.positions[0], task.atoms.positions, atol=1e-12)


def test_deviation_is_that_of_the_model_files_on_the_saved_frames(task, complete):
    models = [DeepPotential.load(path) for path in task.models]
    for frame, atoms in enumerate(complete.frames()):
        predictions = [model.predict(atoms) for model in models]
        forces = np.array([prediction.forces for prediction in predictions])
        energies = [prediction.energy for prediction in predictions]
        expected = committee_deviation(energies, forces, [prediction.virial for prediction in predictions])
        # Same models and positions; only the order of the pairs, hence of the sums, may differ.
        for name in ("max_f", "mean_f", "min_f", "max_v", "mean_v", "min_v"):
            assert complete.deviations[name][frame] == pytest.approx(getattr(expected, name), abs=1e-12)
        assert complete.deviations["energy_deviation"][frame] == pytest.approx(expected.energy, abs=1e-12)
        assert complete.deviations["worst_atom"][frame] == expected.worst_atom
        assert complete.potential_energies[frame] == pytest.approx(energies[0], abs=1e-10)


def test_blow_up_is_a_result_and_is_not_run_again(task, tmp_path):
    result = explore(replace(task, limits=Limits(temperature=21.0, distance_ratio=0.95)), tmp_path)
    assert result.end.reason in {EndReason.TEMPERATURE, EndReason.TOO_CLOSE}
    assert 0 < len(result) < task.n_frames
    assert (tmp_path / "job.err").read_text().count("step ") == 1
    assert '"corrections": []' in (tmp_path / "custodian.json").read_text()


def test_sigkill_leaves_a_valid_prefix(task, complete, tmp_path):
    long = replace(task, n_steps=10**6, restart_stride=0)
    long.write(tmp_path / TASK_FILE)
    process = subprocess.Popen([*RUN, TASK_FILE], cwd=tmp_path, stderr=subprocess.DEVNULL)
    while len(read_result(tmp_path)) < 5:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    result = read_result(tmp_path)
    n = min(len(result), len(complete))
    assert n >= 5
    assert result.end is None
    # Bit for bit up to the first restart file of the complete run, at step 50, where atoms are wrapped anew.
    np.testing.assert_array_equal(result.positions[:5], complete.positions[:5])
    np.testing.assert_array_equal(result.deviations["max_f"][:5], complete.deviations["max_f"][:5])


def command_killed(tmp_path, step: int, kills: int) -> str:
    script = tmp_path / "killed.py"
    script.write_text(KILLED_ONCE.format(step=step, kills=kills))
    return f"{sys.executable} {script}"


@pytest.mark.parametrize(("step", "resumed"), [(130, "going on from step 100"), (30, "from the start")])
def test_killed_process_goes_on_and_ends_where_it_would_have_ended(step, resumed, task, complete, tmp_path):
    result = explore(task, tmp_path / "run", command=command_killed(tmp_path, step, kills=1))
    assert (tmp_path / "run" / "attempts").read_text() == "xx"
    assert resumed in (tmp_path / "run" / "job.err").read_text()
    assert result.end.reason is EndReason.COMPLETED
    np.testing.assert_array_equal(result.steps, complete.steps)
    np.testing.assert_array_equal(result.positions, complete.positions)
    np.testing.assert_array_equal(result.cells, complete.cells)
    np.testing.assert_array_equal(result.deviations["max_f"], complete.deviations["max_f"])


def test_uncertain_frames_before_and_after_a_kill_are_counted_together(task, complete, tmp_path):
    # Every frame but that of the perfect crystal counts: 8 is the eighth. Killed on 6, gone on from 5.
    uncertain = replace(task, stop_above=1e-6, stop_after=8, deviation="legacy")
    result = explore(uncertain, tmp_path / "run", command=command_killed(tmp_path, 60, kills=1))
    assert "going on from step 50" in (tmp_path / "run" / "job.err").read_text()
    assert result.end.reason is EndReason.UNCERTAIN
    assert result.end.steps_done == 80
    assert result.end.deviation == result.deviation == "legacy"
    np.testing.assert_array_equal(result.steps, 10 * np.arange(9))
    np.testing.assert_allclose(result.positions, complete.positions[:9], atol=1e-8)
    assert '"corrections": []' not in (tmp_path / "run" / "custodian.json").read_text()


def test_draws_of_the_weights_give_the_uncertainty_and_the_stop(task, complete, tmp_path):
    model = DeepPotential.load(task.models[0])
    n_weights = sum(parameter.numel() for parameter in model.parameters())
    changes = 1e-3 * torch.randn(
        5, n_weights, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    samples = Samples(changes, fingerprint(model), "lkf", 1)
    samples.save(tmp_path / "draws.pt")
    single = replace(
        task, models=task.models[:1], samples=tmp_path / "draws.pt", stop_above_kpu=1e-9, stop_after=4
    )
    result = explore(single, tmp_path / "run")
    assert result.end.reason is EndReason.UNCERTAIN
    assert "KPU" in result.end.message and result.deviation is result.end.deviation is None
    expected = [sampled_kpu(model, samples, atoms) for atoms in result.frames()]
    above = [kpu.mean >= 1e-9 for kpu in expected]
    assert len(result) == 5 and above == [False, True, True, True, True]
    np.testing.assert_array_equal(result.positions, complete.positions[:5])
    for name in ("max", "mean", "min"):
        numbers = [getattr(kpu, name) for kpu in expected]
        np.testing.assert_allclose(result.deviations[f"{name}_kpu"], numbers, rtol=0, atol=1e-12)
    energies = [kpu.u_energy for kpu in expected]
    np.testing.assert_allclose(result.deviations["energy_kpu"], energies, rtol=0, atol=1e-12)
    assert "max_f" not in result.deviations
    # In the perfect crystal all atoms are alike.
    worst = [kpu.u_force.argmax() for kpu in expected]
    np.testing.assert_array_equal(result.deviations["worst_atom_kpu"][1:], worst[1:])


def test_collapsed_committee_is_an_input_fault(task, tmp_path, caplog):
    replace(task, models=task.models[:1] * 2).write(tmp_path / TASK_FILE)
    assert run.main([str(tmp_path / TASK_FILE)]) == run.INPUT_FAULT
    assert f"{FAULT}the committee has collapsed: members" in caplog.text


def test_trajectory_of_a_lost_worker_goes_on_and_that_of_another_task_is_removed(task, complete, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(CalculationError, match=r"killed by signal 9.*14 frames are saved") as caught:
        explore(task, folder, command=command_killed(tmp_path, 130, kills=9))
    assert caught.value.kind is FailureKind.NODE
    assert (folder / "attempts").read_text() == "xxx"
    assert len(read_result(folder)) == 14

    again = explore(task, folder)
    assert "going on from step 100" in (folder / "job.err").read_text()
    np.testing.assert_array_equal(again.positions, complete.positions)
    np.testing.assert_array_equal(again.max_forces, complete.max_forces)

    (folder / "job.err").unlink()
    np.testing.assert_array_equal(explore(task, folder).positions, complete.positions)
    assert not (folder / "job.err").exists()

    other = explore(replace(task, n_steps=20, seed=4), folder)
    assert "from the start" in (folder / "job.err").read_text()
    assert len(other) == 3 and not np.array_equal(other.positions[1], complete.positions[1])


def test_missing_model_file_is_an_input_fault_and_is_not_run_again(task, tmp_path):
    with pytest.raises(CalculationError, match=r"absent.pt: cannot read the model") as caught:
        explore(replace(task, models=(tmp_path / "absent.pt",)), tmp_path)
    assert caught.value.kind is FailureKind.INPUT


def test_time_limit_ends_the_trajectory_with_its_frames(task, tmp_path):
    result = explore(replace(task, n_steps=10**7, timestep=1e-6), tmp_path, timeout=2.0)
    assert result.end.reason is EndReason.TIMEOUT
    assert len(result) > 1


def test_process_that_hangs_is_stopped_at_its_time_limit(task, tmp_path, monkeypatch):
    monkeypatch.setattr("alpw.codes.lammps.exploration.GRACE_SECONDS", 0.5)
    script = tmp_path / "hangs.py"
    script.write_text("import time; time.sleep(600)")
    result = explore(task, tmp_path / "run", command=f"{sys.executable} {script}", timeout=0.5)
    assert result.end.reason is EndReason.TIMEOUT
    assert len(result) == 0
