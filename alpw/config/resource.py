"""The model of resource.json: how each kind of calculation is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field
from pydantic.json_schema import SkipJsonSchema

from alpw.config import flags
from alpw.config.amounts import MEMORY, WALLTIME, amount_problems, parse_duration, parse_memory
from alpw.config.command_line import words_of
from alpw.config.section import Problem, Section, StoredPath, setting
from alpw.errors import InputError


def _partitions(value: Any) -> Any:
    """Names between commas without blanks around them; anything else as it is, for the error to quote."""
    names = [name.strip(" ") for name in value.split(",")] if isinstance(value, str) else []
    return ",".join(names) if names and not re.search(r"\s", "".join(names)) else value


QUEUE_KEYS = (
    "number_node",
    "gpu_per_node",
    "gpu_type",
    "custom_flags",
    "source_list",
    "module_list",
    "env_list",
    "walltime",
    "memory",
    "account",
    "exclude_nodes",
    "by_atoms",
    "max_jobs",
    "max_queued",
    "max_walltime",
    "max_memory",
)
"""Keys that only a job in the queue can heed."""

BLOCKS: dict[str, str | None] = {
    "train": None,
    "explore": None,
    "dft": None,
    "relax": "dft",
    "aimd": "dft",
    "scf": "dft",
    "kpu": "explore",
    "direct": "explore",
}
"""Kind of work -> the block that it runs by when it has none of its own; None: it always has."""

CARD = r"^[\w.-]+$"

NODES = r"^[\w.,\[\]-]+$"
"""a list as SLURM writes it, ``node1,node[5-8]``"""


class ByAtoms(Section):
    """What jobs of large structures ask for instead."""

    section: ClassVar[str] = "resource.by_atoms"

    above: int = setting(meaning="number of atoms; holds for larger structures", ge=0)
    number_node: int | None = setting(None, meaning="nodes per job; absent: as the block", ge=1)
    gpu_per_node: int | None = setting(None, meaning="graphics cards per node; absent: as the block", ge=0)
    cpu_per_node: int | None = setting(None, meaning="tasks per node; absent: as the block", ge=1)
    walltime: str | None = setting(
        None, meaning="time limit of a job; absent: as the block", pattern=WALLTIME
    )
    memory: str | None = setting(None, meaning="memory per node; absent: as the block", pattern=MEMORY)

    @property
    def changes(self) -> dict[str, Any]:
        """Keys of the block that have another value."""
        return self.model_dump(exclude={"above"}, exclude_none=True)

    def problems(self) -> Iterator[Problem]:
        if not self.changes:
            yield Problem((), "asks for nothing; give number_node, walltime, memory, ...")

    def file_problems(self) -> Iterator[Problem]:
        yield from amount_problems(self)


class ResourceBlock(Section):
    """One kind of calculation: its command and what one SLURM job of it asks for."""

    section: ClassVar[str] = "resource.block"

    command: str | None = setting(
        None,
        meaning="how the program is called, without pipes and redirections; absent: the engine that ALPW "
        "brings along",
    )
    group_size: int = setting(
        1,
        meaning="calculations per job, rounded up to a multiple of parallel_num; -1 = all in one job",
        ge=-1,
    )
    parallel_num: int = setting(1, meaning="calculations of a job that run at the same time", ge=1)
    number_node: int = setting(1, meaning="nodes per job", ge=1)
    gpu_per_node: int = setting(0, meaning="graphics cards per node", ge=0)
    gpu_type: str | None = setting(
        None,
        meaning="kind of graphics card, as SLURM calls it, with gpu_per_node; absent: any",
        pattern=CARD,
    )
    cpu_per_node: int = setting(1, meaning="tasks per node", ge=1)
    queue_name: Annotated[str | None, BeforeValidator(_partitions)] = setting(
        None,
        meaning="SLURM partition, several with commas, around which blanks may stand; absent: on this "
        "machine, without SLURM",
    )
    custom_flags: list[str] = setting(
        [],
        meaning="further options of sbatch, with or without #SBATCH before them; those that have a key here "
        "are taken for it",
    )
    source_list: list[str] = setting([], meaning="files to source before the calculation")
    module_list: list[str] = setting([], meaning="modules to load before the calculation")
    env_list: list[str] = setting([], meaning="shell lines before the calculation, verbatim")
    walltime: str | None = setting(
        None, meaning="time limit of a job, HH:MM:SS or D-HH:MM:SS, more than 0", pattern=WALLTIME
    )
    memory: str | None = setting(
        None, meaning="memory per node, such as 4G or 800M; 0: all that a node has", pattern=MEMORY
    )
    account: str | None = setting(None, meaning="SLURM account")
    exclude_nodes: str | None = setting(
        None,
        meaning="nodes that no job runs on, such as node1,node[5-8]; one that failed a job is added for it",
        pattern=NODES,
    )
    by_atoms: list[ByAtoms] = setting(
        [], meaning="what jobs of large structures ask for instead; the last rule that holds counts"
    )
    max_jobs: int = setting(100, meaning="most jobs of the block that wait or run at a time", ge=1)
    max_queued: int | None = setting(
        None, meaning="most of them that wait; absent: as many as max_jobs allows", ge=1
    )
    max_walltime: str | None = setting(
        None, meaning="most that a job which ran out of time is given when it runs again", pattern=WALLTIME
    )
    max_memory: str | None = setting(
        None, meaning="most that a job which ran out of memory is given when it runs again", pattern=MEMORY
    )

    @property
    def chunk(self) -> int:
        """Calculations per job: ``group_size``, rounded up to a multiple of ``parallel_num``; -1 for all."""
        lanes = self.parallel_num
        return self.group_size if self.group_size == -1 else -(-self.group_size // lanes) * lanes

    @property
    def tasks(self) -> int:
        """Tasks of a job, on all its nodes."""
        return self.number_node * self.cpu_per_node

    @property
    def cores_each(self) -> float:
        """Cores of one calculation: its part of what the job has."""
        return self.tasks / self.parallel_num

    def sized(self, n_atoms: int) -> ResourceBlock:
        """The block as it is for a job whose largest structure has so many atoms."""
        rule = next((rule for rule in reversed(self.by_atoms) if n_atoms > rule.above), None)
        return self.model_copy(update=rule.changes) if rule else self

    @property
    def variants(self) -> list[ResourceBlock]:
        """The block for small structures, and as each of its rules makes it."""
        return [self, *(self.sized(rule.above + 1) for rule in self.by_atoms)]

    def problems(self) -> Iterator[Problem]:
        if self.group_size == 0:
            yield Problem(
                ("group_size",), "0 calculations per job; allowed are -1 (all) and numbers from 1 on"
            )
        if self.command is not None and not self.command.strip():
            yield Problem(("command",), "is empty; leave it out to use the engine that ALPW brings along")
        yield from self._unlike_one_line()
        yield from self._rule_problems()
        yield from self._limit_problems()

    def _unlike_one_line(self) -> Iterator[Problem]:
        """Values that would not end up in the job script as the one word or line that they have to be."""
        for key in ("queue_name", "account"):
            value = getattr(self, key)
            if value is not None and (not value or re.search(r"\s", value)):
                several = "; several partitions need commas between them" if key == "queue_name" else ""
                yield Problem((key,), f"{value!r} is not one word{several}")
        for key in ("custom_flags", "source_list", "module_list", "env_list"):
            for i, line in enumerate(getattr(self, key)):
                if line != "".join(line.splitlines()):
                    yield Problem((key, i), f"{line!r} is not one line; give each line an entry of its own")

    def _rule_problems(self) -> Iterator[Problem]:
        bounds = [rule.above for rule in self.by_atoms]
        for i, (before, bound) in enumerate(pairwise(bounds), 1):
            if bound <= before:
                text = f"{bound} after {before}; sort the rules by it, the smallest first"
                yield Problem(("by_atoms", i, "above"), text)
        asked = re.search(
            r"(?:mpirun|mpiexec|srun)\s+(?:\S+\s+)*?(?:-np?|--ntasks)[ =](\d+)", self.command or ""
        )
        least = min(block.tasks for block in self.variants)
        if asked and int(asked[1]) > least:
            text = f"starts {asked[1]} processes; number_node x cpu_per_node allows {least}"
            yield Problem(("command",), text)

    def file_problems(self) -> Iterator[Problem]:
        if self.command and self.command.strip():
            try:
                words_of(self.command)
            except InputError as error:
                yield Problem(("command",), error.message)
        if self.queue_name and "" in self.queue_name.split(","):
            yield Problem(("queue_name",), f"{self.queue_name!r} has a comma without a partition beside it")
        for i, line in enumerate(self.custom_flags):
            if len(line.splitlines()) == 1 and (text := flags.fault(line, vars(self))):
                yield Problem(("custom_flags", i), text)
        if self.gpu_type and not any(block.gpu_per_node for block in self.variants):
            yield Problem(("gpu_type",), "asks for no card without gpu_per_node; give it as well")
        yield from amount_problems(self)

    def _limit_problems(self) -> Iterator[Problem]:
        """Bounds below what is asked for at first."""
        for key, parse in (("walltime", parse_duration), ("memory", parse_memory)):
            most = getattr(self, f"max_{key}")
            given = {parse(text) or 0.0: text for block in self.variants if (text := getattr(block, key))}
            if most and given and (parse(most) or 0.0) < max(given):
                text = f"{most} is less than {key}, {given[max(given)]}"
                yield Problem((f"max_{key}",), text)


class Resource(Section):
    """resource.json."""

    section: ClassVar[str] = "resource"

    unused: ClassVar[dict[str, str]] = {
        "relax": "relaxations belong to init_bulk",
        "aimd": "AIMD belongs to init_bulk",
        "scf": "it is for the labels of init_bulk; those of a campaign run by the block dft",
        "direct": "frames are chosen by a worker on this machine",
    }
    """Blocks that change nothing, and why."""

    fixed_programs: ClassVar[dict[str, str]] = {
        "train": "models are trained by ALPW itself",
        "explore": "the model runs inside ALPW's own LAMMPS process",
        "kpu": "the model runs inside ALPW's own LAMMPS process",
    }
    """Blocks whose command changes nothing, and why."""

    one_by_one: ClassVar[tuple[str, ...]] = ("train", "explore", "kpu")
    """Blocks whose jobs do one thing after the other."""

    train: ResourceBlock = setting(meaning="block: one training of one model")
    explore: ResourceBlock = setting(meaning="block: one trajectory")
    dft: ResourceBlock = setting(meaning="block: one label")
    relax: ResourceBlock | None = setting(None, meaning="block: one relaxation of init_bulk; absent: dft")
    aimd: ResourceBlock | None = setting(None, meaning="block: one AIMD run of init_bulk; absent: dft")
    scf: ResourceBlock | None = setting(None, meaning="block: one label of init_bulk; absent: dft")
    kpu: ResourceBlock | None = setting(
        None, meaning="block: one trajectory of a campaign whose uncertainty is KPU or both; absent: explore"
    )
    direct: ResourceBlock | None = setting(
        None, meaning="block: the choice of diverse frames in init_bulk; absent: explore"
    )
    commands: SkipJsonSchema[dict[str, str]] = Field({})
    """block -> under which name an FWorker's env holds its command; known with the other input file"""
    notes: SkipJsonSchema[list[str]] = Field([])
    source: SkipJsonSchema[dict[str, Any]] = Field({})
    file: SkipJsonSchema[StoredPath] = Path()

    def category(self, kind: str) -> str:
        """The name of the block by which a kind of work (a key of `BLOCKS`) runs: its own, or another."""
        other = BLOCKS[kind]
        return kind if other is None or getattr(self, kind) is not None else other

    def block(self, kind: str) -> ResourceBlock:
        """The block by which a kind of work runs."""
        block: ResourceBlock = getattr(self, self.category(kind))
        return block

    @property
    def blocks(self) -> dict[str, ResourceBlock]:
        """Every block that is there and is used, by name."""
        used = (kind for kind in BLOCKS if kind not in self.unused and self.category(kind) == kind)
        return {kind: self.block(kind) for kind in used}

    def environment(self, name: str) -> dict[str, str]:
        """What an FWorker of a block says of its program."""
        command, key = self.block(name).command, self.commands.get(name)
        return {key: command} if command and key else {}

    def remarks(self) -> Iterator[Problem]:
        for name, reason in self.unused.items():
            if name in self.model_fields_set and getattr(self, name) is not None:
                yield Problem((name,), f"has no effect: {reason}")
        for name, block in self.blocks.items():
            if name in self.fixed_programs and block.command is not None:
                yield Problem((name, "command"), f"has no effect: {self.fixed_programs[name]}")
            if name in self.one_by_one and block.parallel_num > 1:
                yield Problem((name, "parallel_num"), "has no effect: a job does one after the other")
            for key in QUEUE_KEYS if not block.queue_name else ():
                if getattr(block, key) != ResourceBlock.model_fields[key].get_default():
                    text = "has no effect without queue_name; prepare the shell that alpw run starts in"
                    yield Problem((name, key), text)


class InitResource(Resource):
    """resource.json as init_bulk uses it: nothing is trained, and ``explore`` serves force fields only."""

    unused: ClassVar[dict[str, str]] = {
        "train": "init_bulk trains nothing",
        "kpu": "init_bulk measures no uncertainty",
    }
    fixed_programs: ClassVar[dict[str, str]] = {
        "explore": "a force field runs in a process of ALPW's own",
        "direct": "frames are chosen by ALPW itself",
    }
    one_by_one: ClassVar[tuple[str, ...]] = ("direct",)

    train: ResourceBlock = setting(ResourceBlock(), meaning="block: has no effect")
    explore: ResourceBlock = setting(ResourceBlock(), meaning="block: one run of bigmodel")
