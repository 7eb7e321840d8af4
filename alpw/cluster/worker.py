"""A detached process on this machine that runs one campaign's Fireworks until the campaign ends.

It is FireWorks' own ``rapidfire`` in a loop. A worker belongs to no terminal: Ctrl-C in the supervising
command leaves it running. Its FWorker name carries host, pid and start time, so that work held by a worker
that was killed can be told from work in progress.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import pkgutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from fireworks import FWorker, LaunchPad
from fireworks.core.rocket_launcher import rapidfire
from pymongo.errors import PyMongoError

from alpw import firetasks
from alpw.cluster import recovery
from alpw.cluster.hold import hold
from alpw.database import campaigns
from alpw.database.launchpad import open_launchpad
from alpw.database.owner import WORKER_PREFIX, is_dead, process_identity
from alpw.errors import DatabaseError
from alpw.files import write_atomically

logger = logging.getLogger(__name__)

#: Seconds that a worker waits for the database to come back.
DATABASE_PATIENCE = 600
#: Seconds without anything to do after which a worker leaves a campaign that has not ended.
IDLE_PATIENCE = 20
#: Seconds between two looks at a paused campaign.
PAUSE = 2.0


def spawn(launchpad_file: Path, campaign: str, directory: Path, categories: Sequence[str] = ()) -> int:
    """Start a detached worker and return its pid.

    Args:
        launchpad_file: absolute path of my_launchpad.yaml.
        campaign: name of the campaign that it works for.
        directory: the campaign's folder; launches and logs go below it.
        categories: categories of Fireworks that it takes; none means all.
    """
    logs = directory / "workers"
    logs.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "alpw.cluster.worker", str(launchpad_file), campaign, str(directory)]
    with (logs / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, *categories],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            # One thread each unless the user says otherwise: several workers share this machine's cores.
            env={"OMP_NUM_THREADS": "1", **os.environ},
            start_new_session=True,
        )
    # Written here and not by the worker, whose imports take seconds: the next look must find it.
    write_atomically(logs / f"{process.pid}.pid", process_identity(process.pid).encode())
    return process.pid


def living(directory: Path) -> list[str]:
    """Identities of the workers of this host that serve the campaign in a folder; forgets the dead."""
    alive = []
    for file in sorted((directory / "workers").glob("*.pid")):
        identity = file.read_text()
        if is_dead(identity):
            file.unlink(missing_ok=True)
        else:
            alive.append(identity)
    return alive


@contextmanager
def staffing(directory: Path) -> Iterator[None]:
    """One process at a time counts the workers of the campaign in a folder and starts new ones."""
    (directory / "workers").mkdir(parents=True, exist_ok=True)
    with (directory / "workers" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _import_firetasks() -> None:
    """Import all Firetasks before the first one is taken.

    FireWorks does so between taking a Firework and saying that it runs; where that takes long, as torch from
    a slow network disk does, the worker would be taken for dead in between.
    """
    for module in pkgutil.iter_modules(firetasks.__path__):
        import_module(f"{firetasks.__name__}.{module.name}")


def work(launchpad_file: Path, campaign: str, directory: Path, categories: Sequence[str]) -> None:
    """Run the campaign's Fireworks until it ends, nothing is left to do, or the database is gone for good.

    A worker of a paused campaign waits; one of a stopped campaign leaves after the Firework in hand.
    """
    launches = directory / "launches"
    launches.mkdir(exist_ok=True)
    _import_firetasks()
    fworker = FWorker(
        name=WORKER_PREFIX + process_identity(),
        category=list(categories) or "",
        query={"spec.campaign": campaign},
    )
    launchpad = open_launchpad(launchpad_file)
    idle_since = time.monotonic()
    while (state := _state(launchpad, campaign)) in campaigns.OPEN_STATES:
        if state in campaigns.HELD_STATES:
            # What the last Firework appended must not wait for the next launcher.
            hold(launchpad, campaign)
            if state == campaigns.CampaignState.STOPPED.value:
                return
            time.sleep(PAUSE)
            idle_since = time.monotonic()
        elif launchpad.run_exists(fworker):
            # One at a time: between two the user may have held the campaign.
            options = {"m_dir": str(launches), "sleep_time": 1, "strm_lvl": "WARNING"}
            rapidfire(launchpad, fworker, nlaunches=1, max_loops=1, **options)
            idle_since = time.monotonic()
        elif time.monotonic() - idle_since > IDLE_PATIENCE and not recovery.active(launchpad, campaign):
            logger.info("nothing is left to do for campaign %s", campaign)
            return
        else:
            time.sleep(0.5)


def _state(launchpad: LaunchPad, campaign: str) -> str:
    return str(campaigns.get(launchpad.db, campaign)["state"])


def _wait_for_database(launchpad_file: Path) -> bool:
    deadline = time.monotonic() + DATABASE_PATIENCE
    while time.monotonic() < deadline:
        try:
            open_launchpad(launchpad_file)
            return True
        except DatabaseError:
            time.sleep(2)
    return False


def _log_to_stderr() -> None:
    """Our own messages with time and pid; FireWorks' loggers write theirs themselves."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    ours = logging.getLogger("alpw")
    ours.addHandler(handler)
    ours.setLevel("INFO")
    # It reports each correction as an error; corrections are stored with the label.
    logging.getLogger("custodian.custodian").setLevel("CRITICAL")


def main() -> int:
    """Entry point of ``python -m alpw.cluster.worker``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("launchpad_file", type=Path)
    parser.add_argument("campaign")
    parser.add_argument("directory", type=Path)
    parser.add_argument("categories", nargs="*")
    arguments = parser.parse_args()
    _log_to_stderr()
    pid_file = arguments.directory / "workers" / f"{os.getpid()}.pid"
    try:
        work(arguments.launchpad_file, arguments.campaign, arguments.directory, arguments.categories)
    except (PyMongoError, DatabaseError) as error:
        # The Firework in hand is lost to this process. A successor under a new identity lets the recovery
        # see that, which going on in the same process would hide.
        logger.warning("database lost: %s", error)
        if not _wait_for_database(arguments.launchpad_file):
            return 1
        spawn(arguments.launchpad_file, arguments.campaign, arguments.directory, arguments.categories)
    finally:
        pid_file.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
