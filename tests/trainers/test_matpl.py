"""PWMLFF and MatPL, by stand-ins that read the real train json and write the real outputs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from alpw.codes.lammps import EndReason, ExplorationTask
from alpw.codes.lammps_pair import explore
from alpw.config.optimizer import Optimizer
from alpw.errors import CalculationError, InputError
from alpw.trainers import Compression, Member, Start, Training, trainer_of
from alpw.trainers.artefacts import unpack
from alpw.trainers.matpl import kpu

STANDINS = Path(__file__).parents[1] / "standins"
COMMANDS = {name: f"{sys.executable} {STANDINS / name}" for name in ("PWMLFF", "MatPL")}
LAMMPS = f"{sys.executable} {STANDINS / 'lmp_mpi'}"
MATPL = trainer_of("matpl")
FIRST = Member(0, {"weights": 5, "order": 6})


def input_of(trained):
    return json.loads(unpack(trained.data)["train.json"])


@pytest.mark.parametrize("program", ["PWMLFF", "MatPL"])
def test_a_committee_is_trained_and_explores(tmp_path, section, frames, held_out, program, monkeypatch):
    """Training, export, exploration and evaluation of both generations."""
    tables = Compression(0.01, 3) if program == "PWMLFF" else None
    training = Training(section(), frames, held_out, tables, command=COMMANDS[program])
    members = [FIRST, Member(1, {"weights": 7, "order": 8})]
    trained = MATPL.train(training, members, tmp_path)
    record = trained[0].record
    curve = record["learning_curve"]
    assert [epoch["epoch"] for epoch in curve] == list(range(1, 9))
    assert curve[-1]["train_force_rmse"] < 0.5 * curve[0]["train_force_rmse"]
    assert curve[-1]["valid_force_rmse"] > 0
    assert record["errors"]["train"]["force_rmse"] == curve[-1]["train_force_rmse"]
    first, second = (input_of(one) for one in trained)
    assert {key for key in first if first[key] != second[key]} == {"seed"}
    keys = {"datasets_path"} if program == "PWMLFF" else {"train_data", "valid_data", "format"}
    assert keys <= set(first)

    style = "pwmlff" if program == "PWMLFF" else "matpl"
    monkeypatch.setenv("LMP_STYLES", style)
    files = [MATPL.write_model(one.data, tmp_path, f"model.{one.index:03d}") for one in trained]
    task = ExplorationTask(frames[0].atoms, tuple(files), "nvt", 300.0, 10, stride=5)
    result = explore(task, tmp_path / "run", command=LAMMPS, style=MATPL.pair_style(LAMMPS))
    assert result.end.reason is EndReason.COMPLETED
    assert (result.deviations["max_f"] > 0).all()

    (tmp_path / "test").mkdir()
    found = MATPL.compare(trained[0].data, held_out, tmp_path / "test", COMMANDS[program]).errors()
    assert found.force_rmse == pytest.approx(curve[-1]["valid_force_rmse"], rel=1e-4)
    assert found.energy_rmse == pytest.approx(curve[-1]["valid_energy_rmse"], rel=1e-3)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nan", "diverged: loss is nan at epoch 5"),
        ("no_checkpoint", "dp_model.ckpt is missing"),
        ("cut", "ended at epoch 4 of 8"),
    ],
)
def test_a_training_that_fails_with_status_0_is_noticed(tmp_path, section, frames, monkeypatch, fault, words):
    monkeypatch.setenv("MATPL_FAULT", fault)
    with pytest.raises(CalculationError, match=words):
        MATPL.train(Training(section(), frames, command=COMMANDS["PWMLFF"]), [FIRST], tmp_path)


def test_a_start_is_loaded_and_a_status_alone_is_no_failure(tmp_path, section, frames, monkeypatch):
    training = Training(section(), frames, command=COMMANDS["MatPL"])
    (first,) = MATPL.train(training, [FIRST], tmp_path)
    monkeypatch.setenv("MATPL_FAULT", "status")
    begun = Member(0, FIRST.seeds, Start("iteration 0", first.data))
    (second,) = MATPL.train(training, [begun], tmp_path)
    assert second.record["warm_start"] == "iteration 0"
    errors = [one.record["learning_curve"][0]["train_force_rmse"] for one in (first, second)]
    assert errors[1] < 0.5 * errors[0]


def test_a_covariance_comes_from_a_training_that_was_not_resumed(tmp_path, section, frames, monkeypatch):
    kalman = section(optimizer=Optimizer(optimizer="LKF", epochs=2))
    training = Training(kalman, frames, covariance=True, command=COMMANDS["PWMLFF"])
    begun = Member(0, FIRST.seeds, Start("iteration 0", b"never read"))
    (trained,) = MATPL.train(training, [begun], tmp_path)
    assert trained.record["warm_start"] is None
    assert input_of(trained)["save_p_matrix"] is True
    (tmp_path / "kpu").mkdir()
    structures = [frame.atoms for frame in frames[:2]]
    table = kpu(trained.data, structures, ["Si"], tmp_path / "kpu", COMMANDS["PWMLFF"])
    assert table.steps.tolist() == [0, 1]
    assert (table.force_max >= table.force_mean).all()
    monkeypatch.setenv("MATPL_FAULT", "no_p")
    with pytest.raises(CalculationError, match="no covariance P"):
        MATPL.train(training, [FIRST], tmp_path)


def test_settings_that_the_program_has_not_are_refused(section):
    descriptor = {"rcut": 4.0, "axis_neuron": 4, "neuron": [4, 8], "type_one_side": True}
    with pytest.raises(InputError, match=r"train\.descriptor\.type_one_side"):
        MATPL.check(Training(section(descriptor=descriptor), []))
    embedded = {**descriptor, "type_one_side": False, "type_embedding": True}
    MATPL.check(Training(section(descriptor=embedded), []))
