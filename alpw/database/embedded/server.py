"""Sockets, threads and the life of the embedded server.

One thread per connection, one lock around each command: every command is atomic, and its effects are
committed before its reply leaves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import signal
import socket
import socketserver
import tempfile
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mongomock
import psutil

from alpw.database.embedded import admin, reads, schema, writes  # noqa: F401 - they fill the command table
from alpw.database.embedded.commands import Engine, run_command
from alpw.database.embedded.errors import MongoError
from alpw.database.embedded.store import Store
from alpw.database.embedded.wire import ProtocolError, Request, read_request, send_reply

logger = logging.getLogger(__name__)

NOTICE = "embedded database server of ALPW: it serves one machine and is not for production"
STATE_FILE, SOCKET_FILE, LOG_FILE = "server.json", "mongo.sock", "server.log"
# beside a socket that lies elsewhere: the data directory that it belongs to
DIRECTORY_FILE = "directory"
# the address of a Unix socket has 108 bytes, the last of which is zero
MAX_SOCKET_PATH_BYTES = 107
SYNC_SECONDS, EXPIRY_SECONDS = 0.1, 30.0


class Service:
    """Executes requests one at a time and keeps the store durable.

    Args:
        store: opened; the service closes it.
    """

    def __init__(self, store: Store) -> None:
        self.engine = Engine(store)
        self.lock = threading.Lock()

    def execute(self, request: Request) -> dict[str, Any]:
        """The reply to a request, whose effects are durable when this returns."""
        with self.lock:
            try:
                reply = self._run(request)
            finally:
                # a command that failed half-way keeps what it had done, in memory and in the file
                self.engine.store.commit()
        if (request.command.get("writeConcern") or {}).get("j"):
            self.engine.store.sync()
        return reply

    def _run(self, request: Request) -> dict[str, Any]:
        try:
            return run_command(self.engine, request.database, request.command)
        except MongoError as error:
            return error.as_reply()
        except NotImplementedError as error:
            return MongoError(238, str(error)).as_reply()
        except mongomock.OperationFailure as error:
            return MongoError(error.code or 2, str(error)).as_reply()
        except Exception as error:
            logger.warning("command %s failed", next(iter(request.command), "?"), exc_info=True)
            return MongoError(8, f"{type(error).__name__}: {error}").as_reply()

    def expire(self) -> None:
        """Delete the documents that TTL indexes have outlived."""
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        with self.lock:
            for collection in self.engine.store.all_collections():
                for index in list(collection.indexes.values()):
                    if index.expire_after is not None:
                        # MongoDB expires by the earliest date of an array; dates only compare with dates
                        oldest = now - timedelta(seconds=index.expire_after)
                        collection.delete({index.paths[0]: {"$lt": oldest}})
            self.engine.store.commit()
            self.engine.cursors.drop_idle()

    def housekeeping(self, stop: threading.Event) -> None:
        """Sync ten times a second and expire documents, until told to stop."""
        expired = time.monotonic()
        while not stop.wait(SYNC_SECONDS):
            self.engine.store.sync()
            if time.monotonic() - expired > EXPIRY_SECONDS:
                self.expire()
                expired = time.monotonic()

    def close(self) -> None:
        """Wait for the running command, then close the files for good."""
        self.lock.acquire()
        self.engine.store.close()


class _Connection(socketserver.BaseRequestHandler):
    server: _Listener

    def handle(self) -> None:
        connection: socket.socket = self.request
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while True:
                request = read_request(connection)
                reply = self.server.service.execute(request)
                if request.wants_reply:
                    send_reply(connection, request, reply)
        except ProtocolError as error:
            logger.warning("connection closed: %s", error)
        except OSError as error:
            # a client that goes away is no event
            logger.debug("connection closed: %s", error)


class _Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: Path | int, service: Service) -> None:
        self.service = service
        if isinstance(address, Path):
            self.address_family = socket.AF_UNIX
            # the directory's lock is ours, so a socket that is there is a dead server's
            address.unlink(missing_ok=True)
            super().__init__(str(address), _Connection)  # type: ignore[arg-type]
            address.chmod(0o600)
        else:
            super().__init__(("127.0.0.1", address), _Connection)

    @property
    def uri(self) -> str:
        if self.address_family == socket.AF_UNIX:
            return f"mongodb://{quote(str(self.server_address), safe='')}"
        return f"mongodb://127.0.0.1:{self.server_address[1]}"


def private_directory(path: Path) -> Path:
    """Make a data directory that only its owner can enter; one that holds files already keeps its mode."""
    path.mkdir(parents=True, exist_ok=True)
    if not any(path.iterdir()):
        path.chmod(0o700)
    return path.resolve()


def socket_path(directory: Path) -> Path:
    """Where the socket of a data directory lies: inside it, or elsewhere if that path is too long."""
    path = directory / SOCKET_FILE
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
    private = base / f"alpw-{os.getuid()}-{digest}"
    private.mkdir(mode=0o700, exist_ok=True)
    status = private.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or private.is_symlink():
        raise PermissionError(f"{private} must be a directory of mode 0700 that belongs to you")
    (private / DIRECTORY_FILE).write_text(str(directory))
    return private / SOCKET_FILE


def serve(directory: Path, address: Path | int | None = None) -> None:
    """Serve a data directory until SIGTERM or SIGINT.

    Args:
        directory: holds the data, the log and, by default, the socket.
        address: a socket's path, a loopback port (0: any free one), or None for the default socket.

    Raises:
        alpw.database.embedded.store.DirectoryInUse: another server has the directory.
        OSError: the address cannot be had.
    """
    os.umask(0o077)
    logger.info("%s", NOTICE)
    directory = directory.resolve()
    store = Store(directory)
    service = Service(store)
    listener = _Listener(socket_path(directory) if address is None else address, service)
    stop = threading.Event()
    # blocked here and in the threads made below, the signals wait for `sigwait`: a handler would run
    # between any two instructions of this thread, locks held
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    for target in (listener.serve_forever, lambda: service.housekeeping(stop)):
        threading.Thread(target=target, daemon=True).start()
    state = directory / STATE_FILE
    started = psutil.Process().create_time()
    draft = state.with_suffix(".tmp")
    draft.write_text(
        json.dumps({"kind": "embedded", "pid": os.getpid(), "started": started, "uri": listener.uri})
    )
    draft.replace(state)
    logger.info("serving %s, process %d", listener.uri, os.getpid())
    signal.sigwait(signals)
    stop.set()
    listener.shutdown()
    service.close()
    if listener.address_family == socket.AF_UNIX:
        with contextlib.suppress(FileNotFoundError):
            Path(str(listener.server_address)).unlink()
    logger.info("stopped")
