"""How jobs end before their Firework does, and what is done about each end: data.

Every end has a bounded ladder. The reasons are those of SLURM, or of the last lines of a job's standard
error where SLURM has forgotten the job or never knew better.
"""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from alpw.cluster.jobs import EndedJob
from alpw.database.secrets import without_secrets


class End(str, Enum):
    """How a job ended; the value is what the database stores."""

    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    MEMORY = "memory"
    NODE = "node"
    PREEMPTED = "preempted"
    REQUEUED = "requeued"
    """run a second time by SLURM, when its Firework was taken"""
    UNSUBMITTED = "unsubmitted"
    """reserved for a job that was never made: whoever would submit it died"""
    FAILED = "failed"
    """the job script or the launcher in it failed"""
    VANISHED = "vanished"
    """ended as if all were well, without a word to the database"""
    UNKNOWN = "unknown"
    """nobody knows the job any more"""
    OWN = "own"
    """no fault of the queue: the Firework failed by itself"""


class Remedy(str, Enum):
    """What is done; the value is what the database stores."""

    AGAIN = "again"
    MEMORY = "more memory"
    WALLTIME = "more walltime"
    OTHER_NODE = "another node"
    FAIL = "fail"
    NONE = "none"


class Rule(NamedTuple):
    """What an end deserves.

    Attributes:
        remedy: what is done.
        reruns: how often; then the Firework fails.
        counts: whether it is a run of the Firework, of which there are few, like one that raised.
        meaning: what happened, in a few words.
        advice: what the user can do when nothing more is tried.
    """

    remedy: Remedy
    reruns: int
    counts: bool
    meaning: str
    advice: str


RULES: dict[End, Rule] = {
    End.CANCELLED: Rule(
        Remedy.AGAIN,
        3,
        False,
        "the job was cancelled",
        "`alpw pause` and `alpw stop` cancel jobs for good; ask the site's staff if you did not cancel it",
    ),
    End.TIMEOUT: Rule(
        Remedy.WALLTIME,
        2,
        False,
        "the job ran out of time",
        "raise walltime or max_walltime of the block; what is finished is kept",
    ),
    End.DEADLINE: Rule(
        Remedy.AGAIN, 1, False, "the job missed its deadline", "remove --deadline from custom_flags"
    ),
    End.MEMORY: Rule(
        Remedy.MEMORY,
        3,
        False,
        "the job ran out of memory",
        "raise memory or max_memory of the block, or ask for more nodes",
    ),
    End.NODE: Rule(
        Remedy.OTHER_NODE, 3, False, "the job's node failed", "tell the site's staff which nodes fail"
    ),
    End.PREEMPTED: Rule(
        Remedy.AGAIN,
        10,
        False,
        "the job was preempted by others",
        "use a partition or a QOS that is not preempted",
    ),
    End.REQUEUED: Rule(
        Remedy.AGAIN,
        3,
        False,
        "SLURM ran the job a second time, when its Firework was taken",
        "add --no-requeue to custom_flags",
    ),
    End.UNSUBMITTED: Rule(
        Remedy.AGAIN, 10, False, "its job was never submitted", "see the launcher's log for why it dies"
    ),
    End.FAILED: Rule(
        Remedy.AGAIN,
        2,
        True,
        "the job failed",
        "see its standard error: a module, a file to source or the environment is wrong",
    ),
    End.VANISHED: Rule(
        Remedy.AGAIN,
        2,
        True,
        "the job ended without a word to the database",
        "see that the nodes reach the database, and the job's standard error",
    ),
    End.UNKNOWN: Rule(
        Remedy.AGAIN,
        2,
        True,
        "SLURM knows nothing of the job",
        "see the job's standard error, and whether SLURM lost its state",
    ),
    End.OWN: Rule(Remedy.NONE, 0, True, "the Firework failed by itself", "see its exception"),
}

#: SLURM's states -> ends.
STATES: dict[str, End] = {
    "BOOT_FAIL": End.NODE,
    "CANCELLED": End.CANCELLED,
    "COMPLETED": End.VANISHED,
    "DEADLINE": End.DEADLINE,
    "FAILED": End.FAILED,
    "NODE_FAIL": End.NODE,
    "OUT_OF_MEMORY": End.MEMORY,
    "PREEMPTED": End.PREEMPTED,
    "REVOKED": End.CANCELLED,
    "TIMEOUT": End.TIMEOUT,
}

#: What slurmstepd and slurmd write into a job's standard error -> ends; the first that fits.
WORDS: tuple[tuple[re.Pattern[str], End], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), end)
    for pattern, end in (
        (r"^slurm\w*: .*(oom[-_ ]?kill|out[ -]of[ -]memory|exceeded .*memory limit)", End.MEMORY),
        (r"^slurm\w*: .*due to time limit", End.TIMEOUT),
        (r"^slurm\w*: .*due to node failure", End.NODE),
        (r"^slurm\w*: .*due to preemption", End.PREEMPTED),
        (r"^slurm\w*: .*due to job requeue", End.REQUEUED),
        (r"^slurm\w*: .*\bcancelled at\b", End.CANCELLED),
    )
)

#: Ends that those words may correct: SLURM counts memory only where a site has it do so.
_VAGUE = frozenset({End.FAILED, End.VANISHED, End.CANCELLED, End.UNKNOWN})

#: Ends by which a Firework fails that would have gone on: its program dies before its launcher.
OUTSIDE = frozenset({End.CANCELLED, End.TIMEOUT, End.DEADLINE, End.MEMORY, End.NODE, End.PREEMPTED})

#: Lines at the end of a job's standard error that are looked at.
LAST_LINES = 20


def end_of(number: str | None, job: EndedJob | None, error: list[str], *, began: bool) -> End:
    """How a job ended whose Firework did not.

    Args:
        number: id of the job; None if there was none.
        job: what SLURM says of it; None if it knows nothing.
        error: last lines of its standard error.
        began: whether its Firework had begun to run.
    """
    if number is None:
        return End.UNSUBMITTED
    if job is None and "_" in number and not (began or error):
        # SLURM keeps no trace of a member of an array that is cancelled while it waits.
        return End.CANCELLED
    end = STATES.get(job.state, End.UNKNOWN) if job else End.UNKNOWN
    if end in _VAGUE:
        for pattern, better in WORDS:
            # Memory goes before what a job that is killed for it is called; else SLURM's own word stands.
            if any(map(pattern.search, error)) and (better is End.MEMORY or end is End.UNKNOWN):
                return better
    if job and end is End.FAILED and _killed_at_once(job):
        return End.MEMORY
    if job and end is End.VANISHED and job.restarts:
        return End.REQUEUED
    return end


def _killed_at_once(job: EndedJob) -> bool:
    """Without cgroups SLURM kills a job that uses too much, and then calls it a launch that failed."""
    return job.exit_code == "0:9" and job.reason in ("JobLaunchFailure", "OutOfMemory")


def last_lines(launch_dir: str, job: str | None) -> list[str]:
    """Last lines of a job's standard error; none if it never wrote one."""
    for file in sorted(Path(launch_dir).glob(f"*{job}.err*")) if job else ():
        lines = [line.strip() for line in file.read_text(errors="replace").splitlines()]
        return [without_secrets(line) for line in lines if line][-LAST_LINES:]
    return []
