"""The queue adapter of a block of resource.json, and the script that FireWorks makes of it."""

import subprocess
from pathlib import Path

import pytest
from fireworks.utilities.fw_serializers import load_object_from_file
from monty.serialization import dumpfn, loadfn

from alpw.cluster import slurm as slurm_commands
from alpw.cluster.queue.files import qadapter, rlaunch, shell_lines
from alpw.config.resource import ResourceBlock

FULL = ResourceBlock.model_validate(
    {
        "queue_name": "debug",
        "number_node": 1,
        "cpu_per_node": 2,
        "gpu_per_node": 1,
        "walltime": "00:05:00",
        "memory": "2G",
        "account": "0123",
        "custom_flags": ["--exclusive", "#SBATCH --nice=5", "-c 1"],
        "source_list": ["/etc/profile"],
        "module_list": ["cp2k/2024.1"],
        "env_list": ["export OMP_NUM_THREADS=2"],
    }
)


def script(block: ResourceBlock, folder: Path) -> str:
    """The job script as qlaunch makes it: through the YAML file and the adapter that it names."""
    content = qadapter("dft", block, folder / "my_launchpad.yaml", folder / "my_fworker.yaml", folder)
    dumpfn(content, folder / "my_qadapter.yaml")
    return load_object_from_file(str(folder / "my_qadapter.yaml")).get_script_str(str(folder))


def directives(text: str) -> list[str]:
    """What SLURM reads: #SBATCH lines up to the first command."""
    found = []
    for line in text.splitlines():
        if line.startswith("#SBATCH "):
            found.append(line.removeprefix("#SBATCH "))
        elif line.strip() and not line.startswith("#"):
            break
    return found


def test_every_key_of_the_block_reaches_slurm(tmp_path):
    assert set(directives(script(FULL, tmp_path))) >= {
        "--nodes=1",
        "--ntasks-per-node=2",
        "--gres=gpu:1",
        "--time=00:05:00",
        "--mem=2G",
        "--account=0123",
        "--partition=debug",
        "--job-name=alpw-dft",
        "--exclusive",
        "--nice=5",
        "-c 1",
        "--no-requeue",
    }


def test_a_card_may_be_asked_for_by_its_kind(tmp_path):
    block = FULL.model_copy(update={"gpu_per_node": 2, "gpu_type": "a100"})
    assert "--gres=gpu:a100:2" in directives(script(block, tmp_path))


def test_nodes_are_left_out_as_slurm_writes_a_list_of_them(tmp_path):
    block = FULL.model_copy(update={"exclude_nodes": "node[5-8],old"})
    assert "--exclude=node[5-8],old" in directives(script(block, tmp_path))


def test_shell_lines_run_before_the_launcher_in_the_order_of_the_predecessor(tmp_path):
    lines = script(FULL, tmp_path).splitlines()
    order = ["source /etc/profile", "module load cp2k/2024.1", "export OMP_NUM_THREADS=2", f"cd {tmp_path}"]
    positions = [lines.index(line) for line in order]
    launcher = next(index for index, line in enumerate(lines) if line.startswith(rlaunch()))
    assert [*positions, launcher] == sorted([*positions, launcher])


def test_the_launcher_is_absolute_because_a_login_shell_resets_path(tmp_path):
    content = qadapter("dft", FULL, tmp_path / "my_launchpad.yaml", tmp_path / "my_fworker.yaml", tmp_path)
    program, *arguments = content["rocket_launch"].split()
    assert Path(program).is_absolute() and Path(program).is_file()
    assert arguments == [
        "-l",
        str(tmp_path / "my_launchpad.yaml"),
        "-w",
        str(tmp_path / "my_fworker.yaml"),
        "singleshot",
    ]


def test_what_the_user_left_out_is_left_to_the_cluster(tmp_path):
    found = directives(script(ResourceBlock.model_validate({}), tmp_path))
    names = {directive.split("=")[0] for directive in found}
    assert names.isdisjoint({"--partition", "--time", "--mem", "--account", "--gres"})
    assert "--no-requeue" in names


@pytest.mark.parametrize("walltime", ["1:30:00", "48:00:00", "2-00:00:00", "100:00:00"])
@pytest.mark.parametrize("memory", ["800", "16G"])
def test_walltime_and_memory_survive_yaml(tmp_path, walltime, memory):
    block = ResourceBlock.model_validate({"queue_name": "debug", "walltime": walltime, "memory": memory})
    found = directives(script(block, tmp_path))
    assert f"--time={walltime}" in found and f"--mem={memory}" in found
    assert str(loadfn(tmp_path / "my_qadapter.yaml")["walltime"]) == walltime


@pytest.mark.parametrize(
    ("key", "line", "expected"),
    [
        ("source_list", "/opt/intel/setvars.sh", "source /opt/intel/setvars.sh"),
        ("source_list", "source ~/env.sh", "source ~/env.sh"),
        ("source_list", "conda activate alpw", "conda activate alpw"),
        ("source_list", "export A=1", "export A=1"),
        ("source_list", ". env.sh", ". env.sh"),
        # not the command `.`, `source` or `conda`, only a file whose name begins like it
        ("source_list", "./env.sh", "source ./env.sh"),
        ("source_list", "source_me.sh", "source source_me.sh"),
        ("source_list", "conda/etc/profile.d/conda.sh", "source conda/etc/profile.d/conda.sh"),
        ("module_list", "intel/2020", "module load intel/2020"),
        ("module_list", "module purge", "module purge"),
        ("module_list", "modules-extra", "module load modules-extra"),
        ("env_list", "ulimit -s unlimited", "ulimit -s unlimited"),
    ],
)
def test_a_verb_is_added_only_where_it_is_missing(key, line, expected):
    assert shell_lines(ResourceBlock.model_validate({key: [line]})) == [expected]


def test_slurm_accepts_the_script(slurm, tmp_path):
    assert slurm_commands.refusal(script(FULL, tmp_path)) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"queue_name": "nowhere"}, "Invalid partition name"),
        ({"memory": "1T"}, "Requested node configuration is not available"),
        ({"gpu_per_node": 9}, "Requested node configuration is not available"),
        ({"number_node": 3}, "requested than permitted"),
        ({"queue_name": "short"}, "Requested time limit is invalid"),
        ({"exclude_nodes": "nowhere"}, "Invalid node name"),
        ({"custom_flags": ["--no-such-flag"]}, "unrecognized option"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_slurm_refuses_for_good_and_says_why(slurm, tmp_path, change, words):
    """Each key arrives with its meaning: asking too much of it is what SLURM complains about."""
    block = FULL.model_copy(update=change)
    reason = slurm_commands.refusal(script(block, tmp_path))
    assert reason and words in reason and slurm_commands.is_final(reason)


@pytest.mark.parametrize(
    "reason",
    [
        "Unable to contact slurm controller (connect failure)",
        "Socket timed out on send/recv operation",
        "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "Required partition not available (inactive or drain)",
        "Slurm temporarily unable to accept job, sleeping and retrying",
        "Resource temporarily unavailable",
    ],
)
def test_a_refusal_that_may_pass_is_not_final(reason):
    assert not slurm_commands.is_final(reason)


def test_the_script_runs_with_the_environment_of_the_submitter(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("FW_CONFIG_FILE", "/somewhere/FW_config.yaml")
    block = FULL.model_copy(
        update={"module_list": [], "custom_flags": [], "env_list": [f"env > {tmp_path}/seen"]}
    )
    text = script(block, tmp_path).replace(rlaunch(), "true")
    subprocess.run(["sbatch", "--wait"], input=text, text=True, cwd=tmp_path, check=True, timeout=60)
    seen = (tmp_path / "seen").read_text().splitlines()
    assert f"SLURM_CONF={slurm['SLURM_CONF']}" in seen
    assert "FW_CONFIG_FILE=/somewhere/FW_config.yaml" in seen
