"""The collections in memory and the SQLite file that makes them durable.

The file holds effects, not commands: one row per document, collection and index. A command's effects are
one transaction, which is committed before the client gets its reply, so a killed server loses nothing that
it acknowledged. SQLite runs in WAL mode with ``synchronous=NORMAL``: a commit is in the operating system's
hands at once, and on the disk when `sync` has run, which the server does ten times a second, as often as
MongoDB writes its journal by default. Only a crash of the machine can lose that last tenth of a second.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion

from alpw.database.embedded.collection import Collection
from alpw.database.embedded.errors import MongoError
from alpw.database.embedded.indexes import Index

logger = logging.getLogger(__name__)

# dates beyond Python's years 1-9999 are kept as numbers instead of failing
CODEC = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)

SCHEMA = """
CREATE TABLE IF NOT EXISTS collections
    (number INTEGER PRIMARY KEY, database TEXT, name TEXT, UNIQUE (database, name));
CREATE TABLE IF NOT EXISTS documents (sequence INTEGER PRIMARY KEY, collection INTEGER, body BLOB);
CREATE INDEX IF NOT EXISTS documents_collection ON documents (collection);
CREATE TABLE IF NOT EXISTS indexes (collection INTEGER, name TEXT, spec BLOB, PRIMARY KEY (collection, name));
"""
FORMAT_VERSION = 1
VACUUM_FRACTION = 0.5


class DirectoryInUse(Exception):
    """Another server has the data directory open."""


class Store:
    """All databases of one data directory.

    Args:
        directory: must exist.

    Raises:
        DirectoryInUse: another process holds the directory's lock.
    """

    def __init__(self, directory: Path) -> None:
        self._lock = (directory / "lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise DirectoryInUse(f"{directory} is already open in another server") from error
        self.path = directory / "data.sqlite"
        self._collections: dict[tuple[str, str], Collection] = {}
        self._effects: list[tuple[str, tuple]] = []
        self._dirty = False
        self._syncing = threading.Lock()
        self._sql = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._sequence = 0
        self._number = 0
        self._open()

    def _open(self) -> None:
        # the lock above excludes other processes; exclusive mode also spares SQLite its shared memory
        # file, which network file systems do not support
        self._sql.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._sql.execute("PRAGMA journal_mode = WAL")
        self._sql.execute("PRAGMA synchronous = NORMAL")
        version = self._sql.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, FORMAT_VERSION):
            raise DirectoryInUse(f"{self.path} has format {version}; this version reads {FORMAT_VERSION}")
        self._sql.executescript(SCHEMA)
        self._sql.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        self._compact()
        by_number: dict[int, Collection] = {}
        for number, database, name in self._sql.execute("SELECT number, database, name FROM collections"):
            by_number[number] = Collection(number, f"{database}.{name}", self)
            self._collections[database, name] = by_number[number]
        for number, spec in self._sql.execute("SELECT collection, spec FROM indexes ORDER BY rowid"):
            by_number[number].create_index(Index(bson.decode(spec)), record=False)
        for sequence, number, body in self._sql.execute(
            "SELECT sequence, collection, body FROM documents ORDER BY sequence"
        ):
            by_number[number].load(sequence, bson.decode(body, CODEC))
            self._sequence = sequence
        self._number = max(by_number, default=0)
        # the WAL file exists as long as the connection does; its descriptor serves `sync`
        self._wal = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CREAT, 0o600)
        documents = sum(len(c.documents) for c in by_number.values())
        logger.info("opened %s: %d collections, %d documents", self.path, len(by_number), documents)

    def _compact(self) -> None:
        """Give the room of deleted documents back to the file system once it is half of the file."""
        pages, free = (
            self._sql.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count")
        )
        if pages and free / pages > VACUUM_FRACTION:
            self._sql.execute("VACUUM")
            logger.info("compacted %s: %d of %d pages were free", self.path, free, pages)
        self._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # effects of the command that is running

    def next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def record_put(self, collection: int, sequence: int, body: bytes) -> None:
        self._effects.append(
            ("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (sequence, collection, body))
        )

    def record_removal(self, sequence: int) -> None:
        self._effects.append(("DELETE FROM documents WHERE sequence = ?", (sequence,)))

    def record_index(self, collection: int, index: Index) -> None:
        body = bson.encode(index.spec)
        self._effects.append(
            ("INSERT OR REPLACE INTO indexes VALUES (?, ?, ?)", (collection, index.name, body))
        )

    def record_index_drop(self, collection: int, name: str) -> None:
        self._effects.append(("DELETE FROM indexes WHERE collection = ? AND name = ?", (collection, name)))

    def commit(self) -> None:
        """Make the effects of the command durable; the reply may be sent afterwards.

        A failure (disk full, file system gone) ends the process: memory is then ahead of the file, and
        answering from it would show clients what a restart takes back.
        """
        if not self._effects:
            return
        try:
            self._sql.execute("BEGIN")
            for statement, values in self._effects:
                self._sql.execute(statement, values)
            self._sql.execute("COMMIT")
        except sqlite3.Error:
            logger.critical(
                "cannot write %s; stopping, unacknowledged work is lost", self.path, exc_info=True
            )
            logging.shutdown()
            os._exit(1)
        self._effects.clear()
        self._dirty = True

    def sync(self) -> None:
        """Wait until everything committed so far is on the disk."""
        with self._syncing:
            if self._dirty:
                self._dirty = False
                os.fsync(self._wal)

    def close(self) -> None:
        self._sql.close()
        os.close(self._wal)
        self._lock.close()

    # namespaces

    def get(self, database: str, name: str) -> Collection:
        """The collection, or an empty one that is not part of the store where there is none."""
        found = self._collections.get((database, name))
        return found if found is not None else Collection(0, f"{database}.{name}", self)

    def exists(self, database: str, name: str) -> bool:
        return (database, name) in self._collections

    def create(self, database: str, name: str) -> Collection:
        """The collection, made first where it does not exist.

        Raises:
            MongoError: InvalidNamespace.
        """
        found = self._collections.get((database, name))
        if found is not None:
            return found
        _check_namespace(database, name)
        self._number += 1
        collection = Collection(self._number, f"{database}.{name}", self)
        self._collections[database, name] = collection
        self._effects.append(("INSERT INTO collections VALUES (?, ?, ?)", (self._number, database, name)))
        return collection

    def drop(self, database: str, name: str) -> bool:
        collection = self._collections.pop((database, name), None)
        if collection is None:
            return False
        for table, column in (
            ("documents", "collection"),
            ("indexes", "collection"),
            ("collections", "number"),
        ):
            self._effects.append((f"DELETE FROM {table} WHERE {column} = ?", (collection.number,)))
        return True

    def rename(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        _check_namespace(*target)
        collection = self._collections.pop(source)
        collection.namespace = ".".join(target)
        self._collections[target] = collection
        self._effects.append(
            ("UPDATE collections SET database = ?, name = ? WHERE number = ?", (*target, collection.number))
        )

    def databases(self) -> list[str]:
        return sorted({database for database, _ in self._collections})

    def collections(self, database: str) -> dict[str, Collection]:
        return {name: c for (owner, name), c in sorted(self._collections.items()) if owner == database}

    def stored_bytes(self, collection: Collection) -> int:
        """Size of the collection's documents in the file."""
        query = "SELECT COALESCE(SUM(LENGTH(body)), 0) FROM documents WHERE collection = ?"
        return self._sql.execute(query, (collection.number,)).fetchone()[0]

    def all_collections(self) -> Iterator[Collection]:
        yield from list(self._collections.values())


def _check_namespace(database: str, name: str) -> None:
    unusable: dict[str, Any] = {
        "database": set('/\\. "$\0') & set(database),
        "collection": set("$\0") & set(name),
    }
    for kind, found in unusable.items():
        if found or not database or not name or name.startswith(".") or name.endswith("."):
            raise MongoError(73, f"Invalid {kind} name: '{database}.{name}'")
