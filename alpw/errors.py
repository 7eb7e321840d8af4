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
    """the self-consistent field did not converge"""
    GEOMETRY = "geometry"
    """the structure cannot be computed, or could not be relaxed"""
    MEMORY = "memory"
    WALLTIME = "walltime"
    NODE = "node"
    """killed, hung, cut short: the machine is to blame, as far as one can tell"""
    LICENCE = "licence"
    INPUT = "input"
    """settings, pseudopotentials or the command are wrong; every rerun would fail in the same way"""
    UNKNOWN = "unknown"
    """none of these, or numbers that cannot be a label"""


class CalculationError(AlpwError):
    """An external code ended without a usable result.

    Args:
        message: what went wrong, in the code's own words where there are any.
        kind: class of the failure.
        directory: where its files lie.
        code: which program.
    """

    def __init__(
        self,
        message: str,
        kind: FailureKind,
        directory: str | Path | None = None,
        code: str | None = None,
    ) -> None:
        self.message, self.kind, self.directory, self.code = message, kind, directory, code
        super().__init__(self.diagnosis)

    @property
    def diagnosis(self) -> str:
        """One line: code, class of the failure, what it said, where."""
        who = f"{self.code} {self.kind.value}" if self.code else self.kind.value
        return f"{who}: {self.message}" + (f" (in {self.directory})" if self.directory else "")
