"""What is done about each class of failure: how often it is tried again, and what the user can do.

Every class has a bounded ladder of remedies. The code's own handlers climb it first (an SCF ladder, fewer
k-point groups when memory is short); the numbers here bound what is left: plain reruns.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from alpw.errors import FailureKind


class Remedy(NamedTuple):
    """The plain reruns that a class of failure deserves, and the advice when they are used up."""

    reruns: int
    advice: str
    waits: tuple[float, ...] = ()
    """seconds before each rerun; without them it follows at once"""


REMEDIES: dict[FailureKind, Remedy] = {
    FailureKind.SCF: Remedy(0, "give the control file a more robust mixing, or more SCF steps"),
    FailureKind.GEOMETRY: Remedy(0, "look at the structure: atoms too close, or a cell that cannot relax"),
    FailureKind.MEMORY: Remedy(0, "ask for more memory or more nodes, or for fewer k-point groups"),
    FailureKind.WALLTIME: Remedy(0, "raise the walltime in resource.json; finished steps are kept"),
    FailureKind.NODE: Remedy(2, "rerun later or on other nodes; look into the job's log for the cause"),
    FailureKind.LICENCE: Remedy(3, "wait for a licence, or lower parallel_num", (30.0, 60.0, 120.0)),
    FailureKind.INPUT: Remedy(0, "mend the input that the message names; a rerun would fail in the same way"),
    FailureKind.UNKNOWN: Remedy(1, "look into the folder; if this happens often, please report the message"),
}


class FailurePattern(NamedTuple):
    """A message by which a program tells why it stopped.

    Attributes:
        pattern: regular expression, matched in any case.
        kind: class of the failure.
        rerun: whether running it again can help; then as often as the class allows.
    """

    pattern: str
    kind: FailureKind
    rerun: bool


MEMORY_PATTERNS = (
    FailurePattern(
        r".*(out of memory|oom.?kill|Cannot allocate memory|bad_alloc|MemoryError|"
        r"memory could not be allocated|insufficient virtual memory|memory insuffic\w*).*",
        FailureKind.MEMORY,
        False,
    ),
)

LICENCE_PATTERNS = (
    FailurePattern(
        r".*(licen[cs]e (server|file|check|key)?.{0,40}"
        r"(not|no|fail|denied|expired|unavailable|cannot|could|invalid|error)|"
        r"(no|cannot|could not|failed to|unable to) .{0,40}licen[cs]e).*",
        FailureKind.LICENCE,
        True,
    ),
)

NODE_PATTERNS = (
    FailurePattern(
        r".*(no space left on device|stale file handle|input/output error|bus error|segmentation fault|"
        r"SIGSEGV|SIGKILL|killed|node failure|connection (timed out|reset)|PMIX|ORTE daemon).*",
        FailureKind.NODE,
        True,
    ),
)

SYSTEM_PATTERNS = (*MEMORY_PATTERNS, *LICENCE_PATTERNS, *NODE_PATTERNS)
"""What every program may die of; those of the program itself go before them."""


def match(text: str, patterns: tuple[FailurePattern, ...]) -> tuple[FailurePattern, str] | None:
    """The first pattern that a program's last output fits, and the line that fits it."""
    for pattern in patterns:
        if found := re.search(pattern.pattern, text, re.IGNORECASE):
            return pattern, found[0].strip()
    return None


def wait_before(kind: FailureKind, rerun: int) -> float:
    """Seconds to wait before rerun number ``rerun`` (from 1).

    The environment variable ``ALPW_RETRY_SECONDS`` sets the first of them; the others keep their ratio to it.
    """
    waits = REMEDIES[kind].waits
    if not waits:
        return 0.0
    first = float(os.environ.get("ALPW_RETRY_SECONDS", waits[0]))
    return first * waits[min(rerun, len(waits)) - 1] / waits[0]
