"""The model of resource.json: how each kind of calculation is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field
from pydantic.json_schema import SkipJsonSchema

from alpw.config.section import Problem, Section, StoredPath, setting


def _without_blanks(value: Any) -> Any:
    return value.replace(" ", "") if isinstance(value, str) else value


QUEUE_KEYS = (
    "number_node",
    "gpu_per_node",
    "custom_flags",
    "source_list",
    "module_list",
    "env_list",
    "walltime",
    "memory",
    "account",
)
"""Keys that only a job in the queue can heed."""


class ResourceBlock(Section):
    """One kind of calculation: its command and what one SLURM job of it asks for."""

    section: ClassVar[str] = "resource.block"

    command: str | None = setting(
        None, meaning="how the program is called; absent: the engine that ALPW brings along"
    )
    group_size: int = setting(
        1, meaning="calculations per job, a multiple of parallel_num; -1 = all in one job", ge=-1
    )
    parallel_num: int = setting(1, meaning="calculations of a job that run at the same time", ge=1)
    number_node: int = setting(1, meaning="nodes per job", ge=1)
    gpu_per_node: int = setting(0, meaning="graphics cards per node", ge=0)
    cpu_per_node: int = setting(1, meaning="tasks per node", ge=1)
    queue_name: Annotated[str | None, BeforeValidator(_without_blanks)] = setting(
        None, meaning="SLURM partition, several with commas; absent: on this machine, without SLURM"
    )
    custom_flags: list[str] = setting([], meaning="further #SBATCH lines")
    source_list: list[str] = setting([], meaning="files to source before the calculation")
    module_list: list[str] = setting([], meaning="modules to load before the calculation")
    env_list: list[str] = setting([], meaning="shell lines before the calculation, verbatim")
    walltime: str | None = setting(
        None, meaning="time limit of a job, HH:MM:SS or D-HH:MM:SS", pattern=r"^(\d+-)?\d{1,3}:\d{2}:\d{2}$"
    )
    memory: str | None = setting(None, meaning="memory per node, such as 4G or 800M", pattern=r"^\d+[KMGT]?$")
    account: str | None = setting(None, meaning="SLURM account")

    @property
    def chunk(self) -> int:
        """Calculations per job: ``group_size``, rounded up to a multiple of ``parallel_num``; -1 for all."""
        lanes = self.parallel_num
        return self.group_size if self.group_size == -1 else -(-self.group_size // lanes) * lanes

    @property
    def cores_each(self) -> float:
        """Cores of one calculation: its part of what the job has."""
        return self.number_node * self.cpu_per_node / self.parallel_num

    def problems(self) -> Iterator[Problem]:
        if self.group_size == 0:
            yield Problem(
                ("group_size",), "0 calculations per job; allowed are -1 (all) and numbers from 1 on"
            )
        if self.command is not None and not self.command.strip():
            yield Problem(("command",), "is empty; leave it out to use the engine that ALPW brings along")
        tasks = self.number_node * self.cpu_per_node
        asked = re.search(
            r"(?:mpirun|mpiexec|srun)\s+(?:\S+\s+)*?(?:-np?|--ntasks)[ =](\d+)", self.command or ""
        )
        if asked and int(asked[1]) > tasks:
            text = f"starts {asked[1]} processes; number_node x cpu_per_node allows {tasks}"
            yield Problem(("command",), text)


class Resource(Section):
    """resource.json."""

    section: ClassVar[str] = "resource"

    train: ResourceBlock = setting(meaning="block: one training of one model")
    explore: ResourceBlock = setting(meaning="block: one trajectory")
    dft: ResourceBlock = setting(meaning="block: one label")
    notes: SkipJsonSchema[list[str]] = Field([])
    source: SkipJsonSchema[dict[str, Any]] = Field({})
    file: SkipJsonSchema[StoredPath] = Path()

    @property
    def labels(self) -> ResourceBlock:
        """The block of single-point labels."""
        return self.dft

    def remarks(self) -> Iterator[Problem]:
        if self.train.command is not None:
            yield Problem(("train", "command"), "has no effect: models are trained by ALPW itself")
        if self.explore.command is not None:
            yield Problem(
                ("explore", "command"), "has no effect: the model runs inside ALPW's own LAMMPS process"
            )
        for name in ("train", "explore", "dft"):
            block: ResourceBlock = getattr(self, name)
            for key in QUEUE_KEYS if not block.queue_name else ():
                if getattr(block, key) != ResourceBlock.model_fields[key].get_default():
                    text = "has no effect without queue_name; prepare the shell that alpw run starts in"
                    yield Problem((name, key), text)


class InitResource(Resource):
    """resource.json as init_bulk uses it: nothing is trained, and ``explore`` serves force fields only."""

    train: ResourceBlock = setting(ResourceBlock(), meaning="block: has no effect")
    explore: ResourceBlock = setting(ResourceBlock(), meaning="block: one run of bigmodel")
    scf: ResourceBlock | None = setting(None, meaning="block: one single-point label; absent: dft")

    @property
    def labels(self) -> ResourceBlock:
        """The block of single-point labels."""
        return self.scf or self.dft

    def remarks(self) -> Iterator[Problem]:
        # What is said about commands of train and explore is said of `run`.
        return iter(())
