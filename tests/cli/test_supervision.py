"""Watching a campaign: Ctrl-C ends the watching only, and a lost database is waited for."""

import signal
import time

import psutil
import pytest
from pymongo.errors import PyMongoError

from alpw.cluster import worker
from alpw.database import configurations, daemon
from alpw.database.campaigns import get
from alpw.database.launchpad import open_launchpad

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
