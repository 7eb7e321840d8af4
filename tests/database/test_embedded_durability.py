"""The embedded server as its users see it: a process, a data directory, a URI, and kill -9."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError

from alpw.database import daemon

MODULE = "alpw.database.embedded"


class Server:
    """A server process on a data directory, on its Unix socket."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process: subprocess.Popen | None = None

    def start(self, *arguments: str) -> MongoClient:
        (self.directory / "server.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", MODULE, "--dir", str(self.directory), *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        for _ in range(600):
            if (self.directory / "server.json").exists():
                break
            assert self.process.poll() is None, "the server ended at once"
            time.sleep(0.05)
        uri = json.loads((self.directory / "server.json").read_text())["uri"]
        return MongoClient(uri, serverSelectionTimeoutMS=10_000)

    def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "db")
    yield server
    if server.process is not None and server.process.poll() is None:
        server.end(signal.SIGKILL)


def test_no_acknowledged_write_is_lost_by_kill_9(server: Server) -> None:
    server.start()
    acknowledged: dict[int, set[int]] = {worker: set() for worker in range(3)}

    def write(worker: int) -> None:
        collection = MongoClient(uri)["campaign"][f"c{worker}"]
        try:
            for number in range(1_000_000):
                collection.insert_one({"_id": number, "state": "new"})
                collection.update_one({"_id": number}, {"$set": {"state": "done"}})
                acknowledged[worker].add(number)
        except PyMongoError:
            return

    uri = json.loads((server.directory / "server.json").read_text())["uri"]
    writers = [threading.Thread(target=write, args=(worker,)) for worker in acknowledged]
    for writer in writers:
        writer.start()
    while min(map(len, acknowledged.values())) < 50:
        time.sleep(0.01)
    server.end(signal.SIGKILL)
    for writer in writers:
        writer.join(60)

    client = server.start()
    for worker, numbers in acknowledged.items():
        found = {d["_id"]: d["state"] for d in client["campaign"][f"c{worker}"].find()}
        assert all(found.get(number) == "done" for number in numbers)
        # at most the write that was under way is there besides
        assert len(found) <= len(numbers) + 1


def test_a_restart_keeps_documents_order_types_and_indexes(server: Server) -> None:
    collection = server.start()["campaign"]["frames"]
    collection.create_index([("run", 1), ("frame", 1)], unique=True)
    collection.create_index("tags")
    documents = [
        {"_id": key, "run": "a", "frame": frame, "x": 1 / 3, "raw": b"\0\xff", "tags": ["t", str(frame)]}
        for frame, key in enumerate([{"n": 1}, "text", 7])
    ]
    collection.insert_many(documents)
    collection.update_one({"_id": "text"}, {"$set": {"x": 2}})
    collection.delete_one({"_id": 7})
    before, indexes = list(collection.find()), collection.index_information()
    assert server.end(signal.SIGTERM) == 0
    collection = server.start()["campaign"]["frames"]
    assert list(collection.find()) == before == [documents[0], documents[1] | {"x": 2}]
    assert collection.index_information() == indexes
    assert collection.count_documents({"tags": "1"}) == 1
    with pytest.raises(DuplicateKeyError):
        collection.insert_one({"run": "a", "frame": 0})


def test_dropped_collections_stay_dropped(server: Server) -> None:
    client = server.start()
    for database in ("one", "two"):
        client[database]["c"].create_index("n", unique=True)
        client[database]["c"].insert_one({"n": 1})
    client["one"].drop_collection("c")
    client.drop_database("two")
    client["two"]["c"].insert_many([{"n": 1}, {"n": 1}])
    server.end(signal.SIGKILL)
    client = server.start()
    assert client.list_database_names() == ["two"]
    assert client["two"]["c"].count_documents({"n": 1}) == 2


def test_an_update_that_fails_half_way_is_the_same_in_memory_and_on_disk(server: Server) -> None:
    collection = server.start()["campaign"]["c"]
    collection.insert_many([{"_id": 0, "n": 1}, {"_id": 1, "n": "text"}, {"_id": 2, "n": 3}])
    # the second document cannot be incremented; its other change must not show either
    with pytest.raises(OperationFailure):
        collection.update_many({}, {"$set": {"seen": True}, "$inc": {"n": 1}})
    expected = [{"_id": 0, "n": 2, "seen": True}, {"_id": 1, "n": "text"}, {"_id": 2, "n": 3}]
    assert list(collection.find()) == expected
    server.end(signal.SIGKILL)
    assert list(server.start()["campaign"]["c"].find()) == expected


def test_a_value_set_on_many_documents_is_not_shared_between_them(server: Server) -> None:
    collection = server.start()["campaign"]["c"]
    collection.insert_many([{"_id": 0}, {"_id": 1}])
    collection.update_many({}, {"$set": {"a": {"l": []}}})
    collection.update_one({"_id": 0}, {"$push": {"a.l": 1}})
    assert list(collection.find()) == [{"_id": 0, "a": {"l": [1]}}, {"_id": 1, "a": {"l": []}}]


def test_a_duplicate_update_leaves_the_document_as_it_was(server: Server) -> None:
    collection = server.start()["campaign"]["c"]
    collection.create_index("n", unique=True)
    collection.insert_many([{"_id": 0, "n": 0}, {"_id": 1, "n": 1}])
    with pytest.raises(DuplicateKeyError) as caught:
        collection.update_one({"_id": 1}, {"$set": {"n": 0, "m": 1}})
    assert caught.value.details is not None and caught.value.details["keyValue"] == {"n": 0}
    assert collection.find_one({"n": 1}) == {"_id": 1, "n": 1}


def test_unordered_inserts_go_on_after_an_error_and_ordered_ones_stop(server: Server) -> None:
    collection = server.start()["campaign"]["c"]
    for ordered, inserted in ((True, 1), (False, 2)):
        collection.drop()
        with pytest.raises(BulkWriteError) as caught:
            collection.insert_many([{"_id": 1}, {"_id": 1}, {"_id": 2}], ordered=ordered)
        assert caught.value.details["nInserted"] == inserted
        assert [error["index"] for error in caught.value.details["writeErrors"]] == [1]


def test_a_directory_has_one_server(server: Server) -> None:
    server.start()
    command = [sys.executable, "-m", MODULE, "--dir", str(server.directory)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert "already open in another server" in second.stderr


def test_only_the_owner_can_reach_the_server(server: Server) -> None:
    server.start()

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(server.directory) == 0o700
    assert mode(server.directory / "mongo.sock") == 0o600
    assert mode(server.directory / "data.sqlite") == 0o600
    log = (server.directory / "server.log").read_text()
    assert "serves one machine and is not for production" in log


def test_a_port_is_opened_on_loopback_only(server: Server) -> None:
    client = server.start("--port", "0")
    client.admin.command("ping")
    assert json.loads((server.directory / "server.json").read_text())["uri"].startswith(
        "mongodb://127.0.0.1:"
    )
    assert not (server.directory / "mongo.sock").exists()
    assert client.address is not None
    port = client.address[1]
    table = "\n".join(Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
    listening = [line.split()[1] for line in table.splitlines() if " 0A " in line and f":{port:04X} " in line]
    assert listening == [f"0100007F:{port:04X}"]


def test_sigterm_ends_the_server_and_removes_its_socket(server: Server) -> None:
    client = server.start()
    client["campaign"]["c"].insert_one({"_id": 1})
    assert server.end(signal.SIGTERM) == 0
    assert not (server.directory / "mongo.sock").exists()
    client = server.start()
    assert client["campaign"]["c"].find_one() == {"_id": 1}


def test_a_client_outlives_a_restart(server: Server) -> None:
    client = server.start()
    client["campaign"]["c"].insert_one({"_id": 1})
    server.end(signal.SIGKILL)
    server.start()
    try:
        found = client["campaign"]["c"].find_one()
    except AutoReconnect:
        found = client["campaign"]["c"].find_one()
    assert found == {"_id": 1}


def test_the_indexed_search_answers_as_the_full_search_does(server: Server) -> None:
    """Every kind of value that an indexed field can hold, asked for with and without the index."""
    values = [1, 1.0, 2, "1", None, True, [1, 2], [], [[1]], {"a": 1}, [{"a": 1}], b"1", [None], "x"]
    queries: list[Any] = [
        1,
        2,
        "1",
        None,
        "x",
        {"$in": [1, "x"]},
        {"$in": [None]},
        {"$eq": 1},
        {"$ne": 1},
        {"$in": []},
    ]
    collection = server.start()["campaign"]["c"]
    collection.insert_many(
        [{"_id": n, "plain": v, "indexed": v, "d": {"p": v}} for n, v in enumerate(values)]
    )
    collection.insert_one({"_id": 99})
    collection.create_index("indexed")
    collection.create_index([("other", 1), ("d.p", 1)])
    for query in queries:
        expected = [d["_id"] for d in collection.find({"plain": query})]
        assert [d["_id"] for d in collection.find({"indexed": query})] == expected
        assert [d["_id"] for d in collection.find({"d.p": query})] == expected
        assert [d["_id"] for d in collection.find({"$and": [{"indexed": query}]})] == expected
    collection.update_many({"indexed": 1}, {"$set": {"indexed": "moved"}})
    assert collection.count_documents({"indexed": 1}) == 0
    assert collection.count_documents({"indexed": "moved"}) == collection.count_documents({"plain": 1})


def test_results_beyond_a_message_come_in_batches(server: Server) -> None:
    collection = server.start()["campaign"]["c"]
    # 60 MB, more than the 48 MB of a message
    collection.insert_many([{"_id": n, "b": b"x" * 6_000_000} for n in range(10)])
    assert [len(d["b"]) for d in collection.find()] == [6_000_000] * 10


def test_a_document_beyond_16_mib_is_refused(server: Server) -> None:
    collection = server.start()["campaign"]["c"]
    collection.insert_one({"_id": 1, "l": ["x" * 9_000_000]})
    with pytest.raises(OperationFailure) as caught:
        collection.update_one({"_id": 1}, {"$push": {"l": "y" * 9_000_000}})
    assert caught.value.code == 10334
    assert [len(document["l"]) for document in collection.find()] == [1]


def test_unacknowledged_writes_are_done(server: Server) -> None:
    client = server.start()
    uri = json.loads((server.directory / "server.json").read_text())["uri"]
    with MongoClient(uri, w=0) as silent:
        silent["campaign"]["c"].insert_one({"_id": 1})
        for _ in range(100):
            if client["campaign"]["c"].count_documents({}) == 1:
                break
            time.sleep(0.05)
    assert client["campaign"]["c"].find_one() == {"_id": 1}


def test_a_server_whose_directory_was_removed_ends(tmp_path):
    server = daemon.start(tmp_path / "db")
    process = psutil.Process(server.pid)
    shutil.rmtree(tmp_path / "db")
    assert process.wait(timeout=10) is None or not process.is_running()
