"""The one exception family of ALPW.

Every message tells the user what to do: the file, the key or the frame, what was found, what is allowed.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path


class AlpwError(Exception):
    """Base of every error that ALPW raises on purpose."""


class InputError(AlpwError):
    """A user's file or argument is wrong; nothing has been submitted.

    Args:
        message: what was found and what is allowed, in one line.
        file: the file at fault.
        key: dotted path of the key at fault, such as ``explore.md_jobs[0][1].temps``.
    """

    def __init__(self, message: str, file: str | Path | None = None, key: str | None = None) -> None:
        self.message, self.file, self.key = message, file, key
        super().__init__(": ".join(str(part) for part in (file, key, message) if part))


class DatabaseError(AlpwError):
    """The database cannot be reached, or holds something that it must not."""


class FailureKind(str, Enum):
    """Why an external calculation did not give a result; the value is what the database stores."""

    SCF = "scf"
    CRASH = "crash"
    MEMORY = "memory"
    WALLTIME = "walltime"
    INPUT = "input"
    GEOMETRY = "geometry"
    OUTPUT = "output"
    OTHER = "other"


class CalculationError(AlpwError):
    """An external code ended without a usable result.

    Args:
        message: the code's own words where there are any.
        kind: class of the failure.
        directory: where its files lie.
    """

    def __init__(self, message: str, kind: FailureKind, directory: str | Path | None = None) -> None:
        self.message, self.kind, self.directory = message, kind, directory
        super().__init__(f"{kind.value}: {message}" + (f" (in {directory})" if directory else ""))
