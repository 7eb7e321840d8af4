"""How jobs end, what is done about each end, and where a user reads of it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fireworks import FWorker

from alpw.cluster import jobs, recovery, slurm
from alpw.cluster.jobs import EndedJob
from alpw.cluster.queue import reconcile, remedies
from alpw.cluster.queue.ends import RULES, STATES, End, Remedy, end_of
from alpw.cluster.queue.held import held_launches, job_of
from alpw.cluster.queue.remedies import more_memory, more_walltime
from alpw.cluster.slurm import ENDED_STATES, LiveJob
from alpw.config.amounts import duration, parse_duration, parse_memory
from alpw.config.resource import ResourceBlock
from alpw.database import queue_events
from tests.faults.site import Site, wait_until_gone

GONE = "slurmstepd: error: *** JOB 7 ON node1 CANCELLED AT 2026-01-01T00:00:00"


def ended(state, **more):
    return EndedJob("7", state, **({"exit_code": "0:0", "partition": "debug"} | more))


def test_every_end_that_slurm_knows_has_a_rule():
    assert set(STATES) == ENDED_STATES
    assert set(RULES) == set(End)


@pytest.mark.parametrize(
    ("job", "error", "end"),
    [
        (ended("CANCELLED", exit_code="0:15"), [], End.CANCELLED),
        (ended("TIMEOUT"), [], End.TIMEOUT),
        (ended("OUT_OF_MEMORY", exit_code="0:125"), [], End.MEMORY),
        (ended("FAILED", exit_code="0:9", reason="JobLaunchFailure"), [], End.MEMORY),
        (ended("FAILED", exit_code="0:9", reason="NonZeroExitCode"), [], End.FAILED),
        (
            ended("FAILED", exit_code="1:0"),
            ["slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch."],
            End.MEMORY,
        ),
        (
            ended("CANCELLED"),
            ["slurmstepd: error: Step 7.0 exceeded memory limit (2048 > 1024), being killed", "Killed"],
            End.MEMORY,
        ),
        # What the user's own program says is nothing that SLURM did.
        (ended("FAILED", exit_code="1:0"), ["my code: out of memory"], End.FAILED),
        (ended("BOOT_FAIL"), [], End.NODE),
        (ended("COMPLETED"), [], End.VANISHED),
        (ended("COMPLETED", restarts=1), [], End.REQUEUED),
        (None, [], End.UNKNOWN),
        (None, [f"{GONE} DUE TO TIME LIMIT ***"], End.TIMEOUT),
        (None, [f"{GONE} DUE TO PREEMPTION ***"], End.PREEMPTED),
        (None, [f"{GONE} ***"], End.CANCELLED),
    ],
)
def test_how_a_job_ended(job, error, end):
    assert end_of("7", job, error, began=True) is end


def test_what_leaves_no_trace():
    assert end_of(None, None, [], began=False) is End.UNSUBMITTED
    assert end_of("7_1", None, [], began=False) is End.CANCELLED
    assert end_of("7_1", None, [], began=True) is End.UNKNOWN


def test_amounts_as_slurm_writes_them():
    assert [parse_memory(text) for text in ("800M", "2G", "512", "1024K", "", "N/A")] == [
        800,
        2048,
        512,
        1,
        None,
        None,
    ]
    assert [duration(seconds) for seconds in (90, 3600, 90061)] == ["00:01:30", "01:00:00", "1-01:01:01"]
    assert parse_duration(duration(90061)) == 90061 and parse_duration("UNLIMITED") is None


def test_a_job_that_ran_out_gets_more_within_its_bounds(monkeypatch):
    monkeypatch.setattr(remedies, "limits", lambda partition: (86400.0, 8192.0))
    block = ResourceBlock(max_memory="2G", max_walltime="3:00:00", walltime="0:30:00", memory="1000M")
    job = ended("OUT_OF_MEMORY", memory=1000.0, walltime=3600.0)
    assert more_memory(job, {}, block) == ({"mem": "1500M"}, 1000)
    assert more_memory(ended("OUT_OF_MEMORY", memory=1500.0), {}, block)[0] == {"mem": "2048M"}
    assert more_memory(ended("OUT_OF_MEMORY", memory=2048.0), {}, block) == ({}, 2048)
    # What a site gives to each core is raised as such.
    per_core = ended("OUT_OF_MEMORY", memory_per_cpu=64.0, cpu_count=4)
    assert more_memory(per_core, {}, block)[0] == {"mem_per_cpu": "96M"}
    # SLURM has forgotten the job: what the Firework asked for last, or what its block says.
    assert more_memory(None, {"mem": "1200M"}, block)[0] == {"mem": "1800M"}
    assert more_memory(None, {}, block)[0] == {"mem": "1500M"}
    assert more_walltime(job, {}, block) == {"walltime": "02:00:00"}
    assert more_walltime(ended("TIMEOUT", walltime=7200.0), {}, block) == {"walltime": "03:00:00"}
    assert more_walltime(ended("TIMEOUT", walltime=10800.0), {}, block) == {}
    # Somebody shortened the job: never less than was asked for.
    assert more_walltime(ended("TIMEOUT", walltime=60.0), {}, block) == {"walltime": "01:00:00"}
    assert more_walltime(None, {}, block) == {"walltime": "01:00:00"}
    # The partition's own limits hold without any of the user's.
    long = ended("TIMEOUT", walltime=80000.0)
    assert more_walltime(long, {}, ResourceBlock()) == {"walltime": "1-00:00:00"}
    assert more_memory(ended("OUT_OF_MEMORY", memory=8192.0), {}, ResourceBlock())[0] == {}


def test_accounting_is_asked_for_what_the_controller_has_forgotten(monkeypatch):
    asked = []

    def answer(command, *_, **__):
        asked.append(command[0])
        if command[0] == "scontrol":
            return ""
        return (
            "7|CANCELLED by 0|0:15|node[1-2]|2|8|33|10|4G|debug,long\n8_3|RUNNING|0:0|n1|1|1|5|10|4G|debug\n"
        )

    monkeypatch.setattr(jobs, "asked", answer)
    [job] = jobs.ended(["7", "8_3"]).values()
    assert asked == ["scontrol", "scontrol", "sacct"]
    assert job == EndedJob(
        "7", "CANCELLED", "0:15", "", "node[1-2]", 2, 8, 33.0, 600.0, 2048.0, None, "debug"
    )
    monkeypatch.setattr(jobs, "asked", lambda *_, **__: None)
    assert jobs.ended(["7"]) is None, "a controller that is silent says nothing"


def test_a_member_of_an_array_is_known_by_the_folder_of_the_array(tmp_path):
    launch = {"launch_dir": str(tmp_path / "array" / "4"), "state_history": [{"state": "RESERVED"}]}
    live = {f"12_{index}": LiveJob("PENDING", "Priority", str(tmp_path / "array")) for index in (3, 4)}
    assert job_of(launch, live) == "12_4"


@pytest.fixture
def site(slurm, inputs, launchpad, monkeypatch):
    monkeypatch.setattr(reconcile, "GRACE", 0.0)
    yield Site(launchpad, inputs.folder, custom_flags=["--hold"])
    subprocess.run(["scancel", "--me"], check=False)


def look(site):
    return reconcile.rerun_lost_jobs(site.launchpad, site.name)


@pytest.mark.slurm
def test_a_job_that_is_cancelled_again_and_again_is_given_up_and_tried_once_more_on_request(site):
    fw_id = site.add("true")
    for _ in range(RULES[End.CANCELLED].reruns + 1):
        assert site.state(fw_id) == "READY" and recovery.runs(site.launchpad, fw_id) == 0
        job = site.submit()
        subprocess.run(["scancel", job], check=True)
        wait_until_gone(job)
        assert look(site) == 1
    assert site.state(fw_id) == "FIZZLED"
    [reason] = recovery.failure_reasons(site.launchpad, site.name).values()
    assert "the job was cancelled" in reason and "3 more tries did not help" in reason
    recovery.recover(site.launchpad, site.name, {}, alone=False)
    assert site.state(fw_id) == "FIZZLED", "what was given up stays so"
    recovery.retry(site.launchpad, site.name)
    assert site.state(fw_id) == "READY"
    job = site.submit()
    subprocess.run(["scancel", job], check=True)
    wait_until_gone(job)
    assert look(site) == 1 and site.state(fw_id) == "READY"


@pytest.mark.slurm
def test_a_member_of_a_real_array_is_found_adopted_and_missed(site, monkeypatch):
    """The submitting process died before it could store the ids."""
    site.add("true")
    with monkeypatch.context() as patch:
        patch.setattr(site.launchpad, "set_reservation_id", lambda *_: None)
        lone = site.submit()
    subprocess.run(["scancel", lone], check=True)
    wait_until_gone(lone)
    [launch] = held_launches(site.launchpad, site.name)
    member = site.folder / "array" / "1"
    member.mkdir(parents=True)
    site.launchpad.change_launch_dir(launch["launch_id"], str(member))
    command = ["sbatch", "--parsable", "--hold", "--array=0-1", "--wrap=true"]
    array = subprocess.run(
        command, cwd=member.parent, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert look(site) == 0
    [launch] = held_launches(site.launchpad, site.name)
    assert launch["state_history"][0]["reservation_id"] == f"{array}_1"
    subprocess.run(["scancel", f"{array}_1"], check=True)
    wait_until_gone(f"{array}_1")
    [finding] = reconcile.examine(site.launchpad, site.name)
    assert finding.verdict.end is End.CANCELLED and f"{array}_0" in slurm.live_jobs()


@pytest.mark.slurm
def test_a_node_that_fails_is_left_out_only_where_others_are(site, monkeypatch):
    site.block = site.block.model_copy(update={"custom_flags": []})
    marker = site.folder / "began"
    fw_id = site.add(f"touch {marker}; sleep 300")
    job = site.submit()
    while not marker.exists():
        time.sleep(0.1)
    subprocess.run(["scontrol", "update", "nodename=node1", "state=down", "reason=test"], check=True)
    try:
        wait_until_gone(job)
    finally:
        # It may have come back by itself.
        subprocess.run(["scontrol", "update", "nodename=node1", "state=resume"], check=False)
    [finding] = reconcile.examine(site.launchpad, site.name)
    assert (finding.queue_state, finding.verdict.end) == ("NODE_FAIL", End.NODE)
    assert (finding.verdict.remedy, finding.verdict.asks) == (Remedy.AGAIN, {})
    monkeypatch.setattr(remedies, "culprits", lambda job, excluded: ["node1"])
    assert look(site) == 1
    assert site.firework(fw_id)["spec"]["_queueadapter"] == {"exclude_nodes": "node1"}
    assert site.state(fw_id) == "READY" and recovery.runs(site.launchpad, fw_id) == 0


def test_a_firework_that_fizzled_because_its_job_was_ended_gets_what_it_lacked(
    inputs, launchpad, monkeypatch
):
    site = Site(launchpad, inputs.folder)
    fw_id = site.add("true")
    _, launch_id = launchpad.reserve_fw(FWorker(f"{site.name}-dft"), str(site.folder), fw_id=fw_id)
    launchpad.set_reservation_id(launch_id, "7")
    launchpad.mark_fizzled(launch_id)
    live = {"7": LiveJob("COMPLETING", "None", str(site.folder))}
    monkeypatch.setattr(slurm, "live_jobs", lambda *_: live)
    monkeypatch.setattr(
        jobs, "ended", lambda ids: {each: ended("OUT_OF_MEMORY", memory=1024.0) for each in ids}
    )
    monkeypatch.setattr(remedies, "limits", lambda partition: (1e9, 1e9))
    recovery.recover(launchpad, site.name, {}, alone=False)
    assert site.state(fw_id) == "FIZZLED", "its job is not gone yet"
    assert recovery.failure_reasons(launchpad, site.name) and not recovery.is_stuck(launchpad, site.name)
    live.clear()
    recovery.recover(launchpad, site.name, {}, alone=False)
    assert site.state(fw_id) == "READY" and recovery.runs(launchpad, fw_id) == 0
    assert site.firework(fw_id)["spec"]["_queueadapter"] == {"mem": "1536M"}


def test_nodes_that_failed_are_left_out_besides_the_user_s_while_others_are_left(
    inputs, launchpad, monkeypatch
):
    site = Site(launchpad, inputs.folder, exclude_nodes="n[4-5]")
    fw_id = site.add("true")
    hosts = {"n[4-5]": "n4 n5", "n[4-5],n1": "n4 n5 n1", "n1": "n1", "n2": "n2"}
    partition = "n1\nn2\nn4\nn5\n"
    monkeypatch.setattr(jobs, "asked", lambda call, **_: hosts.get(call[-1], partition))
    monkeypatch.setattr(slurm, "live_jobs", lambda *_: {})
    monkeypatch.setattr(reconcile, "GRACE", 0.0)
    for number, (node, asked) in enumerate([("n1", "n[4-5],n1"), ("n2", "n[4-5],n1")]):
        job = ended("NODE_FAIL", nodes=node)
        monkeypatch.setattr(jobs, "ended", lambda ids, job=job: dict.fromkeys(ids, job))
        _, launch_id = launchpad.reserve_fw(FWorker(f"{site.name}-dft"), str(site.folder), fw_id=fw_id)
        launchpad.set_reservation_id(launch_id, str(number))
        assert look(site) == 1 and site.state(fw_id) == "READY"
        assert site.firework(fw_id)["spec"]["_queueadapter"] == {"exclude_nodes": asked}


def test_one_process_deals_with_an_end(launchpad, monkeypatch):
    fields = {"campaign": "c", "fw_id": 1, "end": "cancelled", "remedy": "again", "counts": False}
    assert queue_events.begin(launchpad.db, 5, fields)
    assert queue_events.begin(launchpad.db, 5, fields), "it died, or was interrupted, and goes on"
    monkeypatch.setattr(queue_events, "process_identity", lambda: "elsewhere/1/1")
    monkeypatch.setattr(queue_events, "is_dead", lambda identity: False)
    assert queue_events.begin(launchpad.db, 5, fields) is None
    monkeypatch.setattr(queue_events, "PATIENCE", 0.0)
    time.sleep(0.01)
    assert queue_events.begin(launchpad.db, 5, fields)
    queue_events.settle(launchpad.db, 5)
    assert queue_events.begin(launchpad.db, 5, fields) is None


@pytest.mark.slurm
def test_what_the_user_reads_of_a_job(site):
    fw_id = site.add("true")
    job = site.submit()
    status = json.loads(site_command(site, "reconcile", "--json"))
    [row] = status["fireworks"]
    assert (row["fw_id"], row["job"], row["queue_state"], row["remedy"]) == (fw_id, job, "PENDING", None)
    queue = json.loads(site_command(site, "status", site.name, "--json"))["queue"]
    assert queue["categories"]["dft"]["jobs"] == {"PENDING": 1} and not queue["silent"]
    assert queue["categories"]["dft"]["reasons"] == {"JobHeldUser": 1}
    subprocess.run(["scancel", job], check=True)
    wait_until_gone(job)
    launch = site.launchpad.launches.find_one({"fw_id": fw_id})
    secret = "mongodb://me:SECRET@host/x cannot be reached"
    Path(launch["launch_dir"], f"x-{job}.error").write_text(f"slurmstepd: error: something\n{secret}\n")
    assert look(site) == 1
    story = site_command(site, "why", str(fw_id))
    assert f"job {job}: CANCELLED" in story and "again" in story and "SECRET" not in story
    assert "the job was cancelled" in story and "alpw pause" in story
    wrong = subprocess.run(command_of("why", "99"), cwd=site.folder, capture_output=True, text=True)
    assert wrong.returncode == 2 and "there is no Firework 99; ids go up to 1" in wrong.stderr


def command_of(*words):
    return [str(Path(sys.executable).with_name("alpw")), *words]


def site_command(site, *words):
    done = subprocess.run(command_of(*words), cwd=site.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
