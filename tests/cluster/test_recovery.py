"""Repairs, each on the state that a killed process really leaves in the database."""

import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

import pytest
from fireworks import Firework, FWAction, FWorker, ScriptTask, Workflow
from fireworks.core.launchpad import WFLock
from fireworks.core.rocket_launcher import launch_rocket

from alpw.cluster import locks, recovery
from alpw.cluster.queue.held import fizzle_launch
from alpw.database import campaigns, claims, iterations, queue_events
from alpw.database.indexes import ensure_indexes
from alpw.database.owner import WORKER_PREFIX, process_identity
from alpw.errors import AlpwError

NAME = "c"


@pytest.fixture
def campaign(launchpad):
    """A running campaign whose only iteration has its workflow already."""
    ensure_indexes(launchpad.db)
    campaigns.create(launchpad.db, NAME, {"work_dir": "/nowhere"})
    iterations.create(launchpad.db, NAME, 0, {"kind": "explore", "workflow": None})
    claims.confirm(launchpad.db[iterations.COLLECTION], {"campaign": NAME, "index": 0})
    return launchpad


@pytest.fixture
def corpse():
    """Identity of a process of this host that has died."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identity = process_identity(process.pid)
        process.kill()
    return identity


def firework(script="true", campaign=NAME, **spec):
    task = ScriptTask.from_str(script, {"fizzle_bad_rc": True})
    return Firework(task, spec={"campaign": campaign, **spec})


def add(launchpad, *fireworks, links=None, campaign=NAME):
    """Add one workflow and return the ids of its Fireworks in the same order."""
    temporary = [each.fw_id for each in fireworks]
    metadata = {"campaign": campaign, "iteration": 0, "kind": "explore"}
    workflow = Workflow(list(fireworks), links or {}, metadata=metadata)
    new = launchpad.add_wf(workflow)
    return [new[old] for old in temporary]


def run_one(launchpad, folder, monkeypatch, name="hand"):
    monkeypatch.chdir(folder)
    return launch_rocket(launchpad, FWorker(name), strm_lvl="CRITICAL")


def state(launchpad, fw_id):
    return launchpad.fireworks.find_one({"fw_id": fw_id})["state"]


def recover(launchpad, locked_since=None, alone=False):
    found = recovery.recover(launchpad, NAME, {} if locked_since is None else locked_since, alone=alone)
    return {what: count for what, count in found.items() if count}


def test_a_healthy_campaign_is_left_alone(campaign):
    [ready] = add(campaign, firework())
    before = campaign.fireworks.find_one({"fw_id": ready})
    assert recover(campaign) == {}
    assert campaign.fireworks.find_one({"fw_id": ready}) == before


def test_a_stale_lock_is_released_after_the_patience_and_not_before(campaign, monkeypatch):
    monkeypatch.setattr(recovery, "PATIENCE", 0.3)
    [fw_id] = add(campaign, firework())
    campaign.workflows.update_one({"nodes": fw_id}, {"$set": {"locked": True}})
    seen = {}
    assert recover(campaign, seen) == {} and len(seen) == 1
    [workflow] = seen
    seen[workflow] -= 0.3
    assert recover(campaign, seen) == {"locks": 1}
    with WFLock(campaign, fw_id, expire_secs=1, kill=False):
        pass


def test_a_lock_of_a_dead_process_is_not_waited_for(campaign, corpse, tmp_path, monkeypatch):
    monkeypatch.setattr(recovery, "PATIENCE_ALONE", 0.3)
    # Whoever asks for the lock that the dead process left behind would wait, and then raise.
    monkeypatch.setattr(WFLock.__init__, "__defaults__", (0.1, False))
    [fw_id] = add(campaign, firework())
    campaign.checkout_fw(FWorker(WORKER_PREFIX + corpse), str(tmp_path))
    campaign.workflows.update_one({"nodes": fw_id}, {"$set": {"locked": True}})
    seen = {}
    assert recover(campaign, seen, alone=True) == {}
    seen = dict.fromkeys(seen, next(iter(seen.values())) - 0.3)
    assert recover(campaign, seen, alone=True) == {"locks": 1, "lost": 1}
    assert state(campaign, fw_id) == "READY"


def test_a_lock_that_was_given_back_in_between_starts_a_new_patience(campaign):
    [fw_id] = add(campaign, firework())
    campaign.workflows.update_one({"nodes": fw_id}, {"$set": {"locked": True}})
    seen = {}
    recover(campaign, seen)
    campaign.workflows.update_one({"nodes": fw_id}, {"$unset": {"locked": 1}})
    recover(campaign, seen)
    assert seen == {}


def age(launchpad, fw_id, seconds):
    created = (datetime.now(timezone.utc) - timedelta(seconds=seconds)).replace(tzinfo=None)
    launchpad.fireworks.update_one({"fw_id": fw_id}, {"$set": {"created_on": created.isoformat()}})


def test_a_firework_without_workflow_is_deleted_once_it_is_old(campaign):
    [orphan] = add(campaign, firework())
    [child] = add(campaign, firework())
    campaign.workflows.delete_one({"nodes": orphan})
    age(campaign, child, 1000)
    assert recover(campaign) == {}
    age(campaign, orphan, 1000)
    assert recover(campaign) == {"orphans": 1}
    assert [document["fw_id"] for document in campaign.fireworks.find()] == [child]


def test_a_firework_of_a_dead_worker_runs_again(campaign, corpse, tmp_path):
    [fw_id] = add(campaign, firework())
    _, launch_id = campaign.checkout_fw(FWorker(WORKER_PREFIX + corpse), str(tmp_path))
    assert state(campaign, fw_id) == "RUNNING"
    assert recover(campaign) == {"lost": 1}
    assert state(campaign, fw_id) == "READY"
    assert campaign.launches.find_one({"launch_id": launch_id})["state"] == "FIZZLED"
    assert recover(campaign) == {}


def test_the_last_firework_of_an_ended_campaign_is_completed_for_its_dead_worker(campaign, corpse, tmp_path):
    [fw_id] = add(campaign, firework(task="FinishCampaign"))
    campaign.checkout_fw(FWorker(WORKER_PREFIX + corpse), str(tmp_path))
    assert recovery.close_ended(campaign, NAME) == 0
    campaigns.finish(campaign.db, NAME, campaigns.CampaignState.CONVERGED, "done")
    assert recovery.close_ended(campaign, NAME) == 1
    assert state(campaign, fw_id) == "COMPLETED"
    assert campaign.workflows.find_one({"nodes": fw_id})["state"] == "COMPLETED"


def test_a_firework_of_a_living_worker_is_left_to_it(campaign, tmp_path):
    [fw_id] = add(campaign, firework())
    campaign.checkout_fw(FWorker(WORKER_PREFIX + process_identity()), str(tmp_path))
    assert recover(campaign) == {} and state(campaign, fw_id) == "RUNNING"


def test_a_firework_of_a_worker_on_another_host_is_left_to_it(campaign, tmp_path):
    [fw_id] = add(campaign, firework())
    campaign.checkout_fw(FWorker(WORKER_PREFIX + "another-host/1/1"), str(tmp_path))
    assert recover(campaign) == {} and state(campaign, fw_id) == "RUNNING"


def test_an_rlaunch_by_hand_is_lost_only_when_its_heartbeat_stopped(campaign, tmp_path, monkeypatch):
    [fw_id] = add(campaign, firework())
    campaign.checkout_fw(FWorker("hand"), str(tmp_path))
    assert recover(campaign) == {} and state(campaign, fw_id) == "RUNNING"
    monkeypatch.setattr(recovery, "RUN_EXPIRATION_SECS", 0)
    assert recover(campaign) == {"lost": 1} and state(campaign, fw_id) == "READY"


def test_other_campaigns_are_not_touched(campaign, corpse, tmp_path):
    [other] = add(campaign, firework(campaign="other"), campaign="other")
    campaign.checkout_fw(FWorker(WORKER_PREFIX + corpse), str(tmp_path))
    campaign.workflows.update_one({"nodes": other}, {"$set": {"locked": True}})
    seen = {}
    recover(campaign, seen)
    assert seen == {} and state(campaign, other) == "RUNNING"


def test_a_checkout_cut_short_is_undone(campaign, monkeypatch):
    """FireWorks marks a Firework RESERVED before it has a launch; die in between."""

    def die(*_):
        raise KeyboardInterrupt

    [fw_id] = add(campaign, firework())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(campaign, "get_new_launch_id", die)
        campaign.checkout_fw(FWorker("any"), "/nowhere")
    assert state(campaign, fw_id) == "RESERVED"
    assert recover(campaign) == {}
    monkeypatch.setattr(recovery, "PATIENCE", 0.0)
    assert recover(campaign) == {"lost": 1}
    assert state(campaign, fw_id) == "READY"


def test_a_reservation_for_the_queue_is_no_checkout_cut_short(campaign, tmp_path, monkeypatch):
    monkeypatch.setattr(recovery, "PATIENCE", 0.0)
    [fw_id] = add(campaign, firework())
    campaign.reserve_fw(FWorker("any"), str(tmp_path))
    assert recover(campaign) == {} and state(campaign, fw_id) == "RESERVED"


def test_a_fizzled_firework_runs_at_most_the_allowed_times(campaign, tmp_path, monkeypatch):
    parent, child = firework("false"), firework()
    fw_id, waiting = add(campaign, parent, child, links={parent: [child]})
    for count in range(1, recovery.MAX_RUNS + 1):
        run_one(campaign, tmp_path, monkeypatch)
        assert state(campaign, fw_id) == "FIZZLED" and state(campaign, waiting) == "WAITING"
        assert recovery.runs(campaign, fw_id) == count
        assert recover(campaign) == ({"fizzled": 1} if count < recovery.MAX_RUNS else {})
    assert state(campaign, fw_id) == "FIZZLED"


def test_a_refused_submission_is_no_run(campaign, tmp_path):
    [fw_id] = add(campaign, firework())
    for _ in range(recovery.MAX_RUNS):
        _, launch_id = campaign.reserve_fw(FWorker("queue"), str(tmp_path))
        campaign.cancel_reservation(launch_id)
    assert recovery.runs(campaign, fw_id) == 0
    _, launch_id = campaign.reserve_fw(FWorker("queue"), str(tmp_path))
    campaign.set_reservation_id(launch_id, 17)
    campaign.cancel_reservation(launch_id)
    assert recovery.runs(campaign, fw_id) == 1


def test_a_fizzled_firework_whose_children_went_on_is_left_alone(campaign, tmp_path, monkeypatch):
    parent, child = firework("false"), firework(_allow_fizzled_parents=True)
    fw_id, _ = add(campaign, parent, child, links={parent: [child]})
    run_one(campaign, tmp_path, monkeypatch)
    assert recover(campaign) == {} and state(campaign, fw_id) == "FIZZLED"


def test_the_reason_of_a_failure_is_its_last_line_and_its_folder(campaign, tmp_path, monkeypatch):
    [fw_id] = add(campaign, firework("false"))
    run_one(campaign, tmp_path, monkeypatch)
    [(firework_id, reason)] = recovery.failure_reasons(campaign, NAME).items()
    assert firework_id.startswith(f"{fw_id} ")
    assert "ScriptTask fizzled" in reason and str(tmp_path) in reason and "\n" not in reason


def test_the_claim_of_a_dead_process_to_add_a_workflow_is_released(campaign, corpse):
    iterations.update(campaign.db, NAME, 0, workflow={"adding": corpse})
    add(campaign, firework())
    recover(campaign)
    # Released, taken by this process, and confirmed, because the workflow turned out to be there.
    assert "added" in iterations.get(campaign.db, NAME, 0)["workflow"]
    assert campaign.workflows.count_documents({}) == 1


def test_the_claim_of_a_living_process_is_respected(campaign):
    iterations.update(campaign.db, NAME, 0, workflow={"adding": process_identity()})
    recover(campaign)
    assert iterations.get(campaign.db, NAME, 0)["workflow"] == {"adding": process_identity()}


def test_active_counts_by_category(campaign):
    add(campaign, firework(_category="dft"), firework(_category="dft"), firework(_category="light"))
    counts = [recovery.active(campaign, NAME, categories) for categories in ((), ["dft"], ["train", "light"])]
    assert counts == [3, 2, 1]


@pytest.mark.parametrize("spawns", [False, True], ids=["children become ready", "new Fireworks are added"])
@pytest.mark.parametrize("alone", [True, False])
def test_a_change_of_a_workflow_that_was_cut_short_is_done_again(
    campaign, tmp_path, monkeypatch, spawns, alone
):
    """FireWorks writes Fireworks one by one, and last the workflow that knows them; die before that."""

    def die(*_, **__):
        raise KeyboardInterrupt

    parent, child = firework(), firework()
    fw_id, waiting = add(campaign, parent, child, links={parent: [child]})
    _, launch_id = campaign.checkout_fw(FWorker("any"), str(tmp_path))
    action = FWAction(detours=[firework()] if spawns else None)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(campaign.workflows, "find_one_and_replace", die)
        campaign.complete_launch(launch_id, action)
    assert state(campaign, fw_id) == "COMPLETED"
    [workflow] = campaign.workflows.find()
    assert set(workflow["nodes"]) == {fw_id, waiting}
    assert workflow["fw_states"][str(fw_id)] == "RUNNING"
    campaign.workflows.update_one({"_id": workflow["_id"]}, {"$set": {"locked": True}})
    monkeypatch.setattr(recovery, "PATIENCE_ALONE" if alone else "PATIENCE", 0.0)

    assert recover(campaign, alone=alone) == {"locks": 1} | ({"orphans": 1} if spawns else {})
    assert recover(campaign, alone=alone) == {}
    ids = {document["fw_id"]: document["state"] for document in campaign.fireworks.find()}
    assert ids.pop(fw_id) == "COMPLETED" and ids.pop(waiting) == ("WAITING" if spawns else "READY")
    assert list(ids.values()) == (["READY"] if spawns else [])
    while run_one(campaign, tmp_path, monkeypatch):
        pass
    assert campaign.fireworks.distinct("state") == ["COMPLETED"]
    assert campaign.workflows.find_one()["state"] == "COMPLETED"


def test_a_lock_of_a_slow_process_is_broken_later_than_that_of_a_dead_one(
    campaign, corpse, tmp_path, monkeypatch
):
    def die(*_, **__):
        raise KeyboardInterrupt

    def release(holder, seconds):
        [fw_id] = add(campaign, firework(campaign=holder), campaign=holder)
        _, launch_id = campaign.checkout_fw(FWorker(WORKER_PREFIX + holder), str(tmp_path), fw_id=fw_id)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(campaign.workflows, "find_one_and_replace", die)
            campaign.complete_launch(launch_id, FWAction())
        held = campaign.workflows.find_one_and_update({"nodes": fw_id}, {"$set": {"locked": True}})
        since = {(held["_id"], held["updated_on"]): time.monotonic() - seconds}
        return locks.release_stale(campaign, holder, since, recovery.PATIENCE)[0]

    assert release(corpse, recovery.PATIENCE) == 1
    living = process_identity()
    assert release(living, recovery.PATIENCE) == 0
    campaign.workflows.delete_many({"metadata.campaign": living})
    assert release(living, locks.PATIENCE_LIVING) == 1


def test_workflows_learn_of_launches_that_ended_while_they_were_locked(campaign, tmp_path, monkeypatch):
    """Who ends a launch and does not get the lock gives up, or raises; the launch has its end by then."""
    monkeypatch.setattr(recovery, "PATIENCE", 0.0)
    monkeypatch.setattr(locks, "BRIEF", 0.1)
    done, child, failed, cancelled = firework(), firework(), firework(), firework()
    fireworks = [done, child, failed, cancelled]
    ids = add(campaign, *fireworks, links={done: [child]})
    launch = {}
    for fw_id in (ids[0], ids[2]):
        launch[fw_id] = campaign.checkout_fw(FWorker("any"), str(tmp_path), fw_id=fw_id)[1]
    launch[ids[3]] = campaign.reserve_fw(FWorker("any"), str(tmp_path), fw_id=ids[3])[1]
    campaign.workflows.update_many({}, {"$set": {"locked": True}})
    with locks.brief_waits():
        campaign.complete_launch(launch[ids[0]], FWAction())
        campaign.complete_launch(launch[ids[2]], FWAction(), "FIZZLED")
    with pytest.raises(AlpwError, match=r"a workflow is locked.* try again in a minute"), locks.brief_waits():
        campaign.cancel_reservation(launch[ids[3]])
    assert [state(campaign, fw_id) for fw_id in ids] == ["RUNNING", "WAITING", "RUNNING", "RESERVED"]
    campaign.workflows.update_many({}, {"$unset": {"locked": 1}})
    assert recover(campaign) == {"ends": 3, "fizzled": 1}
    assert [state(campaign, fw_id) for fw_id in ids] == ["COMPLETED", "READY", "READY", "READY"]
    assert recover(campaign) == {}


def test_a_firework_that_was_half_taken_back_runs_again_and_its_collector_does_not_begin(
    campaign, tmp_path, monkeypatch
):
    monkeypatch.setattr(recovery, "PATIENCE", 0.0)
    taken, collector = firework(), firework(_allow_fizzled_parents=True)
    ids = add(campaign, taken, collector, links={taken: [collector]})
    _, launch = campaign.checkout_fw(FWorker("any"), str(tmp_path), fw_id=ids[0])
    event = queue_events.begin(campaign.db, launch, {"fw_id": ids[0], "remedy": "again"})
    fizzle_launch(campaign, launch)
    assert [state(campaign, fw_id) for fw_id in ids] == ["RUNNING", "WAITING"]
    assert recover(campaign) == {"ends": 1}
    assert [state(campaign, fw_id) for fw_id in ids] == ["READY", "WAITING"]
    assert queue_events.of_firework(campaign.db, ids[0])[event["_id"]]["settled"]


@pytest.mark.parametrize("spawns", [False, True], ids=["children become ready", "new Fireworks are added"])
def test_a_change_that_another_holder_of_the_lock_wrote_over_is_done_again(
    campaign, tmp_path, monkeypatch, spawns
):
    """One process is slow, its lock is broken, another one changes the workflow, and the slow one goes on."""
    slow, quick, child = firework(), firework(), firework()
    ids = add(campaign, slow, quick, child, links={slow: [child], quick: [child]})
    [of_slow, of_quick] = [campaign.checkout_fw(FWorker("any"), str(tmp_path), fw_id=i)[1] for i in ids[:2]]
    replace = campaign.workflows.find_one_and_replace

    def late(query, document):
        monkeypatch.undo()
        campaign.workflows.update_one(query, {"$unset": {"locked": 1}})
        campaign.complete_launch(of_quick, FWAction(detours=[firework()] if spawns else None))
        return replace(query, document)

    monkeypatch.setattr(campaign.workflows, "find_one_and_replace", late)
    campaign.complete_launch(of_slow, FWAction())
    assert [state(campaign, fw_id) for fw_id in ids] == ["COMPLETED", "COMPLETED", "WAITING"]
    if spawns:
        # Which no workflow knows.
        age(campaign, max(ids) + 1, 1000)
    assert recover(campaign) == ({"orphans": 1} if spawns else {})
    monkeypatch.setattr(recovery, "PATIENCE", 0.0)
    assert recover(campaign) == {"changes": 1}
    assert recover(campaign) == {}
    while run_one(campaign, tmp_path, monkeypatch):
        pass
    assert campaign.fireworks.distinct("state") == ["COMPLETED"]
    assert campaign.fireworks.count_documents({}) == 3 + spawns
    assert campaign.workflows.find_one()["state"] == "COMPLETED"


def test_a_job_that_takes_long_to_load_its_firework_keeps_it(campaign):
    """Its launcher marks the Firework, imports torch for a minute, and only then says that it runs."""
    (fw_id,) = add(campaign, firework())
    campaign.reserve_fw(FWorker("a job's"), "/nowhere", fw_id=fw_id)
    long_ago = datetime.now(timezone.utc) - timedelta(hours=1)
    campaign.fireworks.update_one({"fw_id": fw_id}, {"$set": {"updated_on": long_ago}})
    recovery.recover(campaign, NAME, {}, alone=False)
    assert state(campaign, fw_id) == "RESERVED"
