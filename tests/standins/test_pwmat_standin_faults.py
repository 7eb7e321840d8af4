"""Every fault of the stand-in for PWmat does what it says, as often as it says."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from pwmat_folders import (
    PROGRAM,
    SCF,
    calculate,
    frames,
    prepare,
    reason,
    run,
    silicon,
    table,
    total_energy,
)


def test_an_scf_that_runs_out_of_steps_says_so_and_is_off(tmp_path):
    good = calculate(tmp_path / "good", silicon(), SCF)
    assert reason(good) == ["tol Rho_err  5.000000000000000E-005"]
    few = calculate(tmp_path / "few", silicon(), {**SCF, "SCF_ITER0_2": "4 4 3 1.0 0.025 1"})
    assert reason(few) == ["niter reached"]
    assert abs(total_energy(few) - total_energy(good)) > 1e-4
    by_energy = calculate(tmp_path / "energy", silicon(), {**SCF, "RHO_ERROR": "0", "E_ERROR": "1.E-6"})
    assert reason(by_energy)[0].startswith("tol Etot_err")
    never = calculate(tmp_path / "never", silicon(), {**SCF, "RHO_ERROR": "0", "E_ERROR": "0"})
    assert reason(never) == ["niter reached"]


def test_an_scf_fault_lasts_until_the_input_is_as_wanted(tmp_path):
    fault = [{"fault": "scf_unconverged", "until": {"SCF_ITER0_2": ">=200 * * 1.05 * *"}}]
    prepare(tmp_path, silicon(), SCF)
    run(tmp_path, fault)
    assert reason(tmp_path) == ["niter reached"]
    prepare(tmp_path, silicon(), {**SCF, "SCF_ITER0_2": "200, 4, 3, 1.0500, 0.025, 1"})
    run(tmp_path, fault)
    assert reason(tmp_path)[0].startswith("tol")


def test_an_scf_can_need_more_steps_than_it_has(tmp_path):
    fault = [{"fault": "scf_unconverged", "needs": 120}]
    prepare(tmp_path, silicon(), SCF)
    run(tmp_path, fault)
    assert reason(tmp_path) == ["niter reached"]
    prepare(tmp_path, silicon(), {**SCF, "SCF_ITER0_2": "150 4 3 1.0 0.025 1"})
    run(tmp_path, fault)
    assert reason(tmp_path)[0].startswith("tol")


def test_faults_are_counted_over_the_runs_of_a_folder(tmp_path):
    prepare(tmp_path, silicon(), SCF)
    (tmp_path / "pwmat_faults.json").write_text(json.dumps([{"fault": "crash", "times": 2}]))
    assert [run(tmp_path).returncode for _ in range(3)] == [1, 1, 0]
    assert json.loads((tmp_path / ".pwmat_faults_state.json").read_text())["runs"] == 3


def test_a_fault_that_does_not_exist_is_refused(tmp_path):
    prepare(tmp_path, silicon(), SCF)
    assert run(tmp_path, [{"fault": "crahs"}]).returncode == 1


ENDINGS = {
    "sigkill": (-signal.SIGKILL, ""),
    "crash": (1, "error in gpu fft, stop"),
    "oom": (1, "CUDA error: out of memory"),
    "licence": (1, "license server"),
    "exit": (3, ""),
}


@pytest.mark.parametrize("fault", ENDINGS)
def test_a_run_that_dies_leaves_a_report_without_an_end(fault, tmp_path):
    prepare(tmp_path, silicon(), SCF)
    result = run(tmp_path, [{"fault": fault}])
    code, words = ENDINGS[fault]
    assert result.returncode == code
    assert words in result.stdout
    assert words or not result.stdout + result.stderr
    report = tmp_path / "REPORT"
    assert not report.exists() or "time" not in report.read_text()
    assert not (tmp_path / "OUT.MLMD").exists()


def test_a_run_that_dies_keeps_the_frames_before(tmp_path):
    prepare(tmp_path, silicon(), {"JOB": "MD", "MD_DETAIL": "1 10 1.0 300 300"})
    assert run(tmp_path, [{"fault": "sigkill", "step": 6}]).returncode == -signal.SIGKILL
    found = frames(tmp_path / "MOVEMENT")
    assert [frame["time"] for frame in found] == [1, 2, 3, 4, 5]
    final = table((tmp_path / "final.config").read_text(), "\n Position")[:, 1:4]
    np.testing.assert_array_equal(final, found[-1]["positions"])


@pytest.mark.parametrize("fault", ["hang", "hang_hard"])
def test_a_run_that_hangs_is_ended_by_sigterm_or_only_by_sigkill(fault, tmp_path):
    prepare(tmp_path, silicon(), {"JOB": "MD", "MD_DETAIL": "1 10 1.0 300 300"})
    environment = {**os.environ, "PWMAT_FAULTS": json.dumps([{"fault": fault, "step": 3}])}
    with subprocess.Popen([sys.executable, PROGRAM], cwd=tmp_path, env=environment) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "MDSTEPS").exists() or (tmp_path / "MDSTEPS").read_text().count("\n") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.3)
        assert process.poll() is None
        process.terminate()
        if fault == "hang":
            assert process.wait(60) == -signal.SIGTERM
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.kill()
    assert len(frames(tmp_path / "MOVEMENT")) == 2


def test_steps_can_be_slow(tmp_path):
    prepare(tmp_path, silicon(), SCF)
    started = time.monotonic()
    run(tmp_path, [{"fault": "slow", "seconds": 0.7}], PWMAT_STEP_DELAY="0.4")
    assert time.monotonic() - started > 1.1


def test_forces_that_are_no_numbers_end_a_trajectory_after_they_are_written(tmp_path):
    prepare(tmp_path, silicon(), {"JOB": "MD", "MD_DETAIL": "1 10 1.0 300 300"})
    result = run(tmp_path, [{"fault": "nan", "step": 4}])
    assert result.returncode == 1
    text = (tmp_path / "MOVEMENT").read_text()
    assert text.count("Iteration") == 4 and "NaN" in text.split("Iteration")[4]
    assert "NaN" not in (tmp_path / "final.config").read_text()
    label = calculate(tmp_path / "label", silicon(), SCF, [{"fault": "nan"}])
    assert "NaN" in (label / "OUT.MLMD").read_text()


def test_forces_can_be_huge_unbalanced_or_too_wide_for_their_field(tmp_path):
    def gradient(fault: dict) -> np.ndarray:
        folder = calculate(tmp_path / fault["fault"], silicon(), SCF, [fault])
        return frames(folder / "OUT.MLMD")[0]["gradient"]

    assert np.abs(gradient({"fault": "huge_forces", "value": 300})).max() == pytest.approx(300)
    np.testing.assert_allclose(gradient({"fault": "net_force"}).sum(axis=0), [-4.0, 0, 0], atol=1e-9)
    stars = calculate(tmp_path / "stars", silicon(), SCF, [{"fault": "stars"}])
    assert "****" in (stars / "OUT.MLMD").read_text().split("Force")[1].splitlines()[1]


def test_files_and_stresses_can_be_missing(tmp_path):
    faults = [{"fault": name} for name in ("no_mlmd", "no_force", "no_stress")]
    folder = calculate(tmp_path, silicon(), SCF, faults)
    assert not any((folder / name).exists() for name in ("OUT.MLMD", "OUT.FORCE", "OUT.STRESS"))
    frame = frames(calculate(tmp_path / "b", silicon(), SCF, [{"fault": "no_stress"}]) / "OUT.MLMD")[0]
    assert frame["stress"] is None


def test_files_can_end_in_the_middle(tmp_path):
    whole = calculate(tmp_path / "whole", silicon(), {"JOB": "MD", "MD_DETAIL": "1 5 1.0 300 300"})
    size = (whole / "MOVEMENT").stat().st_size
    faults = [{"fault": "truncate_movement"}, {"fault": "truncate_report", "fraction": 0.9}]
    cut = calculate(tmp_path / "cut", silicon(), {"JOB": "MD", "MD_DETAIL": "1 5 1.0 300 300"}, faults)
    assert (cut / "MOVEMENT").stat().st_size == int(0.63 * size)
    assert "time" not in (cut / "REPORT").read_text()
    label = calculate(tmp_path / "label", silicon(), SCF, [{"fault": "truncate_mlmd"}])
    assert "END" not in (label / "OUT.MLMD").read_text()


def test_a_relaxation_can_be_stuck(tmp_path):
    fault = [{"fault": "relax_stuck", "until": {"RELAX_DETAIL": "5 * *"}}]
    folder = calculate(tmp_path, silicon(), {"JOB": "RELAX", "RELAX_DETAIL": "1 12 0.01"}, fault)
    found = frames(folder / "MOVEMENT")
    assert len(found) == 12 and "*END" not in (folder / "RELAXSTEPS").read_text()
    np.testing.assert_array_equal(found[0]["positions"], found[-1]["positions"])
    cured = calculate(tmp_path, silicon(), {"JOB": "RELAX", "RELAX_DETAIL": "5 60 0.01"}, fault)
    assert "*END" in (cured / "RELAXSTEPS").read_text()
