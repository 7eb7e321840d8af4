from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alpw.config import Resource, load_inputs, load_resource
from alpw.config.load import load_init_resource
from alpw.config.resource import BLOCKS
from alpw.errors import InputError
from alpw.workflows.request import request_for


def read(tmp_path: Path, **blocks: Any) -> Resource:
    (tmp_path / "resource.json").write_text(json.dumps({"train": {}, "explore": {}, "dft": {}, **blocks}))
    return load_resource(tmp_path / "resource.json")


def test_empty_blocks_run_one_calculation_per_job_without_a_command(tmp_path: Path) -> None:
    block = read(tmp_path).dft
    assert (block.command, block.group_size, block.parallel_num, block.queue_name) == (None, 1, 1, None)
    assert (block.number_node, block.cpu_per_node, block.gpu_per_node) == (1, 1, 0)


def test_the_predecessors_block_keeps_its_values(tmp_path: Path) -> None:
    block = {
        "command": "mpirun -np 4 cp2k.popt",
        "group_size": -1,
        "parallel_num": 2,
        "number_node": 1,
        "gpu_per_node": 4,
        "cpu_per_node": 4,
        "queue_name": "3080ti, 1080ti ,new",
        "custom_flags": ["#SBATCH -x gn18"],
        "module_list": "cuda/11.6",
        "task_run_num": 3,
    }
    resource = read(tmp_path, DFT=block, dft=block)
    assert resource.dft.command == block["command"]
    assert resource.dft.queue_name == "3080ti,1080ti,new"
    assert resource.dft.module_list == ["cuda/11.6"]
    assert resource.dft.group_size == -1
    assert resource.notes == [
        "dft.task_run_num: has no effect: the predecessor ignores it too",
        "dft.custom_flags: -x is taken for exclude_nodes",
    ]
    assert (resource.dft.exclude_nodes, resource.dft.custom_flags) == ("gn18", [])


def test_flags_that_have_keys_here_are_taken_for_these(tmp_path: Path) -> None:
    flags = ["#SBATCH --time=23:0:0 --mem=0", " ", "# nodes", "-C new -N 2", "#SBATCH --array=1-5"]
    resource = read(tmp_path, dft={"queue_name": "cpu", "custom_flags": flags, "walltime": "23:00:00"})
    block = resource.dft
    assert (block.walltime, block.memory, block.number_node) == ("23:00:00", "0", 2)
    assert block.custom_flags == ["-C new"]
    assert resource.notes[:2] == [
        "dft.custom_flags: --time is taken for walltime",
        "dft.custom_flags: --mem is taken for memory",
    ]
    assert resource.notes[3] == "dft.custom_flags: --array is left out: how a job is submitted is ALPW's"


def test_the_command_of_training_is_reported_as_unused(tmp_path: Path) -> None:
    resource = read(tmp_path, train={"command": "PWMLFF"})
    assert resource.notes == ["train.command: has no effect: models are trained by ALPW itself"]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"group_size": 0}, "dft.group_size: 0 calculations per job"),
        ({"group_size": -2}, "dft.group_size: -2 must be at least -1"),
        ({"group_size": "all"}, "dft.group_size: 'all' is not a whole number"),
        ({"cpu_per_node": 0}, "dft.cpu_per_node: 0 must be at least 1"),
        ({"command": " "}, "dft.command: is empty"),
        ({"command": "mpirun -np 8 cp2k", "cpu_per_node": 4}, "dft.command: starts 8 processes"),
        ({"walltime": "10"}, "dft.walltime: '10' is not HH:MM:SS or D-HH:MM:SS, e.g. 24:00:00"),
        ({"queue": "cpu"}, "dft.queue: unknown key, did you mean 'queue_name'?"),
        ({"gpu_per_nod": 1}, "dft.gpu_per_nod: unknown key, did you mean 'gpu_per_node'?"),
        ({"queue_name": "cpu\n#SBATCH -A x"}, "dft.queue_name: 'cpu\\n#SBATCH -A x' is not one word"),
        ({"queue_name": "debug labels"}, "dft.queue_name: 'debug labels' is not one word; several"),
        ({"queue_name": "labels,,debug"}, "dft.queue_name: 'labels,,debug' has a comma without"),
        ({"command": "xtb | tee x"}, "dft.command: 'xtb | tee x' holds the shell operator '|'"),
        ({"command": 'xtb "a'}, "dft.command: 'xtb \"a' has a quote"),
        ({"walltime": "10:99:00"}, "dft.walltime: '10:99:00' has more than 59 minutes"),
        ({"max_memory": "0G"}, "dft.max_memory: '0G' is no memory"),
        ({"gpu_type": "a100"}, "dft.gpu_type: asks for no card without gpu_per_node"),
        ({"custom_flags": ["node1"]}, "dft.custom_flags[0]: 'node1' is no option of sbatch"),
        (
            {"walltime": "1:00:00", "custom_flags": ["--exclusive", "#SBATCH -C new -t 10"]},
            "dft.custom_flags[1]: -t asks for walltime 00:10:00, walltime is 1:00:00; leave one out",
        ),
        (
            {"custom_flags": ["-t 10", "#SBATCH --time=20"]},
            "dft.custom_flags[1]: --time asks for walltime 00:20:00, walltime is 00:10:00",
        ),
        ({"custom_flags": ["--time=UNLIMITED"]}, "dft.custom_flags[0]: --time UNLIMITED is not understood"),
        ({"command": "cd /tmp; xtb"}, "dft.command: 'cd /tmp; xtb' holds the shell operator '/tmp;'"),
        ({"command": "OMP_NUM_THREADS=1 xtb"}, "dft.command: 'OMP_NUM_THREADS=1 xtb' begins with a variable"),
        ({"account": "a b"}, "dft.account: 'a b' is not one word"),
        ({"exclude_nodes": "n1 n2"}, "dft.exclude_nodes: 'n1 n2'"),
        (
            {"custom_flags": ["-x /bad"]},
            "dft.custom_flags[0]: -x /bad is not understood; write it as exclude",
        ),
        ({"env_list": ["a", "b\nc"]}, "dft.env_list[1]: 'b\\nc' is not one line"),
        ({"custom_flags": ["-x gn18\r\nrm"]}, "dft.custom_flags[0]: '-x gn18\\r\\nrm' is not one line"),
        ({"memory": "4G\n"}, "dft.memory: '4G\\n' is not a whole number with K, M, G or T"),
        ({"memory": "4G", "max_memory": "4000M"}, "dft.max_memory: 4000M is less than memory, 4G"),
        ({"by_atoms": [{"above": 9}]}, "dft.by_atoms[0]: asks for nothing"),
        ({"by_atoms": [{"above": 9, "memory": "4G", "queue": "x"}]}, "dft.by_atoms[0].queue: unknown key"),
        (
            {"by_atoms": [{"above": 9, "number_node": 2}, {"above": 9, "number_node": 4}]},
            "dft.by_atoms[1].above: 9 after 9; sort the rules",
        ),
        (
            {
                "walltime": "1:00:00",
                "by_atoms": {"above": 9, "walltime": "9:00:00"},
                "max_walltime": "2:00:00",
            },
            "dft.max_walltime: 2:00:00 is less than walltime, 9:00:00",
        ),
    ],
)
def test_wrong_values_are_errors_with_their_key(tmp_path: Path, block: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        read(tmp_path, dft=block)
    assert str(raised.value).startswith(f"{tmp_path / 'resource.json'}: {message}")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("command", ["mpirun -np $SLURM_NTASKS ${UNSET}", "srun cp2k", "mpirun -np 4 cp2k"])
def test_commands_that_fit_the_job_are_accepted(tmp_path: Path, command: str) -> None:
    assert (
        read(tmp_path, dft={"command": command, "cpu_per_node": 2, "number_node": 2}).dft.command == command
    )


@pytest.mark.parametrize("walltime", ["00:30:00", "24:00:00", "2-12:00:00"])
def test_walltimes_of_slurm_are_accepted(tmp_path: Path, walltime: str) -> None:
    assert read(tmp_path, dft={"walltime": walltime}).dft.walltime == walltime


def test_the_last_rule_that_a_size_exceeds_counts(tmp_path: Path) -> None:
    rules = [{"above": 100, "number_node": 2, "memory": "8G"}, {"above": 300, "number_node": 4}]
    block = read(tmp_path, dft={"memory": "4G", "gpu_per_node": 1, "by_atoms": rules}).dft
    asked = {n: block.sized(n) for n in (100, 101, 301)}
    assert [(b.number_node, b.memory) for b in asked.values()] == [(1, "4G"), (2, "8G"), (4, "4G")]
    assert request_for(block, [8, 101]) == {"nodes": 2, "mem": "8G"} and request_for(block, [8]) == {}


def test_a_kind_of_work_without_a_block_of_its_own_runs_by_another(tmp_path: Path) -> None:
    resource = read(tmp_path, dft={"cpu_per_node": 8}, aimd={"cpu_per_node": 4}, kpu={"gpu_per_node": 1})
    assert {kind: resource.category(kind) for kind in BLOCKS} == {
        "train": "train",
        "explore": "explore",
        "dft": "dft",
        "relax": "dft",
        "aimd": "aimd",
        "scf": "dft",
        "kpu": "kpu",
        "direct": "explore",
    }
    assert resource.block("relax") is resource.dft


def test_run_and_init_bulk_take_the_same_file_and_say_what_they_do_not_use(tmp_path: Path) -> None:
    everything = read(tmp_path, **{kind: {} for kind in BLOCKS})
    assert [note.partition(":")[0] for note in everything.notes] == ["relax", "aimd", "scf", "direct"]
    init = load_init_resource(tmp_path / "resource.json")
    assert [note.partition(":")[0] for note in init.notes] == ["train", "kpu"]


def test_a_missing_block_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "resource.json").write_text('{"train": {}, "dft": {}}')
    with pytest.raises(InputError, match="explore: required key is missing"):
        load_resource(tmp_path / "resource.json")


def test_both_files_are_checked_before_either_is_used(tmp_path: Path) -> None:
    (tmp_path / "param.json").write_text("{}")
    (tmp_path / "resource.json").write_text("{}")
    with pytest.raises(InputError) as raised:
        load_inputs(tmp_path / "param.json", tmp_path / "resource.json")
    for part in ("param.json: strategy: required", "resource.json: explore: required"):
        assert part in str(raised.value)


def test_a_resource_out_of_the_database_is_the_same(tmp_path: Path) -> None:
    resource = read(tmp_path, dft={"queue_name": "cpu"})
    assert Resource.model_validate(json.loads(json.dumps(resource.model_dump(mode="json")))) == resource
