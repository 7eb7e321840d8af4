"""``my_launchpad.yaml``: where it is, what it says, and the LaunchPad that it opens.

The file is FireWorks' own, so that ``alpw`` and ``lpad`` share one database; every option in it (user,
password, TLS, replica set, timeouts) reaches the driver unchanged.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pymongo
from fireworks import LaunchPad, fw_config
from monty.serialization import dumpfn
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError

from alpw.config.yaml_file import read_yaml
from alpw.database.secrets import server_uri, without_secrets
from alpw.errors import DatabaseError, InputError

FILE_NAME = "my_launchpad.yaml"
# a client waits this long (ms) for a server that is being restarted, and for one answer
CLIENT_OPTIONS = {"serverSelectionTimeoutMS": 10_000, "socketTimeoutMS": 300_000}
CONNECT_SECONDS = 10.0


def find_launchpad_file(explicit: Path | None = None) -> Path | None:
    """The file that ``lpad`` would use in this folder.

    In FireWorks' order: the explicit one, ``my_launchpad.yaml`` in ``CONFIG_FILE_DIR`` (the current folder
    unless FW_config.yaml says otherwise), then ``LAUNCHPAD_LOC`` of FW_config.yaml, which FireWorks
    completes with ``~/.fireworks/my_launchpad.yaml``.

    Raises:
        InputError: the explicit file, or the one that FW_config.yaml names, does not exist.
    """
    if explicit is not None:
        if not explicit.is_file():
            raise InputError("no such file; `alpw db start` writes one", file=explicit)
        return explicit
    configured = Path(fw_config.CONFIG_FILE_DIR) / FILE_NAME
    if configured.is_file():
        return configured
    location = fw_config.LAUNCHPAD_LOC
    if location is None:
        return None
    if not Path(location).is_file():
        # FireWorks looked around when it was imported: the file may have gone since
        if Path(location).name == FILE_NAME:
            return None
        raise InputError("no such file; FW_config.yaml names it", file=location, key="LAUNCHPAD_LOC")
    return Path(location)


def write_launchpad_file(path: Path, uri: str, name: str = "fireworks") -> Path:
    """Write a new file that only its owner can read.

    Args:
        path: must not exist.
        uri: MongoDB connection string, such as ``mongodb://%2Fhome%2Fme%2Fmongo.sock``.
        name: of the database.

    Raises:
        InputError: the file exists.
    """
    settings = {"host": uri, "uri_mode": True, "name": name, "mongoclient_kwargs": CLIENT_OPTIONS}
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        raise InputError("exists already and is left as it is", file=path) from error
    dumpfn(settings, path)
    return path


def read_launchpad_file(path: Path) -> dict[str, Any]:
    """The settings in a ``my_launchpad.yaml`` (or ``.json``), passwords included.

    Raises:
        InputError: not readable, or not a mapping with ``host``.
    """
    settings = read_yaml(path)
    if not isinstance(settings, dict) or not settings.get("host"):
        raise InputError("must name the database server", file=path, key="host")
    return dict(settings)


def open_launchpad(path: Path | None = None) -> LaunchPad:
    """The LaunchPad of a file, after its server has answered.

    Args:
        path: as `find_launchpad_file`.

    Raises:
        InputError: no file, or a bad one.
        DatabaseError: the server does not answer within about ten seconds, or refuses.
    """
    found = find_launchpad_file(path)
    if found is None:
        raise InputError(
            f"no {FILE_NAME} here or in ~/.fireworks; `alpw db start` starts a database and writes one"
        )
    settings = read_launchpad_file(found)
    # FireWorks logs to stdout, which belongs to the command that is running
    settings.setdefault("strm_lvl", "WARNING")
    try:
        launchpad = LaunchPad.from_dict(settings)
        with pymongo.timeout(CONNECT_SECONDS):
            # needs the rights that work needs, unlike a ping
            launchpad.fw_id_assigner.find_one({}, {"_id": 1})
    except (PyMongoError, TypeError, ValueError) as error:
        reason = without_secrets(_first_sentence(error), settings)
        advice = "start it with `alpw db start`, or correct the file"
        message = f"{found}: the database at {server_uri(settings)} cannot be used ({reason}); {advice}"
        raise DatabaseError(message) from None
    return launchpad


def _first_sentence(error: Exception) -> str:
    """What the driver says first; what follows are its settings."""
    return str(error).splitlines()[0].split(", Timeout:")[0].split(" (configured timeouts:")[0][:200]


def database(launchpad: LaunchPad) -> Database:
    """The LaunchPad's own database, which holds the documents of ALPW too."""
    return launchpad.db


def prepare(launchpad: LaunchPad) -> None:
    """Make a fresh database ready for ``lpad add``: the counter of Firework ids, and FireWorks' indexes.

    Deletes nothing, and does nothing where it has been done; several processes may call it at once.
    ``lpad reset`` does the same after it has deleted everything.

    Raises:
        DatabaseError: the database refuses.
    """
    try:
        if launchpad.fw_id_assigner.find_one({}) is None:
            last_firework = launchpad.fireworks.find_one({}, {"fw_id": 1}, sort=[("fw_id", -1)]) or {
                "fw_id": 0
            }
            last_launch = launchpad.launches.find_one({}, {"launch_id": 1}, sort=[("launch_id", -1)]) or {
                "launch_id": 0
            }
            first = {"next_fw_id": last_firework["fw_id"] + 1, "next_launch_id": last_launch["launch_id"] + 1}
            # the _id that FireWorks gives its counter: only one process can insert it, and any will do
            with contextlib.suppress(DuplicateKeyError):
                launchpad.fw_id_assigner.update_one({"_id": -1}, {"$setOnInsert": first}, upsert=True)
        if "fw_id_1" not in launchpad.fireworks.index_information():
            launchpad.tuneup()
    except PyMongoError as error:
        raise DatabaseError(f"cannot prepare the database: {str(error).splitlines()[0]}") from error
