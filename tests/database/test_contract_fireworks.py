"""FireWorks and GridFS on any MongoDB."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import gridfs
import pytest
from fireworks import Firework, FWorker, LaunchPad, PyTask, ScriptTask, Workflow
from fireworks.core.rocket_launcher import rapidfire
from pymongo.database import Database

from alpw.database.launchpad import prepare, write_launchpad_file

# imported by the rockets: the tests' own module has no importable name
TASKS = """
from pathlib import Path
from fireworks import Firework, FWAction, ScriptTask

def detour():
    return FWAction(detours=[Firework([ScriptTask.from_str("true")], name="detour")], update_spec={"gave": 7})

def needs(path):
    assert Path(path).exists(), "planned failure"

def big():
    return FWAction(stored_data={"blob": ["a" * 1000] * 20000})

def mark(path, tag):
    with open(path, "a") as stream:
        stream.write(f"{tag}\\n")
"""
WORKER = FWorker("worker")


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"alpw_contract_tasks_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
def launchpad(mongo: Database, mongo_uri: str) -> LaunchPad:
    launchpad = LaunchPad(host=mongo_uri, name=mongo.name, uri_mode=True, strm_lvl="ERROR")
    prepare(launchpad)
    return launchpad


def launch(launchpad: LaunchPad, directory: Path) -> None:
    (directory / "launches").mkdir(exist_ok=True)
    rapidfire(launchpad, WORKER, sleep_time=0, strm_lvl="CRITICAL", m_dir=str(directory / "launches"))


def states(launchpad: LaunchPad) -> dict[str, str]:
    return {firework["name"]: firework["state"] for firework in launchpad.fireworks.find()}


def test_a_workflow_runs_in_the_order_of_its_links(launchpad: LaunchPad, tmp_path: Path) -> None:
    script = ScriptTask.from_str("true")
    fireworks = [Firework([script], name=name, fw_id=i) for i, name in enumerate("abc", 1)]
    launchpad.add_wf(Workflow(fireworks, {1: [2], 2: [3]}, name="dag", metadata={"k": "v"}))
    assert states(launchpad) == {"a": "READY", "b": "WAITING", "c": "WAITING"}
    launch(launchpad, tmp_path)
    assert states(launchpad) == dict.fromkeys("abc", "COMPLETED")
    assert launchpad.get_wf_ids({"metadata.k": "v"}) == [1]
    starts = [launchpad.get_fw_by_id(i).launches[0].time_start for i in (1, 2, 3)]
    assert starts == sorted(starts)


def test_a_detour_runs_before_the_child(launchpad: LaunchPad, tasks: str, tmp_path: Path) -> None:
    parent = Firework([PyTask(func=f"{tasks}.detour")], name="parent", fw_id=1)
    child = Firework([ScriptTask.from_str("true")], name="child", fw_id=2)
    launchpad.add_wf(Workflow([parent, child], {1: [2]}))
    launch(launchpad, tmp_path)
    assert states(launchpad) == dict.fromkeys(("parent", "child", "detour"), "COMPLETED")
    detour = launchpad.fireworks.find_one({"name": "detour"})["fw_id"]
    assert launchpad.get_wf_by_fw_id(1).links[detour] == [2]
    assert launchpad.get_fw_by_id(2).spec["gave"] == 7


def test_a_fizzled_firework_runs_again(launchpad: LaunchPad, tasks: str, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    failing = Firework([PyTask(func=f"{tasks}.needs", args=[str(flag)])], name="failing", fw_id=1)
    launchpad.add_wf(
        Workflow([failing, Firework([ScriptTask.from_str("true")], name="after", fw_id=2)], {1: [2]})
    )
    launch(launchpad, tmp_path)
    assert states(launchpad) == {"failing": "FIZZLED", "after": "WAITING"}
    flag.touch()
    launchpad.rerun_fw(1)
    launch(launchpad, tmp_path)
    assert states(launchpad) == {"failing": "COMPLETED", "after": "COMPLETED"}
    assert len(launchpad.get_fw_by_id(1).archived_launches) == 1


def test_an_action_over_sixteen_megabytes_goes_to_gridfs(
    launchpad: LaunchPad, tasks: str, tmp_path: Path
) -> None:
    launchpad.add_wf(Firework([PyTask(func=f"{tasks}.big")], name="big"))
    launch(launchpad, tmp_path)
    assert states(launchpad) == {"big": "COMPLETED"}
    assert "gridfs_id" in launchpad.launches.find_one()["action"]
    assert len(launchpad.get_fw_by_id(1).launches[0].action.stored_data["blob"]) == 20000


def test_priority_and_category_choose_the_firework(launchpad: LaunchPad) -> None:
    for number in range(3):
        spec = {"_category": "gpu" if number == 1 else "cpu", "_priority": number}
        launchpad.add_wf(Firework([ScriptTask.from_str("true")], spec=spec, name=f"p{number}"))
    chosen = launchpad._get_a_fw_to_run(FWorker("any").query, checkout=False)
    assert chosen.name == "p2"
    assert launchpad._get_a_fw_to_run(FWorker("g", category="gpu").query, checkout=False).name == "p1"
    assert launchpad._get_a_fw_to_run(FWorker("t", category="tape").query, checkout=False) is None


def test_a_lost_run_is_found_and_rerun(launchpad: LaunchPad, tmp_path: Path) -> None:
    launchpad.add_wf(Firework([ScriptTask.from_str("true")], name="lost"))
    firework, launch_id = launchpad.checkout_fw(WORKER, str(tmp_path))
    assert states(launchpad) == {"lost": "RUNNING"}
    assert launchpad.detect_lostruns(expiration_secs=-1, rerun=True)[:2] == ([launch_id], [firework.fw_id])
    assert states(launchpad) == {"lost": "READY"}


def test_prepare_keeps_what_is_there(launchpad: LaunchPad) -> None:
    launchpad.add_wf(Firework([ScriptTask.from_str("true")]))
    prepare(launchpad)
    assert launchpad.get_fw_ids() == [1]
    assert launchpad.fw_id_assigner.count_documents({}) == 1
    assert launchpad.add_wf(Firework([ScriptTask.from_str("true")], fw_id=-1)) == {-1: 2}


def test_gridfs_returns_what_it_stored(mongo: Database) -> None:
    files = gridfs.GridFS(mongo, "models")
    blob = os.urandom(3 * 2**20 + 17)
    identifier = files.put(blob, filename="model.pt", metadata={"campaign": "a"})
    assert files.get(identifier).read() == blob
    assert [file._id for file in files.find({"metadata.campaign": "a"})] == [identifier]
    part = files.get(identifier)
    part.seek(2**20)
    assert part.read(10) == blob[2**20 : 2**20 + 10]
    files.delete(identifier)
    assert mongo["models.chunks"].count_documents({}) == 0


@pytest.mark.slow
def test_four_rlaunch_run_two_hundred_fireworks_once_each(
    launchpad: LaunchPad, mongo_uri: str, tasks: str, tmp_path: Path
) -> None:
    marks, count = tmp_path / "marks", 200
    for number in range(count):
        task = PyTask(func=f"{tasks}.mark", args=[str(marks), number])
        launchpad.add_wf(Firework([task], name=str(number)))
    file = write_launchpad_file(tmp_path / "my_launchpad.yaml", mongo_uri, launchpad.name)
    processes = []
    for number in range(4):
        directory = tmp_path / f"rlaunch{number}"
        directory.mkdir()
        command = [
            Path(sys.executable).with_name("rlaunch"),
            "-l",
            file,
            "-s",
            "rapidfire",
            "--nlaunches",
            "0",
        ]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        processes.append(subprocess.Popen(command, cwd=directory, env=environment, stdout=subprocess.DEVNULL))
    assert [process.wait(300) for process in processes] == [0] * 4
    assert Counter(marks.read_text().split()) == Counter(map(str, range(count)))
    assert Counter(states(launchpad).values()) == {"COMPLETED": count}
    assert launchpad.launches.count_documents({}) == count
