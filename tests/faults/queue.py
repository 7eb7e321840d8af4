"""``make queue-faults``: jobs, nodes, SLURM, supervisor and database die under campaigns; a table says what
became of each. Exits 1 if anything was lost or computed twice.

python -m tests.faults.queue [--only NAME] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from fireworks import LaunchPad
from rich.console import Console
from rich.table import Table

from alpw.database import daemon
from alpw.database.launchpad import open_launchpad, prepare, write_launchpad_file
from tests.faults.cluster import Cluster, Run

complaints = Console(stderr=True)

#: Most seconds from a fault until all labels are made.
PATIENCE = 900.0


@dataclass(frozen=True)
class Outcome:
    """What became of a fault.

    Attributes:
        fault: its name.
        ends: how jobs ended, and the remedies.
        again: seconds until the Firework that was hit, or any, began to run.
        all_done: seconds until all labels were made.
        lost: labels that were not.
        twice: labels that were computed again.
        right: whether all is as it should be.
    """

    fault: str
    ends: str
    again: float | None
    all_done: float | None
    lost: int
    twice: int
    right: bool


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: what the table calls it.
        strike: does the damage, mends what a person would, and returns the Firework that was hit, if any.
        expected: how the job ended, as `alpw.cluster.queue.ends` calls it; None if no job was to end.
        seconds: that each label takes.
        memory: MiB that each label holds, and what its job asks for at first.
    """

    name: str
    strike: Callable[[Bench, Run], int | None]
    expected: str | None = None
    seconds: float = 4.0
    memory: tuple[int, str] | None = None


@dataclass
class Bench:
    """SLURM and database of all faults."""

    cluster: Cluster
    folder: Path
    launchpad: LaunchPad
    uri: str

    def run(self, fault: Fault) -> Outcome:
        """Let a campaign meet a fault."""
        folder = self.folder / re.sub(r"\W+", "_", fault.name)
        run = Run(self.launchpad, self.uri, folder, fault.seconds, fault.memory)
        again, took = None, None
        try:
            if fault.strike is sbatch_fails:
                run.supervise(str(broken_sbatch(run.folder)))
            else:
                run.supervise()
                # What is to be hit has begun.
                run.job("RUNNING")
            since = datetime.now(timezone.utc)
            hit = fault.strike(self, run)
            run.wait(run.done, PATIENCE)
            took = (datetime.now(timezone.utc) - since).total_seconds()
            if began := run.again(since, hit):
                again = (began - since).total_seconds()
        except TimeoutError as error:
            complaints.print(f"{fault.name}: {error}")
        finally:
            run.end()
        ends = [event for event in run.events() if event["end"] != "own"]
        words = "; ".join(
            " ".join([event["end"], "->", event["remedy"], *(f"{k}={v}" for k, v in event["asks"].items())])
            for event in ends
        )
        expected = fault.expected is None or fault.expected in {event["end"] for event in ends}
        lost, twice = run.lost(), run.twice()
        right = took is not None and not lost and not twice and expected
        return Outcome(fault.name, words or "-", again, took, lost, twice, right)


def scancel_running(bench: Bench, run: Run) -> int:
    fw_id, job = run.job("RUNNING")
    subprocess.run(["scancel", job], check=True)
    return fw_id


def scancel_pending(bench: Bench, run: Run) -> int:
    fw_id, job = run.job("RESERVED")
    subprocess.run(["scancel", job], check=True)
    return fw_id


def time_limit(bench: Bench, run: Run) -> int:
    fw_id, job = run.job("RUNNING")
    subprocess.run(["scontrol", "update", f"jobid={job}", "endtime=now+1"], check=True)
    return fw_id


def memory_limit(bench: Bench, run: Run) -> int:
    return run.job("RUNNING")[0]


def node_drained(bench: Bench, run: Run) -> None:
    bench.cluster.node("drain")
    time.sleep(15)
    bench.cluster.node("resume")


def node_down(bench: Bench, run: Run) -> int:
    fw_id, _ = run.job("RUNNING")
    bench.cluster.node("down")
    time.sleep(5)
    bench.cluster.node("resume")
    return fw_id


def controller_killed(bench: Bench, run: Run) -> None:
    bench.cluster.kill_controller()
    time.sleep(40)
    bench.cluster.start_controller()
    # It knows what it last saved. A job that came after that has an id which it gives away again, and then it
    # drains the node until a person has looked.
    time.sleep(10)
    bench.cluster.node("resume")


def broken_sbatch(folder: Path) -> Path:
    """A folder with an sbatch that fails while a file ``broken`` lies beside it."""
    place = folder / "bin"
    place.mkdir()
    (place / "broken").touch()
    script = place / "sbatch"
    script.write_text(
        "#!/bin/sh\n"
        f'if [ -e "{place}/broken" ]; then\n'
        '  echo "sbatch: error: Batch job submission failed: Unable to contact slurm controller" >&2\n'
        f'  exit 1\nfi\nexec {shutil.which("sbatch")} "$@"\n'
    )
    script.chmod(0o755)
    return place


def sbatch_fails(bench: Bench, run: Run) -> None:
    time.sleep(60)
    (run.folder / "bin" / "broken").unlink()


def supervisor_killed(bench: Bench, run: Run) -> None:
    os.kill(run.supervisor.pid, signal.SIGKILL)
    run.supervisor.wait()
    time.sleep(5)
    run.supervise()


def database_restarted(bench: Bench, run: Run) -> None:
    daemon.stop(bench.folder / "db")
    time.sleep(5)
    daemon.start(bench.folder / "db")


def workflow_locked(bench: Bench, run: Run) -> None:
    # As whoever dies, or loses the database, while he changes a workflow.
    bench.launchpad.workflows.update_many({"metadata.campaign": run.name}, {"$set": {"locked": True}})


def database_killed(bench: Bench, run: Run) -> int:
    fw_id, job = run.job("RUNNING")
    subprocess.run(["scancel", job], check=True)
    # The job's launcher and the supervisor are about to write what became of it.
    run.wait(lambda: run.launch_state(fw_id) != "RUNNING", PATIENCE)
    pid = daemon.status(bench.folder / "db").pid
    assert pid, "there is no database"
    os.kill(pid, signal.SIGKILL)
    time.sleep(5)
    daemon.start(bench.folder / "db")
    return fw_id


def requeued(bench: Bench, run: Run) -> int:
    fw_id, job = run.job("RUNNING")
    # Our jobs say --no-requeue; somebody who may overrides that.
    subprocess.run(["scontrol", "update", f"jobid={job}", "requeue=1"], check=True)
    subprocess.run(["scontrol", "requeue", job], check=True)
    return fw_id


FAULTS = [
    Fault("scancel of a running job", scancel_running, "cancelled"),
    Fault("scancel of a waiting job", scancel_pending, "cancelled"),
    Fault("time limit", time_limit, "timeout", seconds=35.0),
    Fault("out of memory", memory_limit, "memory", memory=(600, "650M")),
    Fault("node drained for 15 s", node_drained),
    Fault("node down for 5 s", node_down, "node"),
    Fault("slurmctld killed, away for 40 s", controller_killed),
    Fault("sbatch fails for 60 s", sbatch_fails),
    Fault("supervisor killed, away for 5 s", supervisor_killed),
    Fault("database restarted, away for 5 s", database_restarted),
    Fault("database killed as jobs end", database_killed, "cancelled"),
    Fault("workflow locked by a dead process", workflow_locked),
    Fault("job requeued", requeued, "requeued"),
]


def table_of(outcomes: list[Outcome]) -> Table:
    headings = ("fault", "jobs", "s until it ran again", "s until all done", "lost", "twice")
    table = Table(*headings, box=None, pad_edge=False)
    for outcome in outcomes:
        seconds = ["-" if value is None else f"{value:.0f}" for value in (outcome.again, outcome.all_done)]
        counts = [str(outcome.lost), str(outcome.twice)]
        style = "" if outcome.right else "bold red"
        table.add_row(outcome.fault, outcome.ends, *seconds, *counts, style=style)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(prog="make queue-faults", description=__doc__)
    parser.add_argument("--only", default="", help="regular expression; faults whose name fits")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cluster = Cluster()
    outcomes = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            server = daemon.start(place / "db")
            launchpad = open_launchpad(write_launchpad_file(place / "my_launchpad.yaml", server.uri))
            prepare(launchpad)
            try:
                bench = Bench(cluster, place, launchpad, server.uri)
                for fault in [fault for fault in FAULTS if re.search(options.only, fault.name)]:
                    outcomes.append(bench.run(fault))
                    complaints.print(json.dumps(asdict(outcomes[-1])), soft_wrap=True)
            finally:
                launchpad.connection.close()
                daemon.stop(place / "db")
    finally:
        cluster.stop()
    if options.json:
        sys.stdout.write(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n")
    else:
        Console(width=None if sys.stdout.isatty() else 180).print(table_of(outcomes))
    return int(not all(outcome.right for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
