"""Watching a campaign: whatever dies, nothing is lost or done twice, and what has ended can be extended."""

import signal
import time

import psutil
import pytest
from pymongo.errors import PyMongoError

from alpw.cluster import worker
from alpw.database import configurations, daemon, iterations, models
from alpw.database.campaigns import get
from alpw.potential import DeepPotential
from tests.campaigns import check_finished, labelled_once

COMMAND = ("alpw", "run", "param.json", "resource.json", "--workers", "2")


class Watched:
    """A campaign under ``alpw run``, on a database server of its own."""

    def __init__(self, inputs, launchpad):
        self.inputs, self.folder, self.launchpad = inputs, inputs.folder, launchpad

    def log(self):
        return (self.folder / "command.log").read_text()

    def labels(self):
        query = {"state": "labelled"}
        found = self.launchpad.db[configurations.COLLECTION].find(query, {"labelled": 1})
        return {document["_id"]: document["labelled"] for document in found}

    def wait_until(self, condition, seconds=240):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except PyMongoError:
                pass
            time.sleep(0.3)
        pytest.fail(f"did not come true in time\n{self.log()}")

    def wait_for_labels(self, count):
        self.wait_until(lambda: len(self.labels()) >= count)


@pytest.fixture
def watched(inputs, own_launchpad):
    return Watched(inputs, own_launchpad)


@pytest.mark.slow
def test_a_campaign_outlives_all_that_dies_and_is_extended(watched, inputs):
    the_command_is_interrupted(watched)
    process = inputs.popen(*COMMAND)
    the_database_dies(watched)
    assert process.poll() is None, watched.log()
    everything_dies(watched)
    process.wait()
    what_has_ended_is_shown_again(watched)
    a_change_of_nothing_is_refused(watched)
    it_is_extended_with_another_network(watched)


def the_command_is_interrupted(watched):
    process = watched.inputs.popen(*COMMAND)
    watched.wait_for_labels(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert "No longer watching" in watched.log()
    assert worker.living(watched.folder)
    watched.wait_for_labels(len(watched.labels()) + 1)


def the_database_dies(watched):
    watched.wait_until(lambda: "resumed" in watched.log())
    psutil.Process(daemon.status(watched.folder / "db").pid).kill()
    watched.wait_until(lambda: "database is back" in watched.log())
    assert "database lost" in watched.log()


def everything_dies(watched):
    """While the first iteration labels."""
    watched.wait_for_labels(5)
    before = watched.labels()
    assert watched.inputs.kill_everything() >= 3
    resumed = watched.inputs.command(*COMMAND, timeout=500)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "resumed" in resumed.stderr
    launchpad = watched.launchpad
    check_finished(launchpad)
    after = {document["_id"]: document["labelled"] for document in labelled_once(launchpad)}
    assert before.items() <= after.items()
    indices = [document["index"] for document in iterations.of_campaign(launchpad.db, "tiny")]
    assert indices == [-1, 0, 1, 2]
    assert launchpad.workflows.count_documents({}) == len(indices)
    watched.wait_until(lambda: not worker.living(watched.folder), seconds=60)


def what_has_ended_is_shown_again(watched):
    launches = watched.launchpad.launches.count_documents({})
    again = watched.inputs.command(*COMMAND)
    assert again.returncode == 0 and "has ended already" in again.stderr and "force RMSE" in again.stdout
    assert watched.launchpad.launches.count_documents({}) == launches


def a_change_of_nothing_is_refused(watched):
    refused = watched.inputs.command(*COMMAND, "--update")
    assert refused.returncode == 2 and "strategy.max_iterations" in refused.stderr


def it_is_extended_with_another_network(watched):
    watched.inputs.param["strategy"]["max_iterations"] = 3
    watched.inputs.param["train"]["fitting_net"] = {"neuron": [12, 12]}
    watched.inputs.write()
    extended = watched.inputs.command(*COMMAND, "--update", timeout=400)
    assert extended.returncode == 0, extended.stdout + extended.stderr
    db = watched.launchpad.db
    assert get(db, "tiny")["state"] in ("converged", "exhausted")
    kinds = [iteration["kind"] for iteration in iterations.of_campaign(db, "tiny")]
    assert kinds == ["prepare", "explore", "explore", "explore", "final"]
    # What had been the final training is done anew, with the network that was asked for.
    for index, warm in ((2, False), (3, True)):
        for model in models.committee(db, "tiny", index):
            stored = DeepPotential.from_bytes(models.weights(db, model)).config
            assert list(stored.fitting_neuron) == [12, 12] == model["network"]["fitting_neuron"]
            assert bool(model["warm_start"]) is warm
