"""Frames on disk are those that the recorded end tells of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from alpw.codes.lammps.exploration import explore
from alpw.codes.lammps.frames import FRAMES_FILE, Layout, TrajectoryWriter
from alpw.codes.lammps.inputs import ExplorationTask
from alpw.codes.lammps.outputs import TASK_FILE, End, EndReason
from alpw.codes.lammps.validators import TrajectoryValidator
from alpw.errors import CalculationError, FailureKind

VALIDATOR = TrajectoryValidator()


@pytest.fixture
def task():
    return ExplorationTask(bulk("Si", cubic=True), [Path("a.pt")], "nvt", 300.0, 40, stride=10)


@pytest.fixture
def written(task, tmp_path):
    """Writes so many frames and an end."""

    def write(n_frames, end=(EndReason.COMPLETED, 40), **values):
        task.write(tmp_path / TASK_FILE)
        layout = Layout(len(task.atoms), task.stride, task.definition, len(task.models))
        numbers = {column.name: 1.0 for column in layout.columns} | values
        with TrajectoryWriter(tmp_path, layout) as writer:
            for k in range(n_frames):
                writer.append(10 * k, np.eye(3), task.atoms.positions, **numbers)
        if end:
            End(end[0], "in words", end[1], 1.0).write(tmp_path)
        return tmp_path

    return write


def test_complete_trajectory_passes(written):
    assert not VALIDATOR.check(written(5))


@pytest.mark.parametrize("n_frames", [3, 4])
def test_blow_up_passes_with_or_without_the_step_that_ended_it(written, n_frames):
    assert not VALIDATOR.check(written(n_frames, (EndReason.TEMPERATURE, 30)))


@pytest.mark.parametrize(
    ("n_frames", "end", "word"),
    [
        (4, (EndReason.COMPLETED, 40), "4 frames"),
        (6, (EndReason.COMPLETED, 40), "6 frames"),
        (2, (EndReason.TEMPERATURE, 30), "after step 30"),
        (5, (EndReason.TEMPERATURE, 30), "after step 30"),
        (5, None, "no end"),
    ],
)
def test_frames_that_do_not_fit_the_end_are_told(written, n_frames, end, word):
    folder = written(n_frames, end)
    assert VALIDATOR.check(folder) and word in VALIDATOR.problem(folder)


def test_number_that_is_not_finite_is_told(written):
    assert "not finite" in VALIDATOR.problem(written(5, potential_energy=np.nan))


def test_torn_frames_are_told(written):
    folder = written(5)
    path = folder / FRAMES_FILE
    path.write_bytes(path.read_bytes()[:-10])
    assert "4 frames" in VALIDATOR.problem(folder)


def test_file_of_something_else_is_told(written):
    folder = written(5)
    (folder / FRAMES_FILE).write_bytes(b"{}\n" + bytes(1000))
    assert "not the frames of a trajectory" in VALIDATOR.problem(folder)


def test_empty_folder_fails(tmp_path):
    assert VALIDATOR.check(tmp_path) and list(tmp_path.iterdir()) == []


def test_process_that_records_an_end_without_its_frames_gives_no_trajectory(task, tmp_path):
    script = tmp_path / "lies.sh"
    end = '{"reason": "completed", "message": "", "steps_done": 40, "wall_time": 1.0}'
    script.write_text(f"echo '{end}' > end.json\n")
    with pytest.raises(CalculationError, match="0 frames") as caught:
        explore(replace(task, models=(tmp_path / "a.pt",)), tmp_path / "run", command=f"sh {script}")
    assert caught.value.kind is FailureKind.UNKNOWN
