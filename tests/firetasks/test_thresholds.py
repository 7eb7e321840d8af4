"""New labels judge the model that chose them, and what they say makes the next thresholds."""

import numpy as np
import pytest
from ase.build import bulk

from alpw.config.load import load_inputs
from alpw.database import campaigns, configurations, iterations, models, reading, trajectories
from alpw.database.configurations import Role
from alpw.database.costs import spent
from alpw.firetasks import evaluate
from alpw.firetasks.base import Context
from alpw.firetasks.evaluate import error_in_use, evaluate_history, fresh_errors, judge_new_labels
from alpw.firetasks.thresholds import bounds_of_iteration, calibrations, upper_before
from alpw.potential import DeepPotential, DeepPotentialConfig, test
from alpw.structures.frame import Label, LabelledFrame

N_FRAMES = 24


@pytest.fixture
def campaign(inputs, launchpad):
    """Iteration 0 after its labels, and iteration 1 before its selection, of a calibrated campaign."""
    db, rng = launchpad.db, np.random.default_rng(1)
    inputs.param["strategy"] |= {"target_force_error": 0.2, "upper_force_error": 0.6}
    for key in ("lower_model_devi_f", "upper_model_devi_f"):
        del inputs.param["strategy"][key]
    inputs.write()
    param, resource = load_inputs(inputs.folder / "param.json", inputs.folder / "resource.json")
    resolved = {"param": param.model_dump(mode="json"), "resource": resource.model_dump(mode="json")}
    model = DeepPotential(
        DeepPotentialConfig(
            ("Si",), rcut=4.0, rcut_smth=1.0, neuron=(4,), axis_neuron=2, fitting_neuron=(4,), seed=1
        )
    )
    campaigns.create(db, "tiny", {"work_dir": str(inputs.folder), "resolved": resolved})
    for index in (0, 1):
        document = {"kind": "explore", "md_jobs": 0, "plan": [{"group": "cold"}], "inputs": {}}
        iterations.create(db, "tiny", index, document | {"inputs": {"resolved": resolved}})
        series = {"max_force_deviation": np.linspace(0.01, 1.0, 200), "step": np.arange(200)}
        record = {"group": "cold", "deviation": "dpgen", "wall_time": 900.0}
        trajectories.store(db, "tiny", index, "cold.t.000", [], series, record | {"n_frames": 200})
    models.store(
        db, "tiny", 0, 0, model.to_bytes(), {"wall_time": 1800.0, "train": {"threads": 2, "together": False}}
    )
    run = trajectories.find(db, "tiny", 0, "cold.t.000")
    iterations.update(db, "tiny", 0, thresholds={"committee": {"cold": {"lower": 0.2, "upper": 2.0}}})
    for number in range(N_FRAMES):
        atoms = bulk("Si", cubic=True)
        atoms.positions += rng.normal(0, 0.05, (8, 3))
        u = 0.02 * (number + 1)
        source = {"trajectory": run["_id"], "temperature": 300.0 + 300 * (number % 2), "deviation": "dpgen"}
        role = Role.VALIDATION if number < 4 else Role.TRAIN
        source |= {"uncertainty": {"max_force_deviation": u}}
        made = configurations.propose(db, "tiny", 0, str(number), atoms, role, source)
        configurations.claim(db, made, 1)
        predicted = model.predict(atoms)
        # The model is wrong by half of what it is uncertain.
        forces = predicted.forces + 0.5 * u * rng.choice([-1, 1], (8, 3))
        label = Label(predicted.energy + 8 * 0.01, forces)
        configurations.store_label(db, made, LabelledFrame(atoms, label), {"wall_time": 36.0, "cores": 4})
    return [Context(launchpad, 1, "tiny", index, {}) for index in (0, 1)], model


def test_labels_judge_calibrate_and_make_thresholds(campaign):
    (labelled, following), model = campaign
    db = labelled.db
    runs = trajectories.of_iteration(db, "tiny", 1)
    before = bounds_of_iteration(following, runs)["committee"]["cold"]
    assert (before.lower, before.upper, before.rule) == (0.2, pytest.approx(0.6), "uncalibrated")

    judge_new_labels(labelled)
    found = fresh_errors(labelled)
    ids = configurations.ids(db, "tiny", Role.TRAIN) + configurations.ids(db, "tiny", Role.VALIDATION)
    expected = test(model, list(reading.frames(db, ids)))
    for name in ("force_rmse", "force_mae", "energy_rmse", "energy_mae"):
        assert found[name] == pytest.approx(getattr(expected, name))
    assert found["by_element"]["Si"]["force_rmse"] == pytest.approx(expected.force_rmse)
    assert found["by_element"]["Si"]["n_atoms"] == 8 * N_FRAMES
    assert {name: part["n_frames"] for name, part in found["by_temperature"].items()} == {
        "300": 12,
        "600": 12,
    }
    # Deviations of 0.02, 0.04 ... below 0.2, from where on frames are candidates.
    assert found["by_class"]["accurate"]["n_frames"] == 9
    squares = (0.5 * 0.02 * np.arange(1, 5)) ** 2
    assert error_in_use(found) == (pytest.approx(np.sqrt(squares.mean())), "validation")

    document = calibrations(labelled)["committee"]
    assert document["n_pairs"] == N_FRAMES and document["iterations"] == [0]
    iterations.update(db, "tiny", 0, calibration={"committee": document})
    bounds = bounds_of_iteration(following, runs)["committee"]["cold"]
    u = trajectories.series(runs[0], "max_force_deviation")
    accepted = u[u < bounds.lower]
    # Up to the steps of the calibration, and one frame of the trajectory.
    assert np.sqrt(((0.5 * accepted) ** 2).mean()) == pytest.approx(0.2, rel=0.02)
    assert bounds.upper == pytest.approx(0.6 / 0.5) == upper_before(following, {}, "committee")
    assert bounds.rule == "calibrated"


def test_a_label_is_judged_once_and_core_hours_are_counted(campaign):
    (labelled, _), _ = campaign
    judge_new_labels(labelled)
    before = fresh_errors(labelled)
    labelled.db[models.COLLECTION].update_one({}, {"$set": {"weights": None}})
    judge_new_labels(labelled)
    assert fresh_errors(labelled) == before
    hours = spent(labelled.db, "tiny", 0)
    assert hours == pytest.approx({"train": 1.0, "explore": 0.5, "label": N_FRAMES * 0.04})


def test_a_model_is_compared_once_with_each_held_out_frame(campaign, monkeypatch):
    (labelled, _), model = campaign
    db, compare, compared = labelled.db, evaluate._compared, []
    documents = db[configurations.COLLECTION]

    def counting(context, which, frames):
        compared.append(len(frames))
        return compare(context, which, frames)

    monkeypatch.setattr(evaluate, "_compared", counting)
    # Two frames come, nothing comes, one goes: then sums do not help.
    for come, go, counts in ((0, 0, [4]), (2, 0, [2]), (0, 0, []), (0, 1, [5])):
        new = [document["_id"] for document in documents.find({"role": "train"})][:come]
        old = [document["_id"] for document in documents.find({"role": "validation"})][:go]
        documents.update_many({"_id": {"$in": new}}, {"$set": {"role": "validation"}})
        documents.update_many({"_id": {"$in": old}}, {"$set": {"role": "train"}})
        compared.clear()
        evaluate_history(labelled)
        assert compared == counts
        found = iterations.get(db, "tiny", 0)["heldout"]
        frames = list(reading.frames(db, configurations.ids(db, "tiny", Role.VALIDATION)))
        expected = test(model, frames)
        assert found["n_frames"] == len(frames)
        for name in ("force_rmse", "force_mae", "energy_rmse", "energy_mae"):
            assert found[name] == pytest.approx(getattr(expected, name), rel=1e-12)
