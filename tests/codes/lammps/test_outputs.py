"""Frames on disk: what is whole is read, what is torn is not."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from alpw.codes.lammps.inputs import ExplorationTask
from alpw.codes.lammps.outputs import (
    FRAMES_FILE,
    TABLE_FILE,
    TASK_FILE,
    End,
    EndReason,
    TrajectoryWriter,
    read_result,
    record_type,
)

STRIDE = 10
ATOMS = Atoms("SiC", positions=[[0, 0, 0], [2, 2, 2]], cell=[5, 5, 5], pbc=True)


def add(writer: TrajectoryWriter, frame: int) -> None:
    writer.append(
        STRIDE * frame,
        np.eye(3) * (5 + frame),
        ATOMS.positions + frame,
        worst_atom=1,
        temperature=300.0 + frame,
        potential_energy=-1.0 * frame,
        pressure=5.0,
        max_f=0.3,
        mean_f=0.2,
        min_f=0.1,
        energy_deviation=0.01,
    )


@pytest.fixture
def directory(tmp_path):
    """A folder with a task and five frames."""
    task = ExplorationTask(ATOMS, ("a", "b"), "nve", 300.0, 100, stride=STRIDE)
    task.write(tmp_path / TASK_FILE)
    with TrajectoryWriter(tmp_path, 2, STRIDE) as writer:
        for frame in range(5):
            add(writer, frame)
    return tmp_path


def test_what_is_written_is_read(directory):
    result = read_result(directory)
    assert len(result) == 5
    np.testing.assert_array_equal(result.temperatures, 300.0 + np.arange(5))
    np.testing.assert_array_equal(result.deviations["max_f"], np.full(5, 0.3))
    np.testing.assert_array_equal(result.deviations["energy"], np.full(5, 0.01))
    frame = result.frames()[3]
    assert str(frame.symbols) == "SiC"
    np.testing.assert_array_equal(frame.positions, ATOMS.positions + 3)
    np.testing.assert_array_equal(frame.cell.array, np.eye(3) * 8)
    assert result.end is None


@pytest.mark.parametrize("torn", [1, 8, 100, record_type(2).itemsize - 1])
def test_torn_last_record_is_dropped(directory, torn):
    path = directory / FRAMES_FILE
    path.write_bytes(path.read_bytes()[:-torn])
    assert len(read_result(directory)) == 4


def test_block_of_zeros_after_a_power_cut_is_dropped(directory):
    with (directory / FRAMES_FILE).open("ab") as file:
        file.write(bytes(3 * record_type(2).itemsize))
    assert len(read_result(directory)) == 5


def test_no_frames_yet_is_an_empty_trajectory(directory):
    (directory / FRAMES_FILE).unlink()
    result = read_result(directory)
    assert len(result) == 0
    assert result.frames() == []


def test_writer_keeps_frames_up_to_the_latest_usable_restart(directory):
    for step in (10, 20, 90):
        (directory / f"restart.{step}").touch()
    with TrajectoryWriter(directory, 2, STRIDE) as writer:
        assert (writer.n_frames, writer.last["step"]) == (3, 20)
        assert len(read_result(directory)) == 3
        add(writer, 3)
    np.testing.assert_array_equal(read_result(directory).steps, [0, 10, 20, 30])
    rows = np.loadtxt(directory / TABLE_FILE)
    np.testing.assert_array_equal(rows[:, 0], [0, 10, 20, 30])


def test_writer_without_restart_file_starts_afresh(directory):
    with TrajectoryWriter(directory, 2, STRIDE) as writer:
        assert writer.last is None
    assert len(read_result(directory)) == 0


def test_table_holds_the_numbers_with_their_units(directory):
    header, first, *_ = (directory / TABLE_FILE).read_text().splitlines()
    titles = header.lstrip("# ").split()
    values = dict(zip(titles, first.split(), strict=True))
    assert float(values["temperature(K)"]) == 300.0
    assert float(values["max_f(eV/A)"]) == 0.3
    assert float(values["energy_deviation(eV/atom)"]) == 0.01


def test_end_is_read_back(tmp_path):
    assert End.read(tmp_path) is None
    end = End(EndReason.TOO_CLOSE, "step 31: atoms Si0-C1 at 0.5 Å", 31, 1.5)
    end.write(tmp_path)
    assert End.read(tmp_path) == end
