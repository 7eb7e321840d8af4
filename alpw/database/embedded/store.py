"""mongomock's store, and the SQLite file that makes it durable.

The file holds effects, not commands: one row per document, index and collection. The effects of a command
are one transaction, committed before the client gets its reply, so a killed server loses nothing that it
acknowledged. With ``synchronous=NORMAL`` a commit is in the operating system's hands at once, and on the
disk after `Journal.sync`, ten times a second, as often as MongoDB writes its journal by default: a crash of
the machine itself can take the last tenth of a second, never the consistency of the file.

Documents in memory are decoded from the bytes that the file gets, and are replaced, never changed in place:
memory and file cannot differ, and a reader may keep a document as long as it likes.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from pathlib import Path
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from mongomock import store
from mongomock.helpers import hashdict

from alpw.database.embedded.errors import MongoError
from alpw.database.embedded.lookup import Lookup

logger = logging.getLogger(__name__)

# dates beyond Python's years 1-9999 are kept as numbers instead of failing
CODEC: CodecOptions = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
SCHEMA = """
CREATE TABLE IF NOT EXISTS collections (namespace TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS indexes (namespace TEXT, name TEXT, spec BLOB, PRIMARY KEY (namespace, name));
CREATE TABLE IF NOT EXISTS documents (number INTEGER PRIMARY KEY, namespace TEXT, body BLOB);
"""
FORMAT_VERSION = 1
VACUUM_FRACTION = 0.5


class DirectoryInUse(Exception):
    """Another server has the data directory open, or its file has another format."""


class Journal:
    """The file of a data directory, and the effects that wait for the end of their command.

    Raises:
        DirectoryInUse: another process holds the directory's lock.
    """

    def __init__(self, directory: Path) -> None:
        self._lock = (directory / "lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DirectoryInUse(f"{directory} is already open in another server") from error
        self.path = directory / "data.sqlite"
        self._effects: list[tuple[str, tuple]] = []
        self._dirty = False
        self.sql = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        # the lock above excludes other processes; exclusive mode also spares SQLite its shared memory
        # file, which network file systems do not support
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL"):
            self.sql.execute(f"PRAGMA {pragma}")
        version = self._number("PRAGMA user_version")
        if version not in (0, FORMAT_VERSION):
            raise DirectoryInUse(f"{self.path} has format {version}; this version reads {FORMAT_VERSION}")
        self.sql.executescript(f"{SCHEMA} PRAGMA user_version = {FORMAT_VERSION};")
        if self._number("PRAGMA freelist_count") > VACUUM_FRACTION * self._number("PRAGMA page_count"):
            self.sql.execute("VACUUM")
        self.sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.last_row = self._number("SELECT MAX(number) FROM documents")
        # the WAL file exists as long as the connection does; this descriptor serves `sync`
        self._wal = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CREAT, 0o600)

    def _number(self, query: str) -> int:
        return self.sql.execute(query).fetchone()[0] or 0

    def record(self, statement: str, *values: Any) -> None:
        self._effects.append((statement, values))

    def commit(self) -> None:
        """Make the effects of the command durable; the reply may be sent afterwards.

        A failure (disk full, file system gone) ends the process: memory is then ahead of the file, and
        answering from it would show clients what a restart takes back.
        """
        if not self._effects:
            return
        try:
            self.sql.execute("BEGIN")
            for statement, values in self._effects:
                self.sql.execute(statement, values)
            self.sql.execute("COMMIT")
        except sqlite3.Error:
            logger.critical("cannot write %s; stopping, the command is lost", self.path, exc_info=True)
            logging.shutdown()
            os._exit(1)
        self._effects.clear()
        self._dirty = True

    def sync(self, *, always: bool = False) -> None:
        """Wait until what is committed is on the disk; `always`: even if another thread sees to it."""
        if self._dirty or always:
            self._dirty = False
            os.fsync(self._wal)

    def close(self) -> None:
        self.sql.close()
        os.close(self._wal)
        self._lock.close()


class CollectionStore(store.CollectionStore):
    """Documents of a collection; ``rows`` are their rows in the file, in the order of insertion."""

    def __init__(self, namespace: str, journal: Journal) -> None:
        super().__init__(namespace.split(".", 1)[1])
        self.namespace, self.journal, self.lookup = namespace, journal, Lookup()
        self.rows: dict[Any, int] = {}

    def create(self) -> None:
        if not self._is_force_created:
            super().create()
            self.journal.record("INSERT OR REPLACE INTO collections VALUES (?)", self.namespace)

    def __setitem__(self, key: Any, document: dict[str, Any]) -> None:
        self.put(key, encoded(document))

    def put(self, key: Any, body: bytes) -> None:
        """Add or replace a document that is encoded already."""
        self.create()
        row = self.rows.get(_key(key))
        if row is None:
            row = self.journal.last_row = self.journal.last_row + 1
        self.load(row, bson.decode(body, CODEC))
        self.journal.record("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", row, self.namespace, body)

    def load(self, row: int, document: dict[str, Any]) -> None:
        """Put a document that is in the file already."""
        key = _key(document["_id"])
        if key in self.rows:
            self.lookup.replace(key, self._documents[key], document)
        else:
            self.lookup.add(key, document)
        self.rows[key] = row
        super().__setitem__(key, document)

    def __delitem__(self, key: Any) -> None:
        self.lookup.remove(_key(key), self._documents[_key(key)])
        super().__delitem__(_key(key))
        self.journal.record("DELETE FROM documents WHERE number = ?", self.rows.pop(_key(key)))

    def create_index(self, index_name: str, index_dict: dict[str, Any]) -> None:
        if self.indexes.get(index_name) != index_dict:
            self.create()
            self.load_index(index_name, index_dict)
            values = self.namespace, index_name, bson.encode(index_dict)
            self.journal.record("INSERT OR REPLACE INTO indexes VALUES (?, ?, ?)", *values)

    def load_index(self, name: str, spec: dict[str, Any]) -> None:
        super().create_index(name, {**spec, "key": [tuple(item) for item in spec["key"]]})
        self._build_lookup()

    def drop_index(self, index_name: str) -> None:
        super().drop_index(index_name)
        self._build_lookup()
        statement = "DELETE FROM indexes WHERE namespace = ? AND name = ?"
        self.journal.record(statement, self.namespace, index_name)

    def _build_lookup(self) -> None:
        paths = {path for index in self.indexes.values() for path, _ in index["key"]}
        self.lookup = Lookup(paths, self._documents.items())

    def drop(self) -> None:
        super().drop()
        for row in self.rows.values():
            self.journal.record("DELETE FROM documents WHERE number = ?", row)
        for table in ("indexes", "collections"):
            self.journal.record(f"DELETE FROM {table} WHERE namespace = ?", self.namespace)
        self.rows, self.lookup = {}, Lookup()

    def candidates(self, query: dict[str, Any]) -> tuple[list[dict], dict[str, Any]] | None:
        """Every document that may match, in the order of insertion, and what is still to ask of them.

        None where no index helps.
        """
        self._remove_expired_documents()
        found = self.lookup.candidates(query, self._documents)
        if found is None:
            return None
        keys, rest = found
        return [self._documents[key] for key in sorted(keys, key=self.rows.__getitem__)], rest


class DatabaseStore(store.DatabaseStore):
    def __init__(self, name: str, journal: Journal) -> None:
        super().__init__()
        self.name, self.journal = name, journal

    def __getitem__(self, col_name: str) -> CollectionStore:
        if col_name not in self._collections:
            self._collections[col_name] = CollectionStore(f"{self.name}.{col_name}", self.journal)
        return self._collections[col_name]


class ServerStore(store.ServerStore):
    """All databases of a journal's file, loaded into memory."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self.journal = journal
        for (namespace,) in journal.sql.execute("SELECT namespace FROM collections"):
            self._collection(namespace)._is_force_created = True
        for namespace, name, spec in journal.sql.execute("SELECT * FROM indexes ORDER BY rowid"):
            self._collection(namespace).load_index(name, bson.decode(spec))
        for row, namespace, body in journal.sql.execute("SELECT * FROM documents ORDER BY number"):
            self._collection(namespace).load(row, bson.decode(body, CODEC))
        logger.info("opened %s: %d databases", journal.path, len(self._databases))

    def _collection(self, namespace: str) -> CollectionStore:
        database, name = namespace.split(".", 1)
        return self[database][name]

    def __getitem__(self, db_name: str) -> DatabaseStore:
        if db_name not in self._databases:
            self._databases[db_name] = DatabaseStore(db_name, self.journal)
        return self._databases[db_name]


def encoded(document: dict[str, Any]) -> bytes:
    """The document as BSON; raises `MongoError` when it exceeds 16 MiB."""
    body = bson.encode(document)
    if len(body) > MAX_DOCUMENT_BYTES:
        raise MongoError(10334, f"object too large: {len(body)} bytes, at most {MAX_DOCUMENT_BYTES}")
    return body


def _key(identifier: Any) -> Any:
    return hashdict(identifier) if isinstance(identifier, dict) else identifier
