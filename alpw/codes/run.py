"""Run a code on one structure: a label, a relaxation, or AIMD; believe only what can be checked.

A label is all or nothing: the inputs are written, custodian runs and repairs, the result is read and judged.
A calculation of many ionic steps keeps every step that was finished, whatever happens, and goes on from the
last one: in the same call after a crash, in a later call in the same folder when the time was up.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms

from alpw.codes.attempt import (
    HISTORY_FILE,
    REQUEST_FILE,
    Deadline,
    attempt,
    check_request,
    has_objection,
    read_corrections,
    request_hash,
    was_asked,
)
from alpw.codes.checks import check_label, rejected_steps
from alpw.codes.process import ProcessJob
from alpw.codes.protocol import Code, LabelResult, Steps, Task, settings_hash
from alpw.codes.segments import Segments, read_left_steps
from alpw.errors import CalculationError, FailureKind, InputError

if TYPE_CHECKING:
    from alpw.config import Dft

logger = logging.getLogger(__name__)

RESUMABLE = frozenset({FailureKind.NODE, FailureKind.UNKNOWN, FailureKind.WALLTIME})
"""Failures after which a calculation of many steps goes on from the last one."""

MAX_STALLS = 2
"""Attempts in a row without a new step before it is given up."""

MAX_CONTINUATIONS = 10
"""Times that a relaxation goes on after its own limit of steps; by then it never ends."""


def run_label(
    code: Code,
    atoms: Atoms,
    directory: str | Path,
    dft: Dft,
    command: str | None = None,
    *,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
    max_errors: int = 6,
    reuse: Path | None = None,
) -> LabelResult:
    """Energy, forces and virial of ``atoms`` from an external code, repaired where that is safe.

    A finished calculation of the same structure, settings and command that lies in ``directory`` already is
    read instead of being run again: its worker may have died before it could report.

    Args:
        code: from `alpw.codes.registry.code_of`.
        atoms: structure, positions and cell in Å.
        directory: where to run; created if missing. The working directory of this process is not changed.
        dft: the ``dft`` section of ``param.json``.
        command: the program call, such as ``mpirun -np 2 cp2k.psmp``; None or empty for the code's default.
        timeout: wall time in seconds for all attempts together; None for no limit.
        environment: variables for the program, on top of this process's own.
        max_errors: give up after this many corrections.
        reuse: folder of a finished label of the same atoms, whose wavefunction may serve as a start.

    Raises:
        CalculationError: no trustworthy label; ``kind`` says why, the text ends in the code's own words.
    """
    folder = Path(directory).resolve()
    started = time.monotonic()
    check_request(code, atoms, dft, Task.LABEL, folder)
    folder.mkdir(parents=True, exist_ok=True)
    request = request_hash(code, atoms, dft, command, Task.LABEL)
    if was_asked(folder, request) and (finished := _finished_label(code, atoms, folder, dft)):
        return finished
    changes = _prepare(code, atoms, folder, dft, Task.LABEL, request, reuse)
    job = _job(code, command, environment, folder)
    try:
        attempt(code, job, folder, dft, Task.LABEL, Deadline(timeout), max_errors)
    except CalculationError:
        # What was given up is never read as a label later.
        (folder / REQUEST_FILE).unlink(missing_ok=True)
        raise
    return _label(code, atoms, folder, dft, time.monotonic() - started, changes)


def run_steps(
    code: Code,
    task: Task,
    atoms: Atoms,
    directory: str | Path,
    dft: Dft,
    command: str | None = None,
    *,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
    max_errors: int = 6,
) -> Steps:
    """Relax ``atoms``, or run AIMD from them, keeping every finished ionic step.

    Shortly before ``timeout`` the program is asked to end after its present step. What an earlier call in the
    same folder has done for the same request is kept and continued.

    Args:
        code: from `alpw.codes.registry.code_of`.
        task: `Task.RELAX` or `Task.AIMD`.
        atoms: start structure, positions and cell in Å.
        directory: where to run; created if missing.
        dft: settings.
        command: the program call; None for the code's default.
        timeout: wall time in seconds for all attempts of this call together; None for no limit.
        environment: variables for the program, on top of this process's own.
        max_errors: give an attempt up after this many corrections.

    Returns:
        All steps; ``complete`` is False if the time was up before the end.

    Raises:
        CalculationError: it cannot go on, or never made a step.
    """
    folder = Path(directory).resolve()
    check_request(code, atoms, dft, task, folder)
    folder.mkdir(parents=True, exist_ok=True)
    request = request_hash(code, atoms, dft, command, task)
    deadline = Deadline(timeout)
    segments = Segments(code, task, atoms, folder, dft)
    if was_asked(folder, request):
        read_left_steps(segments)
    else:
        segments.clear()
        segments.changes += _prepare(code, atoms, folder, dft, task, request)
    job = _job(code, command, environment, folder)
    job.between = lambda: segments.begin(job)
    while not segments.complete:
        if deadline.near and segments.done:
            return _steps(code, segments, complete=False)
        _check_progress(segments)
        segments.begin(job)
        error = None
        try:
            attempt(code, job, folder, dft, task, deadline, max_errors, segments.bank)
        except CalculationError as raised:
            error = raised
            logger.warning("%s", error)
        segments.bank()
        if error and (error.kind not in RESUMABLE or segments.stalls > MAX_STALLS or not segments.done):
            raise error
    return _steps(code, segments, complete=True)


def finished_steps(code: Code, task: Task, atoms: Atoms, directory: str | Path, dft: Dft) -> Steps | None:
    """The steps that :func:`run_steps` has finished in a folder, whether it came to its end or failed.

    Args:
        code: from `alpw.codes.registry.code_of`.
        task: `Task.RELAX` or `Task.AIMD`.
        atoms: the structure that it began with.
        directory: where it ran.
        dft: settings.

    Returns:
        The steps; None if there are none.
    """
    segments = Segments(code, task, atoms, Path(directory).resolve(), dft)
    return _steps(code, segments, complete=segments.complete) if segments.done else None


def _check_progress(segments: Segments) -> None:
    """Raise `CalculationError` if a calculation would never end."""
    endless = segments.task is Task.RELAX and segments.number >= MAX_CONTINUATIONS
    if endless or segments.stalls > MAX_STALLS:
        raise CalculationError(
            f"not finished after {segments.done} steps in {segments.number} attempts",
            FailureKind.GEOMETRY if endless else FailureKind.UNKNOWN,
            segments.folder,
            segments.code.name,
        )


def clean(code: Code, directory: Path) -> None:
    """Remove what neither a rerun nor an audit needs (wavefunctions, charge densities)."""
    for pattern in code.scratch:
        for path in directory.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _prepare(
    code: Code, atoms: Atoms, folder: Path, dft: Dft, task: Task, request: str, reuse: Path | None = None
) -> list[str]:
    """Write the inputs of a new calculation, and for what they are."""
    for name in (HISTORY_FILE, REQUEST_FILE):
        (folder / name).unlink(missing_ok=True)
    try:
        changes = code.write_inputs(atoms, folder, dft, task, reuse=reuse)
    except InputError as error:
        raise CalculationError(str(error), FailureKind.INPUT, folder, code.name) from error
    (folder / REQUEST_FILE).write_text(request)
    return changes


def _job(code: Code, command: str | None, environment: Mapping[str, str] | None, folder: Path) -> ProcessJob:
    try:
        return code.job(command, environment)
    except InputError as error:
        raise CalculationError(str(error), FailureKind.INPUT, folder, code.name) from error


def _label(
    code: Code, atoms: Atoms, folder: Path, dft: Dft, wall_time: float, changes: list[str]
) -> LabelResult:
    try:
        label = code.read_label(folder, atoms, dft)
        check_label(label, atoms, code.net_force_tolerance, dft, folder)
    except CalculationError as error:
        error.code = code.name
        raise
    settings = code.settings(folder)
    return LabelResult(
        label=label,
        settings=settings,
        settings_hash=settings_hash(settings),
        corrections=read_corrections(folder),
        wall_time=wall_time,
        directory=folder,
        changes=changes,
    )


def _finished_label(code: Code, atoms: Atoms, folder: Path, dft: Dft) -> LabelResult | None:
    """The label of a complete earlier run in ``folder`` that answers the same request, if there is one."""
    if any(validator.check(folder) for validator in code.validators(Task.LABEL)):
        return None
    if has_objection(code, Task.LABEL, folder):
        return None
    newest = max(path.stat().st_mtime for path in folder.iterdir())
    try:
        began = (folder / REQUEST_FILE).stat().st_mtime
        found = _label(code, atoms, folder, dft, newest - began, [])
    except CalculationError as error:
        logger.info("%s: an earlier run is of no use: %s", folder, error)
        return None
    logger.info("%s: read the label of an earlier run", folder)
    return found


def _steps(code: Code, segments: Segments, *, complete: bool) -> Steps:
    frames = segments.frames()
    rejected = rejected_steps(frames, code.net_force_tolerance, segments.dft)
    converged = frames.converged.copy()
    converged[list(rejected)] = False
    settings = segments.settings()
    return Steps(
        frames=replace(frames, converged=converged),
        hashes=segments.hashes(),
        complete=complete,
        rejected=dict(Counter(rejected.values())),
        settings=settings,
        settings_hash=settings_hash(settings),
        corrections=read_corrections(segments.folder),
        wall_time=segments.seconds,
        directory=segments.folder,
        changes=segments.changes,
    )
