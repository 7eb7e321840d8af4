"""Many processes on one MongoDB: every command is atomic."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pymongo.database import Database

COUNT = """
import sys
from pymongo import MongoClient
counter = MongoClient(sys.argv[1])[sys.argv[2]].counter
print(*[counter.find_one_and_update({}, {"$inc": {"next": 1}})["next"] for _ in range(100)])
"""
CHECK_OUT = """
import sys
from pymongo import MongoClient
queue = MongoClient(sys.argv[1])[sys.argv[2]].queue
while True:
    found = queue.find_one_and_update(
        {"state": "READY"}, {"$set": {"state": "RUNNING"}}, sort=[("priority", -1), ("fw_id", 1)]
    )
    if found is None:
        break
    print(found["fw_id"])
"""
INSERT_ONCE = """
import sys
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError
iterations = MongoClient(sys.argv[1])[sys.argv[2]].iterations
for iteration in range(50):
    try:
        iterations.insert_one({"campaign": "a", "iteration": iteration})
        print(iteration)
    except DuplicateKeyError:
        pass
"""


def run_in_processes(script: str, uri: str, database: str, count: int = 6) -> list[int]:
    """Numbers that the processes print."""
    command = [sys.executable, "-c", script, uri, database]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return [int(word) for output in outputs for word in output.split()]


@pytest.mark.slow
def test_a_counter_gives_every_number_once(mongo: Database, mongo_uri: str) -> None:
    mongo.counter.insert_one({"next": 0})
    assert sorted(run_in_processes(COUNT, mongo_uri, mongo.name)) == list(range(600))
    assert mongo.counter.find_one()["next"] == 600


def test_a_firework_is_checked_out_once(mongo: Database, mongo_uri: str) -> None:
    mongo.queue.create_index("state")
    mongo.queue.insert_many([{"fw_id": i, "state": "READY", "priority": i % 5} for i in range(300)])
    assert sorted(run_in_processes(CHECK_OUT, mongo_uri, mongo.name)) == list(range(300))


def test_a_unique_key_is_inserted_once(mongo: Database, mongo_uri: str) -> None:
    mongo.iterations.create_index([("campaign", 1), ("iteration", 1)], unique=True)
    assert sorted(run_in_processes(INSERT_ONCE, mongo_uri, mongo.name)) == list(range(50))
