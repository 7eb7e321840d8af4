"""Is the output of a VASP run whole?"""

from __future__ import annotations

from pathlib import Path

from custodian.custodian import Validator

from alpw.codes.protocol import Task
from alpw.codes.vasp.progress import has_steps, is_complete


def validators(task: Task) -> list[Validator]:
    """Fresh validators for one run."""
    return [VaspValidator(task)]


class VaspValidator(Validator):
    """OUTCAR is closed and holds a finished ionic step; vasprun.xml of a label is closed.

    Whether the numbers can be a label is judged when they are read, where the reason can be told.

    Args:
        task: of the run.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def check(self, directory: str | Path = "./") -> bool:
        """True if something is missing (custodian's convention)."""
        folder = Path(directory)
        return not (is_complete(folder, self.task) and has_steps(folder))
