"""What a label costs while a campaign grows: database calls and seconds per Firework and per label.

One campaign through its real Fireworks on an embedded database, in this process. Training, exploration and
labels are arithmetic (tests/firetasks/arithmetic.py), so that what is left is bookkeeping: FireWorks' own
calls, selection, claims, storage, the verdict. Each iteration explores as many frames and labels all of them;
the numbers of a row are those of one iteration, at the number of labels that the campaign has by its end.
Beside the time that passed stands the CPU time of this process and of the server, which says more on a
machine that does other work too.

python benchmarks/campaign_growth.py [--quick] [--labels N] [--json]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil
import pytest
from fireworks import FWorker
from fireworks.core.rocket_launcher import launch_rocket
from pymongo import monitoring

from alpw.database import daemon
from alpw.database.launchpad import open_launchpad, prepare, write_launchpad_file
from tests.conftest import Inputs
from tests.firetasks.arithmetic import FRAMES, Arithmetic

CHUNK = 10
"""labels of a Firework"""

TASKS = {
    "SelectCandidates": "select",
    "LabelChunk": "chunk",
    "CollectLabels": "collect",
}


class Calls(monitoring.CommandListener):
    """Counts the commands that go to the database."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.count += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to count."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to count."""


@dataclass
class Cost:
    """Of the Fireworks of one Firetask in one iteration."""

    fireworks: int = 0
    calls: int = 0
    seconds: float = 0.0
    cpu: float = 0.0


@dataclass
class Row:
    """One iteration: labels of the campaign at its end, and what the Fireworks of each Firetask cost."""

    labels: int = 0
    costs: dict[str, Cost] = field(default_factory=lambda: defaultdict(Cost))

    def to_dict(self, labels: int) -> dict[str, Any]:
        """Per Firework, and per label all together.

        Args:
            labels: of this iteration.
        """
        document: dict[str, Any] = {"labels": self.labels}
        for task, name in TASKS.items():
            cost = self.costs[task]
            document[f"calls_per_{name}"] = cost.calls / max(cost.fireworks, 1)
            document[f"seconds_per_{name}"] = cost.seconds / max(cost.fireworks, 1)
        document["calls_per_label"] = sum(cost.calls for cost in self.costs.values()) / labels
        document["cpu_per_label"] = sum(cost.cpu for cost in self.costs.values()) / labels
        document["seconds_per_label"] = sum(cost.seconds for cost in self.costs.values()) / labels
        return document


def grow(folder: Path, total: int, per_iteration: int, patch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Run a campaign to so many labels.

    Returns:
        A row for each iteration.
    """
    calls = Calls()
    monitoring.register(calls)
    inputs = Inputs(folder)
    server = daemon.start(folder / "db")
    launchpad = open_launchpad(write_launchpad_file(folder / "my_launchpad.yaml", server.uri))
    prepare(launchpad)
    patch.chdir(folder)
    try:
        campaign = Arithmetic(launchpad, inputs, patch)
        trajectories = per_iteration // FRAMES
        n_iterations = total // per_iteration
        temperatures = [300 + place for place in range(trajectories)]
        block = {"sys_idx": [0], "temps": temperatures, "nsteps": 30}
        inputs.param["explore"]["md_jobs"] = [block] * n_iterations
        inputs.param["strategy"] |= {"max_select": per_iteration, "accurate_ratio": 1.0, "model_num": 3}
        inputs.resource["dft"] = {"group_size": CHUNK}
        # All are candidates but the start of each trajectory, which every iteration has again.
        campaign.deviations = {index: [0.5] * FRAMES for index in range(n_iterations)}
        campaign.start()
        return _run(launchpad, psutil.Process(server.pid), folder, calls, per_iteration)
    finally:
        launchpad.connection.close()
        daemon.stop(folder / "db")


def _run(
    launchpad: Any, server: psutil.Process, folder: Path, calls: Calls, per_iteration: int
) -> list[dict[str, Any]]:
    def cpu() -> float:
        return time.process_time() + sum(server.cpu_times()[:2])

    rows: defaultdict[int, Row] = defaultdict(Row)
    worker = FWorker()
    launches = folder / "launches"
    launches.mkdir()
    while launchpad.run_exists(worker):
        before, used, began = calls.count, cpu(), time.perf_counter()
        launch_rocket(launchpad, worker, strm_lvl="CRITICAL")
        counted, worked, passed = calls.count - before, cpu() - used, time.perf_counter() - began
        launch = launchpad.launches.find_one(sort=[("launch_id", -1)])
        spec = launchpad.fireworks.find_one({"fw_id": launch["fw_id"]}, {"spec": 1})["spec"]
        if launch["state"] != "COMPLETED":
            raise RuntimeError(launch["action"]["stored_data"]["_exception"]["_stacktrace"])
        if spec["task"] not in TASKS or spec["iteration"] < 0:
            continue
        row = rows[spec["iteration"]]
        cost = row.costs[spec["task"]]
        cost.fireworks += 1
        cost.calls += counted
        cost.seconds += passed
        cost.cpu += worked
        if spec["task"] == "CollectLabels":
            row.labels = launchpad.db["configurations"].count_documents({"state": "labelled"})
            sys.stderr.write(f"{json.dumps(row.to_dict(per_iteration))}\n")
    return [row.to_dict(per_iteration) for _, row in sorted(rows.items())]


def report(rows: list[dict[str, Any]]) -> str:
    """The table, and by how much a label became dearer from the first iteration to the last."""
    names = [*TASKS.values()]
    lines = [
        f"{'labels':>8}"
        + "".join(f"{name + ', calls':>16}{name + ', ms':>14}" for name in names)
        + f"{'calls/label':>14}{'ms/label':>12}{'CPU ms/label':>15}"
    ]
    for row in rows:
        cells = "".join(
            f"{row[f'calls_per_{name}']:>16.0f}{1e3 * row[f'seconds_per_{name}']:>14.0f}" for name in names
        )
        last = f"{row['calls_per_label']:>14.2f}{1e3 * row['seconds_per_label']:>12.1f}"
        last += f"{1e3 * row['cpu_per_label']:>15.1f}"
        lines.append(f"{row['labels']:>8}{cells}{last}")
    first, final = rows[0], rows[-1]
    quantities = (
        ("calls_per_label", "calls"),
        ("seconds_per_label", "seconds"),
        ("cpu_per_label", "CPU time"),
    )
    for key, what in quantities:
        lines.append(f"{what} per label, last iteration over first: {final[key] / first[key]:.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="up to 400 labels")
    parser.add_argument("--labels", type=int, help="of the whole campaign; 10,000")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    total = arguments.labels or (400 if arguments.quick else 10_000)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        rows = grow(Path(folder), total, 100 if arguments.quick else 500, patch)
    print(json.dumps({"rows": rows}) if arguments.json else report(rows))


if __name__ == "__main__":
    main()
