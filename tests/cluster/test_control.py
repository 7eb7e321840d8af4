"""A campaign paused, stopped, killed and resumed, with arithmetic in place of its calculations."""

import time
from types import SimpleNamespace

import psutil
import pytest
from fireworks import Firework, FWAction, FWorker, ScriptTask, Workflow
from fireworks.core.rocket_launcher import launch_rocket, rapidfire
from typer.testing import CliRunner

from alpw.cli.main import app
from alpw.cluster import control, recovery, worker
from alpw.cluster.supervisor import CampaignStuck, Supervisor
from alpw.config import load_inputs
from alpw.config.resource import Resource
from alpw.database import campaigns, claims, iterations
from alpw.database.campaigns import CampaignState
from alpw.database.indexes import ensure_indexes
from alpw.database.summary import summarise
from alpw.errors import InputError
from alpw.firetasks.base import hold_back
from alpw.workflows.launch import start_final

NAME = "c"
RESOURCE = Resource.model_validate({"train": {}, "explore": {}, "dft": {}})


@pytest.fixture
def campaign(inputs, launchpad):
    """A running campaign whose only iteration has its workflow already."""
    ensure_indexes(launchpad.db)
    document = {"work_dir": str(inputs.folder), "resolved": {}, "starts": [], "start_structures": None}
    campaigns.create(launchpad.db, NAME, document)
    iterations.create(launchpad.db, NAME, 0, {"kind": "explore", "workflow": None})
    claims.confirm(launchpad.db[iterations.COLLECTION], {"campaign": NAME, "index": 0})
    return launchpad


def firework(script="true"):
    task = ScriptTask.from_str(script, {"fizzle_bad_rc": True})
    return Firework(task, spec={"campaign": NAME, "iteration": 0})


def add(launchpad, *fireworks, links=None):
    """Add one workflow and return the ids of its Fireworks in the same order."""
    temporary = [each.fw_id for each in fireworks]
    metadata = {"campaign": NAME, "iteration": 0, "kind": "explore"}
    new = launchpad.add_wf(Workflow(list(fireworks), links or {}, metadata=metadata))
    return [new[old] for old in temporary]


def states(launchpad):
    return sorted(document["state"] for document in launchpad.fireworks.find({"spec.campaign": NAME}))


def count_to(folder, name="counted"):
    """A script that leaves a line each time it runs."""
    return f"echo once >> {folder / name}"


def test_nothing_starts_while_paused_whoever_launches_and_everything_once_afterwards(campaign, inputs):
    first, second, third = (firework(count_to(inputs.folder)) for _ in range(3))
    add(campaign, first, second, third, links={first: [third], second: [third]})
    halted = control.halt(campaign, NAME, CampaignState.PAUSED)
    assert (halted.state, halted.held, halted.running) == ("paused", 3, 0)
    rapidfire(campaign, FWorker("by hand"), m_dir=str(inputs.folder), strm_lvl="CRITICAL")
    assert states(campaign) == ["PAUSED"] * 3 and not (inputs.folder / "counted").exists()
    assert not summarise(campaign.db, NAME).finished

    assert control.resume(campaign, NAME) == 3
    assert states(campaign) == ["READY", "READY", "WAITING"]
    rapidfire(campaign, FWorker("by hand"), m_dir=str(inputs.folder), sleep_time=1, strm_lvl="CRITICAL")
    assert (inputs.folder / "counted").read_text() == "once\n" * 3


def test_what_a_running_firework_appends_or_sets_free_waits_too(campaign, inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    running, child = firework(), firework()
    running_id, _ = add(campaign, running, child, links={running: [child]})
    _, launch = campaign.checkout_fw(FWorker("by hand"), str(tmp_path), fw_id=running_id)
    halted = control.halt(campaign, NAME, CampaignState.PAUSED)
    assert (halted.held, halted.running) == (1, 1)
    context = SimpleNamespace(db=campaign.db, campaign=NAME)
    action = hold_back(FWAction(additions=[Workflow([firework(), firework()])]), context)
    campaign.complete_launch(launch, action, "COMPLETED")
    assert states(campaign) == ["COMPLETED", "PAUSED", "PAUSED", "PAUSED"]
    param, resource = load_inputs(inputs.folder / "param.json", inputs.folder / "resource.json")
    resolved = {"param": param.model_dump(mode="json"), "resource": resource.model_dump(mode="json")}
    campaigns.update(campaign.db, NAME, resolved=resolved)
    start_final(campaign, NAME, 1, "converged", "done")
    assert iterations.get(campaign.db, NAME, 1)["workflow"] is None


def test_a_campaign_whose_last_firework_ends_while_it_is_held_has_ended(campaign):
    control.halt(campaign, NAME, CampaignState.STOPPED)
    campaigns.finish(campaign.db, NAME, CampaignState.CONVERGED, "done")
    assert campaigns.get(campaign.db, NAME)["state"] == "converged"
    with pytest.raises(InputError, match="converged already"):
        control.halt(campaign, NAME, CampaignState.PAUSED)
    with pytest.raises(InputError, match="--update"):
        control.resume(campaign, NAME)


def test_what_fizzled_is_not_tried_again_while_the_campaign_is_held(campaign, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add(campaign, firework("false"))
    launch_rocket(campaign, FWorker("by hand"), strm_lvl="CRITICAL")
    control.halt(campaign, NAME, CampaignState.STOPPED)
    assert states(campaign) == ["FIZZLED"]
    control.resume(campaign, NAME)
    recovery.recover(campaign, NAME, {}, alone=True)
    assert states(campaign) == ["READY"]


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_kill_ends_a_worker_with_what_it_started_and_puts_its_firework_back(campaign, inputs):
    pid_file = inputs.folder / "pid"
    [fw_id] = add(campaign, firework(f"sh -c 'echo $$ > {pid_file}; exec sleep 1000'"))
    worker.spawn(inputs.folder / "my_launchpad.yaml", NAME, inputs.folder)
    wait_until(lambda: pid_file.exists() and pid_file.read_text().strip())
    halted = control.halt(campaign, NAME, CampaignState.STOPPED, now=True)
    assert halted.state == "stopped" and len(halted.killed) == 1 and halted.workers == []
    assert not is_alive(int(pid_file.read_text())) and worker.living(inputs.folder) == []
    assert states(campaign) == ["PAUSED"] and recovery.runs(campaign, fw_id) == 0
    assert summarise(campaign.db, NAME).finished
    control.resume(campaign, NAME)
    assert states(campaign) == ["READY"]


def test_kill_waits_for_what_died_between_two_steps_of_a_checkout(campaign, monkeypatch):
    monkeypatch.setattr(recovery, "PATIENCE_ALONE", 1.0)
    add(campaign, firework())
    # The first of these steps.
    campaign._get_a_fw_to_run()
    assert states(campaign) == ["RESERVED"]
    halted = control.halt(campaign, NAME, CampaignState.STOPPED, now=True)
    assert (states(campaign), halted.held, halted.running) == (["PAUSED"], 1, 0)


@pytest.mark.parametrize("by_hand", ["pause_fw", "defuse_fw", "archive_wf"])
def test_the_supervisor_says_what_was_held_with_lpad(campaign, inputs, by_hand):
    [fw_id] = add(campaign, firework())
    getattr(campaign, by_hand)(fw_id)
    quiet = {"on_update": print, "on_trouble": print}
    watching = Supervisor(
        inputs.folder / "my_launchpad.yaml", NAME, inputs.folder, RESOURCE, 1, summarise, **quiet
    )
    words = {"pause_fw": "PAUSED", "defuse_fw": "DEFUSED", "archive_wf": "alpw rerun"}
    watching.tend(campaign)
    with pytest.raises(CampaignStuck, match=words[by_hand]):
        watching.tend(campaign)
    if by_hand != "archive_wf":
        assert control.resume(campaign, NAME) == 1 and states(campaign) == ["READY"]


def test_commands_name_unknown_campaigns_and_run_does_not_go_on_silently(inputs, launchpad, monkeypatch):
    monkeypatch.chdir(inputs.folder)

    def command(*words):
        return CliRunner().invoke(app, list(words))

    for name in ("pause", "status", "report"):
        unknown = command(name, "nobody")
        assert unknown.exit_code == 2 and "no campaign 'nobody'" in unknown.output
    run = ("run", "param.json", "resource.json", "--detach")
    assert command(*run).exit_code == 0
    assert command("pause", "tiny", "--json").exit_code == 0
    refused = command(*run)
    assert refused.exit_code == 2 and "alpw resume tiny" in refused.output
    resumed = command("resume", "tiny")
    assert resumed.exit_code == 0 and "alpw run" in resumed.output
    assert launchpad.fireworks.distinct("state") == ["READY"]


@pytest.mark.slow
def test_a_campaign_that_was_paused_and_killed_comes_to_what_an_undisturbed_one_does(inputs, launchpad):
    inputs.param["strategy"]["max_iterations"] = 1
    inputs.param["initial"]["perturb"] = 6
    inputs.write()
    command = ("alpw", "run", "param.json", "resource.json", "--workers", "2")
    db, watching = launchpad.db, inputs.popen(*command)

    def labelled():
        return db["configurations"].count_documents({"state": "labelled"})

    wait_until(lambda: labelled() >= 1, 240)
    control.halt(launchpad, "tiny", CampaignState.PAUSED)
    wait_until(lambda: not launchpad.fireworks.count_documents({"state": "RUNNING"}), 240)
    assert labelled() < 6 and watching.poll() is None and worker.living(inputs.folder)
    assert not set(launchpad.fireworks.distinct("state")) & {"READY", "RESERVED", "RUNNING"}
    control.resume(launchpad, "tiny")
    wait_until(lambda: db["models"].count_documents({}) >= 1, 240)
    halted = control.halt(launchpad, "tiny", CampaignState.STOPPED, now=True)
    assert halted.killed and not halted.workers and not halted.running
    assert watching.wait(60) == 0

    control.resume(launchpad, "tiny")
    done = inputs.command(*command, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert db["configurations"].distinct("state") == ["labelled"] and labelled() == 6 + 2 + 2
    assert [db["models"].count_documents({"iteration": index}) for index in (0, 1)] == [3, 3]
    assert launchpad.fireworks.distinct("state") == ["COMPLETED"]
    assert launchpad.workflows.count_documents({}) == 3
