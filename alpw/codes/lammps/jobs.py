"""The custodian job of one trajectory."""

from __future__ import annotations

import sys
from typing import ClassVar

from alpw.codes.lammps.outputs import END_FILE, TASK_FILE
from alpw.codes.process import ProcessJob, split_command


class LammpsJob(ProcessJob):
    """`alpw.codes.lammps.run` in a process group of its own.

    Frames and restart files of an interrupted attempt are not stale: the next one goes on from them.

    Args:
        command: how to start ``python -m alpw.codes.lammps.run``, None for this interpreter.
        timeout: s, after which the trajectory ends itself.
        threads: of torch.
    """

    stale: ClassVar[tuple[str, ...]] = (END_FILE,)

    def __init__(self, command: str | None = None, timeout: float | None = None, threads: int = 1) -> None:
        words = split_command(command) if command else [sys.executable, "-m", "alpw.codes.lammps.run"]
        words += [TASK_FILE, *([] if timeout is None else ["--timeout", repr(timeout)])]
        super().__init__(words, environment={"OMP_NUM_THREADS": str(threads)})
        self.timeout, self.threads = timeout, threads

    def as_dict(self) -> dict[str, object]:
        """For custodian's run log."""
        return {"@class": type(self).__name__, "command": self.command}
