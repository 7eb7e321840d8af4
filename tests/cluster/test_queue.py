"""Campaigns whose work goes to a real SLURM."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
from fireworks import FWorker

from alpw.cluster import control, recovery
from alpw.cluster import slurm as slurm_commands
from alpw.cluster.queue import files, reconcile, submit
from alpw.config.resource import BLOCKS, Resource
from alpw.database import campaigns, configurations
from alpw.database.owner import WORKER_PREFIX
from alpw.database.summary import summarise

QUEUED = {"queue_name": "debug", "memory": "1G", "walltime": "0:10:00"}
NAME = "c"


def resource(**blocks):
    return Resource(**({"train": {}, "explore": {}, "dft": {}} | blocks))


def test_only_bookkeeping_is_local_when_every_block_names_a_queue():
    assert files.local_categories(resource(train=QUEUED, explore=QUEUED, dft=QUEUED)) == ["light"]
    assert files.local_categories(resource(dft=QUEUED)) == ["train", "explore", "kpu", "direct", "light"]
    assert files.local_categories(resource()) == [*BLOCKS, "light"]


def wait_for_empty_queue():
    deadline = time.monotonic() + 60
    while slurm_commands.live_jobs() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert slurm_commands.live_jobs() == {}


@pytest.mark.slow
def test_a_campaign_runs_through_slurm_to_its_end(slurm, queued, launchpad, campaign_ends):
    queued.resource["dft"]["env_list"] = ["export ALPW_TEST_LINE=dft"]
    queued.write()
    assert queued.command("alpw", "run", "param.json", "resource.json", "--detach").returncode == 0
    result = queued.command("alpw", "launch", "tiny", "--json", timeout=550)
    assert result.returncode == 0, result.stdout + result.stderr
    # FireWorks' own logs do not get between the user and the JSON.
    [ended] = json.loads(result.stdout)["campaigns"]
    assert ended["state"] == summarise(launchpad.db, "tiny").state and ended["error"] is None
    queued = {"spec._category": {"$ne": "light"}}
    assert ended["done"]["submitted"] == launchpad.fireworks.count_documents(queued)
    assert launchpad.db[configurations.COLLECTION].distinct("state") == ["labelled"]

    jobs, workers = {}, set()
    for firework in launchpad.fireworks.find({"state": "COMPLETED"}):
        launch = launchpad.launches.find_one({"launch_id": firework["launches"][-1]})
        category = firework["spec"]["_category"]
        if category == "light":
            assert launch["fworker"]["name"].startswith(WORKER_PREFIX)
            workers.add(launch["fworker"]["name"])
            continue
        assert launch["fworker"]["name"] == f"tiny-{category}"
        job = launchpad.get_reservation_id_from_fw_id(firework["fw_id"])
        assert job not in jobs
        jobs[job] = category
        text = Path(launch["launch_dir"], "FW_submit.script").read_text()
        assert f"--fw_id {firework['fw_id']}" in text
        assert ("ALPW_TEST_LINE=dft" in text) == (category == "dft")
        assert ("--partition=labels" in text) == (category == "dft")
        assert ("--gres=gpu:1" in text) == (category == "train")
    assert set(jobs.values()) == {"train", "explore", "dft"} and workers
    assert launchpad.fireworks.distinct("state") == ["COMPLETED"]

    wait_for_empty_queue()
    shown = subprocess.run(["scontrol", "--oneliner", "show", "job"], capture_output=True, text=True).stdout
    ended = {line.split()[0].removeprefix("JobId="): line for line in shown.splitlines()}
    assert [ended[job] for job in jobs if "JobState=COMPLETED" not in ended[job]] == []


@pytest.mark.slow
def test_a_queue_that_slurm_does_not_know_ends_in_one_line_and_loses_nothing(
    slurm, inputs, launchpad, campaign_ends
):
    inputs.resource["dft"] |= QUEUED | {"queue_name": "nowhere"}
    inputs.write()
    refused = inputs.command("alpw", "run", "param.json", "resource.json", timeout=120)
    assert refused.returncode == 1
    errors = [line for line in refused.stderr.splitlines() if line.startswith("error:")]
    assert errors == [
        "error: SLURM refused a job of block 'dft' (queue_name 'nowhere'): "
        "invalid partition specified: nowhere; Invalid partition name specified"
    ]
    assert "Traceback" not in refused.stdout + refused.stderr
    labelling = {"spec._category": "dft"}
    assert launchpad.fireworks.distinct("state", labelling) == ["READY"]
    assert launchpad.db[configurations.COLLECTION].distinct("state") == ["candidate"]
    assert campaigns.get(launchpad.db, "tiny")["state"] == "running"
    assert recovery.runs(launchpad, launchpad.fireworks.find_one(labelling)["fw_id"]) == 0


def cancel(job):
    subprocess.run(["scancel", job], check=True)
    deadline = time.monotonic() + 30
    while job in slurm_commands.live_jobs() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert job not in slurm_commands.live_jobs()


@pytest.mark.slow
def test_pause_withdraws_what_waits_in_the_queue_and_kill_ends_what_runs(site):
    marker = site.folder / "began"
    running = site.add(f"touch {marker}; sleep 300")
    assert site.launch() == 1
    first = site.job(running)
    deadline = time.monotonic() + 60
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    subprocess.run(["scontrol", "update", "partitionname=debug", "state=down"], check=True)
    try:
        waiting = site.add("true")
        assert site.launch() == 1
        second = site.job(waiting)
        paused = control.halt(site.launchpad, NAME, campaigns.CampaignState.PAUSED)
    finally:
        subprocess.run(["scontrol", "update", "partitionname=debug", "state=up"], check=True)
    assert (paused.cancelled, paused.jobs, paused.running) == ([second], [], 1)
    assert (site.state(running), site.state(waiting)) == ("RUNNING", "PAUSED")
    assert site.launch() == 0

    killed = control.halt(site.launchpad, NAME, campaigns.CampaignState.STOPPED, now=True)
    assert (killed.cancelled, killed.jobs, killed.running) == ([first], [], 0)
    assert site.state(running) == "PAUSED" and recovery.runs(site.launchpad, running) == 0
    control.resume(site.launchpad, NAME)
    assert {site.state(running), site.state(waiting)} == {"READY"}


@pytest.mark.slow
def test_a_running_job_that_is_cancelled_runs_again(site, monkeypatch):
    marker = site.folder / "second"
    # Deaf to SIGTERM, so that rlaunch always dies first and cannot report a failure of its child.
    fw_id = site.add(f"trap '' TERM; test -e {marker} || (touch {marker}; sleep 300)")
    assert site.launch() == 1
    first = site.job(fw_id)
    deadline = time.monotonic() + 60
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    monkeypatch.setattr(reconcile, "GRACE", 0.0)
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 0, "it is running"
    cancel(first)
    assert site.state(fw_id) == "RUNNING", "FireWorks alone does not notice"
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 1
    assert site.state(fw_id) == "READY"
    lost = site.launchpad.launches.find_one({"fw_id": fw_id, "state": "FIZZLED"})
    message = lost["action"]["stored_data"]["_message"]
    assert message.startswith(f"SLURM job {first} is gone: ") and "CANCELLED" in message

    assert site.launch() == 1
    site.wait(fw_id, "COMPLETED")
    assert site.job(fw_id) != first
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 0


@pytest.mark.slow
def test_a_job_that_dies_before_it_reaches_its_firework_fizzles_it_in_the_end(site, monkeypatch):
    """Such as a module that does not exist on the node: resubmitting for ever would help nobody."""
    monkeypatch.setattr(reconcile, "GRACE", 0.0)
    site.resource.dft.env_list.append("echo no such module >&2; exit 1")
    fw_id = site.add("true")
    for count in range(1, recovery.MAX_RUNS + 1):
        assert site.launch() == 1
        wait_for_empty_queue()
        assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 1
        assert recovery.runs(site.launchpad, fw_id) == count
    assert site.state(fw_id) == "FIZZLED" and site.launch() == 0
    [reason] = recovery.failure_reasons(site.launchpad, NAME).values()
    assert "is gone: the job failed (FAILED, exit code 1:0" in reason and "no such module" in reason
    recovery.recover(site.launchpad, NAME, {}, alone=False)
    assert site.state(fw_id) == "FIZZLED"


def test_a_job_is_missed_only_after_the_grace(site):
    site.resource.dft.custom_flags.append("--hold")
    fw_id = site.add("true")
    site.launch()
    cancel(site.job(fw_id))
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 0
    assert site.state(fw_id) == "RESERVED"


@pytest.mark.slow
def test_a_silent_queue_says_nothing_about_its_jobs(slurm, site, monkeypatch):
    monkeypatch.setattr(reconcile, "GRACE", 0.0)
    site.resource.dft.custom_flags.append("--hold")
    fw_id = site.add("true")
    site.launch()
    cancel(site.job(fw_id))
    real = Path(slurm["SLURM_CONF"]).read_text()
    nobody_there = site.folder / "slurm.conf"
    nobody_there.write_text(re.sub("SlurmctldPort=.*", "SlurmctldPort=1", real))
    with monkeypatch.context() as patch:
        patch.setenv("SLURM_CONF", str(nobody_there))
        assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 0
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 1


def test_a_job_whose_id_was_never_stored_is_known_by_its_folder(site, monkeypatch):
    """The submitting process died between sbatch and the database."""
    monkeypatch.setattr(reconcile, "GRACE", 0.0)
    site.resource.dft.custom_flags.append("--hold")
    fw_id = site.add("true")
    with monkeypatch.context() as patch:
        patch.setattr(submit, "store_jobs", lambda *_, **__: None)
        site.launch()
    assert site.job(fw_id) is None
    [job] = slurm_commands.live_jobs()
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 0
    cancel(job)
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 1
    assert site.state(fw_id) == "READY"


def test_a_job_that_ends_while_squeue_is_asked_is_not_lost(site, monkeypatch):
    monkeypatch.setattr(reconcile, "GRACE", 0.0)
    fw_id = site.add("true")

    def asked_too_late():
        site.wait(fw_id, "COMPLETED")
        return {}

    site.launch()
    monkeypatch.setattr(slurm_commands, "live_jobs", asked_too_late)
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 0
    assert site.state(fw_id) == "COMPLETED"


def test_reservations_that_others_made_are_not_judged(site, monkeypatch):
    """They may live in a queue that this machine cannot see."""
    monkeypatch.setattr(reconcile, "GRACE", 0.0)
    fw_id = site.add("true")
    _, launch_id = site.launchpad.reserve_fw(FWorker("somebody"), str(site.folder))
    site.launchpad.set_reservation_id(launch_id, 999_999)
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 0
    assert site.state(fw_id) == "RESERVED"
