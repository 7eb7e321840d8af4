"""Times and sizes in the words of SLURM."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from alpw.config.section import Problem

WALLTIME = r"^(\d+-)?\d{1,3}:\d{2}:\d{2}$"
MEMORY = r"^\d+[KMGT]?$"


def parse_duration(text: str) -> float | None:
    """Seconds of a duration as SLURM prints it, ``[D-]HH:MM:SS`` or ``MM:SS``; None for ``UNLIMITED``."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def duration(seconds: float) -> str:
    """Seconds as SLURM reads them, ``D-HH:MM:SS`` or ``HH:MM:SS``."""
    days, rest = divmod(round(seconds), 86400)
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock


def parse_memory(text: str) -> float | None:
    """MiB of an amount as SLURM reads and prints it, such as ``800M`` or ``1.5G``; None if it is not one.

    Without a letter it is MiB.
    """
    match = re.fullmatch(r"([\d.]+)([KMGT]?)", text)
    return float(match[1]) * 1024.0 ** ("KMGT".index(match[2] or "M") - 1) if match else None


def asked_duration(text: str) -> int | None:
    """Seconds of a time limit that a user gives to sbatch; None for one without a number.

    ``minutes[:seconds]``, ``hours:minutes:seconds``, ``days-hours[:minutes[:seconds]]``.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        return None
    days, *clock = match.groups()
    numbers = [int(part) for part in clock if part]
    # Without days or hours the first number is minutes.
    numbers = numbers if days or len(numbers) == 3 else [0, *numbers]
    hours, minutes, rest = [*numbers, 0, 0][:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest


def amount_problems(asked: Any) -> Iterator[Problem]:
    """Times and sizes of the right form that no job can have.

    Args:
        asked: a block with some of ``walltime``, ``max_walltime`` and ``max_memory``.
    """
    for key in ("walltime", "max_walltime"):
        time = getattr(asked, key, None)
        if time and re.search(r":[6-9]", time):
            yield Problem((key,), f"{time!r} has more than 59 minutes or seconds; write e.g. 11:39:00")
        elif time and not parse_duration(time):
            yield Problem((key,), f"{time!r} is no time; write e.g. 24:00:00, or leave it out")
    size = getattr(asked, "max_memory", None)
    if size and not parse_memory(size):
        yield Problem(("max_memory",), f"{size!r} is no memory; write e.g. 16G, or leave it out")
