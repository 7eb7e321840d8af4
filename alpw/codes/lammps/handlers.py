"""What custodian does when the process of a trajectory goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from alpw.codes.handlers import MEMORY_PATTERNS, CrashHandler, FailurePattern
from alpw.codes.lammps.outputs import End
from alpw.errors import FailureKind

FAULT = "ALPW cannot run this trajectory: "
"""How the process introduces an error that a rerun cannot mend."""


class InterruptedHandler(CrashHandler):
    """The process ended without recording how the trajectory ended.

    Failures and corrections, in order:

    1. It said that the input, the model file or the installation is at fault, or memory ran out: give up.
    2. Anything else (killed, segmentation fault, lost node): go on from the last restart file, at most twice.

    A trajectory that blew up has recorded so. That is information, not an error, and is never run again.
    """

    patterns: ClassVar[tuple[FailurePattern, ...]] = (
        FailurePattern(f"{FAULT}.*", FailureKind.INPUT, False),
        *MEMORY_PATTERNS,
    )

    def finished(self, directory: Path) -> bool:
        """Whether an end is recorded, whatever it is."""
        return End.read(directory) is not None
