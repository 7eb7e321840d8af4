"""Times and sizes in the words of SLURM."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from alpw.config.section import Problem

WALLTIME = r"^(\d+-)?\d{1,3}:\d{2}:\d{2}$"
MEMORY = r"^\d+[KMGT]?$"


def seconds(walltime: str) -> int:
    """Seconds of a time limit such as ``2-12:00:00``."""
    days, _, clock = walltime.rpartition("-")
    hours, minutes, rest = map(int, clock.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest


def megabytes(memory: str) -> float:
    """MiB of a number with or without K, M, G, T; SLURM takes one without for MiB."""
    factor = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}
    return float(memory.rstrip("KMGT")) * factor.get(memory[-1], 1.0)


def amount_problems(asked: Any) -> Iterator[Problem]:
    """Times and sizes of the right form that no job can have.

    Args:
        asked: a block with some of ``walltime``, ``max_walltime`` and ``max_memory``.
    """
    for key in ("walltime", "max_walltime"):
        time = getattr(asked, key, None)
        if time and re.search(r":[6-9]", time):
            yield Problem((key,), f"{time!r} has more than 59 minutes or seconds; write e.g. 11:39:00")
        elif time and not seconds(time):
            yield Problem((key,), f"{time!r} is no time; write e.g. 24:00:00, or leave it out")
    size = getattr(asked, "max_memory", None)
    if size and not megabytes(size):
        yield Problem(("max_memory",), f"{size!r} is no memory; write e.g. 16G, or leave it out")
