"""Is the output of a CP2K run complete?"""

from __future__ import annotations

from pathlib import Path

from custodian.custodian import Validator

from alpw.codes.cp2k.jobs import OUTPUT
from alpw.codes.cp2k.outputs import read_output
from alpw.codes.protocol import Task
from alpw.formats.cp2k_log import LogReader


class Cp2kValidator(Validator):
    """CP2K came to its end; a label has an energy and one force per atom.

    Whether a relaxation or AIMD made all its steps is not asked here: finished steps are kept in any case.
    """

    def __init__(self, task: Task = Task.LABEL) -> None:
        self.task = task

    def check(self, directory: str | Path = "./") -> bool:
        """True if something is missing (custodian's convention)."""
        folder = Path(directory)
        if self.task is not Task.LABEL:
            return not read_output(folder).ended
        if not (folder / OUTPUT).is_file():
            return True
        with (folder / OUTPUT).open(errors="replace") as lines:
            reader = LogReader(lines)
            found = list(reader)
        if not reader.ended or reader.structure is None or not found or found[-1].forces is None:
            return True
        return len(found[-1].forces) != len(reader.structure)
