"""Error handlers that every code shares: crash, deadline, silence.

Custodian asks each handler `check`, which has no side effect, and then `correct`. Ours add the class of the
failure to what custodian records. What a correction may change is watched by
`alpw.codes.corrections.GuardedHandler`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from custodian.custodian import ErrorHandler

from alpw.codes.failures import (
    MEMORY_PATTERNS,
    REMEDIES,
    SYSTEM_PATTERNS,
    FailurePattern,
    match,
    wait_before,
)
from alpw.codes.process import TERMINATED
from alpw.errors import FailureKind

__all__ = [
    "MEMORY_PATTERNS",
    "SYSTEM_PATTERNS",
    "CrashHandler",
    "DeadlineHandler",
    "FailurePattern",
    "SilenceHandler",
    "correction",
    "tail",
]

logger = logging.getLogger(__name__)

TAIL_BYTES = 20_000


def tail(path: Path, size: int = TAIL_BYTES) -> str:
    """The last ``size`` bytes of a file as text; empty if there is no such file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace")


NO_CLOSING_MARK = "ended without its closing mark"


def correction(kind: FailureKind, error: str, actions: list[dict[str, Any]] | None) -> dict[str, Any]:
    """What `correct` returns; ``actions`` None means that nothing more can be done."""
    return {"errors": [error], "actions": actions, "kind": kind.value}


class CrashHandler(ErrorHandler):
    """The program ended without its closing mark.

    Failures and corrections, in order:

    1. It said why (bad input, unusable geometry, memory, no licence, full disk): give up where a rerun cannot
       help, else run it again as often as `alpw.codes.failures.REMEDIES` allows, waiting for a licence.
    2. It made ionic steps before it died: give up; they are kept, and the calculation goes on from the last.
    3. Anything else (SIGKILL, segmentation fault, lost node, truncated output): run it again, at most twice.

    Numerical only: the input is not touched. A validator could not do this; custodian never retries after a
    failed validator.
    """

    patterns: ClassVar[tuple[FailurePattern, ...]] = SYSTEM_PATTERNS
    files: ClassVar[tuple[str, ...]] = ("job.err", "job.out")

    def finished(self, directory: Path) -> bool:
        """Whether the program came to its regular end; subclasses know the mark."""
        raise NotImplementedError

    def steps_done(self, directory: Path) -> bool:
        """Whether a relaxation or AIMD made steps before the program died: it goes on from there."""
        return False

    def check(self, directory: str | Path = "./") -> bool:
        folder = Path(directory)
        return not self.finished(folder) and TERMINATED not in tail(folder / "job.err")

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        text = "\n".join(tail(Path(directory) / name) for name in self.files)
        found = match(text, self.patterns)
        kind, words = (found[0].kind, found[1]) if found else (FailureKind.NODE, NO_CLOSING_MARK)
        rerun = self.n_applied_corrections + 1
        hopeless = (found and not found[0].rerun) or rerun > REMEDIES[kind].reruns
        if hopeless or self.steps_done(Path(directory)):
            return correction(kind, words, None)
        if wait := wait_before(kind, rerun):
            logger.warning("%s: %s; trying again in %g s", directory, words, wait)
            time.sleep(wait)
        return correction(kind, words, [{"rerun": rerun}])


class DeadlineHandler(ErrorHandler):
    """The calculation has taken longer than allowed, all attempts together: stop it. No correction.

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
        rerun = self.n_applied_corrections + 1
        actions = [{"rerun": rerun}] if rerun <= 1 else None
        return correction(FailureKind.NODE, f"silent for {self.seconds:g} s", actions)
