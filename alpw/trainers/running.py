"""One command of an external trainer, and whether a training has succeeded."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from custodian.custodian import CustodianError

from alpw.codes.handlers import MEMORY_PATTERNS, CrashHandler, FailurePattern, tail
from alpw.codes.process import ProcessJob, run_custodian, split_command
from alpw.errors import CalculationError, FailureKind, InputError

logger = logging.getLogger(__name__)

SIGNALLED = 128
"""Exit status from which on a shell speaks of a signal."""


class LostTrainingHandler(CrashHandler):
    """A command was killed (lost node, SIGKILL): run it again, at most twice.

    A program that ended by itself, with whatever status, would do the same again.

    Args:
        job: the command.
    """

    patterns: ClassVar[tuple[FailurePattern, ...]] = MEMORY_PATTERNS

    def __init__(self, job: ProcessJob) -> None:
        self._job = job

    def finished(self, directory: Path) -> bool:
        status = self._job.returncode
        return status is not None and 0 <= status < SIGNALLED


class Command:
    """A trainer's command line in one folder.

    Args:
        code: the trainer's name, for errors.
        command: how it is called, such as ``dp`` or ``PWMLFF``.
        folder: where.
        threads: value of ``OMP_NUM_THREADS``.

    Raises:
        CalculationError: no command is known.
    """

    def __init__(self, code: str, command: str | None, folder: Path, threads: int = 1) -> None:
        if not command:
            text = f"train.trainer is '{code}', but resource.json has no train.command"
            raise CalculationError(text, FailureKind.INPUT, folder, code)
        self.code, self.command, self.folder = code, command, folder
        self._environment = {
            name: str(threads)
            for name in (
                "OMP_NUM_THREADS",
                "DP_INTRA_OP_PARALLELISM_THREADS",
                "DP_INTER_OP_PARALLELISM_THREADS",
            )
        }

    def run(self, *arguments: str, makes: str) -> float:
        """Run it with ``arguments``; its words go to ``<first argument>.log``.

        What it leaves behind decides, not its exit status alone.

        Args:
            arguments: such as ``train``, ``train.json``.
            makes: the file that must be there and newer than the start.

        Returns:
            Wall time in s.

        Raises:
            CalculationError: the file is missing or older, or the command cannot be run.
        """
        log = f"{arguments[0].lstrip('-')}.log"
        began, started = time.time(), time.monotonic()
        try:
            words = [*split_command(self.command), *arguments]
            job = ProcessJob(words, log, "job.err", self._environment)
            run_custodian(job, self.folder, [LostTrainingHandler(job)])
        except InputError as error:
            raise CalculationError(str(error), FailureKind.INPUT, self.folder, self.code) from error
        except CustodianError as error:
            kind = FailureKind.NODE
            raise CalculationError(
                f"{arguments[0]} was lost: {self._words(log)}", kind, self.folder, self.code
            ) from error
        made = self.folder / makes
        # File systems keep times to about a hundredth of a second.
        if not made.exists() or made.stat().st_mtime < began - 0.1:
            which = "is older than the run" if made.exists() else "is missing"
            how = f"{arguments[0]} ended with status {job.returncode} and {makes} {which}"
            raise CalculationError(f"{how}: {self._words(log)}", FailureKind.UNKNOWN, self.folder, self.code)
        if job.returncode:
            logger.warning("%s: %s ended with status %s", self.folder, arguments[0], job.returncode)
        return time.monotonic() - started

    def _words(self, log: str) -> str:
        """The error that it told of, or the last thing that it said."""
        lines = [line.strip() for name in (log, "job.err") for line in tail(self.folder / name).splitlines()]
        said = [line for line in lines if line and not line.startswith("implib-gen")]
        errors = [line for line in said if "error" in line.lower()]
        return " ".join((errors or said or ["no word"])[-1].split())[:300]


def check_curve(curve: Sequence[dict[str, Any]], asked: int, unit: str, folder: Path, code: str) -> None:
    """See that a training came to its end with finite errors.

    Args:
        curve: its records, each with ``unit`` and errors; those that are None were not trained.
        asked: how far it was to go.
        unit: ``epoch`` or ``step``.
        folder: where it ran.
        code: the trainer's name.

    Raises:
        CalculationError: it did not.
    """
    if not curve or curve[-1][unit] < asked:
        done = curve[-1][unit] if curve else 0
        text = f"the training ended at {unit} {done} of {asked}"
        raise CalculationError(text, FailureKind.UNKNOWN, folder, code)
    for record in curve:
        bad = [name for name, value in record.items() if value is not None and not math.isfinite(value)]
        if bad:
            text = f"the training diverged: {bad[0]} is {record[bad[0]]} at {unit} {record[unit]}"
            raise CalculationError(text, FailureKind.UNKNOWN, folder, code)
