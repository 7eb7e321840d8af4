"""The embedded server as a process: it dies at any moment and loses nothing that it acknowledged."""

from __future__ import annotations

import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import bson
import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.errors import ConfigurationError, DuplicateKeyError, OperationFailure, PyMongoError

from alpw.database import daemon


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "db"
    daemon.stop(tmp_path / "db")


def connect(directory: Path) -> MongoClient:
    return MongoClient(daemon.start(directory).uri, serverSelectionTimeoutMS=10_000)


def kill(directory: Path) -> None:
    """SIGKILL, and wait until the process is gone."""
    pid = daemon.start(directory).pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


WRITER = """
import sys
from pymongo import MongoClient
c = MongoClient(sys.argv[1]).test.c
n = 0
while True:
    c.insert_one({"n": n, "pad": "x" * 500})
    print("i", n, flush=True)
    c.update_one({"n": n}, {"$set": {"u": n + 1}})
    print("u", n, flush=True)
    if n % 5 == 0:
        c.delete_one({"n": n})
        print("d", n, flush=True)
    n += 1
"""


@pytest.mark.parametrize("seconds", [0.5, 0.8, 1.3])
def test_sigkill_in_the_middle_of_writes_loses_no_acknowledged_write(directory: Path, seconds: float) -> None:
    client = connect(directory)
    client.test.c.create_index("n", unique=True)
    command = [sys.executable, "-c", WRITER, daemon.start(directory).uri]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert writer.stdout is not None
    lines = [writer.stdout.readline()]
    time.sleep(seconds)
    kill(directory)
    lines += writer.stdout.read().splitlines()
    writer.wait()
    acknowledged = {(kind, int(n)) for kind, n in (line.split() for line in lines)}
    assert len(acknowledged) > 30
    last = max(n for _, n in acknowledged)
    found = {document["n"]: document for document in connect(directory).test.c.find()}
    for kind, n in acknowledged:
        if n % 5 == 0 and (("d", n) in acknowledged or n == last):
            # deleted, or perhaps deleted: the last command may have been committed without its reply
            assert n not in found or n == last
            assert ("d", n) not in acknowledged or n not in found
        else:
            assert n in found
            assert kind == "i" or found[n]["u"] == n + 1
    assert set(found) <= set(range(last + 2))
    with pytest.raises(DuplicateKeyError):
        connect(directory).test.c.insert_one({"n": max(found)})


def test_restarting_gives_the_same_documents_and_indexes(directory: Path) -> None:
    database = connect(directory).test
    database.c.create_index([("run", 1), ("frame", -1)], unique=True)
    database.c.create_index("u", sparse=True, unique=True, name="custom")
    database.c.insert_many([{"run": "a", "frame": i, "body": bytes(100)} for i in range(500)])
    before, indexes = list(database.c.find()), database.c.index_information()
    daemon.stop(directory)
    database = connect(directory).test
    assert list(database.c.find()) == before
    assert database.c.index_information() == indexes
    with pytest.raises(DuplicateKeyError):
        database.c.insert_one({"run": "a", "frame": 3})


def test_a_client_survives_the_restart_of_the_server(directory: Path) -> None:
    client = connect(directory)
    client.test.c.insert_one({"_id": 1})
    kill(directory)
    daemon.start(directory)
    # the driver notices the broken connection at its first use
    for _ in range(2):
        try:
            found = client.test.c.find_one()
            break
        except PyMongoError:
            continue
    assert found == {"_id": 1}


def test_files_and_socket_are_the_owners_alone(directory: Path) -> None:
    connect(directory).test.c.insert_one({})
    mode = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in directory.iterdir()}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for name in ("mongo.sock", "data.sqlite", "data.sqlite-wal", "server.log", "server.json"):
        assert mode[name] == 0o600


def test_the_log_says_what_the_server_is_for(directory: Path) -> None:
    daemon.start(directory)
    first = (directory / "server.log").read_text().splitlines()[0]
    assert "one machine" in first
    assert "not for production" in first


def test_a_port_is_on_loopback_only(directory: Path) -> None:
    server = daemon.start(directory, port=0)
    assert server.uri.startswith("mongodb://127.0.0.1:")
    port = int(server.uri.rsplit(":", 1)[1])
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=False).stdout
    if listening:
        assert [line.split()[3] for line in listening.splitlines() if f":{port} " in line] == [
            f"127.0.0.1:{port}"
        ]
    daemon.stop(directory)
    assert daemon.start(directory).uri == server.uri


def test_a_second_server_on_the_directory_is_refused(directory: Path) -> None:
    daemon.start(directory)
    command = [sys.executable, "-m", "alpw.database.embedded", "--dir", str(directory), "--port", "0"]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert "already open" in second.stderr
    assert daemon.status(directory).reachable


def test_a_long_path_gets_a_socket_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Path("/tmp") / f"alpw-test-{os.getpid()}"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    directory = tmp_path / ("d" * 120)
    try:
        server = daemon.start(directory)
        assert "d" * 120 not in server.uri
        connect(directory).test.c.insert_one({"_id": 1})
        assert daemon.directory_of(server.uri) == directory
        [private] = runtime.iterdir()
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
    finally:
        daemon.stop(directory)
        for path in sorted(runtime.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        runtime.rmdir()


COLLATED = {"q": {}, "u": {"$set": {"a": 1}}, "collation": {"locale": "de"}}
LOOKUP = {"from": "c", "pipeline": [], "as": "x"}
REFUSED = {
    "transactions": (20, {"insert": "c", "documents": [{}], "txnNumber": bson.Int64(1)}),
    "unknown command": (59, {"nosuchcommand": 1}),
    "collation": (238, {"find": "c", "collation": {"locale": "de"}}),
    "collation of an update": (None, {"update": "c", "updates": [COLLATED]}),
    "text index": (238, {"createIndexes": "c", "indexes": [{"key": {"a": "text"}, "name": "a_text"}]}),
    "$where": (238, {"find": "c", "filter": {"$where": "true"}}),
    "$text": (238, {"find": "c", "filter": {"$text": {"$search": "x"}}}),
    "geometry": (238, {"find": "c", "filter": {"a": {"$near": [0, 0]}}}),
    "expression in a projection": (238, {"find": "c", "projection": {"a": "$b"}}),
    "capped collection": (238, {"create": "k", "capped": True, "size": 1000}),
    "$merge": (238, {"aggregate": "c", "pipeline": [{"$merge": {"into": "d"}}], "cursor": {}}),
    "$lookup with a pipeline": (238, {"aggregate": "c", "pipeline": [{"$lookup": LOOKUP}], "cursor": {}}),
    "write concern of a replica set": (2, {"insert": "c", "documents": [{}], "writeConcern": {"w": 2}}),
    "nested $set": (238, {"aggregate": "c", "pipeline": [{"$set": {"a": {"b": 1}}}], "cursor": {}}),
    "tailable cursor": (238, {"find": "c", "tailable": True}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_it_lacks_is_refused_with_mongodbs_code(shared: MongoClient, what: str) -> None:
    code, command = REFUSED[what]
    database = shared.refusals
    database.c.replace_one({"_id": 1}, {"a": 1}, upsert=True)
    before = list(database.c.find())
    reply = None
    try:
        reply = database.command(command)
    except OperationFailure as error:
        assert code is None or error.code == code
    if reply is not None:
        assert reply["writeErrors"][0]["code"] == 238
    assert list(database.c.find()) == before


def test_sessions_are_not_offered(shared: MongoClient) -> None:
    assert "logicalSessionTimeoutMinutes" not in shared.admin.command("hello")
    with shared.start_session() as session, pytest.raises(ConfigurationError):
        shared.test.c.find_one(session=session)


def test_unacknowledged_writes_arrive(shared: MongoClient) -> None:
    collection = shared.test.get_collection("w0", write_concern=WriteConcern(w=0))
    collection.insert_one({"_id": 1})
    deadline = time.monotonic() + 20
    while shared.test.w0.find_one() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert shared.test.w0.find_one() == {"_id": 1}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoClient]:
    directory = tmp_path_factory.mktemp("shared")
    client: MongoClient = MongoClient(daemon.start(directory, port=0).uri, serverSelectionTimeoutMS=10_000)
    yield client
    client.close()
    daemon.stop(directory)


@pytest.mark.parametrize(
    "message",
    [
        b"GET / HTTP/1.1\r\n\r\n" * 4,
        struct.pack("<iiiiIB", 37, 1, 0, 2013, 1 << 5, 0) + bson.encode({"ping": 1, "a": 1})[:16],
        struct.pack("<iiii", 26, 1, 0, 2013) + bytes(10),
        struct.pack("<iiii", 2**30, 1, 0, 2013),
        struct.pack("<iiii", 16, 1, 0, 2012),
    ],
    ids=["http", "unknown flags", "no command", "too long", "compressed"],
)
def test_garbage_closes_its_connection_only(shared: MongoClient, message: bytes) -> None:
    with socket.create_connection(shared.address, timeout=20) as connection:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert shared.admin.command("ping")["ok"] == 1.0


def test_a_checksum_is_tolerated(shared: MongoClient) -> None:
    body = struct.pack("<IB", 1, 0) + bson.encode({"ping": 1, "$db": "admin"}) + b"\1\2\3\4"
    with socket.create_connection(shared.address, timeout=20) as connection:
        connection.sendall(struct.pack("<iiii", 16 + len(body), 9, 0, 2013) + body)
        reply = connection.recv(1000)
    assert struct.unpack_from("<iiii", reply)[2:] == (9, 2013)
    assert bson.decode(reply[21:]) == {"ok": 1.0}


def test_a_hundred_idle_connections_do_no_harm(shared: MongoClient) -> None:
    idle = [socket.create_connection(shared.address, timeout=20) for _ in range(100)]
    try:
        assert shared.test.idle.insert_one({}).acknowledged
    finally:
        for connection in idle:
            connection.close()
