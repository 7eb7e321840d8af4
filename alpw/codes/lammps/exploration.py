"""Explore: one trajectory in its own process, under custodian, read back whatever happened to it."""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path

from custodian.custodian import Custodian, CustodianError, ValidationError

from alpw.codes.handlers import DeadlineHandler, tail
from alpw.codes.lammps.frames import FRAMES_FILE, RESTART_STEM, TABLE_FILE, VERSION
from alpw.codes.lammps.handlers import FAULT, InterruptedHandler
from alpw.codes.lammps.inputs import ExplorationTask
from alpw.codes.lammps.jobs import LammpsJob
from alpw.codes.lammps.outputs import (
    END_FILE,
    TASK_FILE,
    End,
    EndReason,
    ExplorationResult,
    read_result,
)
from alpw.codes.lammps.validators import TrajectoryValidator
from alpw.codes.process import run_custodian
from alpw.errors import CalculationError, FailureKind

logger = logging.getLogger(__name__)

GRACE_SECONDS = 60.0
"""After its time limit a trajectory has this long to end itself before its process is stopped."""

DIGEST_FILE = "task.sha256"
"""Of the task, its model files and the format of the frames: what the files in a folder belong to."""

_OUTPUTS = (DIGEST_FILE, END_FILE, FRAMES_FILE, TABLE_FILE, RESTART_STEM + "*", Custodian.LOG_FILE)


def explore(
    task: ExplorationTask, directory: str | Path, *, command: str | None = None, timeout: float | None = None
) -> ExplorationResult:
    """Run one trajectory and return its valid prefix.

    A trajectory of the same task and the same models that was interrupted in ``directory`` goes on from its
    last restart file, one that ended there is handed back. Any other is removed.

    Args:
        task: what to explore.
        directory: where to run; created if missing.
        command: how to start ``python -m alpw.codes.lammps.run`` on this machine, such as
            ``srun -n 1 python -m alpw.codes.lammps.run``; None for this interpreter. One MPI rank.
        timeout: wall time in s, after which the trajectory ends with the frames it has.

    Raises:
        CalculationError: no end was recorded: the input is at fault, or the process was killed three times.
            Or the frames on disk are not those that its end tells of. Frames saved until then are still there
            for `read_result`.
    """
    folder = Path(directory).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if _prepare(task, folder):
        return read_result(folder)
    job = LammpsJob(command, timeout, task.threads)
    deadline = [] if timeout is None else [DeadlineHandler(timeout + GRACE_SECONDS)]
    started = time.monotonic()
    try:
        run_custodian(job, folder, [*deadline, InterruptedHandler()], [TrajectoryValidator()])
    except CustodianError as error:
        if not any(handler.check() for handler in deadline):
            raise _failure(error, folder, job.returncode) from error
        frames = len(read_result(folder))
        steps = max(frames - 1, 0) * task.stride
        message = f"time limit of {timeout:g} s reached, and the process did not end itself"
        End(EndReason.TIMEOUT, message, steps, time.monotonic() - started).write(folder)
    return read_result(folder)


def _prepare(task: ExplorationTask, folder: Path) -> bool:
    """Write the task, and remove what is another's or in the way; whether the trajectory has ended already.

    One that reached its time limit has not: it goes on with the new limit. One without frames is tried anew.
    """
    partial = folder / (TASK_FILE + ".tmp")
    task.write(partial)
    digest, stored = _digest(task, partial.read_bytes()), folder / DIGEST_FILE
    if not stored.is_file() or stored.read_text() != digest:
        stored.unlink(missing_ok=True)
        for path in (path for pattern in _OUTPUTS for path in folder.glob(pattern)):
            path.unlink()
    partial.replace(folder / TASK_FILE)
    stored.write_text(digest)
    end = End.read(folder)
    ended = end is not None and end.reason is not EndReason.TIMEOUT
    if ended and not TrajectoryValidator().problem(folder) and len(read_result(folder)):
        return True
    for path in (folder / END_FILE, folder / Custodian.LOG_FILE):
        path.unlink(missing_ok=True)
    task.write_files(folder)
    return False


def _digest(task: ExplorationTask, text: bytes) -> str:
    """A missing model file is no fault here; the process will name it."""
    files = [*task.models, *([] if task.samples is None else [task.samples])]
    parts = [str(VERSION).encode(), text, *(file.read_bytes() for file in files if file.is_file())]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _failure(error: CustodianError, folder: Path, status: int | None) -> CalculationError:
    if isinstance(error, ValidationError):
        return CalculationError(TrajectoryValidator().problem(folder), FailureKind.UNKNOWN, folder)
    text = tail(folder / "job.err")
    if FAULT in text:
        message, kind = text.rpartition(FAULT)[2].splitlines()[0], FailureKind.INPUT
    else:
        how = f"killed by signal {-status}" if status and status < 0 else f"exit status {status}"
        last = text.strip().splitlines()[-1:] or [str(error)]
        message, kind = f"{how}: {last[0]}; {len(read_result(folder))} frames are saved", FailureKind.NODE
    return CalculationError(message, kind, folder)
