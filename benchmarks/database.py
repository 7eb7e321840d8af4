"""The embedded server against a MongoDB: the same work, side by side.

python benchmarks/database.py [--uri mongodb://...] [--quick] [--json]

Without --uri only the embedded server is measured, in absolute numbers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pymongo import MongoClient
from pymongo.database import Database

from alpw.database import daemon
from alpw.database.arrays import encode


def rates(uri: str, count: int) -> dict[str, float]:
    """Operations per second: inserts of 64-atom frames, look-ups by an indexed field, claims."""
    client: MongoClient = MongoClient(uri)
    name = f"alpw_benchmark_{uuid.uuid4().hex[:8]}"
    try:
        return _rates(client[name], count)
    finally:
        client.drop_database(name)
        client.close()


def _rates(db: Database, count: int) -> dict[str, float]:
    rng = np.random.default_rng(1)
    arrays = {key: encode(rng.random((64, 3))) for key in ("positions", "forces")}
    db.frames.create_index("key", unique=True)
    db.frames.create_index("state")

    def insert() -> None:
        for index in range(count):
            db.frames.insert_one({"key": index, "state": "candidate", **arrays})

    def look_up() -> None:
        for index in range(count):
            db.frames.find_one({"key": index})

    def claim() -> None:
        for _ in range(count // 10):
            db.frames.find_one_and_update({"state": "candidate"}, {"$set": {"state": "labelling"}})

    return {
        "inserts": count / seconds(insert),
        "look_ups": count / seconds(look_up),
        "claims": (count // 10) / seconds(claim),
    }


def seconds(work: Callable[[], None]) -> float:
    """Wall time of one call: the server is another process."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Print the rates and, with a MongoDB, their ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--uri")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    count = 500 if arguments.quick else 5000
    with tempfile.TemporaryDirectory() as folder:
        embedded = rates(daemon.start(Path(folder)).uri, count)
        daemon.stop(Path(folder))
    result: dict[str, dict[str, float]] = {"embedded_per_second": embedded}
    if arguments.uri:
        result["mongodb_per_second"] = rates(arguments.uri, count)
        result["mongodb_over_embedded"] = {
            key: result["mongodb_per_second"][key] / embedded[key] for key in embedded
        }
    if arguments.json:
        print(json.dumps(result))
        return
    for title, values in result.items():
        print(f"{title}: " + ", ".join(f"{key} {value:.1f}" for key, value in values.items()))


if __name__ == "__main__":
    main()
