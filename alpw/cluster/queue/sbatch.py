"""One call of sbatch: the job that it made, or why it made none."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from alpw.cluster import slurm
from alpw.errors import AlpwError

_SUBMITTED = re.compile(r"Submitted batch job (\d+)")
_PREFIX = re.compile(r"^(sbatch: )?(error: |Batch job submission failed: )*")

#: What sbatch says when it does not know whether the controller has taken the job.
_UNKNOWN = re.compile(r"timed out", re.IGNORECASE)

#: What in a refusal points to which key of a block; the first that fits.
_KEYS = {
    "account": re.compile(r"account|association", re.IGNORECASE),
    "walltime": re.compile(r"time ?limit", re.IGNORECASE),
    "memory": re.compile(r"memory", re.IGNORECASE),
    "gpu_per_node": re.compile(r"\b(gres|gpus?)\b", re.IGNORECASE),
    "exclude_nodes": re.compile(r"node name", re.IGNORECASE),
    "number_node": re.compile(r"node count|more nodes|too many nodes", re.IGNORECASE),
    "custom_flags": re.compile(r"unrecognized option|invalid option|qos|constraint|feature", re.IGNORECASE),
    "queue_name": re.compile("", re.IGNORECASE),
}

#: Refusals of what only a job array asks for.
_ARRAY = re.compile(r"job array", re.IGNORECASE)


class SbatchFailed(AlpwError):
    """sbatch made no job, or cannot tell whether it did.

    Attributes:
        reason: in SLURM's own words.
        unknown: whether there may be a job all the same.
    """

    def __init__(self, reason: str, *, unknown: bool = False) -> None:
        self.reason, self.unknown = reason, unknown
        super().__init__(reason)


def sbatch(script: str, folder: Path, options: Sequence[str] = ()) -> str:
    """Submit a job script and return the job's id.

    Args:
        script: name of the script in the folder.
        folder: in which the job begins.
        options: further ones, which win over those in the script.

    Raises:
        SbatchFailed: there is no job, or nobody knows.
    """
    try:
        # In a session of its own: Ctrl-C in the terminal must not end it between the job and its id.
        answer = subprocess.run(
            ["sbatch", *options, script],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=slurm.COMMAND_PATIENCE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise SbatchFailed("sbatch is not installed on this machine") from error
    except subprocess.TimeoutExpired as error:
        text = f"sbatch gave no answer within {slurm.COMMAND_PATIENCE:.0f} s"
        raise SbatchFailed(text, unknown=True) from error
    found = _SUBMITTED.search(answer.stdout)
    if found:
        return found[1]
    words = [_PREFIX.sub("", line) for line in answer.stderr.splitlines() if not line.startswith("Try ")]
    reason = "; ".join(words) or f"sbatch ended with status {answer.returncode} and named no job"
    raise SbatchFailed(reason, unknown=answer.returncode == 0 or bool(_UNKNOWN.search(reason)))


def key_of(reason: str) -> str:
    """The key of a block that a refusal is about, as far as its words tell."""
    return next(key for key, words in _KEYS.items() if words.search(reason))


def about_arrays(reason: str) -> bool:
    """Whether the same jobs might be taken if they came one by one."""
    return bool(_ARRAY.search(reason))
