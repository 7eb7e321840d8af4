"""Is what a trajectory has left behind whole?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from custodian.custodian import Validator

from alpw.codes.lammps.inputs import ExplorationTask
from alpw.codes.lammps.outputs import TASK_FILE, EndReason, read_result
from alpw.errors import InputError


class TrajectoryValidator(Validator):
    """An end is recorded, and the frames on disk are those that it tells of.

    How the trajectory ended does not matter, a blow-up is a result. Frames must be readable and finite, at 0,
    stride, 2 stride, ... without a gap: all of them after the last step, else up to the step that ended it,
    which itself may be missing.
    """

    def check(self, directory: str | Path = "./") -> bool:
        """True if something is wrong (custodian's convention)."""
        return bool(self.problem(Path(directory)))

    def problem(self, directory: Path) -> str:
        """What is wrong, in one line; empty if nothing is."""
        if not (directory / TASK_FILE).is_file():
            return f"no {TASK_FILE}"
        task = ExplorationTask.read(directory / TASK_FILE)
        try:
            result = read_result(directory)
        except InputError as error:
            return str(error)
        if result.end is None:
            return "no end is recorded"
        whole = result.end.steps_done // task.stride + 1
        completed = result.end.reason is EndReason.COMPLETED
        allowed = {task.n_frames} if completed else {whole - 1, whole}
        if len(result) not in allowed:
            told = f"ended after step {result.end.steps_done} ({result.end.reason.value})"
            return (
                f"{len(result)} frames at every {task.stride} steps are readable, but the trajectory {told}"
            )
        if not np.array_equal(result.steps, task.stride * np.arange(len(result))):
            return f"the steps of the frames, {result.steps.tolist()}, are not the multiples of {task.stride}"
        numbers = [result.positions, result.cells, result.temperatures, result.potential_energies]
        numbers += [result.pressures, result.max_forces, *(result.deviations or {}).values()]
        if not all(np.isfinite(array).all() for array in numbers):
            return "a frame holds a number that is not finite"
        return ""
