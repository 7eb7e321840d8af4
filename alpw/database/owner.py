"""Who holds something in the database, and whether that process still lives."""

from __future__ import annotations

import os
import socket

import psutil

#: Seconds by which a start time may differ when it is read again: the clock's steps move it.
START_TIME_TOLERANCE = 5.0
#: In the name of a worker's FWorker, before the worker's identity.
WORKER_PREFIX = "alpw:"


def process_identity(pid: int | None = None) -> str:
    """A process as ``host/pid/start``; the start time tells a reused pid from its first holder.

    Args:
        pid: a process of this host; this process when omitted.
    """
    process = psutil.Process(pid or os.getpid())
    return f"{socket.gethostname()}/{process.pid}/{process.create_time():.0f}"


def process_id(identity: str) -> int:
    """The number of a process on its host."""
    return int(identity.rsplit("/", 2)[1])


def is_here(identity: str) -> bool:
    """Whether a process is one of this host."""
    return identity.rsplit("/", 2)[0] == socket.gethostname()


def is_dead(identity: str) -> bool:
    """Whether a process is known to be gone: it ran on this host and runs no more.

    A process on another host cannot be seen from here and is taken to be alive.
    """
    host, pid, started = identity.rsplit("/", 2)
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(started)) < START_TIME_TOLERANCE
        alive = same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    return not alive
