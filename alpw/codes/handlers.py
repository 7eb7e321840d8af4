"""Error handlers that every code shares: crash, deadline, silence.

Custodian asks each handler `check`, which has no side effect, and then `correct`. Ours add two facts to what
custodian records: the class of the failure, and whether the correction is *numerical* (mixing, number of SCF
steps, a rerun) or changes the physics of the label. Only numerical ones may repair a label.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from custodian.custodian import ErrorHandler

from alpw.codes.process import TERMINATED
from alpw.errors import FailureKind

TAIL_BYTES = 20_000


def tail(path: Path, size: int = TAIL_BYTES) -> str:
    """The last ``size`` bytes of a file as text; empty if there is no such file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace")


class FailurePattern(NamedTuple):
    """A message by which a code tells why it stopped, and whether running it again can help."""

    pattern: str
    kind: FailureKind
    rerun: bool


MEMORY_PATTERNS = (
    FailurePattern(
        r"out of memory|oom.kill|Cannot allocate memory|bad_alloc|MemoryError|memory could not be allocated",
        FailureKind.MEMORY,
        False,
    ),
)


def correction(
    kind: FailureKind, error: str, actions: list[dict[str, Any]] | None, *, numerical: bool = True
) -> dict[str, Any]:
    """What `correct` returns; ``actions`` None means that nothing more can be done."""
    return {"errors": [error], "actions": actions, "kind": kind.value, "numerical": numerical}


class CrashHandler(ErrorHandler):
    """The program ended without its closing mark.

    Failures and corrections, in order:

    1. It said why, and a rerun cannot help (bad input, unusable geometry, memory): give up.
    2. Anything else (SIGKILL, segmentation fault, lost node, truncated output): run it again, at most twice.

    Numerical only: the input is not touched. A validator could not do this; custodian never retries after a
    failed validator.
    """

    patterns: ClassVar[tuple[FailurePattern, ...]] = MEMORY_PATTERNS
    files: ClassVar[tuple[str, ...]] = ("job.err", "job.out")
    reruns: ClassVar[int] = 2

    def finished(self, directory: Path) -> bool:
        """Whether the program came to its regular end; subclasses know the mark."""
        raise NotImplementedError

    def check(self, directory: str | Path = "./") -> bool:
        folder = Path(directory)
        return not self.finished(folder) and TERMINATED not in tail(folder / "job.err")

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        text = "\n".join(tail(Path(directory) / name) for name in self.files)
        for pattern, kind, rerun in self.patterns:
            if (found := re.search(pattern, text, re.IGNORECASE)) and not rerun:
                return correction(kind, found[0], None)
        rerun_number = self.n_applied_corrections + 1
        actions = [{"rerun": rerun_number}] if rerun_number <= self.reruns else None
        return correction(FailureKind.CRASH, "ended without its closing mark", actions)


class DeadlineHandler(ErrorHandler):
    """The label has taken longer than allowed, all attempts together: stop it. No correction.

    Args:
        seconds: wall time allowed, counted from the creation of the handler.
    """

    is_monitor = True

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._deadline = time.monotonic() + seconds

    def check(self, directory: str | Path = "./") -> bool:
        return time.monotonic() > self._deadline

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        return correction(FailureKind.WALLTIME, f"not finished after {self.seconds:g} s", None)


class SilenceHandler(ErrorHandler):
    """The program runs but has written nothing for a long time (hung node, dead file system, lost rank).

    Correction, numerical only: stop it and run it again, once.

    Args:
        files: files that a healthy run keeps writing.
        seconds: silence that is no longer credible.
    """

    is_monitor = True

    def __init__(self, files: Sequence[str], seconds: float) -> None:
        self.files = list(files)
        self.seconds = seconds

    def check(self, directory: str | Path = "./") -> bool:
        paths = [path for name in self.files if (path := Path(directory) / name).is_file()]
        return bool(paths) and time.time() - max(path.stat().st_mtime for path in paths) > self.seconds

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        actions = [{"rerun": 1}] if self.n_applied_corrections == 0 else None
        return correction(FailureKind.CRASH, f"silent for {self.seconds:g} s", actions)
