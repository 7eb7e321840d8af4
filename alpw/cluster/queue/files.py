"""What FireWorks' queue launcher reads, from resource.json: an FWorker and a queue adapter per category."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from monty.serialization import dumpfn

from alpw.config.resource import Resource, ResourceBlock
from alpw.workflows.firework import CATEGORIES, DFT, EXPLORE, SCF, TRAIN


def queue_blocks(resource: Resource) -> dict[str, ResourceBlock]:
    """The blocks of resource.json that name a queue, by category."""
    blocks = {TRAIN: resource.train, EXPLORE: resource.explore, DFT: resource.dft, SCF: resource.labels}
    return {category: block for category, block in blocks.items() if block.queue_name}


def local_categories(resource: Resource) -> list[str]:
    """Categories that workers on this machine take: bookkeeping, and whatever has no queue."""
    queued = queue_blocks(resource)
    return [category for category in CATEGORIES if category not in queued]


def fworker(campaign: str, category: str) -> dict[str, Any]:
    """The content of a my_fworker.yaml for one category of one campaign."""
    return {
        "name": f"{campaign}-{category}",
        "category": category,
        "query": f'{{"spec.campaign": "{campaign}"}}',
        "env": {},
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
    category: str, block: ResourceBlock, launchpad_file: Path, fworker_file: Path, log_dir: Path
) -> dict[str, Any]:
    """The content of a my_qadapter.yaml for one category of Fireworks.

    Extra ``#SBATCH`` lines stand at the top of ``pre_rocket``: FireWorks' template has no place for them, and
    SLURM reads directives up to the first command. Requeueing is switched off because a requeued job would
    find its Firework taken.
    """
    flags = [flag if flag.startswith("#SBATCH") else f"#SBATCH {flag}" for flag in block.custom_flags]
    launcher = shlex.join([rlaunch(), "-l", str(launchpad_file), "-w", str(fworker_file), "singleshot"])
    settings: dict[str, Any] = {
        "_fw_name": "CommonAdapter",
        "_fw_q_type": "SLURM",
        "rocket_launch": launcher,
        "nodes": block.number_node,
        "ntasks_per_node": block.cpu_per_node,
        "gres": f"gpu:{block.gpu_per_node}" if block.gpu_per_node else None,
        "walltime": block.walltime,
        "queue": block.queue_name,
        "account": block.account,
        "mem": block.memory,
        "job_name": f"alpw-{category}",
        "logdir": str(log_dir),
        "pre_rocket": "\n".join([*flags, "#SBATCH --no-requeue", *shell_lines(block)]),
        "post_rocket": None,
    }
    return {key: value for key, value in settings.items() if value is not None or key == "post_rocket"}


def write_files(
    launchpad_file: Path, campaign: str, directory: Path, category: str, block: ResourceBlock
) -> tuple[Path, Path]:
    """Write the FWorker and the queue adapter of a category and return their paths.

    They are `qlaunch`'s own files: ``qlaunch -l .. -w .. -q .. -r rapidfire`` does by hand what
    `alpw.cluster.queue.submit` does.
    """
    folder = directory / "queue"
    folder.mkdir(parents=True, exist_ok=True)
    fworker_file, qadapter_file = (folder / f"my_{kind}_{category}.yaml" for kind in ("fworker", "qadapter"))
    dumpfn(fworker(campaign, category), fworker_file)
    dumpfn(qadapter(category, block, launchpad_file, fworker_file, folder), qadapter_file)
    return fworker_file, qadapter_file
