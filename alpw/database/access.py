"""The database that a command works with: found, started when it is ours, described."""

from __future__ import annotations

import logging
from pathlib import Path

from alpw.database import daemon
from alpw.database.launchpad import (
    FILE_NAME,
    find_launchpad_file,
    open_launchpad,
    prepare,
    read_launchpad_file,
    write_launchpad_file,
)
from alpw.database.secrets import server_uri
from alpw.errors import InputError

logger = logging.getLogger(__name__)


def ensure_running(explicit: Path | None = None) -> Path:
    """Absolute path of a my_launchpad.yaml whose server answers.

    A private server that is down is started; without any file, a private server is started and the file
    written to the current folder.

    Raises:
        InputError: the file is wrong.
        DatabaseError: the server does not answer.
    """
    found = find_launchpad_file(explicit)
    if found is None:
        server = daemon.start()
        found = write_launchpad_file(Path(FILE_NAME), server.uri)
        logger.warning(
            "wrote %s for a private database with its data in %s", found.resolve(), server.directory
        )
    else:
        own = _own_directory(found)
        if own is not None:
            daemon.start(own)
    prepare(open_launchpad(found))
    return found.resolve()


def launchpad_file(explicit: Path | None = None) -> Path:
    """Absolute path of the my_launchpad.yaml in use; raises :class:`InputError` when there is none."""
    found = find_launchpad_file(explicit)
    if found is None:
        raise InputError(
            f"no {FILE_NAME} here or in ~/.fireworks; `alpw db start` starts a database and writes one"
        )
    return found.resolve()


def describe(explicit: Path | None = None) -> tuple[bool, str]:
    """Whether the database can be used, and what it is or what to do."""
    found = find_launchpad_file(explicit)
    if found is None:
        state = daemon.status()
        how = "takes the private one that runs" if state.reachable else "starts a private one"
        text = f"none yet; `alpw run` {how}, with its data in {state.directory}, and writes {FILE_NAME} here"
        return True, text
    launchpad = open_launchpad(found)
    version = launchpad.connection.server_info()["version"]
    own = _own_directory(found)
    if own is None:
        return True, f"MongoDB {version}, {server_uri(read_launchpad_file(found))}"
    state = daemon.status(own)
    warning = "; serves one machine, not for production" if state.kind == "embedded" else ""
    return True, f"{state.kind} server ({version}) with data in {own}{warning}"


def _own_directory(file: Path) -> Path | None:
    return daemon.directory_of(server_uri(read_launchpad_file(file)))
