"""Fireworks per minute into a real SLURM: `qlaunch rapidfire`, and `alpw launch` one by one and by array.

python benchmarks/launch.py [--quick] [--json]

Fireworks that do nothing are submitted as held jobs, so that nothing but their submission is measured: from
the first look into the database to the last job id in it. The database is the embedded server, on this
machine. Needs the Debian packages slurm-wlm and munge.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common import REPOSITORY
from fireworks import Firework, FWorker, LaunchPad, ScriptTask
from fireworks.queue import queue_launcher
from fireworks.utilities.fw_serializers import load_object_from_file
from pymongo import monitoring

from alpw.cluster.journal import Journal
from alpw.cluster.queue import launcher
from alpw.cluster.queue.files import write_all
from alpw.config.resource import Resource, ResourceBlock
from alpw.database import campaigns, daemon
from alpw.database.indexes import ensure_indexes
from alpw.database.launchpad import open_launchpad, prepare, write_launchpad_file

CAMPAIGN = "benchmark"
BLOCK = {"queue_name": "debug", "memory": "100M", "custom_flags": ["--hold"], "max_jobs": 10_000}


class Calls(monitoring.CommandListener):
    """Counts the calls of the database."""

    count = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """One more."""
        Calls.count += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to do."""


@contextmanager
def slurm() -> Iterator[None]:
    """A private SLURM with one node."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o755)
    script = str(REPOSITORY / "tests" / "slurm" / "slurm.sh")
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    subprocess.run([script, "start", str(folder), *ports], check=True)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        yield
    finally:
        subprocess.run([script, "stop", str(folder)], check=True)


class Site:
    """A campaign whose ready Fireworks do nothing, in a database and a folder of its own."""

    def __init__(self, uri: str, folder: Path, count: int) -> None:
        self.folder = folder / uuid.uuid4().hex[:8]
        self.folder.mkdir()
        self.file = write_launchpad_file(self.folder / "my_launchpad.yaml", uri, f"launch_{self.folder.name}")
        self.launchpad: LaunchPad = open_launchpad(self.file)
        prepare(self.launchpad)
        ensure_indexes(self.launchpad.db)
        campaigns.create(self.launchpad.db, CAMPAIGN, {"work_dir": str(self.folder)})
        block = ResourceBlock.model_validate(BLOCK)
        self.resource = Resource(train=ResourceBlock(), explore=ResourceBlock(), dft=block)
        spec = {"campaign": CAMPAIGN, "_category": "dft"}
        for _ in range(count):
            self.launchpad.add_wf(Firework(ScriptTask.from_str("true"), spec=spec))

    def qlaunch(self, interval: float) -> None:
        """What `qlaunch -r rapidfire` does, with so many seconds between two submissions."""
        files = write_all(self.file, CAMPAIGN, self.folder, self.resource)["dft"]
        worker, adapter = FWorker.from_file(str(files.fworker)), load_object_from_file(str(files.qadapter))
        # With a folder for logs it writes them to stdout, too.
        del adapter["logdir"]
        queue_launcher.QUEUE_UPDATE_INTERVAL = interval
        queue_launcher.rapidfire(
            self.launchpad, worker, adapter, str(self.folder), reserve=True, strm_lvl="CRITICAL"
        )

    def launch(self, least_array: int) -> None:
        """What `alpw launch` does, with arrays from so many Fireworks on."""
        launcher.LEAST_ARRAY = least_array
        journal = Journal(self.folder)
        mine = launcher.Launcher(self.file, CAMPAIGN, self.folder, journal, sys.exit)
        while self.launchpad.fireworks.find_one({"state": "READY"}, {"_id": 1}):
            mine.launch(self.launchpad, self.resource)
        journal.close()


def measure(site: Site, work: Callable[[], None], count: int) -> dict[str, float]:
    """Time and database calls for all Fireworks of a site; raises SystemExit when one was not submitted."""
    calls, began = Calls.count, time.perf_counter()
    work()
    seconds, calls = time.perf_counter() - began, Calls.count - calls
    launches = site.launchpad.launches.find({}, {"state_history": 1})
    jobs = {launch["state_history"][0].get("reservation_id") for launch in launches}
    if len(jobs - {None}) != count:
        sys.exit(f"{len(jobs)} jobs for {count} Fireworks")
    return {
        "fireworks": count,
        "seconds": seconds,
        "per_minute": 60 * count / seconds,
        "database_calls_per_firework": calls / count,
    }


def main() -> None:
    """Submit in each way and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    count = 50 if arguments.quick else 300
    never = 10**6
    ways: dict[str, tuple[int, Callable[[Site], None]]] = {
        "qlaunch rapidfire, as it comes": (3, lambda site: site.qlaunch(5.0)),
        "qlaunch rapidfire, QUEUE_UPDATE_INTERVAL 0.2": (count, lambda site: site.qlaunch(0.2)),
        "alpw launch, one job each": (count, lambda site: site.launch(never)),
        "alpw launch, job arrays": (count, lambda site: site.launch(8)),
    }
    if shutil.which("sbatch") is None:
        text = "not measured: sbatch is not installed (Debian packages slurm-wlm and munge)"
        print(json.dumps({"not_measured": text}) if arguments.json else text)
        return
    monitoring.register(Calls())
    results = {}
    with slurm(), tempfile.TemporaryDirectory() as folder:
        uri = daemon.start(Path(folder, "db")).uri
        try:
            for name, (fireworks, way) in ways.items():
                site = Site(uri, Path(folder), fireworks)
                results[name] = measure(site, lambda site=site, way=way: way(site), fireworks)
                subprocess.run(["scancel", "--me"], check=True)
        finally:
            daemon.stop(Path(folder, "db"))
    if arguments.json:
        print(json.dumps(results))
        return
    print(f"{'way':<46} {'Fireworks':>9} {'seconds':>8} {'per minute':>10} {'database calls each':>20}")
    for name, row in results.items():
        print(
            f"{name:<46} {row['fireworks']:>9} {row['seconds']:>8.1f} {row['per_minute']:>10.0f} "
            f"{row['database_calls_per_firework']:>20.1f}"
        )


if __name__ == "__main__":
    main()
