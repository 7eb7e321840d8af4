"""Campaigns whose work goes to a real SLURM."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
from fireworks import Firework, FWorker, ScriptTask

from alpw.cluster import control, recovery, supervisor, worker
from alpw.cluster import slurm as slurm_commands
from alpw.cluster.queue import files, reconcile, submit
from alpw.cluster.supervisor import Supervisor
from alpw.config.resource import Resource, ResourceBlock
from alpw.database import campaigns, configurations, iterations
from alpw.database.indexes import ensure_indexes
from alpw.database.summary import summarise

QUEUED = {"queue_name": "debug", "memory": "1G", "walltime": "0:10:00"}
NAME = "c"


def resource(**blocks):
    return Resource(**({"train": {}, "explore": {}, "dft": {}} | blocks))


def test_only_bookkeeping_is_local_when_every_block_names_a_queue():
    assert files.local_categories(resource(train=QUEUED, explore=QUEUED, dft=QUEUED)) == ["light"]
    assert files.local_categories(resource(dft=QUEUED)) == ["train", "explore", "light"]
    assert files.local_categories(resource()) == ["train", "explore", "dft", "scf", "light"]


def wait_for_empty_queue():
    deadline = time.monotonic() + 60
    while slurm_commands.live_jobs() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert slurm_commands.live_jobs() == {}


@pytest.mark.slow
def test_a_campaign_runs_through_slurm_to_its_end(slurm, inputs, launchpad, campaign_ends):
    inputs.param["explore"]["md_jobs"] = inputs.param["explore"]["md_jobs"][:1]
    # One job for all members and one for all labels of an iteration.
    inputs.param["train"]["together"] = True
    inputs.resource["dft"]["group_size"] = 4
    for block in inputs.resource.values():
        block |= QUEUED
    inputs.resource["dft"]["env_list"] = ["export ALPW_TEST_LINE=dft"]
    inputs.write()
    result = inputs.command("alpw", "run", "param.json", "resource.json", "--json", timeout=550)
    assert result.returncode == 0, result.stdout + result.stderr
    # FireWorks' own logs do not get between the user and the JSON.
    assert json.loads(result.stdout)["verdict"] == summarise(launchpad.db, "tiny").state
    assert launchpad.db[configurations.COLLECTION].distinct("state") == ["labelled"]

    jobs, workers = {}, set()
    for firework in launchpad.fireworks.find({"state": "COMPLETED"}):
        launch = launchpad.launches.find_one({"launch_id": firework["launches"][-1]})
        category = firework["spec"]["_category"]
        if category == "light":
            assert launch["fworker"]["name"].startswith(worker.WORKER_PREFIX)
            workers.add(launch["fworker"]["name"])
            continue
        assert launch["fworker"]["name"] == f"tiny-{category}"
        job = launchpad.get_reservation_id_from_fw_id(firework["fw_id"])
        assert job not in jobs
        jobs[job] = category
        text = Path(launch["launch_dir"], "FW_submit.script").read_text()
        assert f"--fw_id {firework['fw_id']}" in text
        assert ("ALPW_TEST_LINE=dft" in text) == (category == "dft")
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


class Site:
    """A campaign with hand-made Fireworks, submitted as the supervisor does it."""

    def __init__(self, inputs, launchpad, **block):
        self.launchpad, self.folder = launchpad, inputs.folder
        self.resource = Resource(
            train=ResourceBlock(), explore=ResourceBlock(), dft=ResourceBlock.model_validate(QUEUED | block)
        )
        ensure_indexes(launchpad.db)
        campaigns.create(launchpad.db, NAME, {"work_dir": str(self.folder)})
        iterations.create(launchpad.db, NAME, 0, {"kind": "explore", "workflow": {"added": None}})

    def add(self, script):
        task = ScriptTask.from_str(script, {"fizzle_bad_rc": True})
        spec = {"campaign": NAME, "iteration": 0, "_category": "dft"}
        return next(iter(self.launchpad.add_wf(Firework(task, spec=spec)).values()))

    def launch(self):
        file = self.folder / "my_launchpad.yaml"
        return submit.launch(self.launchpad, file, NAME, self.folder, self.resource)

    def supervisor(self, complaints):
        return Supervisor(
            launchpad_file=self.folder / "my_launchpad.yaml",
            campaign=NAME,
            directory=self.folder,
            resource=self.resource,
            workers=1,
            summarise=summarise,
            on_update=lambda summary: None,
            on_trouble=complaints.append,
        )

    def state(self, fw_id):
        return self.launchpad.fireworks.find_one({"fw_id": fw_id})["state"]

    def job(self, fw_id):
        return self.launchpad.get_reservation_id_from_fw_id(fw_id)

    def wait(self, fw_id, *states, seconds=60):
        deadline = time.monotonic() + seconds
        while self.state(fw_id) not in states and time.monotonic() < deadline:
            time.sleep(0.1)
        assert self.state(fw_id) in states


@pytest.fixture
def site(slurm, inputs, launchpad):
    yield Site(inputs, launchpad)
    subprocess.run(["scancel", "--state=PENDING", "--me"], check=False)
    subprocess.run(["scancel", "--me"], check=False)


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
def test_a_pending_job_that_is_cancelled_is_submitted_again(site, monkeypatch):
    site.resource.dft.custom_flags.append("--hold")
    fw_id = site.add("true")
    assert site.launch() == 1
    first = site.job(fw_id)
    monkeypatch.setattr(reconcile, "GRACE", 0.0)
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 0, "it is waiting"
    assert site.state(fw_id) == "RESERVED"
    cancel(first)
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 1
    assert site.state(fw_id) == "READY"
    site.resource.dft.custom_flags.clear()
    assert site.launch() == 1
    site.wait(fw_id, "COMPLETED")


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
    assert "is gone: no such module" in reason
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
        patch.setattr(site.launchpad, "set_reservation_id", lambda *_: None)
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


def test_jobs_per_category_are_bounded(site, monkeypatch):
    monkeypatch.setattr(submit, "MAX_JOBS", 3)
    site.resource.dft.custom_flags.append("--hold")
    fireworks = [site.add("true") for _ in range(5)]
    assert site.launch() == 3
    assert site.launch() == 0
    assert sorted(map(site.state, fireworks)) == ["READY", "READY", "RESERVED", "RESERVED", "RESERVED"]
    assert len({site.job(fw_id) for fw_id in fireworks} - {None}) == 3


def test_a_refusal_that_may_pass_is_tried_again_less_and_less_often_and_not_for_ever(site, monkeypatch):
    monkeypatch.setattr(supervisor, "REFUSAL_PATIENCE", 100.0)
    clock = [1000.0]
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: clock[0])
    tries, complaints = [], []

    def refuse(*_):
        tries.append(clock[0] - 1000)
        raise submit.JobRefused("SLURM refused a job: Socket timed out", final=False)

    monkeypatch.setattr(submit, "launch", refuse)
    watcher = site.supervisor(complaints)
    with pytest.raises(submit.JobRefused):
        for _ in range(1000):
            watcher._submit(site.launchpad)
            clock[0] += 5
    assert tries == [0, 5, 10, 20, 40, 80, 140]
    assert complaints[0] == "SLURM refused a job: Socket timed out; next try in 5 s"


def set_partition(state):
    subprocess.run(["scontrol", "update", "PartitionName=debug", f"State={state}"], check=True)


def test_work_goes_on_after_a_refusal_that_passed(site):
    complaints = []
    watcher = site.supervisor(complaints)
    fw_id = site.add("true")
    set_partition("DRAIN")
    try:
        watcher._submit(site.launchpad)
    finally:
        set_partition("UP")
    [complaint] = complaints
    assert "Required partition not available (inactive or drain); next try in 5 s" in complaint
    assert site.state(fw_id) == "READY" and recovery.runs(site.launchpad, fw_id) == 0
    watcher._next_submission = 0.0
    watcher._submit(site.launchpad)
    assert site.job(fw_id) and watcher._refused_since is None
