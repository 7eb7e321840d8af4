"""When the time of a job is up: what it has no room for goes to another one and is no failure."""

import time

import pytest

from alpw.database import calculations, configurations
from alpw.firetasks import calculate, label
from alpw.firetasks.lanes import run_in_lanes
from tests.faults.laboratory import DFT, LIGHT, Laboratory, bulk, calculation_workflow

ROOM = 5.0
"""Seconds of the first job; the next ones have no limit."""


@pytest.fixture
def laboratory(launchpad, tmp_path, monkeypatch):
    """VASP, where a step takes two seconds and the first job a few."""
    monkeypatch.chdir(tmp_path)
    made = Laboratory(launchpad, tmp_path / "laboratory", "vasp")
    end: list[float] = []
    over: list[bool] = []

    def left():
        end.append(time.time() + ROOM)
        return None if over else max(0.0, end[0] - time.time())

    def first_job(*given):
        outcomes = run_in_lanes(*given)
        over.append(True)
        return outcomes

    for module in (calculate, label):
        monkeypatch.setattr(module, "RESERVE", 0.5)
        monkeypatch.setattr(module, "seconds_left", left)
        monkeypatch.setattr(module, "run_in_lanes", first_job)
    return made


@pytest.mark.slow
def test_a_calculation_that_could_not_begin_goes_to_another_job(laboratory, launchpad, monkeypatch):
    monkeypatch.setenv("VASP_STEP_DELAY", "0.7")
    param = laboratory.campaign("aimd", 1)
    wanted = [
        calculations.propose(
            launchpad.db,
            param.campaign,
            -1,
            f"aimd/{number}",
            "aimd",
            bulk("Si", cubic=True),
            param.dft.model_dump(mode="json"),
        )
        for number in range(2)
    ]
    launchpad.add_wf(calculation_workflow(param.campaign, wanted))
    laboratory.launch(DFT)
    found = list(launchpad.db[calculations.COLLECTION].find())
    assert [(document["state"], document["steps"]) for document in found] == [("done", 8), ("done", 8)]


@pytest.mark.slow
def test_a_label_that_the_rest_of_a_job_is_too_short_for_is_made_in_another(
    laboratory, launchpad, monkeypatch
):
    param = laboratory.campaign("label", 2)
    laboratory.launch(LIGHT)
    documents = sorted(launchpad.db[configurations.COLLECTION].find(), key=lambda document: document["_id"])
    folder = param.work_dir / "prepare" / "02.label" / str(documents[1]["_id"])
    folder.mkdir(parents=True)
    (folder / "vasp_faults.json").write_text('[{"fault": "slow", "seconds": 6, "times": 2}]')
    laboratory.launch(DFT)
    states = [document["state"] for document in launchpad.db[configurations.COLLECTION].find()]
    assert states == ["labelled", "labelled"]
