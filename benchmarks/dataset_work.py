"""What `dataset.py` measures of ALPW, in a process of its own: dataset_work.py URI DATABASE FRAMES [PID].

Prints one JSON object: step -> ``seconds``, ``cpu`` (this process's and that of the server, where its PID is
given) and, where files come of it, ``bytes``; and the memory of the process.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from ase.build import bulk
from common import peak_memory
from pymongo import MongoClient
from pymongo.database import Database

from alpw.database.configurations import COLLECTION
from alpw.dataset import Dataset
from alpw.dataset.intake import FileReport, Terms, import_files
from alpw.formats.registry import FORMATS, LabelledFormat, find
from alpw.structures.frames import LabelledFrames

CHUNK = 500
WRITTEN = tuple(form for form in FORMATS if isinstance(form, LabelledFormat) and form.write)
ARRAYS = {"structure": 0, "forces": 0, "virial": 0}


def made(count: int) -> Iterator[LabelledFrames]:
    """Frames of 64 silicon atoms in batches: strained, rattled, bound to their places by springs."""
    crystal = bulk("Si", cubic=True).repeat(2)
    n_atoms = len(crystal)
    for start in range(0, count, CHUNK):
        rng = np.random.default_rng(start)
        n = min(CHUNK, count - start)
        strain = np.eye(3) + rng.uniform(-0.03, 0.03, (n, 3, 3))
        cells = np.asarray(crystal.cell) @ strain
        displacements = rng.normal(0.0, 1.0, (n, n_atoms, 3)) * rng.uniform(0.03, 0.2, (n, 1, 1))
        virials = rng.normal(0.0, 20.0, (n, 3, 3))
        yield LabelledFrames(
            numbers=crystal.numbers.astype(np.int64),
            cells=cells,
            positions=crystal.get_scaled_positions() @ cells + displacements,
            energies=-5.4 * n_atoms + 4.0 * (displacements**2).sum(axis=(1, 2)),
            forces=-8.0 * displacements,
            virials=(virials + virials.transpose(0, 2, 1)) / 2,
            converged=np.ones(n, dtype=bool),
        )


class Steps:
    """The results so far; says on standard error what is being done.

    Args:
        count: frames.
        server: process whose CPU time counts, too.
    """

    def __init__(self, count: int, server: int | None = None) -> None:
        self.count, self.results = count, dict[str, dict[str, float]]()
        self._server = psutil.Process(server) if server else None

    def clocks(self) -> tuple[float, float]:
        """Wall and CPU time, s; the CPU time of the server has a resolution of 10 ms."""
        server = sum(self._server.cpu_times()[:2]) if self._server else 0.0
        return time.perf_counter(), time.process_time() + server

    def say(self, name: str) -> None:
        sys.stderr.write(f"{self.count:,} frames: {name}\n")

    def time(self, name: str, work: Callable[[], object], repeats: int = 1) -> None:
        """The least wall time of some, and the mean CPU time."""
        self.say(name)
        wall, cpu = [], 0.0
        for _ in range(repeats):
            began = self.clocks()
            work()
            ended = self.clocks()
            wall.append(ended[0] - began[0])
            cpu += ended[1] - began[1]
        self.results[name] = {"seconds": min(wall), "cpu": cpu / repeats}


def ingest(db: Database, steps: Steps) -> None:
    """What `alpw import` does with a folder of deepmd/npy: read, check, compare with what is there, store."""
    form = find("deepmd/npy")
    assert isinstance(form, LabelledFormat)
    assert form.write
    with tempfile.TemporaryDirectory() as folder:
        steps.say("making the frames")
        path = Path(folder) / "made"
        form.write(path, made(steps.count))
        few = Path(folder) / "few"
        form.write(few, made(2))
        # The indexes are made, and what is used for the first time.
        import_files(db, [(few, form)], Terms(to="benchmark", dry_run=True))
        reports: list[FileReport] = []
        terms = Terms(to="benchmark")
        steps.time("ingest", lambda: reports.extend(import_files(db, [(path, form)], terms)))
    if reports[0].new != steps.count:
        raise RuntimeError(f"{reports[0]}")


def queries(db: Database, steps: Steps) -> None:
    """Counts, the first rows, scalars: with and without an index."""
    dataset, collection = Dataset(db), db[COLLECTION]
    columns: dict[str, Any] = {}
    steps.time("tag a tenth", lambda: Dataset(db, {"source.frame": {"$mod": [10, 0]}}).tag("tenth"))
    steps.time("3 scalars of all", lambda: columns.update(dataset.columns("energy", "max_force", "density")))
    tagged = Dataset(db, {"tags": "tenth"})
    strong = Dataset(db, {"max_force": {"$gt": float(np.quantile(columns["max_force"], 0.9))}})
    dense = Dataset(db, {"density": {"$gt": float(np.quantile(columns["density"], 0.9))}})
    if min(found.count() for found in (tagged, strong, dense)) < steps.count // 20:
        raise RuntimeError("the queries do not find a tenth of the frames each")
    one = collection.find_one({}, {"structure_hash": 1}) or {}
    plain = {"structure_hash": one["structure_hash"]}

    def first(found: Dataset) -> list[Any]:
        return list(collection.find(found.query, ARRAYS).sort([("max_force", -1), ("_id", 1)]).limit(20))

    for name, work in {
        "find one by hash (indexed)": lambda: collection.find_one(plain, ARRAYS),
        "count by tag (indexed)": tagged.count,
        "count by force (indexed range)": strong.count,
        "count by density (no index)": dense.count,
        "first 20 by tag (indexed)": lambda: first(tagged),
        "first 20 by density (no index)": lambda: first(dense),
        "ids": dataset.ids,
    }.items():
        steps.time(name, work, repeats=3)
    steps.time("snapshot", lambda: dataset.snapshot("all"))


def reading(db: Database, steps: Steps) -> None:
    """All frames, one by one and as the batches of a training."""
    dataset = Dataset(db)
    next(dataset.torch_batches(2))  # imports torch
    steps.time("read all frames", lambda: _exhaust(dataset.frames(), steps.count))
    batches = -(-steps.count // 32)
    steps.time("torch batches in order", lambda: _exhaust(dataset.torch_batches(32), batches))
    steps.time("torch batches shuffled", lambda: _exhaust(dataset.torch_batches(32, seed=1), batches))


def exports(db: Database, steps: Steps) -> None:
    """Every format that can be written, from the database to the disk."""
    for form in WRITTEN:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"all{form.suffix}"
            # What a format's libraries need at their first use is not counted.
            form.write(Path(folder) / f"few{form.suffix}", islice(Dataset(db).frames(), 10))
            steps.time(
                f"export {form.name}", lambda form=form, path=path: form.write(path, Dataset(db).batches())
            )
            steps.results[f"export {form.name}"]["bytes"] = size(path)


def size(path: Path) -> int:
    """Bytes of a file or folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _exhaust(items: Iterator[Any], wanted: int) -> None:
    found = sum(1 for _ in items)
    if found != wanted:
        raise RuntimeError(f"{found} came, {wanted} were wanted")


def main() -> None:
    """Fill the database, and measure."""
    uri, name, count, *server = sys.argv[1:]
    with MongoClient(uri) as client:
        db, steps = client[name], Steps(int(count), *map(int, server))
        for work in (ingest, queries, reading, exports):
            work(db, steps)
    print(json.dumps({"steps": steps.results, "peak_memory_gb": peak_memory()}))


if __name__ == "__main__":
    main()
