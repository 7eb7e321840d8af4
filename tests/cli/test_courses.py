"""Other courses of a campaign: other thresholds, a stage again, a branch; its labels are made up."""

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from fireworks import FWorker
from typer.testing import CliRunner

from alpw.cli.main import app
from alpw.config import load_inputs
from alpw.database import campaigns, configurations, iterations, models, reading, trajectories
from alpw.database.configurations import Role
from alpw.database.labels import known_label
from alpw.structures.frame import Label, LabelledFrame
from alpw.workflows.launch import start_campaign, start_final, start_iteration, start_structures

RECORD = {"code": "xtb", "settings": {}, "settings_hash": "h", "wall_time": 36.0, "cores": 2}
LOWER, UPPER = 0.02, 5.0


def shaken(atoms, seed):
    copy = atoms.copy()
    copy.rattle(0.1, seed=seed)
    return copy


def label(db, atoms, iteration, key, seed, role=Role.TRAIN, source=None):
    source = source or {}
    identity = configurations.propose(db, "tiny", iteration, key, shaken(atoms, seed), role, source)
    configurations.claim(db, identity, 1)
    forces = np.full((len(atoms), 3), float(seed))
    configurations.store_label(db, identity, LabelledFrame(shaken(atoms, seed), Label(-1.0, forces)), RECORD)
    return identity


def explore(launchpad, atoms, index):
    """What an iteration leaves: two models, a trajectory of ten frames, three labels."""
    db = launchpad.db
    for member in range(2):
        models.store(db, "tiny", index, member, b"weights", {"wall_time": 3600.0})
    plan = iterations.get(db, "tiny", index)["plan"][0]
    record = {key: plan[key] for key in ("group", "cap", "structure", "temperature", "pressure")}
    deviations = np.array([0.01, *np.linspace(0.03, 0.38, 8), 6.0])
    series = {"max_force_deviation": deviations, "step": np.arange(10)}
    trajectories.store(db, "tiny", index, plan["key"], [shaken(atoms, k) for k in range(10)], series, record)
    for k in range(3):
        key, seed = f"{index:04d}/{plan['key']}/{k + 1}", 100 * (index + 1) + k
        label(db, atoms, index, key, seed)
    iterations.update(db, "tiny", index, stage="done", verdict="continue", counts={"accurate": 1})


@pytest.fixture
def ended(inputs, launchpad, monkeypatch):
    """A campaign that has prepared four labels, explored twice and ended."""
    monkeypatch.chdir(inputs.folder)
    monkeypatch.setenv("COLUMNS", "120")
    param, resource = load_inputs("param.json", "resource.json")
    start_campaign(launchpad, param, resource)
    db = launchpad.db
    [atoms] = start_structures(db, campaigns.get(db, "tiny"))
    for k in range(4):
        label(db, atoms, -1, f"initial/{k}", k)
    iterations.update(db, "tiny", -1, stage="done")
    for index in range(2):
        start_iteration(launchpad, "tiny", index)
        explore(launchpad, atoms, index)
    start_final(launchpad, "tiny", 2, "exhausted", "all done")
    for member in range(2):
        models.store(db, "tiny", 2, member, b"final", {"wall_time": 3600.0})
    campaigns.admit_settings(db, "tiny", "h")
    campaigns.finish(db, "tiny", campaigns.CampaignState.EXHAUSTED, "all done")
    return launchpad


def alpw(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if "--json" in words else result.output


def count(launchpad, collection, **query):
    return launchpad.db[collection].count_documents({"campaign": "tiny", **query})


def test_filter_counts_by_thresholds_with_caps_and_cost(ended):
    found = alpw("filter", "tiny", "--lower", 0.1, "--upper", 0.25, "--json")
    first, second = found["iterations"]
    [group] = first["groups"]
    assert (group["accurate"], group["candidate"], group["failed"]) == (3, 3, 4)
    assert (first["labels"], first["validation"]) == (2, 2) and second["index"] == 1
    # 4 labels of 16 atoms, each paid for like those there are: 36 s on two cores.
    assert first["core_hours"] == pytest.approx(4 * 0.02)
    assert "md.000.sys.000" in alpw("filter", "tiny", "--lower", 0.1, "--upper", 0.25, "--iteration", 1)
    assert "--lower" in alpw("filter", "tiny", "--lower", 0.3, "--upper", 0.2, code=2)
    assert "0, 1" in alpw("filter", "tiny", "--lower", 0.1, "--upper", 0.2, "--iteration", 5, code=2)
    assert "committee" in alpw("filter", "tiny", "--lower", 0.1, "--upper", 0.2, "--measure", "kpu", code=2)
    assert "no campaign 'nobody'" in alpw("filter", "nobody", "--lower", 0.1, "--upper", 0.2, code=2)


ASIDE = {"train": (6, 2, 6), "select": (4, 1, 6), "label": (4, 1, 3)}


@pytest.mark.parametrize("stage", ASIDE)
def test_rerun_sets_aside_what_the_dry_run_says_and_deletes_nothing(ended, inputs, stage):
    words = ("rerun", "tiny", "--iteration", 0, "--from", stage, "--json")
    before = {
        name: ended.db[name].count_documents({}) for name in ("models", "trajectories", "configurations")
    }
    said = alpw(*words, "--dry-run")
    assert (said["models"], said["trajectories"], said["labels_aside"]) == ASIDE[stage]
    assert said["later"] == [1, 2] and count(ended, "models") == 6
    assert alpw(*words) == {**said, "dry_run": False}
    for name, number in before.items():
        assert ended.db[name].count_documents({}) == number
    aside = {"campaign": "tiny@1"}
    kept = tuple(ended.db[name].count_documents(aside) for name in before)
    assert kept == ASIDE[stage]
    assert [document["index"] for document in iterations.of_campaign(ended.db, "tiny")] == [-1, 0]
    assert campaigns.get(ended.db, "tiny")["state"] == "running"
    live = list(ended.workflows.find({"metadata.campaign": "tiny", "metadata.iteration": 0}))
    kind = "label" if stage == "label" else "explore"
    assert [workflow["metadata"]["kind"] for workflow in live] == [kind]
    assert ended.run_exists(FWorker(query={"spec.campaign": "tiny"}))
    assert not ended.run_exists(FWorker(query={"spec.campaign": "tiny@1"}))


def test_a_label_that_was_set_aside_comes_back_with_its_structure(ended, inputs):
    db = ended.db
    [atoms] = start_structures(db, campaigns.get(db, "tiny"))
    stored = db["configurations"].find_one({"campaign": "tiny", "iteration": 0})
    db["configurations"].update_one({"_id": stored["_id"]}, {"$set": {"model_error": {"iteration": 0}}})
    alpw("rerun", "tiny", "--iteration", 0, "--from", "select")
    propose = (db, "tiny", 0)
    again = configurations.propose(*propose, "another key", shaken(atoms, 100), Role.VALIDATION, {"frame": 7})
    found = db["configurations"].find_one({"_id": again})
    assert again == stored["_id"] and found["state"] == "labelled" and found["source"] == {"frame": 7}
    assert found["role"] == "validation" and found["campaign"] == "tiny" and "model_error" not in found
    new = configurations.propose(*propose, "a new one", shaken(atoms, 999), Role.TRAIN, {})
    assert db["configurations"].find_one({"_id": new})["state"] == "candidate"


def test_a_held_campaign_takes_changed_inputs_and_is_selected_from_by_them(ended, inputs):
    db, held = ended.db, ("run", "param.json", "resource.json", "--update")
    campaigns.update(db, "tiny", state="stopped")
    inputs.param["initial"]["perturb"] += 1
    inputs.write()
    assert "initial" in alpw(*held, code=2)
    inputs.param["initial"]["perturb"] -= 1
    inputs.param["dft"]["max_force"] = 50.0
    inputs.param["strategy"] |= {"lower_model_devi_f": 0.2, "upper_model_devi_f": 0.3, "max_select": 1}
    more = bulk("Si")
    more.calc = SinglePointCalculator(more, energy=-1.0, forces=np.zeros((2, 3)))
    more.write("more.extxyz")
    inputs.param["valid_data"] = ["more.extxyz"]
    inputs.write()
    for _ in range(2):
        assert "alpw resume tiny" in alpw(*held)
    assert campaigns.get(db, "tiny")["state"] == "stopped"
    assert count(ended, "configurations", **{"source.file": {"$regex": "more"}}) == 1
    alpw("rerun", "tiny", "--iteration", 0, "--from", "select")
    [run], [plan] = trajectories.of_iteration(db, "tiny", 0), iterations.get(db, "tiny", 0)["plan"]
    for found in (run, plan):
        assert (found["cap"], found["thresholds"]["lower_model_devi_f"]) == (1, 0.2)


def test_a_campaign_that_is_extended_with_another_training_trains_again(ended, inputs):
    inputs.param["strategy"]["max_iterations"] = 5
    inputs.param["train"]["optimizer"]["steps"] = 70
    iterations.update(ended.db, "tiny", 2, hooks={"0": {}})
    inputs.write()
    alpw("run", "param.json", "resource.json", "--update", "--detach")
    extended = iterations.get(ended.db, "tiny", 2)
    assert (extended["kind"], extended["health"], extended["hooks"]) == ("explore", None, {})
    assert models.committee(ended.db, "tiny", 2) == []


def test_an_exploration_without_a_frame_is_planned_anew_with_changed_inputs(ended, inputs):
    db = ended.db
    for collection in ("iterations", "configurations"):
        db[collection].delete_many({"campaign": "tiny", "iteration" if collection[0] == "c" else "index": 2})
    db["trajectories"].update_many({"campaign": "tiny", "iteration": 1}, {"$set": {"n_frames": 0}})
    campaigns.update(db, "tiny", state="stalled")
    inputs.param["explore"]["md_jobs"][1]["temps"] = [400, 450]
    inputs.write()
    alpw("run", "param.json", "resource.json", "--update", "--detach")
    assert [plan["temperature"] for plan in iterations.get(db, "tiny", 1)["plan"]] == [400, 450]
    explored = {"spec.campaign": "tiny", "spec.iteration": 1, "spec.task": "ExploreTrajectories"}
    assert ended.fireworks.count_documents(explored) == 2
    assert campaigns.get(db, "tiny")["state"] == "running"


def test_rerun_names_what_is_wrong(ended):
    assert "0, 1, 2" in alpw("rerun", "tiny", "--iteration", 7, "--from", "train", code=2)
    assert "final" in alpw("rerun", "tiny", "--iteration", 2, "--from", "label", code=2)
    campaigns.reopen(ended.db, "tiny")
    assert "alpw stop tiny" in alpw("rerun", "tiny", "--iteration", 1, "--from", "train", code=2)


def test_a_branch_shares_by_reference_and_leaves_its_parent_alone(ended, inputs):
    db = ended.db
    before = {name: count(ended, name) for name in ("models", "trajectories", "configurations", "iterations")}
    words = ("--set", "strategy.max_select=2", "--set", "explore.md_jobs[1][0].temps=[700]")
    made = alpw("branch", "tiny", "--at", 1, *words, "--name", "other", "--json")
    # Those of iteration 1 too: nothing about its training has changed.
    assert (made["labels"], made["models"]) == (7, 4)
    assert {name: count(ended, name) for name in before} == before
    shared = list(db["configurations"].find({"campaign": "other"}))
    assert not any("positions" in str(document) or "forces" in document for document in shared)
    ours, theirs = (
        [*reading.frames(db, configurations.ids(db, name, Role.TRAIN))] for name in ("other", "tiny")
    )
    assert len(ours) == 7 and len(theirs) == 10
    for one, other in zip(ours, theirs, strict=False):
        assert np.array_equal(one.label.forces, other.label.forces)
    newest = iterations.latest(db, "other")
    assert newest["index"] == 1 and newest["plan"][0]["temperature"] == 700 and newest["plan"][0]["cap"] == 2
    assert campaigns.get(db, "other")["settings_hash"] == "h"
    # The file that was written is the campaign's: the usual command watches it.
    alpw(
        "run",
        made["param"],
        "resource.json",
        "--detach",
        "--work-dir",
        campaigns.get(db, "other")["work_dir"],
    )
    assert ended.workflows.count_documents({"metadata.campaign": "other"}) == 1
    assert "shared with campaign 'tiny'" in alpw(
        "rerun", "other", "--iteration", 0, "--from", "train", "--dry-run", code=2
    )
    # What only its parent has labelled is not paid for again.
    theirs = db["configurations"].find_one({"campaign": "tiny", "iteration": 1})
    [again] = reading.frames(db, [theirs["_id"]])
    new = configurations.propose(db, "other", 1, "new", again.atoms, Role.TRAIN, {})
    label, record = known_label(db, db["configurations"].find_one({"_id": new}), "asked", False)
    assert record["reused_from"] == {"configuration": theirs["_id"], "campaign": "tiny"}
    assert np.array_equal(label.forces, again.label.forces)
    # Of iterations that it shares it shows what its parent explored, and none of the later ones.
    thresholds = ("--lower", 0.1, "--upper", 0.25, "--json")
    [first] = alpw("filter", "other", *thresholds)["iterations"]
    assert first == alpw("filter", "tiny", *thresholds)["iterations"][0]
    alpw("branch", "other", "--at", 0, "--name", "third")
    assert "no trajectory" in alpw("filter", "third", "--lower", 0.1, "--upper", 0.25, code=2)


WRONG = {
    ("--set", "strategy.max_selct=2"): "max_select",
    ("--set", "strategy.max_select=none"): "strategy.max_select",
    ("--set", "dft.dft_style=vasp"): "dft",
    ("--set", "explore.md_jobs[9][0].temps=300"): "explore.md_jobs[9]",
    ("--set", "strategy"): "KEY=VALUE",
    ("--name", "tiny"): "--name",
    ("--name", "a/b"): "--name",
    ("--at", 4): "--at",
}


def test_a_branch_with_wrong_inputs_leaves_nothing(ended, inputs):
    for words, complaint in WRONG.items():
        assert complaint in alpw("branch", "tiny", "--at", 1, *words, code=2)
    iterations.update(ended.db, "tiny", 0, stage="label")
    assert "iteration 0" in alpw("branch", "tiny", "--at", 1, code=2)
    assert sorted(inputs.folder.glob("param.*")) == [inputs.folder / "param.json"]
    assert ended.db["campaigns"].count_documents({}) == 1


def test_a_branch_that_trains_otherwise_trains_itself(ended):
    made = alpw("branch", "tiny", "--at", 1, "--set", "train.optimizer.steps=70", "--json")
    assert (made["campaign"], made["models"]) == ("tiny-at1", 2)
