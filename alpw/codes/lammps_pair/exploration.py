"""Explore: one trajectory with a LAMMPS binary, under custodian, read back whatever happened to it."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from custodian.custodian import Custodian, CustodianError, ErrorHandler

from alpw.codes.handlers import MEMORY_PATTERNS, CrashHandler, DeadlineHandler, FailurePattern, tail
from alpw.codes.lammps.inputs import ExplorationTask
from alpw.codes.lammps.outputs import END_FILE, TASK_FILE, End, EndReason, ExplorationResult
from alpw.codes.lammps_pair.deviations import read_deviations
from alpw.codes.lammps_pair.inputs import DUMP_FILE, INPUT_FILE, write_inputs
from alpw.codes.lammps_pair.outputs import (
    LOG_FILE,
    STYLE_FILE,
    is_finished,
    lammps_error,
    read_prefix,
    read_result,
    style_record,
)
from alpw.codes.lammps_pair.styles import TABLE_FILE, PairStyle, lammps_words
from alpw.codes.process import ProcessJob, run_custodian
from alpw.errors import CalculationError, FailureKind, InputError

logger = logging.getLogger(__name__)

CODE = "lammps"


class PairJob(ProcessJob):
    """A LAMMPS binary on ``in.lammps``."""

    stale: ClassVar[tuple[str, ...]] = (END_FILE, DUMP_FILE, TABLE_FILE, LOG_FILE)


class LostHandler(CrashHandler):
    """LAMMPS neither reached its last step nor told of an error: run it again from the start, at most twice.

    Numerical only: the input, and with it the seed of the velocities, is not touched.
    """

    patterns: ClassVar[tuple[FailurePattern, ...]] = MEMORY_PATTERNS

    def finished(self, directory: Path) -> bool:
        return is_finished(directory)


class TrustHandler(ErrorHandler):
    """The models have not known what they do for too long: stop the run. A result, no error.

    Args:
        above: eV/Å.
        after: frames in a row with that deviation or a larger one.
        style: the pair style.
    """

    is_monitor = True

    def __init__(self, above: float, after: int, style: str) -> None:
        self.above, self.after, self.style = above, after, style

    def check(self, directory: str | Path = "./") -> bool:
        path, above, after = Path(directory) / TABLE_FILE, self.above, self.after
        try:
            found = read_deviations(path, self.style).values["max_f"] if path.is_file() else np.empty(0)
        except InputError:
            return False  # the caller is told so when the files are read
        return any((found[k - after : k] >= above).all() for k in range(after, len(found) + 1))

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        return {"errors": ["uncertain"], "actions": None, "kind": FailureKind.UNKNOWN.value}


def explore(
    task: ExplorationTask,
    directory: str | Path,
    *,
    command: str,
    style: PairStyle,
    timeout: float | None = None,
) -> ExplorationResult:
    """Run one trajectory and return its valid prefix.

    A folder in which this very task has ended with frames, and not at its time limit, is read, not run again.

    Args:
        task: what to explore; ``samples`` has no meaning here.
        directory: where to run; created if missing.
        command: LAMMPS, such as ``mpirun -np 4 lmp_mpi``; ``-in`` is added.
        style: the pair style of the models.
        timeout: wall time in s, after which the trajectory ends with the frames it has.

    Raises:
        CalculationError: LAMMPS cannot be started, refuses the input, or died three times. Frames saved until
            then are still there for `read_result`.
    """
    folder = Path(directory).resolve()
    if _is_done(task, style, folder):
        return read_result(folder)
    _begin(task, style, folder)
    try:
        words = [*lammps_words(command), "-in", INPUT_FILE, "-log", LOG_FILE]
    except InputError as error:
        raise CalculationError(str(error), FailureKind.INPUT, folder, CODE) from error
    job = PairJob(words, environment={"OMP_NUM_THREADS": str(task.threads)})
    deadline = [] if timeout is None else [DeadlineHandler(timeout)]
    trust = []
    if task.stop_above is not None and task.stop_after is not None:
        trust = [TrustHandler(task.stop_above, task.stop_after, style.name)]
    started = time.monotonic()
    failure: CustodianError | None = None
    try:
        run_custodian(job, folder, [*deadline, *trust, LostHandler()])
    except InputError as error:
        raise CalculationError(str(error), FailureKind.INPUT, folder, CODE) from error
    except CustodianError as error:
        failure = error
    late = any(handler.check() for handler in deadline)
    end = _end(task, folder, late, time.monotonic() - started)
    if end is None:
        raise _lost(folder, job.returncode) from failure
    end.write(folder)
    logger.info("%s: %s (%s)", folder, end.reason.value, end.message)
    return read_result(folder)


def _is_done(task: ExplorationTask, style: PairStyle, folder: Path) -> bool:
    """Whether ``folder`` holds the end of this task with these models.

    One that reached its time limit begins anew with the new limit, and one without frames is tried anew.
    """
    end = End.read(folder)
    if end is None or end.reason is EndReason.TIMEOUT or not (folder / STYLE_FILE).is_file():
        return False
    asked = folder / (TASK_FILE + ".asked")
    task.write(asked)
    same = asked.read_bytes() == (folder / TASK_FILE).read_bytes()
    asked.unlink()
    same = same and (folder / STYLE_FILE).read_text() == style_record(task, style.name)
    return same and len(read_result(folder)) > 0


def _begin(task: ExplorationTask, style: PairStyle, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*PairJob.stale, Custodian.LOG_FILE):
        (folder / name).unlink(missing_ok=True)
    for link in folder.glob("[0-9]*_*"):
        link.unlink()
    task.write_files(folder)
    task.write(folder / TASK_FILE)
    (folder / STYLE_FILE).write_text(style_record(task, style.name))
    try:
        write_inputs(task, style, folder)
    except InputError as error:
        raise CalculationError(str(error), FailureKind.INPUT, folder, CODE) from error


def _end(task: ExplorationTask, folder: Path, late: bool, seconds: float) -> End | None:
    """How the trajectory ended; None if it was lost on the way."""
    prefix = read_prefix(folder)
    error = lammps_error(folder)
    result = prefix.result
    if error is not None and not len(result) and prefix.ended is None:
        raise CalculationError(error[1], FailureKind.INPUT, folder, CODE)
    if prefix.ended is not None:
        reason, message = prefix.ended
    elif error is not None:
        reason, message = error
    elif is_finished(folder):
        whole = task.n_steps // task.stride + 1
        if len(result) < whole:
            raise CalculationError(
                f"LAMMPS ended, but only {len(result)} of {whole} frames have positions, thermodynamics and "
                f"deviation; see {DUMP_FILE}, {LOG_FILE} and {TABLE_FILE}",
                FailureKind.UNKNOWN,
                folder,
                CODE,
            )
        reason, message = EndReason.COMPLETED, f"all {task.n_steps} steps done"
    elif late:
        reason, message = EndReason.TIMEOUT, "time limit reached"
    else:
        return None
    return replace(End(reason, message, prefix.last_step, seconds), deviation=result.deviation)


def _lost(folder: Path, status: int | None) -> CalculationError:
    how = f"killed by signal {-status}" if status and status < 0 else f"exit status {status}"
    last = tail(folder / "job.err").strip().splitlines()[-1:] or ["no word"]
    frames = len(read_result(folder))
    return CalculationError(f"{how}: {last[0]}; {frames} frames are saved", FailureKind.NODE, folder, CODE)
