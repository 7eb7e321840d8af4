"""Functions of the user's and news between the stages of a campaign; what is left of its trajectories."""

from pathlib import Path

import pytest

from alpw.cluster import recovery
from alpw.config import load_inputs
from alpw.database import campaigns, iterations, trajectories
from alpw.errors import InputError
from alpw.firetasks import collect, finish
from alpw.workflows import launch
from alpw.workflows.check import check_inputs
from tests.firetasks.arithmetic import Arithmetic

NOTES = """
def note(stage, **arguments):
    counts = [
        stage.database[collection].count_documents({"campaign": stage.campaign, "iteration": stage.iteration})
        for collection in ("models", "trajectories", "configurations")
    ]
    labelled = {"iteration": stage.iteration, "state": "labelled"}
    counts.append(stage.database.configurations.count_documents(labelled))
    stage.database.notes.insert_one({"at": (stage.iteration, stage.after), "counts": counts, **arguments})
    return {"counts": counts}

def put_back(stage):
    if stage.iteration == 0:
        stage.database.configurations.update_one(
            {"iteration": 0, "state": "labelled"}, {"$set": {"state": "candidate"}}
        )

def refuse(stage):
    stage.database.notes.insert_one({"at": (stage.iteration, stage.after)})
    if not (stage.param.file.parent / "mended").exists():
        raise ValueError("the cell is too large")

NOTHING = None
"""


@pytest.fixture
def arithmetic(launchpad, inputs, monkeypatch):
    monkeypatch.chdir(inputs.folder)
    (inputs.folder / "notes.py").write_text(NOTES)
    return Arithmetic(launchpad, inputs, monkeypatch)


@pytest.fixture
def told(monkeypatch):
    found = []
    for module in (launch, collect, finish):
        monkeypatch.setattr(module, "tell", lambda url, **news: found.append((url, news)))
    return found


def notes(launchpad):
    return [tuple(note["at"]) for note in launchpad.db.notes.find().sort("_id", 1)]


def test_each_function_is_called_once_when_its_stage_has_ended(arithmetic, launchpad, inputs, told):
    stages = ("train", "explore", "select", "label")
    hooks = [{"after": stage, "function": "notes.note", "arguments": {"more": 1}} for stage in stages]
    inputs.param["hooks"] = [*hooks, {"after": "label", "function": "notes.put_back"}]
    inputs.param |= {"reserve_md_traj": False, "webhook": "http://127.0.0.1:9/x"}
    inputs.param["strategy"]["max_iterations"] = 1
    inputs.resource["dft"]["group_size"] = -1
    arithmetic.deviations = {0: [0.5] * 5 + [0.0] * 5}
    arithmetic.start(train=inputs.param["train"] | {"together": True})
    arithmetic.run()
    assert notes(launchpad) == [(-1, "label"), *[(0, stage) for stage in stages], (1, "train")]
    counts = [note["counts"] for note in launchpad.db.notes.find({"more": 1}).sort("_id", 1)]
    assert counts[:5] == [[0, 0, 4, 4], [3, 0, 0, 0], [3, 1, 0, 0], [3, 1, 5, 0], [3, 1, 5, 5]]
    # What a function put back was labelled before the verdict; the label was known.
    assert iterations.get(launchpad.db, "tiny", 0)["labelled"] == 5
    assert iterations.get(launchpad.db, "tiny", 0)["hooks"]["3"]["returned"] == {"counts": counts[4]}
    told_of = [(news["event"], news.get("iteration")) for _, news in told]
    assert told_of == [("started", None), ("iteration", -1), ("exhausted", 1)]
    assert {url for url, _ in told} == {"http://127.0.0.1:9/x"}
    (run,) = trajectories.of_iteration(launchpad.db, "tiny", 0)
    assert run["coordinates"] is None and trajectories.series(run, "max_force_deviation")[0] == 0.5
    workflows = launchpad.workflows.count_documents({})
    for firework in launchpad.fireworks.find({"spec.task": {"$in": ["CollectLabels", "FinishCampaign"]}}):
        launchpad.rerun_fw(firework["fw_id"])
    arithmetic.run()
    assert len(notes(launchpad)) == 6 and len(told) == 3
    assert launchpad.workflows.count_documents({}) == workflows


def test_the_verdict_at_the_quorum_waits_for_the_function(arithmetic, launchpad, inputs):
    inputs.param["strategy"]["quorum"] = 0.5
    inputs.param["hooks"] = [{"after": "label", "function": "notes.note"}]
    arithmetic.start()
    for task in ("GenerateStructures", "LabelChunk", "CollectLabels"):
        arithmetic.run(nlaunches=1, task=task)
    # The other labels come while the function is still to be called.
    for task in ("LabelChunk", "CollectLabels", "CallHook"):
        assert iterations.latest(launchpad.db, "tiny")["index"] == -1
        arithmetic.run(task=task)
    arithmetic.run(task="CollectLabels")
    assert iterations.latest(launchpad.db, "tiny")["index"] == 0
    assert notes(launchpad) == [(-1, "label")]


def test_a_function_that_raises_holds_up_the_campaign_until_it_is_mended(arithmetic, launchpad, inputs):
    inputs.param["hooks"] = [{"after": "explore", "function": "notes.refuse"}]
    arithmetic.start()
    for _ in range(recovery.MAX_RUNS):
        assert not recovery.is_stuck(launchpad, "tiny") or recovery.recover(launchpad, "tiny", {}, alone=True)
        with pytest.raises(AssertionError, match="the cell is too large"):
            arithmetic.run()
    assert not recovery.recover(launchpad, "tiny", {}, alone=True)["fizzled"]
    assert recovery.is_stuck(launchpad, "tiny")
    ((firework, reason),) = recovery.failure_reasons(launchpad, "tiny").items()
    assert "call notes.refuse" in firework and "ValueError: the cell is too large" in reason
    assert "counts" not in iterations.latest(launchpad.db, "tiny")
    Path("mended").touch()
    recovery.retry(launchpad, "tiny")
    with pytest.raises(AssertionError, match="the cell is too large"):
        arithmetic.run()
    assert campaigns.get(launchpad.db, "tiny")["state"] == "converged"
    assert notes(launchpad).count((0, "explore")) == recovery.MAX_RUNS + 1


@pytest.mark.parametrize(
    ("hook", "key", "text"),
    [
        ({"function": "notes.nothing"}, "function", "notes.nothing cannot be imported"),
        ({"function": "notse.note"}, "function", "No module named 'notse'"),
        ({"function": "notes.NOTHING"}, "function", "is None and no function"),
        ({"function": "notes.refuse", "arguments": {"limit": 3}}, "arguments", "(stage) cannot be called"),
    ],
)
def test_a_function_that_cannot_be_called_is_an_error_of_the_input(inputs, hook, key, text):
    (inputs.folder / "notes.py").write_text(NOTES)
    good = {"after": "train", "function": "notes.note", "arguments": {"anything": 1}}
    inputs.param["hooks"] = [good, {"after": "label", **hook}]
    inputs.write()
    param, resource = load_inputs(inputs.folder / "param.json", inputs.folder / "resource.json")
    with pytest.raises(InputError) as caught:
        check_inputs(param, resource)
    assert text in str(caught.value)
    assert (caught.value.file, caught.value.key) == (inputs.folder / "param.json", f"hooks[1].{key}")
