"""What is wrong with configurations, which ones, and the command that mends or shows it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from alpw.findings import Finding, Severity

MOST_IDS = 20
"""ids that a command names; more of them get a tag first"""


@dataclass(frozen=True)
class Problem(Finding):
    """A finding about the data set.

    Attributes:
        found: (id of a configuration or blob, or a path; what is the matter with this one).
        command: what mends it, or shows it where only its user can tell.
    """

    found: tuple[tuple[Any, str], ...]
    command: str

    def facts(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "check": self.subject,
            "severity": self.severity.value,
            "text": self.text,
            "count": len(self.found),
            "found": [{"id": str(which), "why": why} for which, why in self.found],
            "command": self.command,
        }


def removable(
    check: str,
    severity: Severity,
    text: str,
    defects: Sequence[tuple[Any, str]],
    reason: str,
    words: Sequence[str],
) -> Problem:
    """A problem that `removal` of its configurations mends; arguments as of `Problem` and `removal`."""
    ids = [which for which, _ in defects]
    return Problem(check, severity, text, tuple(defects), removal(ids, reason, check, words))


def removal(ids: Iterable[Any], reason: str, check: str, words: Sequence[str]) -> str:
    """The command that takes configurations out of the data set.

    Args:
        ids: of them.
        reason: why.
        check: that found them.
        words: the query in which it did.
    """
    return _with_ids(ids, f"alpw dataset remove {{}} --reason {shlex.quote(reason)}", check, words)


def display(ids: Iterable[Any], columns: Sequence[str], check: str, words: Sequence[str]) -> str:
    """The command that shows configurations; arguments as those of `removal`."""
    return _with_ids(ids, f"alpw query {{}} --columns id,{','.join(columns)}", check, words)


def _with_ids(ids: Iterable[Any], command: str, check: str, words: Sequence[str]) -> str:
    texts = [str(identity) for identity in ids]
    if len(texts) <= MOST_IDS:
        return command.format(f"id={','.join(texts)}")
    again = shlex.join(["alpw", "dataset", "health", *words, "--only", check, "--tag", check])
    return f"{again}; {command.format(f'tag={check}')}"
