"""Is the result of a driver complete?"""

from __future__ import annotations

from pathlib import Path

from custodian.custodian import Validator

from alpw.codes.ase.outputs import read_result
from alpw.codes.protocol import Task


class ResultValidator(Validator):
    """``result.json`` is there; that of a label holds energy and forces."""

    def __init__(self, task: Task = Task.LABEL) -> None:
        self.task = task

    def check(self, directory: str | Path = "./") -> bool:
        """True if something is missing (custodian's convention)."""
        result = read_result(Path(directory))
        wanted = ("energy", "forces") if self.task is Task.LABEL else ("complete",)
        return result is None or any(name not in result for name in wanted)
