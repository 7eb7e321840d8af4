"""What is written for `qlaunch` and `rlaunch`, and what is asked for in a Firework's own spec."""

import json
import shlex
import subprocess

import pytest
from fireworks import FWorker
from fireworks.utilities.fw_serializers import load_object_from_file
from monty.serialization import loadfn

from alpw.cluster.queue.adapter import SlurmAdapter
from alpw.cluster.queue.files import write_all, write_queue_files
from alpw.config import load_inputs
from alpw.config.resource import InitResource, Resource
from alpw.errors import InputError
from tests.firetasks.arithmetic import Arithmetic

QUEUED = {"queue_name": "debug"}
COMMAND = "mpirun -np $SLURM_NTASKS vasp_std"


def written(folder, model=Resource, **blocks):
    content = {"train": {}, "explore": {}, "dft": {}, "commands": {"dft": "vasp_cmd"}, **blocks}
    return write_all(folder / "my_launchpad.yaml", "Si", folder, model.model_validate(content))


def test_a_block_with_a_queue_has_an_fworker_with_its_command_and_all_that_falls_back_to_it(tmp_path):
    blocks = {"dft": QUEUED | {"command": COMMAND}, "aimd": QUEUED, "train": QUEUED}
    # What the campaign has no use for has no worker.
    assert set(written(tmp_path, **blocks)) == {"train", "dft"}
    files = written(tmp_path, InitResource, **blocks)
    assert set(files) == {"dft", "aimd"}
    worker = FWorker.from_file(str(files["dft"].fworker))
    assert (worker.name, worker.category) == ("Si-dft", ["dft", "relax", "scf"])
    assert worker.env == {"vasp_cmd": COMMAND}
    assert worker.query["spec.campaign"] == "Si"
    assert loadfn(files["aimd"].fworker)["env"] == {}
    light = FWorker.from_file(str(tmp_path / "queue" / "my_fworker_light.yaml"))
    assert light.category == ["train", "explore", "kpu", "direct", "light"] and light.name not in {
        "Si-light",
        "Si-dft",
    }


def test_files_are_written_only_when_they_change_and_none_without_a_queue(tmp_path):
    assert written(tmp_path) == {} and not (tmp_path / "queue").exists()
    written(tmp_path, dft=QUEUED)
    before = {path: path.stat().st_ino for path in (tmp_path / "queue").iterdir()}
    changed = written(tmp_path, dft=QUEUED | {"memory": "4G"})["dft"].qadapter
    after = {path: path.stat().st_ino for path in (tmp_path / "queue").iterdir()}
    assert {path for path in before if before[path] != after[path]} == {changed}


def test_a_further_cluster_has_fworkers_of_other_names_and_no_bookkeeping(tmp_path):
    resource = Resource.model_validate({"train": {}, "explore": {}, "dft": QUEUED})
    files = write_queue_files(tmp_path, tmp_path / "my_launchpad.yaml", "Si", resource, "north")
    assert loadfn(files["dft"].fworker)["name"] == "Si-dft@north"
    assert not (tmp_path / "my_fworker_light.yaml").exists()
    assert "FWORKER_LOC" not in loadfn(tmp_path / "FW_config.yaml")


def test_the_script_names_the_firework_and_leaves_shell_and_folders_as_they_are(tmp_path):
    folder = tmp_path / "it's here; $(touch x)"
    lines = ["export TMPDIR=/tmp/$$", "echo '$${queue}'"]
    file = written(folder, dft=QUEUED | {"env_list": lines})["dft"].qadapter
    adapter = load_object_from_file(str(file))
    assert isinstance(adapter, SlurmAdapter)
    # As FireWorks does with what it has reserved.
    adapter.update(job_name="label_chunk_0", **{"mem": "8G"})
    adapter["rocket_launch"] += " --fw_id 17"
    script = load_object_from_file(str(file)).from_dict(adapter.to_dict()).get_script_str(str(folder))
    found = script.splitlines()
    assert {"#SBATCH --job-name=label_chunk_0-17", "#SBATCH --mem=8G"} <= set(found)
    assert "#SBATCH --output=label_chunk_0-17-%j.out" in found
    assert set(lines) <= set(found) and f"cd {shlex.quote(str(folder))}" in found
    launcher = next(line for line in found if "singleshot" in line)
    assert shlex.split(launcher)[2] == str(folder / "my_launchpad.yaml")
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=True).returncode == 0


def test_a_line_break_in_a_spec_does_not_reach_the_script(tmp_path):
    adapter = load_object_from_file(str(written(tmp_path, dft=QUEUED)["dft"].qadapter))
    adapter.update(mem="8G\nrm -r /")
    with pytest.raises(InputError, match=r"mem: .* has a line break"):
        adapter.get_script_str(str(tmp_path))


def test_specs_hold_no_command_and_ask_for_what_the_size_needs(launchpad, inputs, monkeypatch):
    monkeypatch.chdir(inputs.folder)
    arithmetic = Arithmetic(launchpad, inputs, monkeypatch)
    rule = {"above": 1, "number_node": 2, "walltime": "9:00:00"}
    for name in ("train", "explore", "dft"):
        inputs.resource[name] = {"command": f"the_command_of_{name}", "by_atoms": [rule]}
    arithmetic.deviations = {0: [0.2] * 4 + [0.05] * 6}
    arithmetic.start()
    arithmetic.run(nlaunches=12)
    param, resource = load_inputs(inputs.folder / "param.json", inputs.folder / "resource.json")
    assert resource.environment("dft") == {f"{param.dft.dft_style}_cmd": "the_command_of_dft"}
    specs = [firework["spec"] for firework in launchpad.fireworks.find()]
    assert {spec["task"] for spec in specs} >= {"TrainModels", "ExploreTrajectories", "LabelChunk"}
    assert "the_command_of" not in json.dumps(specs, default=str)
    for workflow in launchpad.workflows.find():
        assert "the_command_of" not in json.dumps(workflow, default=str)
    asked = {spec["task"]: spec.get("_queueadapter") for spec in specs}
    large = {"nodes": 2, "walltime": "9:00:00"}
    assert asked["LabelChunk"] == asked["ExploreTrajectories"] == large
    assert asked["TrainModels"] is asked["SelectCandidates"] is None
