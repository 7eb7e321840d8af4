"""One run of one code under custodian, with everything that can be known about how it ended."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from custodian.custodian import Custodian, CustodianError, ValidationError

from alpw.codes.corrections import GuardedHandler
from alpw.codes.handlers import NO_CLOSING_MARK, DeadlineHandler, SilenceHandler
from alpw.codes.process import ProcessJob, run_custodian
from alpw.codes.protocol import Code, Task
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.structures.sanity import defect

if TYPE_CHECKING:
    from alpw.config import Dft

logger = logging.getLogger(__name__)

REQUEST_FILE = "request.sha256"
"""Tells what the files in a folder were made for."""

HISTORY_FILE = "corrections.jsonl"
"""What custodian repaired in all attempts; its own log holds the last one."""

CLOSING_REMARK = re.compile(r"^\W*$|computation time|PROGRAM STOPPED IN|^\S*/\S*$")
"""What a program prints last although nothing is wrong: rules, timings, where it ran."""

GRACE = 0.1
"""Part of the time limit that a program has to end by itself after it was asked to."""


class Deadline:
    """The time limit of a calculation, all attempts together.

    Args:
        seconds: from now; None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds to go, not below zero; None without a limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def near(self) -> bool:
        """Whether nothing worth while can be started any more."""
        left = self.left()
        return left is not None and self.seconds is not None and left <= GRACE * self.seconds


def check_request(code: Code, atoms: Atoms, dft: Dft, task: Task, folder: Path) -> None:
    """Raise `CalculationError` for whatever can be known to fail before anything is written."""
    try:
        code.check(dft, sorted(set(atoms.get_chemical_symbols())), task)
    except InputError as error:
        raise CalculationError(str(error), FailureKind.INPUT, folder, code.name) from error
    if reason := defect(atoms):
        raise CalculationError(reason, FailureKind.GEOMETRY, folder, code.name)
    try:
        code.check_structure(atoms, dft, task)
    except InputError as error:
        raise CalculationError(str(error), FailureKind.GEOMETRY, folder, code.name) from error


def request_hash(code: Code, atoms: Atoms, dft: Dft, command: str | None, task: Task) -> str:
    """Hash of what was asked for: structure, ``dft`` section, content of its files, command, task."""
    digest = hashlib.sha256(f"{task.value}{dft.model_dump_json()}{command}".encode())
    further = code.further_files(dft, sorted(set(atoms.get_chemical_symbols())))
    for file in (*dft.control_files, *further):
        digest.update(file.read_bytes() if file.is_file() else str(file).encode())
    for array in (atoms.numbers, atoms.pbc, atoms.positions, np.asarray(atoms.cell)):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


_BY_CONTENT = frozenset({"input", "pseudo", "in_skf", "basis_set_file", "potential_file", "model"})
"""Keys of the block ``dft`` that name files."""

_NO_LEVEL = frozenset(
    {"stress", "max_force", "max_silence", "allow_physics", "reuse_wavefunctions", "reuse_labels"}
)
"""Keys of the block ``dft`` on which no energy and no force depends."""


def level_hash(code: Code, dft: Dft, elements: Iterable[str]) -> str:
    """Hash of the settings and files that labels are asked for with, wherever the files lie.

    Equal hashes ask for the same level of theory; which one a run gives, its program's version included, is
    known afterwards.

    Args:
        code: from `alpw.codes.registry.code_of`.
        dft: settings.
        elements: of the structure.
    """
    settings = dft.model_dump(mode="json", exclude=set(_BY_CONTENT | _NO_LEVEL))
    if gaussian := settings.get("gaussian_param"):
        settings["gaussian_param"] = {key: gaussian[key] for key in gaussian if key not in _BY_CONTENT}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for file in (*dft.control_files, *code.further_files(dft, sorted(set(elements)))):
        content = file.read_bytes() if file.is_file() else file.name.encode()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def was_asked(folder: Path, request: str) -> bool:
    """Whether the files in a folder were made for this very request."""
    path = folder / REQUEST_FILE
    return path.is_file() and path.read_text() == request


def has_objection(code: Code, task: Task, folder: Path) -> bool:
    """Whether an error handler finds fault with the outputs in a folder, which may look complete.

    Left by a worker that died before its handlers had judged, or by a calculation that was given up.
    """
    return any(GuardedHandler(handler, code, task).check(folder) for handler in code.handlers(task))


def attempt(
    code: Code,
    job: ProcessJob,
    folder: Path,
    dft: Dft,
    task: Task,
    deadline: Deadline,
    max_errors: int,
    before_correction: Callable[[], None] | None = None,
) -> None:
    """Run the job under custodian until it ends well.

    Raises:
        CalculationError: it did not; the kind and the words are those of whoever knew best.
    """
    left = deadline.left()
    limit = [] if left is None else [DeadlineHandler(left)]
    guarded = [
        GuardedHandler(handler, code, task, dft.allow_physics, before_correction)
        for handler in (SilenceHandler([*code.alive, "job.err"], dft.max_silence), *code.handlers(task))
    ]
    try:
        with _asked_to_stop(code, task, folder, left):
            run_custodian(job, folder, [*limit, *guarded], code.validators(task), max_errors=max_errors)
    except InputError as error:
        raise CalculationError(str(error), FailureKind.INPUT, folder, code.name) from error
    except CustodianError as error:
        raise _failure(error, code, folder, job) from error
    finally:
        _keep_history(folder)


@contextmanager
def _asked_to_stop(code: Code, task: Task, folder: Path, left: float | None) -> Iterator[None]:
    """Ask a relaxation or AIMD to end after its present step, shortly before the limit."""
    if left is None or task is Task.LABEL:
        yield
        return
    timer = threading.Timer((1 - GRACE) * left, code.stop, [folder])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _keep_history(folder: Path) -> None:
    corrections = _custodian_log(folder)
    if corrections:
        with (folder / HISTORY_FILE).open("a") as file:
            file.writelines(json.dumps(entry, default=str) + "\n" for entry in corrections)


def _custodian_log(folder: Path) -> list[dict[str, Any]]:
    path = folder / Custodian.LOG_FILE
    if not path.is_file():
        return []
    entries = [entry for job in json.loads(path.read_text()) for entry in job["corrections"]]
    return [entry | {"handler": entry["handler"]["@class"]} for entry in entries]


def read_corrections(folder: Path) -> list[dict[str, Any]]:
    """What custodian repaired or tried to, in order, in all attempts in a folder."""
    path = folder / HISTORY_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _failure(error: CustodianError, code: Code, folder: Path, job: ProcessJob) -> CalculationError:
    """What custodian gave up on, in the terms of the handler that could not repair it."""
    corrections = _custodian_log(folder)
    words = code.last_words(folder)
    if isinstance(error, ValidationError):
        return CalculationError(words or error.message, FailureKind.NODE, folder, code.name)
    hopeless = [entry for entry in corrections if not entry["actions"]]
    last = (hopeless or corrections)[-1:]
    kind = FailureKind(last[0].get("kind", "unknown")) if last else FailureKind.UNKNOWN
    reasons = [str(entry["errors"][0]) for entry in last]
    if last and (needed := last[0].get("refused")):
        reasons.append(f"the repair would change the physics: {', '.join(needed)}")
    status = job.returncode or 0
    if status < 0:
        reasons.append(f"killed by signal {-status}")
    elif status:
        reasons.append(f"exit status {status}")
        if reasons[0] == NO_CLOSING_MARK and status < 128:
            kind = FailureKind.UNKNOWN
    repairs = len(corrections) - len(hopeless)
    if repairs:
        reasons.append(f"after {repairs} correction{'s' * (repairs > 1)}")
    if words and words not in reasons and not CLOSING_REMARK.search(words):
        reasons.append(words)
    return CalculationError("; ".join(reasons) or error.message, kind, folder, code.name)
