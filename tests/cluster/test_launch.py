"""The supervised launcher: one supervisor at a time, limits and refusals per category, job arrays."""

import json
import re
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alpw.cli.main import app
from alpw.cluster import recovery, slurm, supervision
from alpw.cluster.queue import launcher, reconcile, submit
from alpw.cluster.queue.sbatch import SbatchFailed
from alpw.cluster.supervisor import JobRefused, Supervised
from alpw.database import campaigns, leases
from alpw.database.owner import process_identity

NAME = "c"
#: A process on a host that cannot be seen from here.
STRANGER = "elsewhere/1/1"

pytestmark = pytest.mark.slurm


def partition(name, state):
    subprocess.run(["scontrol", "update", f"PartitionName={name}", f"State={state}"], check=True)


def again(site):
    """Let the pauses after refusals be over."""
    for lane in site.launcher._lanes.values():
        lane.next_try = 0.0


def status(file, *options):
    return CliRunner().invoke(app, ["status", "tiny", "-l", file, *options]).output


def test_one_of_two_has_the_lease_and_the_other_gets_it_when_it_is_over(launchpad):
    db, me = launchpad.db, process_identity()
    first = leases.take(db, NAME, STRANGER)
    assert leases.take(db, NAME, me)["owner"] == STRANGER
    # Not renewed for the term and the margin.
    late = first["until"] - timedelta(seconds=leases.TERM + leases.MARGIN + 1)
    db[leases.COLLECTION].update_one({"_id": NAME}, {"$set": {"until": late}})
    assert leases.take(db, NAME, me)["owner"] == me
    renewed = leases.take(db, NAME, STRANGER)
    assert renewed["owner"] == me
    leases.release(db, [NAME], STRANGER)
    assert leases.holder(db, NAME)["owner"] == me
    leases.release(db, [NAME], me)
    assert leases.holder(db, NAME) is None


def test_a_supervisor_waits_for_the_lease_or_refuses_and_stops_when_it_lost_it(inputs, launchpad, site):
    leases.take(launchpad.db, NAME, STRANGER)
    with pytest.raises(Supervised, match=f"'{NAME}' is supervised by {STRANGER} .* since 20"):
        site.supervisor(waits=False).take_lease(launchpad.db)
    watching = site.supervisor()
    fw_id = site.add("true")
    watching.tend(launchpad)
    assert site.state(fw_id) == "READY" and "this command watches" in site.complaints[0]
    leases.release(launchpad.db, [NAME], STRANGER)
    assert watching.take_lease(launchpad.db) and "supervised from here" in site.complaints[1]
    # It was suspended for so long that somebody else took over.
    launchpad.db[leases.COLLECTION].update_one({"_id": NAME}, {"$set": {"owner": STRANGER}})
    watching.tend(launchpad)
    assert site.state(fw_id) == "READY" and not watching.leads
    assert "lost: the lease" in watching.journal.file.read_text()


def test_nothing_is_begun_while_a_workflow_stays_locked(inputs, launchpad, site, monkeypatch):
    monkeypatch.setattr("alpw.cluster.supervisor.LONG_LOCK", 0.0)
    supervisor, fw_id = site.supervisor(), site.add("true")
    launchpad.workflows.update_one({"nodes": fw_id}, {"$set": {"locked": True, "metadata.campaign": NAME}})
    for _ in range(2):
        supervisor.tend(launchpad)
    # Whoever reserves a Firework waits for the lock.
    assert site.state(fw_id) == "READY" and supervisor.journal.counts["waits"] == 1
    assert "a workflow is locked" in site.complaints[0] and len(site.complaints) == 1
    launchpad.workflows.update_one({"nodes": fw_id}, {"$unset": {"locked": 1}})
    supervisor.tend(launchpad)
    assert site.state(fw_id) != "READY"


@pytest.mark.slow
def test_launch_takes_up_what_begins_is_stopped_in_order_refused_twice_and_taken_over_after_a_kill(
    slurm, inputs, launchpad, campaign_ends
):
    for block in inputs.resource.values():
        block |= {"queue_name": "debug", "memory": "1G", "custom_flags": ["--hold"]}
    inputs.write()

    def holder():
        return leases.holder(launchpad.db, "tiny")

    stays = inputs.popen("alpw", "launch", "--stay")
    assert inputs.command("alpw", "run", "param.json", "resource.json", "--detach").returncode == 0
    deadline = time.monotonic() + 400
    while not holder() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert f"/{stays.pid}/" in holder()["owner"]
    stays.send_signal(signal.SIGTERM)
    assert stays.wait(240) == 0 and holder() is None
    file = str(inputs.folder / "my_launchpad.yaml")
    assert "nobody supervises it: `alpw launch tiny` does" in status(file)
    first = inputs.popen("alpw", "launch", "tiny")
    while not holder() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert f"/{first.pid}/" in holder()["owner"]
    assert f"'tiny' is supervised by {holder()['owner']}" in status(file)
    refused = CliRunner().invoke(app, ["launch", "tiny", "-l", file])
    assert refused.exit_code == 1 and f"/{first.pid}/" in refused.output and "since" in refused.output
    assert json.loads(status(file, "--json"))["supervisor"]["owner"] == holder()["owner"]
    first.kill()
    first.wait()
    once = CliRunner().invoke(app, ["launch", "-l", file, "--once", "--json"])
    assert once.exit_code == 0 and holder() is None
    [entry] = json.loads(once.stdout)["campaigns"]
    assert entry["campaign"] == "tiny" and entry["state"] == "running" and entry["error"] is None
    assert "supervised" in Path(entry["log"]).read_text()
    alone = CliRunner().invoke(app, ["launch", "tiny", "--stay", "-l", file])
    assert alone.exit_code == 2 and "--stay" in alone.output


def test_jobs_per_category_are_bounded_and_so_are_those_that_wait(site):
    site.ask(max_jobs=5, max_queued=3, custom_flags=["--hold"])
    fireworks = [site.add("true") for _ in range(7)]
    assert site.launch() == 3
    assert site.launch() == 0
    assert len({site.job(fw_id) for fw_id in fireworks} - {None}) == 3
    subprocess.run(["scontrol", "release", site.job(fireworks[0])], check=True)
    site.wait(fireworks[0], "COMPLETED")
    site.ask(max_jobs=5, max_queued=10, custom_flags=["--hold"])
    assert site.launch() == 3 and site.launch() == 0


def test_ten_alike_become_one_array_each_with_its_own_job_state_and_folder(site, monkeypatch):
    monkeypatch.setattr(reconcile, "GRACE", 0.0)
    site.ask(max_jobs=10, custom_flags=["--hold"])
    fireworks = [site.add("pwd" if index else "false") for index in range(10)]
    other = site.add("true", _queueadapter={"walltime": "0:01:00"})
    assert site.launch() == 10
    jobs = [site.job(fw_id) for fw_id in fireworks]
    array = jobs[0].split("_")[0]
    assert jobs == [f"{array}_{index}" for index in range(10)] and site.state(other) == "READY"
    assert set(jobs) <= set(slurm.live_jobs())
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 0

    # One of them goes, the others stay: each is known by its own id.
    subprocess.run(["scancel", jobs[9]], check=True)
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 1
    assert site.state(fireworks[9]) == "READY" and site.state(fireworks[8]) == "RESERVED"
    subprocess.run(["scancel", *jobs[3:9]], check=True)
    subprocess.run(["scontrol", "release", array], check=True)
    site.wait(fireworks[0], "FIZZLED")
    site.wait(fireworks[1], "COMPLETED")
    launch = site.launchpad.launches.find_one({"fw_id": fireworks[1]})
    assert launch["launch_dir"].endswith("/1") and Path(launch["launch_dir"]).parent.name.startswith("array_")
    names = {file.name.split("-", 1)[1] for file in Path(launch["launch_dir"]).glob("*-*.*")}
    assert {name.rsplit("-", 1)[1] for name in names} == {f"{array}_1.out", f"{array}_1.error"}


def test_an_array_whose_ids_were_never_stored_is_known_by_its_folders_and_one_without_job_is_freed(
    site, monkeypatch
):
    monkeypatch.setattr(reconcile, "GRACE", 0.0)
    site.ask(custom_flags=["--hold"])
    fireworks = [site.add("true") for _ in range(8)]
    with monkeypatch.context() as patch:
        patch.setattr(submit, "store_jobs", lambda *_, **__: None)
        assert site.launch() == 8
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 0
    subprocess.run(["scancel", "--me"], check=True)
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 8
    assert {site.state(fw_id) for fw_id in fireworks} == {"READY"}

    # Killed between reservation and submission.
    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(submit, "sbatch", die)
        with pytest.raises(Killed):
            site.launch()
    assert {site.state(fw_id) for fw_id in fireworks} == {"RESERVED"}
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 8
    assert {site.state(fw_id) for fw_id in fireworks} == {"READY"}


def test_a_refused_category_does_not_stop_another_and_is_told_when_nothing_else_runs(site):
    site.ask("explore", queue_name="nowhere")
    refused, taken = site.add("true", "explore"), site.add("true")
    supervisor = site.supervisor()
    supervisor.tend(site.launchpad)
    message = (
        "SLURM refused a job of block 'explore' (queue_name 'nowhere'): "
        "invalid partition specified: nowhere; Invalid partition name specified"
    )
    [complaint] = site.complaints
    assert complaint.startswith(message) and "other work goes on" in complaint
    assert site.job(taken) and site.state(refused) == "READY"
    assert recovery.runs(site.launchpad, refused) == 0
    site.wait(taken, "COMPLETED")
    supervisor.tend(site.launchpad)
    with pytest.raises(JobRefused, match=re.escape(message)):
        supervisor.tend(site.launchpad)
    log = supervisor.journal.file.read_text()
    assert f"submitted: dft, job {site.job(taken)}, Firework {taken}" in log and f"refused: {message}" in log

    # Corrected with --update, by whatever command.
    site.ask("explore", custom_flags=["--hold"])
    stored = {"resource": site.resource.model_dump(mode="json")}
    campaigns.update(site.launchpad.db, NAME, resolved=stored)
    supervisor.tend(site.launchpad)
    assert site.job(refused)
    supervisor.release_lease(site.launchpad.db)


def test_a_refusal_that_may_pass_is_tried_again_less_and_less_often_for_ever(site, monkeypatch):
    clock, tries = [1000.0], []
    monkeypatch.setattr(launcher.time, "monotonic", lambda: clock[0])

    def refuse(order, fw_ids, *, array):
        tries.append(clock[0] - 1000)
        raise SbatchFailed("Unable to contact slurm controller")

    monkeypatch.setattr(launcher, "submit", refuse)
    site.add("true")
    for _ in range(720):
        assert site.launch() == 0
        clock[0] += 5
    assert tries[:6] == [0, 5, 10, 20, 40, 80] and tries[-1] - tries[-2] == 60 and tries[-1] > 3500
    [complaint] = site.complaints
    assert "Unable to contact slurm controller; next try in 5 s" in complaint


def test_work_goes_on_after_a_refusal_that_passed_and_nothing_stays_reserved(site):
    site.ask(custom_flags=["--hold"])
    fireworks = [site.add("true") for _ in range(9)]
    partition("debug", "DRAIN")
    try:
        assert site.launch() == 0
    finally:
        partition("debug", "UP")
    [complaint] = site.complaints
    assert "Required partition not available (inactive or drain); next try in 5 s" in complaint
    assert {site.state(fw_id) for fw_id in fireworks} == {"READY"}
    assert [recovery.runs(site.launchpad, fw_id) for fw_id in fireworks] == [0] * 9
    assert list((site.folder / "launches").iterdir()) == []
    assert site.launch() == 0, "it pauses"
    again(site)
    assert site.launch() == 9 and "again" in site.complaints[1]


def test_a_slurm_with_a_small_limit_gets_smaller_arrays_and_one_without_arrays_single_jobs(site, monkeypatch):
    sizes = []

    def limited(order, fw_ids, *, array):
        sizes.append(len(fw_ids))
        if array:
            raise SbatchFailed("Invalid job array specification")
        return "1", list(fw_ids)

    monkeypatch.setattr(launcher, "submit", limited)
    for _ in range(17):
        site.add("true")
    assert [site.launch() for _ in range(3)] == [0, 0, 17]
    assert sizes == [17, 8, *[1] * 17] and site.complaints == []


def test_a_silence_of_sbatch_leaves_open_whether_there_is_a_job(site, monkeypatch):
    """The controller may have taken it; until that is known there must be no second one."""
    monkeypatch.setattr(reconcile, "GRACE", 0.0)
    fw_id = site.add("true")

    def silent(*_):
        raise SbatchFailed("Socket timed out on send/recv operation", unknown=True)

    with monkeypatch.context() as patch:
        patch.setattr(submit, "sbatch", silent)
        assert site.launch() == 0
    assert site.state(fw_id) == "RESERVED"
    assert reconcile.rerun_lost_jobs(site.launchpad, NAME) == 1
    assert site.state(fw_id) == "READY"


def test_ctrl_c_waits_for_the_submission_in_hand(site, monkeypatch):
    fw_id = site.add("true")
    real = submit.sbatch

    def interrupted(*words):
        signal.raise_signal(signal.SIGINT)
        return real(*words)

    monkeypatch.setattr(submit, "sbatch", interrupted)
    supervisor = site.supervisor()
    # It may be ignored where the tests were started in the background.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            supervision.watch(supervisor, supervisor.launchpad_file)
    finally:
        signal.signal(signal.SIGINT, former)
    assert site.job(fw_id) and leases.holder(site.launchpad.db, NAME) is None
