"""The private database of this machine: a ``mongod`` where there is one on PATH, else the embedded server.

A data directory belongs to one server. `server.json` in it tells the address, and the process that
serves it by number and start time, so that a recycled process number is never taken for the server.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import psutil
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from alpw.database.embedded.server import (
    DIRECTORY_FILE,
    SOCKET_FILE,
    STATE_FILE,
    private_directory,
    socket_path,
)
from alpw.errors import DatabaseError

logger = logging.getLogger(__name__)

START_SECONDS, STOP_SECONDS = 120.0, 60.0
# a process's start time is read back with the clock's resolution, and moves when the clock is set
START_TIME_TOLERANCE = 2.0
OUTPUT_FILE, MONGOD_DIRECTORY = "server.out", "mongod"


@dataclass(frozen=True)
class Server:
    """A running private server; ``started`` is False where it ran already."""

    kind: str
    uri: str
    pid: int
    directory: Path
    started: bool


@dataclass(frozen=True)
class ServerStatus:
    """What is known about a database.

    Attributes:
        kind: "configured" (a server that is not ours), "mongod" or "embedded".
        uri: its address without user and password; None where it has never run.
        running: whether our process runs; None for a configured server.
        reachable: whether it answers.
    """

    kind: str
    uri: str | None
    running: bool | None
    pid: int | None
    directory: Path | None
    version: str | None
    reachable: bool


def default_directory() -> Path:
    """``$ALPW_DB_DIR``, else ``~/.alpw/db``."""
    return Path(os.environ.get("ALPW_DB_DIR") or Path.home() / ".alpw" / "db").expanduser().resolve()


def start(directory: Path | None = None, *, port: int | None = None) -> Server:
    """Start the private server of a directory, or report the one that runs.

    Args:
        directory: data directory, `default_directory` without it; made private if it is not there.
        port: listen on this loopback port; by default on a Unix socket, or on the port of the last time.

    Raises:
        DatabaseError: it ends at once or does not answer.
    """
    directory = (directory or default_directory()).resolve()
    try:
        private_directory(directory)
        with _exclusive(directory):
            state = _state(directory)
            if state and _process(state):
                _wait_until_reachable(state["uri"], directory)
                return Server(state["kind"], state["uri"], state["pid"], directory, started=False)
            return _launch(directory, port if port is not None else _last_port(state))
    except OSError as error:
        raise DatabaseError(f"{directory}: cannot keep a database here: {error}") from error


def stop(directory: Path | None = None) -> bool:
    """Stop the private server of a directory; False where none runs.

    Raises:
        DatabaseError: it does not end.
    """
    directory = (directory or default_directory()).resolve()
    state = _state(directory)
    process = _process(state) if state else None
    if process is None:
        return False
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except psutil.TimeoutExpired as error:
        message = f"{directory}: process {process.pid} has not stopped within {STOP_SECONDS:.0f} s"
        raise DatabaseError(message) from error
    return True


def status(directory: Path | None = None) -> ServerStatus:
    """State of the private server of a directory."""
    directory = (directory or default_directory()).resolve()
    state = _state(directory)
    if state is None:
        return ServerStatus(_kind(directory), None, False, None, directory, None, False)
    process = _process(state)
    version = server_version(state["uri"]) if process else None
    pid = process.pid if process else None
    return ServerStatus(
        state["kind"], state["uri"], process is not None, pid, directory, version, version is not None
    )


def directory_of(uri: str, directory: Path | None = None) -> Path | None:
    """The data directory whose private server has this address; None where it is no server of ours.

    A directory that was asked for, or the default one, counts by the place of its socket alone: it may have
    been removed, and gets a fresh server.

    Args:
        uri: as in ``my_launchpad.yaml``.
        directory: looked at besides `default_directory` and the place of the socket.
    """
    known = [default_directory(), *([directory.resolve()] if directory else [])]
    place = None
    address = uri.removeprefix("mongodb://").rstrip("/")
    if address.lower().startswith("%2f"):
        socket = Path(unquote(address))
        pointer = socket.with_name(DIRECTORY_FILE)
        place = Path(pointer.read_text()) if pointer.is_file() else socket.parent
    for candidate in (*known, *([place] if place else [])):
        state = _state(candidate)
        if state and state["uri"].rstrip("/") == uri.rstrip("/"):
            return candidate
    return place if place in known and _state(place) is None and socket.name == SOCKET_FILE else None


def server_version(uri: str, timeout: float = 2.0) -> str | None:
    """Version that the server at an address reports; None where it does not answer in time (s)."""
    client: MongoClient = MongoClient(uri, serverSelectionTimeoutMS=int(timeout * 1000))
    try:
        return client.server_info()["version"]
    except PyMongoError as error:
        logger.debug("%s", error)
        return None
    finally:
        client.close()


def mongod_command(mongod: str, directory: Path, port: int | None) -> tuple[list[str], str]:
    """Command line of a private ``mongod`` and its address: a 0600 Unix socket, or loopback with ``port``."""
    data = directory / MONGOD_DIRECTORY
    command = [mongod, "--dbpath", str(data), "--logpath", str(directory / "mongod.log"), "--logappend"]
    if port is not None:
        command += ["--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket"]
        return command, f"mongodb://127.0.0.1:{port}"
    path = str(socket_path(directory))
    return [*command, "--bind_ip", path, "--filePermissions", "0600"], f"mongodb://{quote(path, safe='')}"


def _kind(directory: Path) -> str:
    """The kind of server whose data the directory holds, or would hold."""
    if (directory / "data.sqlite").exists():
        return "embedded"
    if (directory / MONGOD_DIRECTORY).is_dir() or shutil.which("mongod"):
        return "mongod"
    return "embedded"


def _launch(directory: Path, port: int | None) -> Server:
    kind = _kind(directory)
    if kind == "mongod":
        mongod = shutil.which("mongod")
        if mongod is None:
            raise DatabaseError(f"{directory} holds the data of a mongod, and there is none on PATH")
        (directory / MONGOD_DIRECTORY).mkdir(exist_ok=True, mode=0o700)
        command, uri = mongod_command(mongod, directory, port)
    else:
        command = [sys.executable, "-m", "alpw.database.embedded", "--dir", str(directory)]
        command += [] if port is None else ["--port", str(port)]
    (directory / STATE_FILE).unlink(missing_ok=True)
    output = directory / OUTPUT_FILE
    with output.open("wb") as stream:
        # a session of its own: Ctrl-C in the caller's terminal must not stop the database
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            cwd=directory,
            start_new_session=True,
        )
    if kind == "mongod":
        started = psutil.Process(process.pid).create_time()
        state = {"kind": kind, "pid": process.pid, "started": started, "uri": uri}
        (directory / STATE_FILE).write_text(json.dumps(state))
    else:
        uri = _wait_for_address(directory, process)
    _wait_until_reachable(uri, directory, process)
    return Server(kind, uri, process.pid, directory, started=True)


def _wait_for_address(directory: Path, process: subprocess.Popen) -> str:
    """The address that the embedded server writes once it listens."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        state = _state(directory)
        if state and state["pid"] == process.pid:
            return state["uri"]
        _check_alive(process, directory)
        time.sleep(0.05)
    raise DatabaseError(f"the embedded server has not opened {directory} within {START_SECONDS:.0f} s")


def _wait_until_reachable(uri: str, directory: Path, process: subprocess.Popen | None = None) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server_version(uri) is None:
        if process is not None:
            _check_alive(process, directory)
        if time.monotonic() > deadline:
            raise DatabaseError(f"the database at {uri} does not answer")
        time.sleep(0.05)


def _check_alive(process: subprocess.Popen, directory: Path) -> None:
    if process.poll() is None:
        return
    output = (directory / OUTPUT_FILE).read_text(errors="replace")
    last = output.strip().splitlines()[-1:] or [f"exit status {process.returncode}"]
    raise DatabaseError(f"the database server ended at once: {last[0]}")


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """One `start` at a time: two that come together give one server, and both report it."""
    with (directory / "start.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _state(directory: Path) -> dict[str, Any] | None:
    try:
        state = json.loads((directory / STATE_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    complete = isinstance(state, dict) and {"kind", "pid", "started", "uri"} <= set(state)
    return state if complete else None


def _process(state: dict[str, Any]) -> psutil.Process | None:
    """The server's process, if that number still belongs to it."""
    try:
        process = psutil.Process(state["pid"])
        same = abs(process.create_time() - state["started"]) < START_TIME_TOLERANCE
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _last_port(state: dict[str, Any] | None) -> int | None:
    if state and state["uri"].startswith("mongodb://127.0.0.1:"):
        return int(state["uri"].rsplit(":", 1)[1])
    return None
