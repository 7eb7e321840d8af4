"""What became of jobs that SLURM has ended, and what their partition could give to another one."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from alpw.cluster.slurm import ENDED_STATES, asked
from alpw.config.amounts import duration, parse_duration, parse_memory

#: Jobs that are asked for one by one; for more it is cheaper to ask for all.
_ONE_BY_ONE = 20

_FIELD = re.compile(r"([\w/:]+)=(\S*)")

_SACCT = (
    "JobID",
    "State",
    "ExitCode",
    "NodeList",
    "NNodes",
    "NCPUS",
    "ElapsedRaw",
    "TimelimitRaw",
    "ReqMem",
    "Partition",
)


@dataclass(frozen=True)
class EndedJob:
    """A job that has ended.

    Attributes:
        job: its id, ``123`` or ``123_4``.
        state: SLURM's word for how.
        exit_code: status and signal as SLURM writes them, such as ``0:9``.
        reason: SLURM's word for why; empty if it gave none.
        nodes: where it ran, as SLURM writes a list of hosts; empty if it never did.
        node_count: number of nodes.
        cpu_count: number of cores, on all nodes.
        elapsed: seconds that it ran.
        walltime: seconds that it was allowed to run; None without a limit.
        memory: MiB per node that it asked for; None if it did not say.
        memory_per_cpu: MiB per core, where it asked so.
        partition: its partition.
        restarts: how often SLURM had put it back into the queue.
    """

    job: str
    state: str
    exit_code: str
    reason: str = ""
    nodes: str = ""
    node_count: int = 1
    cpu_count: int = 1
    elapsed: float | None = None
    walltime: float | None = None
    memory: float | None = None
    memory_per_cpu: float | None = None
    partition: str = ""
    restarts: int = 0


def ended(jobs: Collection[str]) -> dict[str, EndedJob] | None:
    """What became of jobs that are no longer alive, as far as SLURM remembers them.

    The controller knows most, but forgets a job some minutes after its end; then accounting is asked, where a
    site has it. Ids that neither knows are absent.

    Returns:
        None when the controller does not answer: then nothing may be concluded from what is absent.
    """
    if not jobs:
        return {}
    known = _of_controller(jobs)
    if known is None:
        return None
    forgotten = sorted(set(jobs) - set(known))
    return known | (_of_accounting(forgotten) if forgotten else {})


def _of_controller(jobs: Collection[str]) -> dict[str, EndedJob] | None:
    command = ["scontrol", "--oneliner", "show", "job"]
    commands = [[*command, job] for job in sorted(jobs)] if len(jobs) <= _ONE_BY_ONE else [command]
    found = {}
    for each in commands:
        # The second is said of members that were cancelled while their array waits.
        answer = asked(each, nothing=r"Invalid job id|^Job \S+ not found")
        if answer is None:
            return None
        for line in answer.splitlines():
            if "JobState=" in line:
                job = _from_controller(_first(_FIELD.findall(line)))
                found[job.job] = job
    return _wanted(found.values(), jobs)


def _wanted(found: Iterable[EndedJob], jobs: Collection[str]) -> dict[str, EndedJob]:
    return {job.job: job for job in found if job.job in jobs and job.state in ENDED_STATES}


def _first(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of a name that occurs twice the first value: later ones may stand in a comment."""
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def _from_controller(fields: dict[str, str]) -> EndedJob:
    array, member = fields.get("ArrayJobId"), fields.get("ArrayTaskId", "")
    per_cpu = parse_memory(fields.get("MinMemoryCPU", ""))
    return EndedJob(
        job=f"{array}_{member}" if array and member.isdigit() else fields["JobId"],
        state=fields["JobState"],
        exit_code=fields.get("ExitCode", ""),
        reason="" if fields.get("Reason") in (None, "None") else fields["Reason"],
        nodes=_named(fields.get("NodeList", "")),
        node_count=_number(fields.get("NumNodes", "")),
        cpu_count=_number(fields.get("NumCPUs", "")),
        elapsed=parse_duration(fields.get("RunTime", "")),
        walltime=parse_duration(fields.get("TimeLimit", "")),
        # 0 is all that the node has.
        memory=parse_memory(fields.get("MinMemoryNode", "")) or None,
        memory_per_cpu=per_cpu or None,
        partition=fields.get("Partition", "").split(",")[0],
        restarts=int(fields.get("Restarts", "0")),
    )


def _of_accounting(jobs: Collection[str]) -> dict[str, EndedJob]:
    command = ["sacct", "--allocations", "--noheader", "--parsable2", f"--jobs={','.join(jobs)}"]
    answer = asked([*command, f"--format={','.join(_SACCT)}"], nothing="accounting storage is disabled")
    rows = (dict(zip(_SACCT, line.split("|"), strict=True)) for line in (answer or "").splitlines())
    return _wanted(map(_from_accounting, rows), jobs)


def _from_accounting(row: dict[str, str]) -> EndedJob:
    nodes, cpus = _number(row["NNodes"]), _number(row["NCPUS"])
    # Per core and per node before SLURM 21.08, of the whole job since.
    amount, unit = row["ReqMem"].rstrip("nc"), row["ReqMem"][-1:]
    memory = parse_memory(amount) or None
    if memory and unit != "n":
        memory *= cpus / nodes if unit == "c" else 1 / nodes
    minutes = row["TimelimitRaw"]
    return EndedJob(
        job=row["JobID"],
        # "CANCELLED by 1000"
        state=row["State"].split(" ")[0],
        exit_code=row["ExitCode"],
        nodes=_named(row["NodeList"]),
        node_count=nodes,
        cpu_count=cpus,
        elapsed=float(row["ElapsedRaw"] or 0),
        walltime=60.0 * int(minutes) if minutes.isdigit() else None,
        memory=memory,
        partition=row["Partition"].split(",")[0],
    )


def _named(nodes: str) -> str:
    return "" if nodes in ("(null)", "None assigned") else nodes


def _number(text: str) -> int:
    match = re.match(r"\d+", text)
    return max(1, int(match[0])) if match else 1


def limits(partition: str) -> tuple[float, float]:
    """Seconds and MiB per node that a job of some partitions can have at most; infinite if not known."""
    answer = (
        asked(["sinfo", "--noheader", f"--partition={partition}", "--format=%l|%m"]) if partition else None
    )
    seconds, memory = [], []
    for line in (answer or "").splitlines():
        time_limit, per_node = line.strip().split("|")
        seconds.append(parse_duration(time_limit) or math.inf)
        # A + says that other nodes have more.
        memory.append(math.inf if per_node.endswith("+") else parse_memory(per_node) or math.inf)
    return max(seconds, default=math.inf), max(memory, default=math.inf)


def culprits(job: EndedJob, excluded: str) -> list[str]:
    """Names of the nodes that a job failed with: its only one, else those that are not in service.

    Empty when the partition has too few others to run the job again.

    Args:
        job: that failed.
        excluded: nodes that it does not run on anyway, as SLURM lists them.
    """
    mine = _hosts(job.nodes)
    if len(mine) > 1:
        down = asked(["sinfo", "--noheader", "--Node", "--responding", f"--nodes={job.nodes}", "--format=%N"])
        mine -= set((down or "").split())
    others = asked(["sinfo", "--noheader", "--Node", f"--partition={job.partition}", "--format=%N"])
    usable = set((others or "").split()) - mine - _hosts(excluded)
    return sorted(mine) if len(usable) >= job.node_count else []


def _hosts(nodes: str) -> set[str]:
    return set((asked(["scontrol", "show", "hostnames", nodes]) or "").split()) if nodes else set()


def words_of(job: EndedJob) -> str:
    """An ended job in a few words: state, exit code, reason, place, time."""
    parts = [job.state]
    if job.exit_code not in ("", "0:0"):
        parts.append(f"exit code {job.exit_code}")
    if job.reason:
        parts.append(f"reason {job.reason}")
    if job.nodes:
        parts.append(f"on {job.nodes}")
    if job.elapsed:
        parts.append(f"after {duration(job.elapsed)}")
    return ", ".join(parts)
