"""What SLURM says: which jobs of this user live, and why it takes no job."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import time
from collections.abc import Sequence
from typing import NamedTuple

from alpw.config.amounts import parse_duration
from alpw.errors import AlpwError

logger = logging.getLogger(__name__)

#: Seconds that a SLURM command may take; its own patience with a silent controller is about 10 to 20 s.
COMMAND_PATIENCE = 60.0

#: States of jobs that will never do anything again. All others, new ones of later versions included, count
#: as alive: a job taken for dead would be run a second time.
ENDED_STATES = frozenset(
    [
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    ]
)

#: Refusals that waiting does not mend; everything else (a silent controller, a limit on submitted jobs)
#: may pass.
_FINAL = re.compile(
    r"invalid|configuration is not available|can ?not be satisfied|requested than permitted"
    r"|access/permission denied|unrecognized|not installed",
    re.IGNORECASE,
)

_PREFIX = re.compile(r"^(sbatch: )?(error: |allocation failure: )*")


class LiveJob(NamedTuple):
    """A job that waits, runs or is ending: SLURM's words for its state and the reason of that, its folder."""

    state: str
    reason: str
    folder: str


def live_jobs(patience: float = COMMAND_PATIENCE) -> dict[str, LiveJob] | None:
    """Jobs of this user that wait, run or are ending, by id; members of arrays as ``123_4``.

    Args:
        patience: seconds for which an answer is waited for.

    Returns:
        None when SLURM does not answer, which says nothing about the jobs.
    """
    # One line per member of an array; the folder last, because it may hold anything.
    command = ["squeue", "--array", "--states=all", "--noheader", f"--user={os.getuid()}"]
    answer = asked([*command, "--format=%i|%T|%r|%Z"], patience)
    if answer is None:
        return None
    jobs = (line.split("|", 3) for line in answer.splitlines())
    return {job: LiveJob(*words) for job, *words in jobs if words[0] not in ENDED_STATES}


def asked(command: Sequence[str], patience: float = COMMAND_PATIENCE, nothing: str = "") -> str | None:
    """What a command of SLURM prints; None, with a warning in the log, when it fails or is silent.

    Args:
        command: program and arguments.
        patience: seconds for which an answer is waited for.
        nothing: pattern of what SLURM says, on either stream, when there is nothing to print.
    """
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=patience)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("%s does not answer: %s", command[0], error)
        return None
    if answer.returncode == 0:
        return answer.stdout
    if nothing and re.search(nothing, answer.stderr + answer.stdout):
        return ""
    reason = answer.stderr.strip().split("\n")[-1] or f"it ended with status {answer.returncode}"
    logger.warning("%s does not answer: %s", command[0], reason)
    return None


def cancel(jobs: Sequence[str], *, running: bool) -> None:
    """Ask SLURM to end jobs; without ``running`` only those that still wait.

    Raises:
        AlpwError: scancel cannot be run, or does not answer.
    """
    if not jobs:
        return
    waiting, at_once = ["--state=PENDING"], ["--state=RUNNING", "--full", "--signal=KILL"]
    try:
        # All processes of a job die at once: none may live on to call the end of another a failure.
        for options in (at_once, []) if running else (waiting,):
            # A job that has ended meanwhile is no error of anybody: who is left shows in squeue.
            command = ["scancel", *options, *jobs]
            subprocess.run(command, capture_output=True, timeout=COMMAND_PATIENCE, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise AlpwError(f"scancel does not answer: {error}; jobs {', '.join(jobs)} go on") from error


def refusal(script: str) -> str | None:
    """Why SLURM does not take a job, in its own words; None when it would take it now.

    Args:
        script: the job script; nothing is submitted.
    """
    try:
        asked = subprocess.run(
            ["sbatch", "--test-only"], input=script, capture_output=True, text=True, timeout=COMMAND_PATIENCE
        )
    except FileNotFoundError:
        return "sbatch is not installed on this machine"
    except subprocess.TimeoutExpired:
        return f"sbatch gave no answer within {COMMAND_PATIENCE:.0f} s"
    if asked.returncode == 0:
        return None
    words = [_PREFIX.sub("", line) for line in asked.stderr.splitlines() if not line.startswith("Try ")]
    return "; ".join(words) or f"sbatch ended with status {asked.returncode}"


def is_final(reason: str) -> bool:
    """Whether a refusal stays the same however long one waits."""
    return bool(_FINAL.search(reason))


def seconds_left() -> float | None:
    """Seconds until SLURM ends the job that this process runs in; None outside of one or without a limit."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return None
    if end := os.environ.get("SLURM_JOB_END_TIME"):
        return max(0.0, float(end) - time.time())
    answer = asked(["squeue", "--noheader", f"--jobs={job}", "--format=%L"])
    return None if answer is None else parse_duration(answer.strip())
