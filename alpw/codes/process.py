"""Run an external program under custodian, and never leave it running behind our back.

The custodian `Job` here owns one *process group*. Three rules make it safe on a shared node:

* The program starts in its own session, so that its process group holds everything it starts (``mpirun`` and
  its ranks, the Python wrapper of a pip-installed ``lmp`` and the real one). We signal that group and nothing
  else; nothing is ever killed by name.
* Outputs of an earlier attempt are removed before the program starts: monitors would otherwise judge the new
  run by the files of the old one.
* If the worker itself dies, even by ``kill -9``, the program must not go on unattended. A guard process
  blocks on a pipe whose other end only the worker holds; when the worker vanishes, the kernel closes that
  end, the guard reads end-of-file and kills the group. That is plain POSIX. Linux's ``PR_SET_PDEATHSIG``
  would need code between fork and exec (unsafe with threads), reaches the direct child only and not its
  ranks, and fires when the *thread* that started the child ends.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from custodian.custodian import Custodian, ErrorHandler, Job, Validator

from alpw.config.command_line import words_of
from alpw.errors import InputError

logger = logging.getLogger(__name__)

TERMINATED = "terminated by its supervisor"
"""Mark in the stderr file of a program that we stopped ourselves; crash detection looks for it."""

POLL_SECONDS = 0.1
MONITOR_SECONDS = 1.0

_GUARD = (
    'read -r word; [ "$word" = done ] && exit 0; kill -s TERM -- "-$0"; sleep "$1"; kill -s KILL -- "-$0"'
)


def split_command(command: str) -> list[str]:
    """Words of a command line such as ``mpirun -np $SLURM_NTASKS cp2k.psmp``, variables filled in.

    Raises:
        InputError: what :func:`~alpw.config.command_line.words_of` refuses, or an unset variable.
    """
    words = [os.path.expandvars(word) for word in words_of(command)]
    for word in words:
        if unset := re.search(r"\$\{?\w+", word):
            raise InputError(f"{unset[0]} in {command!r} is not set in the environment", key="command")
    return words


class ProcessJob(Job):
    """One external program in one directory, as its own process group.

    Subclasses name the outputs that a new attempt must not find; patterns are those of ``Path.glob``.

    Args:
        command: the program and its arguments, as for ``subprocess``.
        stdout: file that receives standard output, relative to the run directory.
        stderr: file that receives standard error.
        environment: variables set on top of the worker's own. ``OMP_NUM_THREADS`` is 1 unless the worker or
            this mapping says otherwise: a single point gains more from ranks, and workers share nodes.
        kill_wait: seconds between SIGTERM and SIGKILL.

    Attributes:
        between: called before every attempt but the first, with the outputs of the last one still there.
    """

    stale: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        command: Sequence[str],
        stdout: str = "job.out",
        stderr: str = "job.err",
        environment: Mapping[str, str] | None = None,
        kill_wait: float = 5.0,
    ) -> None:
        self.command = list(command)
        self.stdout = stdout
        self.stderr = stderr
        self.environment = dict(environment or {})
        self.kill_wait = kill_wait
        self.between: Callable[[], None] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, and process group id, of the latest attempt; None before the first."""
        return self._process.pid if self._process else None

    @property
    def returncode(self) -> int | None:
        """Exit status of the latest attempt (minus the signal that ended it), None while it runs."""
        return self._process.returncode if self._process else None

    def setup(self, directory: str | Path = "./") -> None:
        """Nothing to prepare: inputs are written before custodian starts."""

    def run(self, directory: str | Path = "./") -> subprocess.Popen[bytes]:
        """Start the program in ``directory`` and return at once.

        Raises:
            InputError: the program cannot be started.
        """
        self.close()
        folder = Path(directory)
        if self._process is not None and self.between:
            self.between()
        self.remove_stale(folder)
        environment = {"OMP_NUM_THREADS": "1", **os.environ, **self.environment}
        with (folder / self.stdout).open("wb") as out, (folder / self.stderr).open("wb") as err:
            try:
                self._process = subprocess.Popen(
                    self.command,
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
            except OSError as error:
                raise InputError(
                    f"cannot start {self.command[0]!r}: {error.strerror}", key="command"
                ) from error
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, str(self._process.pid), str(self.kill_wait)],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self._process

    def remove_stale(self, directory: Path) -> None:
        """Remove the outputs of an earlier attempt, by which the new one would be judged."""
        for pattern in (*self.stale, self.stdout, self.stderr):
            for path in directory.glob(pattern):
                path.unlink()

    def terminate(self, directory: str | Path = "./") -> None:
        """Stop the whole group: SIGTERM, ``kill_wait`` seconds of grace, SIGKILL for whatever is left."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            _signal_group(process.pid, signal.SIGTERM)
            try:
                process.wait(self.kill_wait)
            except subprocess.TimeoutExpired:
                logger.warning("%s (pid %d) ignores SIGTERM, killing it", self.command[0], process.pid)
            with (Path(directory) / self.stderr).open("a") as err:
                err.write(f"\n{TERMINATED}\n")
        self.close()

    def postprocess(self, directory: str | Path = "./") -> None:
        """End what the program may have left in its group."""
        self.close()

    def close(self) -> None:
        """Kill what is left of the group, reap it and release the guard; harmless when called twice."""
        process, guard = self._process, self._guard
        self._guard = None
        if process is None or guard is None:
            return
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()
        guard.communicate(b"done\n")


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        logger.debug("process group %d has already ended", group)


def run_custodian(
    job: ProcessJob,
    directory: str | Path,
    handlers: Sequence[ErrorHandler] = (),
    validators: Sequence[Validator] = (),
    *,
    max_errors: int = 6,
) -> list[dict[str, Any]]:
    """Run one job under custodian in ``directory``, without changing the working directory.

    The program's end is noticed within 0.1 s and monitors look once a second: custodian's own 10 s and 300 s
    suit jobs of hours, a label may take one second.

    Args:
        job: what to run.
        directory: an existing folder; ``custodian.json`` is written there too.
        handlers: in order of priority.
        validators: a failed validator is final, custodian never retries it.
        max_errors: give up after this many corrections in all.

    Returns:
        Custodian's run log: one entry per job, with its ``corrections``.

    Raises:
        custodian.custodian.CustodianError: the errors could not be repaired.
        InputError: the program could not be started.
    """
    custodian = Custodian(
        list(handlers),
        [job],
        validators=list(validators),
        max_errors=max_errors,
        # Handlers and validators judge the outputs; MPI may fail at its very end, after a complete run.
        terminate_on_nonzero_returncode=False,
        polling_time_step=POLL_SECONDS,
        monitor_freq=round(MONITOR_SECONDS / POLL_SECONDS),
        directory=str(directory),
    )
    started = time.monotonic()
    try:
        return custodian.run()
    finally:
        job.close()
        logger.info("%s in %s took %.1f s", job.name, directory, time.monotonic() - started)
