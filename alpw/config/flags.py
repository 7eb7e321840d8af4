"""Lines of ``custom_flags``: options of sbatch, except those that ALPW sets itself."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import NamedTuple

PREFIX = "#SBATCH"

OURS = {
    "--time": "walltime",
    "--mem": "memory",
    "--nodes": "number_node",
    "--ntasks-per-node": "cpu_per_node",
    "--partition": "queue_name",
    "--account": "account",
    "--gres=gpu": "gpu_per_node",
    "--array": None,
    "--job-name": None,
    "--output": None,
    "--error": None,
    "--chdir": None,
    "--requeue": None,
}
"""Option -> the key of the block that sets it; None: ALPW chooses it. A second one would hide ours."""

SHORT = {
    "-t": "--time",
    "-N": "--nodes",
    "-p": "--partition",
    "-A": "--account",
    "-a": "--array",
    "-J": "--job-name",
    "-o": "--output",
    "-e": "--error",
    "-D": "--chdir",
}


class Option(NamedTuple):
    """An option of sbatch as it was written, its full name, and its value."""

    written: str
    name: str
    value: str


def directive(line: str) -> str:
    """A line of ``custom_flags`` as sbatch reads it, whether it was written with ``#SBATCH`` or not."""
    return f"{PREFIX} {_said(line)}"


def options(line: str) -> Iterator[Option]:
    """The options of a line.

    Raises:
        ValueError: a quote that is not closed.
    """
    words = shlex.split(_said(line), comments=True)
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("--"):
            written, equals, value = word.partition("=")
        elif word.startswith("-"):
            written, equals, value = word[:2], word[2:], word[2:].removeprefix("=")
        else:
            continue
        if not equals and not following.startswith("-"):
            value = following
        name = SHORT.get(written, written)
        # Other generic resources than cards are the user's.
        name = "--gres=gpu" if name == "--gres" and "gpu" in value else name
        yield Option(written, name, value)


def fault(line: str) -> str | None:
    """Why a line cannot stand in a job script, and what to write; None if it can."""
    try:
        found = list(options(line))
    except ValueError:
        return f"{line!r} has a quote that is not closed"
    if not _said(line).startswith("-"):
        return f"{line!r} is no option of sbatch; one begins with '-', e.g. --exclude=node1"
    for option in found:
        if option.name in OURS:
            key = OURS[option.name]
            return f"{option.written} is set by {key}; write it there" if key else _set_by_us(option)
    return None


def _set_by_us(option: Option) -> str:
    return f"{option.written} is set by ALPW for each job; leave it out"


def _said(line: str) -> str:
    return line.strip().removeprefix(PREFIX).strip()
