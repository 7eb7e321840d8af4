"""Watching a campaign: Ctrl-C ends the watching only, and a lost database is waited for."""

import signal
import time

import psutil
import pytest
from pymongo.errors import PyMongoError

from alpw.cluster import worker
from alpw.database import configurations, daemon, iterations, models
from alpw.database.campaigns import get
from alpw.database.launchpad import open_launchpad
from alpw.potential import DeepPotential

COMMAND = ("alpw", "run", "param.json", "resource.json", "--workers", "2")


def wait_until(condition, seconds=240):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except PyMongoError:
            pass
        time.sleep(0.3)
    pytest.fail("did not come true in time")


def labels(launchpad):
    return launchpad.db[configurations.COLLECTION].count_documents({"state": "labelled"})


@pytest.mark.slow
def test_ctrl_c_ends_the_watching_and_not_the_campaign(inputs, launchpad):
    process = inputs.popen(*COMMAND)
    wait_until(lambda: labels(launchpad) >= 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    assert "No longer watching" in (inputs.folder / "command.log").read_text()
    assert worker.living(inputs.folder)

    wait_until(lambda: get(launchpad.db, "tiny")["state"] != "running")
    assert get(launchpad.db, "tiny")["state"] in ("converged", "exhausted")
    wait_until(lambda: not worker.living(inputs.folder), seconds=60)


@pytest.mark.slow
def test_a_database_that_dies_is_started_again_and_the_campaign_goes_on(inputs, launchpad):
    process = inputs.popen(*COMMAND)
    wait_until(lambda: labels(launchpad) >= 3)
    psutil.Process(daemon.status(inputs.folder / "db").pid).kill()
    assert process.wait(timeout=400) == 0, (inputs.folder / "command.log").read_text()
    assert "database lost" in (inputs.folder / "command.log").read_text()

    db = open_launchpad(inputs.folder / "my_launchpad.yaml").db
    states = db[configurations.COLLECTION].distinct("state")
    assert states == ["labelled"]


@pytest.mark.slow
def test_a_finished_campaign_is_shown_again_and_not_run_again(inputs, launchpad):
    assert inputs.command(*COMMAND, timeout=400).returncode == 0
    launches = launchpad.launches.count_documents({})
    again = inputs.command(*COMMAND)
    assert again.returncode == 0 and "has ended already" in again.stderr and "force RMSE" in again.stdout
    assert launchpad.launches.count_documents({}) == launches


@pytest.mark.slow
def test_an_ended_campaign_is_extended_and_a_changed_network_trained_from_scratch(inputs, launchpad):
    assert inputs.command(*COMMAND, timeout=400).returncode == 0
    refused = inputs.command(*COMMAND, "--update")
    assert refused.returncode == 2 and "strategy.max_iterations" in refused.stderr

    inputs.param["strategy"]["max_iterations"] = 4
    inputs.param["train"]["fitting_net"] = {"neuron": [12, 12]}
    inputs.write()
    extended = inputs.command(*COMMAND, "--update", timeout=400)
    assert extended.returncode == 0, extended.stdout + extended.stderr
    kinds = [iteration["kind"] for iteration in iterations.of_campaign(launchpad.db, "tiny")]
    assert kinds == ["prepare", "explore", "explore", "explore", "explore", "final"]
    # Iteration 2 goes on from the training that had been the final one; 3 has the new network.
    for index, widths, warm in ((2, [16, 16], True), (3, [12, 12], False), (4, [12, 12], True)):
        for model in models.committee(launchpad.db, "tiny", index):
            stored = DeepPotential.from_bytes(models.weights(launchpad.db, model)).config
            assert list(stored.fitting_neuron) == widths == model["network"]["fitting_neuron"]
            assert bool(model["warm_start"]) is warm
