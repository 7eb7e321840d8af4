"""The labelled data set at size: what a frame of 64 atoms costs, from 1,000 frames up, beside dpdata and ASE.

On the embedded server (a temporary one of its own) or a MongoDB: ingest, queries, snapshot, reading, the
batches of a training, export to each format; bytes per frame on the disk and in the server's memory; the
client's peak memory. At each size the client is a process of its own with one thread. Wall time is shown, and
the cost of a frame: CPU time of client and server (with --uri: wall time) over the number of frames. It is
to stay the same; the last column has that of the largest size over that of the smallest.

python benchmarks/dataset.py [--frames N] [--uri mongodb://...] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
from common import run_python
from dataset_work import size
from pymongo import MongoClient

from alpw.database import daemon

HERE = Path(__file__).resolve().parent
SMALLEST, QUICK, LARGEST = 1_000, 4_000, 100_000
HOURS_6 = 21_600.0

CPU_RESOLUTION = 0.05
"""s; that of a process is counted in steps of 10 ms"""

TITLES = ("ALPW", "dpdata deepmd/npy", "ASE db")
SIDE_BY_SIDE = {
    "write": {"ALPW": "ingest", "dpdata deepmd/npy": "write", "ASE db": "write"},
    "read all frames": dict.fromkeys(TITLES, "read all frames"),
    "count by tag": {"ALPW": "count by tag (indexed)", "ASE db": "count by tag"},
    "first 20 by tag": {"ALPW": "first 20 by tag (indexed)", "ASE db": "first 20 by tag"},
    "export deepmd/npy": {"ALPW": "export deepmd/npy"},
    "export ase-db": {"ALPW": "export ase-db"},
}
"""row -> whose step it is of each"""


def sizes(largest: int) -> list[int]:
    """1,000 and its multiples by ten below the largest, and that."""
    found = [SMALLEST]
    while found[-1] * 10 < largest:
        found.append(found[-1] * 10)
    return [*found, largest] if largest > SMALLEST else [largest]


def embedded(count: int) -> dict[str, Any]:
    """Measure on a server of its own, and what that needs."""
    with tempfile.TemporaryDirectory(prefix="alpw-dataset-") as name:
        folder = Path(name)
        try:
            server = daemon.start(folder)
            process = psutil.Process(server.pid)
            before = process.memory_info().rss
            arguments = [server.uri, "benchmark", str(count), str(server.pid)]
            result = run_python(HERE / "dataset_work.py", arguments, timeout=HOURS_6, progress=True)
            result["memory_per_frame"] = (process.memory_info().rss - before) / count
            daemon.stop(folder)
            result["disk_per_frame"] = size(folder) / count
            began = time.perf_counter()
            server = daemon.start(folder)
            result["steps"]["start of the server"] = {"seconds": time.perf_counter() - began}
            result["memory_after_start_per_frame"] = (
                psutil.Process(server.pid).memory_info().rss - before
            ) / count
        finally:
            daemon.stop(folder)
    return result


def mongodb(uri: str, count: int) -> dict[str, Any]:
    """Measure on a MongoDB, in a database that is dropped afterwards."""
    name = f"alpw_benchmark_{uuid.uuid4().hex[:8]}"
    with MongoClient(uri) as client:
        try:
            result = run_python(
                HERE / "dataset_work.py", [uri, name, str(count)], timeout=HOURS_6, progress=True
            )
            stats = client[name].command("dbStats")
            result["disk_per_frame"] = (stats["storageSize"] + stats["indexSize"]) / count
            result["data_per_frame"] = stats["dataSize"] / count
            memory = client.admin.command("serverStatus").get("mem", {})
            result["server_memory_mb"] = memory.get("resident")
        finally:
            client.drop_database(name)
    return result


def measure(counts: list[int], uri: str | None) -> dict[str, Any]:
    """All sizes, ours and the peers'."""
    ours = {count: mongodb(uri, count) if uri else embedded(count) for count in counts}
    peers = {
        title: {
            count: run_python(HERE / "dataset_peers.py", [peer, str(count)], timeout=HOURS_6, progress=True)
            for count in counts
            # ASE db needs hours for more.
            if count <= LARGEST
        }
        for peer, title in (("dpdata", "dpdata deepmd/npy"), ("ase", "ASE db"))
    }
    return {"server": "mongodb" if uri else "embedded", "frames": counts, "ALPW": ours, **peers}


def cost(result: dict[str, Any], title: str, count: int, step: str) -> float | None:
    """Of a frame, µs; None where that was not measured.

    The CPU time of what takes a few milliseconds is not known; then it is wall time.
    """
    found = result[title].get(count, {"steps": {}})["steps"].get(step)
    if found is None:
        return None
    is_cpu = result["server"] == "embedded" and found.get("cpu", 0.0) > CPU_RESOLUTION
    return 1e6 * found["cpu" if is_cpu else "seconds"] / count


def report(result: dict[str, Any]) -> None:
    """Tables for people."""
    counts, ours = result["frames"], result["ALPW"]
    kind = "CPU" if result["server"] == "embedded" else "wall"
    print(f"ALPW on {result['server']}, frames of 64 atoms; wall time, ms, and {kind} time of a frame, µs")
    print(f"{'':32}" + "".join(f"{f'{count:,} frames':>20}" for count in counts) + "   last / first")
    for step in ours[counts[0]]["steps"]:
        walls = [1e3 * ours[count]["steps"][step]["seconds"] for count in counts]
        costs = [cost(result, "ALPW", count, step) or 0.0 for count in counts]
        shown = (f"{wall:11,.1f}{each:9,.1f}" for wall, each in zip(walls, costs, strict=True))
        print(f"{step:32}{''.join(shown)}{costs[-1] / costs[0]:15.2f}")
    _facts(result)
    print(f"\n{kind} time of a frame side by side, µs")
    print(f"{'':34}" + "".join(f"{title:>20}" for title in TITLES))
    for count in counts:
        print(f"{count:,} frames")
        for row, steps in SIDE_BY_SIDE.items():
            costs = [cost(result, title, count, steps.get(title, "")) for title in TITLES]
            print(
                f"  {row:32}" + "".join(f"{'-':>20}" if each is None else f"{each:20,.1f}" for each in costs)
            )
        peaks = (result[title].get(count, {}).get("peak_memory_gb") for title in TITLES)
        print(f"  {'peak memory, GB':32}" + "".join(f"{peak or 0:20.2f}" for peak in peaks))


def _facts(result: dict[str, Any]) -> None:
    counts, ours = result["frames"], result["ALPW"]
    facts = {
        "disk_per_frame": "bytes per frame on the disk",
        "data_per_frame": "bytes per frame before compression",
        "memory_per_frame": "bytes per frame in the server",
        "memory_after_start_per_frame": "the same after a new start",
        "server_memory_mb": "memory of the server, MB",
        "peak_memory_gb": "peak memory of the client, GB",
    }
    for name, title in facts.items():
        if ours[counts[0]].get(name):
            decimals = 2 if name.endswith("gb") else 0
            print(f"{title:32}" + "".join(f"{ours[count][name]:20,.{decimals}f}" for count in counts))
    print(
        "\nbytes per frame of an export: "
        + ", ".join(
            f"{step.removeprefix('export ')} {values['bytes'] / counts[-1]:,.0f}"
            for step, values in ours[counts[-1]]["steps"].items()
            if "bytes" in values
        )
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=LARGEST, help=f"the largest size (default {LARGEST:,})")
    parser.add_argument("--uri", help="a MongoDB instead of the embedded server")
    parser.add_argument("--quick", action="store_true", help=f"up to {QUICK:,} frames")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = measure(sizes(QUICK if arguments.quick else arguments.frames), arguments.uri)
    print(json.dumps(result)) if arguments.json else report(result)


if __name__ == "__main__":
    main()
