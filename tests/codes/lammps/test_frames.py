"""Frames on disk: what is whole is read, what is torn is not, and the file says what it holds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms

from alpw.codes.lammps.frames import FRAMES_FILE, TABLE_FILE, Layout, TrajectoryWriter, read_records
from alpw.codes.lammps.inputs import ExplorationTask
from alpw.codes.lammps.outputs import TASK_FILE, read_result
from alpw.errors import InputError

STRIDE = 10
ATOMS = Atoms("SiC", positions=[[0, 0, 0], [2, 2, 2]], cell=[5, 5, 5], pbc=True)
COMMITTEE = Layout(2, STRIDE, "legacy", 3)
FORCE_NUMBERS = {"max_f": 0.3, "mean_f": 0.2, "min_f": 0.1, "worst_atom": 1, "energy_deviation": 0.01}
NUMBERS = FORCE_NUMBERS | {"max_v": 0.06, "mean_v": 0.05, "min_v": 0.04}
KPU_NUMBERS = {"max_kpu": 3.0, "mean_kpu": 2.0, "min_kpu": 1.0, "worst_atom_kpu": 0, "energy_kpu": 0.5}


def add(writer: TrajectoryWriter, frame: int, numbers: dict[str, float] = NUMBERS) -> None:
    writer.append(
        STRIDE * frame,
        np.eye(3) * (5 + frame),
        ATOMS.positions + frame,
        temperature=300.0 + frame,
        potential_energy=-1.0 * frame,
        pressure=5.0,
        max_force=0.7,
        **numbers,
    )


@pytest.fixture
def directory(tmp_path):
    """A folder with a task and five frames."""
    task = ExplorationTask(ATOMS, ("a", "b", "c"), "nve", 300.0, 100, stride=STRIDE, deviation="legacy")
    task.write(tmp_path / TASK_FILE)
    with TrajectoryWriter(tmp_path, COMMITTEE) as writer:
        for frame in range(5):
            add(writer, frame)
    return tmp_path


def test_what_is_written_is_read(directory):
    result = read_result(directory)
    assert len(result) == 5
    assert result.deviation == "legacy"
    np.testing.assert_array_equal(result.temperatures, 300.0 + np.arange(5))
    assert list(result.deviations) == list(NUMBERS)
    for name, number in NUMBERS.items():
        np.testing.assert_array_equal(result.deviations[name], np.full(5, number))
    frame = result.frames()[3]
    assert str(frame.symbols) == "SiC"
    np.testing.assert_array_equal(frame.positions, ATOMS.positions + 3)
    np.testing.assert_array_equal(frame.cell.array, np.eye(3) * 8)
    assert result.end is None


@pytest.mark.parametrize(
    ("deviation", "draws", "uncertainty"),
    [(None, 0, {}), ("dpgen", 0, NUMBERS), (None, 64, KPU_NUMBERS), ("legacy", 64, NUMBERS | KPU_NUMBERS)],
)
def test_file_can_be_read_by_its_first_line_alone(deviation, draws, uncertainty, tmp_path):
    with TrajectoryWriter(tmp_path, Layout(2, STRIDE, deviation, 4, draws)) as writer:
        for frame in range(3):
            add(writer, frame, uncertainty)
        largest = {name: [uncertainty[name]] * 3 for name in ("max_f", "mean_kpu") if name in uncertainty}
        assert writer.criteria == largest
    line, data = (tmp_path / FRAMES_FILE).read_bytes().split(b"\n", 1)
    header = json.loads(line)
    assert (header["version"], header["deviation"], header["members"]) == (3, deviation, 4)
    assert header["draws"] == draws
    numbers = [(name, kind) for name, _, kind in header["columns"]]
    shape = (header["n_atoms"], 3)
    record = [("step", "<i8"), *numbers, ("cell", "<f8", (3, 3)), ("positions", "<f8", shape)]
    records = np.frombuffer(data, record)
    np.testing.assert_array_equal(records["step"], [0, 10, 20])
    np.testing.assert_array_equal(records["positions"][2], ATOMS.positions + 2)
    for name, number in uncertainty.items():
        np.testing.assert_array_equal(records[name], np.full(3, number))


@pytest.mark.parametrize("torn", [1, 8, 100, COMMITTEE.record.itemsize - 1])
def test_torn_last_record_is_dropped(directory, torn):
    path = directory / FRAMES_FILE
    path.write_bytes(path.read_bytes()[:-torn])
    assert len(read_result(directory)) == 4


def test_block_of_zeros_after_a_power_cut_is_dropped(directory):
    with (directory / FRAMES_FILE).open("ab") as file:
        file.write(bytes(3 * COMMITTEE.record.itemsize))
    assert len(read_result(directory)) == 5


@pytest.mark.parametrize("kept", [0, 1, 30])
def test_torn_first_line_is_a_trajectory_without_frames(directory, kept):
    path = directory / FRAMES_FILE
    path.write_bytes(path.read_bytes()[:kept])
    assert len(read_result(directory)) == 0
    assert list(read_result(directory).deviations) == list(NUMBERS)


def test_no_frames_yet_is_an_empty_trajectory(directory):
    (directory / FRAMES_FILE).unlink()
    result = read_result(directory)
    assert len(result) == 0
    assert result.frames() == []
    assert result.deviation == "legacy"
    assert [len(series) for series in result.deviations.values()] == [0] * 8


@pytest.mark.parametrize("line", [b"[]\n", b"{}\n", bytes(range(256)), b'{"version": 1}\n'])
def test_file_of_another_kind_is_refused_with_its_name(directory, line):
    (directory / FRAMES_FILE).write_bytes(line)
    with pytest.raises(InputError, match=r"frames.bin: not the frames of a trajectory in version 3"):
        read_result(directory)


def test_writer_keeps_frames_up_to_the_latest_usable_restart(directory):
    for step in (10, 20, 90):
        (directory / f"restart.{step}").touch()
    with TrajectoryWriter(directory, COMMITTEE) as writer:
        assert (writer.n_frames, writer.last["step"], writer.criteria) == (3, 20, {"max_f": [0.3] * 3})
        assert len(read_result(directory)) == 3
        add(writer, 3)
        assert writer.criteria == {"max_f": [0.3] * 4}
    np.testing.assert_array_equal(read_result(directory).steps, [0, 10, 20, 30])
    rows = np.loadtxt(directory / TABLE_FILE)
    np.testing.assert_array_equal(rows[:, 0], [0, 10, 20, 30])


def test_writer_without_restart_file_starts_afresh(directory):
    with TrajectoryWriter(directory, COMMITTEE) as writer:
        assert writer.last is None
        assert writer.criteria == {"max_f": []}
    assert len(read_result(directory)) == 0


def test_frames_of_another_committee_are_not_gone_on_from(directory):
    (directory / "restart.20").touch()
    with pytest.raises(InputError, match=r"deviation='legacy', members=3, .*; this task writes .*'dpgen'"):
        TrajectoryWriter(directory, Layout(2, STRIDE, "dpgen", 3))
    assert len(read_records(directory)[1]) == 5


def test_table_holds_the_numbers_with_their_units_and_their_definition(directory):
    definition, header, first, *_ = (directory / TABLE_FILE).read_text().splitlines()
    assert definition == "# deviation: legacy; members: 3"
    titles = header.lstrip("# ").split()
    values = dict(zip(titles, first.split(), strict=True))
    assert float(values["temperature(K)"]) == 300.0
    assert float(values["max_f(eV/A)"]) == 0.3
    assert float(values["energy_deviation(eV/atom)"]) == 0.01
    assert float(values["max_v(eV/atom)"]) == 0.06
    assert values["worst_atom"] == "1"
