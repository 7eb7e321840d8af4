"""The loop that supervises campaigns until they end, for `alpw run` and `alpw launch` alike."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fireworks import LaunchPad
from pymongo.database import Database
from pymongo.errors import PyMongoError

from alpw.cluster.interrupts import termination_as_interrupt
from alpw.cluster.locks import brief_waits
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
#: Seconds between two looks for campaigns that have begun meanwhile.
ARRIVALS = 10.0

OnEnd = Callable[[Database, str, Any], None]
"""Called with a campaign and its last summary, or the :class:`AlpwError` for which it is left alone."""
Arrivals = Callable[[Database, Collection[str]], Sequence[Supervisor[Any]]]
"""Supervisors, with their leases, of campaigns that are not among some names."""


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
    on_end: OnEnd | None = None,
    arrivals: Arrivals | None = None,
) -> dict[str, Any]:
    """Supervise campaigns until each has ended; Ctrl-C and SIGTERM end that in order, as KeyboardInterrupt.

    What stops one campaign does not stop the others. Leases are given back whatever happens; workers and jobs
    go on by themselves.

    Args:
        supervisors: one for each campaign.
        launchpad_file: absolute path of my_launchpad.yaml.
        on_trouble: called with one line when the database is lost or found again.
        once: only one round.
        on_end: called for each campaign as soon as its supervision ends.
        arrivals: asked now and then for further campaigns, given those that are supervised or have been left
            alone; supervision goes on until it is interrupted then.

    Returns:
        Campaign -> its last summary, or the :class:`AlpwError` for which it is not supervised any more.

    Raises:
        DatabaseError: the database stayed away for an hour.
    """
    results: dict[str, Any] = {}
    connection = _Connection(launchpad_file, on_trouble)
    left, next_arrivals = list(supervisors), 0.0
    with termination_as_interrupt(), brief_waits(), _leases(connection, left):
        while left or arrivals:
            try:
                if arrivals and time.monotonic() >= next_arrivals:
                    stuck = [name for name, end in results.items() if isinstance(end, AlpwError)]
                    known = {each.campaign for each in left}.union(stuck)
                    left += arrivals(connection.launchpad.db, known)
                    next_arrivals = time.monotonic() + ARRIVALS
                for supervisor in list(left):
                    outcome = _step(supervisor, connection.launchpad)
                    if not (once or isinstance(outcome, AlpwError) or outcome.finished):
                        continue
                    supervisor.release_lease(connection.launchpad.db)
                    if on_end:
                        on_end(connection.launchpad.db, supervisor.campaign, outcome)
                    results[supervisor.campaign] = outcome
                    left.remove(supervisor)
            except PyMongoError as error:
                connection.restore(error)
            if left or arrivals:
                time.sleep(LOOK)
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
def _leases(connection: _Connection, supervisors: Sequence[Supervisor[Any]]) -> Iterator[None]:
    """Keep the leases of what is in a list, whose length may change, and give them back at the end.

    They are renewed from a thread: a round may wait for SLURM for longer than a lease lasts.
    """
    done = threading.Event()

    def renew() -> None:
        while not done.wait(leases.RENEWAL):
            present = list(supervisors)
            for owner in {supervisor.owner for supervisor in present}:
                names = [each.campaign for each in present if each.leads and each.owner == owner]
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
        for supervisor in supervisors:
            # Without a database the leases end by themselves.
            with suppress(PyMongoError):
                supervisor.release_lease(connection.launchpad.db)
