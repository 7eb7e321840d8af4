"""What FireWorks' queue launcher reads, from resource.json: an FWorker and a queue adapter per block."""

from __future__ import annotations

import io
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from alpw.cluster.queue.adapter import SlurmAdapter
from alpw.config.flags import directive
from alpw.config.resource import BLOCKS, Resource, ResourceBlock
from alpw.files import write_atomically
from alpw.workflows.firework import LIGHT
from alpw.workflows.request import request

FOLDER = "queue"
"""Below a campaign's folder; holds the files of its queues."""

CONFIG_FILE = "FW_config.yaml"


class QueueFiles(NamedTuple):
    """The files by which the Fireworks of a block are submitted."""

    fworker: Path
    qadapter: Path


def queue_blocks(resource: Resource) -> dict[str, ResourceBlock]:
    """The blocks of resource.json that name a queue, by name, which is the category of their Fireworks."""
    return {name: block for name, block in resource.blocks.items() if block.queue_name}


def categories_of(resource: Resource, name: str) -> list[str]:
    """Categories of Fireworks that a block runs: its own, and those of blocks that there are no longer."""
    return [kind for kind in BLOCKS if resource.category(kind) == name]


def local_categories(resource: Resource) -> list[str]:
    """Categories that workers on this machine take: bookkeeping, and whatever has no queue."""
    queued = queue_blocks(resource)
    return [*(kind for kind in BLOCKS if resource.category(kind) not in queued), LIGHT]


def fworker(
    campaign: str,
    name: str,
    categories: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    cluster: str | None = None,
) -> dict[str, Any]:
    """The content of a my_fworker.yaml for one block of one campaign.

    Args:
        campaign: its name.
        name: of the block.
        categories: of its Fireworks; the name of the block alone if left out.
        env: commands, under the names that Firetasks ask for.
        cluster: name of a further cluster; its jobs are in a queue that the campaign's own does not see.
    """
    return {
        "name": f"{campaign}-{name}" + (f"@{cluster}" if cluster else ""),
        "category": list(categories or [name]),
        "query": json.dumps({"spec.campaign": campaign}),
        "env": dict(env or {}),
    }


def rlaunch() -> str:
    """Absolute path of ``rlaunch`` in this installation: a login shell in a job resets PATH."""
    return str(Path(sys.executable).with_name("rlaunch"))


def shell_lines(block: ResourceBlock) -> list[str]:
    """The user's source, env and module lines, prefixed where the user left the verb out."""
    kept = ("source", "export", "module", "conda", ".")
    source = [line if line.split(" ")[0] in kept else f"source {line}" for line in block.source_list]
    modules = [line if line.startswith("module ") else f"module load {line}" for line in block.module_list]
    return [*source, *modules, *block.env_list]


def qadapter(
    name: str, block: ResourceBlock, launchpad_file: Path, fworker_file: Path, log_dir: Path
) -> dict[str, Any]:
    """The content of a my_qadapter.yaml for one block.

    Extra ``#SBATCH`` lines stand at the top of ``pre_rocket``: FireWorks' template has no place for them, and
    SLURM reads directives up to the first command. Requeueing is switched off because a requeued job would
    find its Firework taken.
    """
    flags = [directive(flag) for flag in block.custom_flags]
    launcher = shlex.join([rlaunch(), "-l", str(launchpad_file), "-w", str(fworker_file), "singleshot"])
    settings: dict[str, Any] = {
        "_fw_name": SlurmAdapter._fw_name,
        "_fw_q_type": "SLURM",
        "rocket_launch": launcher,
        **request(block),
        "queue": block.queue_name,
        "account": block.account,
        "job_name": f"alpw-{name}",
        "logdir": str(log_dir),
        "pre_rocket": "\n".join([*flags, "#SBATCH --no-requeue", *shell_lines(block)]),
        "post_rocket": None,
    }
    return {key: value for key, value in settings.items() if value is not None or key == "post_rocket"}


def fw_config(
    folder: Path, launchpad_file: Path, fworker_file: Path | None, qadapter_file: Path | None = None
) -> dict[str, Any]:
    """The content of a FW_config.yaml by which FireWorks' commands find the files and lose no time."""
    places = {"FWORKER_LOC": fworker_file, "QUEUEADAPTER_LOC": qadapter_file}
    return {
        "CONFIG_FILE_DIR": str(folder),
        "LAUNCHPAD_LOC": str(launchpad_file),
        **{key: str(file) for key, file in places.items() if file},
        # Seconds between two submissions; FireWorks' own 5 allow 12 jobs a minute.
        "QUEUE_UPDATE_INTERVAL": 0.2,
        "RAPIDFIRE_SLEEP_SECS": 5,
        "PING_TIME_SECS": 60,
    }


def write_all(
    launchpad_file: Path, campaign: str, directory: Path, resource: Resource
) -> dict[str, QueueFiles]:
    """Write the queue files of a campaign to its folder; returns those of each block with a queue.

    Args:
        launchpad_file: absolute path of my_launchpad.yaml.
        campaign: its name.
        directory: its folder; the files lie in ``queue/`` there.
        resource: its resources. Without any queue nothing is written.
    """
    return write_queue_files(directory / FOLDER, launchpad_file, campaign, resource)


def write_queue_files(
    folder: Path, launchpad_file: Path, campaign: str, resource: Resource, cluster: str | None = None
) -> dict[str, QueueFiles]:
    """The same in any folder, for the campaign's own cluster or a further one.

    FW_config.yaml, ``my_fworker_<block>.yaml`` and ``my_qadapter_<block>.yaml`` for each block with a queue,
    and, on the campaign's own cluster, ``my_fworker_light.yaml`` for a worker that does the rest.
    They are FireWorks' own files: with them ``qlaunch -r`` and ``rlaunch`` run a campaign by themselves. A
    file that is right stays untouched.
    """
    blocks = queue_blocks(resource)
    files = {
        name: QueueFiles(folder / f"my_fworker_{name}.yaml", folder / f"my_qadapter_{name}.yaml")
        for name in blocks
    }
    for name, block in blocks.items():
        categories, env = categories_of(resource, name), resource.environment(name)
        write_yaml(files[name].fworker, fworker(campaign, name, categories, env, cluster))
        write_yaml(files[name].qadapter, qadapter(name, block, launchpad_file, files[name].fworker, folder))
    if blocks:
        light = None if cluster else folder / f"my_fworker_{LIGHT}.yaml"
        if light:
            # Not the name of a block: what it holds is no job in the queue.
            write_yaml(light, fworker(campaign, "local", local_categories(resource)))
        write_yaml(folder / CONFIG_FILE, fw_config(folder, launchpad_file, light))
    return files


def write_yaml(file: Path, content: dict[str, Any]) -> None:
    """Write a YAML file in one step, if it does not say the same already."""
    text = io.BytesIO()
    YAML().dump(content, text)
    if not file.is_file() or file.read_bytes() != text.getvalue():
        write_atomically(file, text.getvalue())
