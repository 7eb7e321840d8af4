"""Killed at any step and gone on with, a trajectory is the one that was not killed."""

import shutil

import numpy as np
import pytest

from alpw.codes.ase.outputs import read_result
from alpw.codes.protocol import Task
from alpw.codes.registry import code_of
from alpw.codes.run import run_steps
from alpw.structures.frames import LabelledFrames

ASE = code_of("ase")
FAULTY = "toys.Faulty"
MD = {"steps": 7, "timestep": 5.0, "temperature": 900}


def assert_same_trajectory(found, whole):
    np.testing.assert_allclose(found.extras["time"], whole.extras["time"], atol=1e-15)
    # Positions, velocities, random numbers and the barostat are kept to the last digit; velocities pass
    # through another unit, which costs one rounding.
    for name in ("positions", "cells", "energies", "forces", "virials"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), atol=1e-10)
    np.testing.assert_allclose(found.extras["velocities"], whole.extras["velocities"], atol=1e-10)


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("ensemble", ["nve", "nvt", "npt"])
def test_md_killed_after_any_kept_step_ends_where_it_would_have_ended(
    copper, with_calculator, drive, ensemble, stride
):
    dft = with_calculator(ensemble=ensemble, stride=stride, relax_first=stride == 3, **MD)
    whole = drive.steps(copper, dft, Task.AIMD)
    lines = (drive.root / "run/steps.jsonl").read_text().splitlines(keepends=True)
    for kept in range(1, len(whole)):
        folder = shutil.copytree(drive.root / "run", drive.root / f"killed{kept}")
        (folder / "steps.jsonl").write_text("".join([*lines[: 1 + kept], lines[1 + kept][:40]]))
        (folder / "result.json").unlink()
        before = ASE.read_steps(folder, copper, dft, Task.AIMD)
        assert ASE.resume(copper, folder, dft, Task.AIMD, done=kept) == [
            f"goes on from step {(kept - 1) * stride}"
        ]
        drive.go_on(folder)
        assert ASE.complete(folder, Task.AIMD)
        after = ASE.read_steps(folder, copper, dft, Task.AIMD)
        assert_same_trajectory(LabelledFrames.join([before, after]), whole)


def test_process_that_is_killed_is_gone_on_with(copper, with_calculator, drive, tmp_path):
    motion = {"steps": 10, "stride": 2, "ensemble": "npt"}
    killed = run_steps(
        ASE,
        Task.AIMD,
        copper,
        tmp_path / "killed",
        with_calculator(FAULTY, {"after": 8, "fault": "kill"}, **motion),
    )
    assert (tmp_path / "died").exists() and killed.complete
    assert [c["kind"] for c in killed.corrections] == ["node"]
    assert_same_trajectory(killed.frames, drive.steps(copper, with_calculator(**motion), Task.AIMD))


def test_killed_relaxation_goes_on_from_its_last_geometry(copper, with_calculator, tmp_path):
    dft = with_calculator(FAULTY, {"after": 4, "fault": "kill"}, fmax=0.01)
    result = run_steps(ASE, Task.RELAX, copper, tmp_path / "run", dft)
    assert result.complete and any("goes on from step" in change for change in result.changes)
    assert np.linalg.norm(result.frames.forces[-1], axis=1).max() < 0.01
    # No geometry twice.
    assert np.abs(np.diff(result.frames.positions, axis=0)).max(axis=(1, 2)).min() > 0


def test_stop_file_ends_md_after_its_step_and_it_goes_on_exactly(copper, with_calculator, drive):
    dft = with_calculator(stride=3, **MD)
    whole = drive.steps(copper, dft, Task.AIMD)
    folder = drive.root / "stopped"
    folder.mkdir()
    ASE.write_inputs(copper, folder, dft, Task.AIMD)
    assert ASE.stop(folder)
    drive.go_on(folder)
    assert read_result(folder)["error"] is None and not ASE.complete(folder, Task.AIMD)
    before = ASE.read_steps(folder, copper, dft, Task.AIMD)
    assert len(before) == 1
    (folder / "STOP").unlink()
    ASE.resume(copper, folder, dft, Task.AIMD, done=1)
    drive.go_on(folder)
    after = ASE.read_steps(folder, copper, dft, Task.AIMD)
    assert_same_trajectory(LabelledFrames.join([before, after]), whole)


def test_steps_behind_the_last_kept_one_leave_nothing_to_do_twice(copper, with_calculator, drive):
    """8 is no multiple of 3: going on from step 6 makes two more steps, keeps none, and is complete."""
    dft = with_calculator(steps=8, stride=3)
    folder = drive.run(copper, dft, Task.AIMD)
    ASE.resume(copper, folder, dft, Task.AIMD, done=3)
    drive.go_on(folder)
    assert ASE.complete(folder, Task.AIMD) and ASE.read_steps(folder, copper, dft, Task.AIMD) is None
