"""The loop that supervises campaigns until they end, for `alpw run` and `alpw launch` alike."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fireworks import LaunchPad
from pymongo.errors import PyMongoError

from alpw.cluster.interrupts import termination_as_interrupt
from alpw.cluster.supervisor import AnySummary, Supervisor
from alpw.database import leases
from alpw.database.access import ensure_running
from alpw.database.launchpad import open_launchpad
from alpw.errors import AlpwError, DatabaseError

logger = logging.getLogger(__name__)

#: Seconds for which a lost database is waited for.
DATABASE_PATIENCE = 3600.0
#: Seconds between two looks at the campaigns.
LOOK = 1.0


class _Connection:
    """The LaunchPad in use, which is another one after the database was away."""

    def __init__(self, launchpad_file: Path, on_trouble: Callable[[str], None]) -> None:
        self.file, self.on_trouble = launchpad_file, on_trouble
        self.launchpad: LaunchPad = open_launchpad(launchpad_file)

    def restore(self, error: PyMongoError) -> None:
        """Wait until the database answers again; raises :class:`DatabaseError` when it stays away."""
        # What follows are the driver's settings, which help nobody here.
        first_line = str(error).splitlines()[0].split(" (configured")[0].split(", Timeout")[0]
        self.on_trouble(f"database lost ({first_line}); everything goes on when it is back")
        deadline = time.monotonic() + DATABASE_PATIENCE
        while time.monotonic() < deadline:
            try:
                self.launchpad = open_launchpad(ensure_running(self.file))
                self.on_trouble("database is back")
                return
            except DatabaseError:
                time.sleep(2.0)
        raise DatabaseError(f"the database stayed away for {DATABASE_PATIENCE:.0f} s: {first_line}")


def supervise(
    supervisors: Sequence[Supervisor[Any]],
    launchpad_file: Path,
    on_trouble: Callable[[str], None],
    *,
    once: bool = False,
) -> dict[str, Any]:
    """Supervise campaigns until each has ended; Ctrl-C and SIGTERM end that in order, as KeyboardInterrupt.

    What stops one campaign does not stop the others. Leases are given back whatever happens; workers and jobs
    go on by themselves.

    Args:
        supervisors: one for each campaign.
        launchpad_file: absolute path of my_launchpad.yaml.
        on_trouble: called with one line when the database is lost or found again.
        once: only one round.

    Returns:
        Campaign -> its last summary, or the :class:`AlpwError` for which it is not supervised any more.

    Raises:
        DatabaseError: the database stayed away for an hour.
    """
    results: dict[str, Any] = {}
    connection = _Connection(launchpad_file, on_trouble)
    left = list(supervisors)
    with termination_as_interrupt():
        try:
            with _renewal(connection, supervisors):
                while left:
                    try:
                        for supervisor in list(left):
                            outcome = _step(supervisor, connection.launchpad)
                            if once or isinstance(outcome, AlpwError) or outcome.finished:
                                results[supervisor.campaign] = outcome
                                supervisor.release_lease(connection.launchpad.db)
                                left.remove(supervisor)
                    except PyMongoError as error:
                        connection.restore(error)
                    if left:
                        time.sleep(LOOK)
        finally:
            for supervisor in left:
                # Without a database the leases end by themselves.
                with suppress(PyMongoError):
                    supervisor.release_lease(connection.launchpad.db)
    return results


def watch(supervisor: Supervisor[AnySummary], launchpad_file: Path) -> AnySummary:
    """Supervise one campaign until it ends and return its last summary.

    Raises:
        AlpwError: see :meth:`Supervisor.step` and :func:`supervise`.
    """
    outcome = supervise([supervisor], launchpad_file, supervisor.on_trouble)[supervisor.campaign]
    if isinstance(outcome, AlpwError):
        raise outcome
    summary: AnySummary = outcome
    return summary


def _step(supervisor: Supervisor[Any], launchpad: LaunchPad) -> Any:
    try:
        return supervisor.step(launchpad)
    except AlpwError as error:
        return error


@contextmanager
def _renewal(connection: _Connection, supervisors: Sequence[Supervisor[Any]]) -> Iterator[None]:
    """Renew the leases from a thread: a round may wait for SLURM for longer than a lease lasts."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(leases.RENEWAL):
            owned = {supervisor.owner for supervisor in supervisors}
            for owner in owned:
                names = [each.campaign for each in supervisors if each.leads and each.owner == owner]
                try:
                    leases.renew(connection.launchpad.db, names, owner)
                except PyMongoError as error:
                    logger.info("leases could not be renewed: %s", str(error).splitlines()[0])

    thread = threading.Thread(target=renew, name="leases", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
