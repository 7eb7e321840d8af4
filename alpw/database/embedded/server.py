"""Sockets, threads and the life of the embedded server.

One thread per connection, one lock around each command: every command is atomic, and its effects are
committed before its reply leaves.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import socket
import socketserver
import tempfile
import threading
from pathlib import Path
from urllib.parse import quote

import bson
import psutil

from alpw.database.embedded.collection import Client
from alpw.database.embedded.commands import Commands
from alpw.database.embedded.errors import as_mongo_error
from alpw.database.embedded.store import Journal, ServerStore
from alpw.database.embedded.wire import ProtocolError, Request, read_request, send_reply

logger = logging.getLogger(__name__)

NOTICE = "embedded database server of ALPW: it serves one machine and is not for production"
STATE_FILE, SOCKET_FILE, LOG_FILE = "server.json", "mongo.sock", "server.log"
# beside a socket that lies elsewhere: the data directory that it belongs to
DIRECTORY_FILE = "directory"
# the address of a Unix socket has 108 bytes, the last of which is zero
MAX_SOCKET_PATH_BYTES = 107
SYNC_SECONDS = 0.1


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        connection: socket.socket = self.request
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while True:
                request = read_request(connection)
                reply = self.server.execute(request)
                if request.wants_reply:
                    send_reply(connection, request, reply)
        except ProtocolError as error:
            logger.warning("connection closed: %s", error)
        except OSError as error:
            # a client that goes away is no event
            logger.debug("connection closed: %s", error)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens on a Unix socket or a loopback port, and executes one request after the other."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: Path | int, journal: Journal) -> None:
        self.journal, self.lock = journal, threading.Lock()
        self.commands = Commands(Client(ServerStore(journal)))
        if isinstance(address, Path):
            self.address_family = socket.AF_UNIX
            # the directory's lock is ours, so a socket that is there is a dead server's
            address.unlink(missing_ok=True)
            super().__init__(str(address), _Connection)  # type: ignore[arg-type]
            address.chmod(0o600)
            self.uri = f"mongodb://{quote(str(address), safe='')}"
        else:
            super().__init__(("127.0.0.1", address), _Connection)
            self.uri = f"mongodb://127.0.0.1:{self.server_address[1]}"

    def execute(self, request: Request) -> bytes:
        """The reply to a request, whose effects are committed when this returns."""
        with self.lock:
            try:
                reply = bson.encode(self.commands.run(request.database, request.command))
            except Exception as error:  # every failure is the client's to see
                logger.debug("%s", next(iter(request.command), ""), exc_info=True)
                reply = bson.encode(as_mongo_error(error).as_reply())
            # a command that failed half-way keeps what it had done, in memory and in the file
            self.journal.commit()
            if (request.command.get("writeConcern") or {}).get("j"):
                self.journal.sync(always=True)
        return reply


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
    private = base / f"alpw-{os.getuid()}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}"
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
    logger.info("%s", NOTICE)
    directory = directory.resolve()
    journal = Journal(directory)
    server = _Server(socket_path(directory) if address is None else address, journal)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    started = psutil.Process().create_time()
    draft = directory / f"{STATE_FILE}.tmp"
    state = {"kind": "embedded", "pid": os.getpid(), "started": started, "uri": server.uri}
    draft.write_text(json.dumps(state))
    draft.replace(directory / STATE_FILE)
    logger.info("serving %s, process %d", server.uri, os.getpid())
    removed = False
    while not (removed or stop.wait(SYNC_SECONDS)):
        journal.sync()
        # Somebody deleted the data directory: nobody can find this process any more.
        removed = not journal.path.exists()
    server.shutdown()
    # for good: no command may start between the last commit and the end of the process
    server.lock.acquire()
    journal.close()
    # A removed directory may already be another server's, and so may the socket.
    if server.address_family == socket.AF_UNIX and not removed:
        Path(str(server.server_address)).unlink(missing_ok=True)
    logger.info("stopped")
