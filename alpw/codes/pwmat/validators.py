"""Is the output of a PWmat run complete?"""

from __future__ import annotations

from pathlib import Path

from custodian.custodian import Validator

from alpw.codes.handlers import tail
from alpw.codes.protocol import Task
from alpw.codes.pwmat.outputs import missing
from alpw.codes.pwmat.report import END_MARK, REPORT


class PwmatValidator(Validator):
    """REPORT has its last line and the results of the task are there.

    Args:
        task: label, relaxation or AIMD.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def check(self, directory: str | Path = "./") -> bool:
        """True if something is missing (custodian's convention)."""
        folder = Path(directory)
        return END_MARK not in tail(folder / REPORT, 500) or bool(missing(folder, self.task))
