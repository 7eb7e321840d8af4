"""The file of a campaign: a tar archive, compressed if its name says so, written and read as a stream.

| member | holds |
| --- | --- |
| ``archive.json`` (first) | format, version of ALPW, schema, campaign, when |
| ``documents/COLLECTION/N.bson`` | documents of a collection as MongoDB stores them, one after another |
| ``files/PATH`` | a file of the campaign's folder |
| ``manifest.json`` (last) | counts, size and SHA-256 of every other member, and its own without that key |

Anything that reads tar and BSON (``tar``, ``bsondump``) reads it without ALPW.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from alpw.errors import AlpwError, InputError
from alpw.files import replacing

FORMAT = 1
TOLD = frozenset({"alpw_version", "schema", "created", "campaign", "kind", "state", "newest", "work_dir"})
"""What the first member says besides content and format; see `alpw.archive.backup`."""

CONTENT = "campaign of ALPW"
HEADER, MANIFEST = "archive.json", "manifest.json"
DOCUMENTS, FILES = "documents", "files"

ZIPPED = (".tar.gz", ".tgz")
SUFFIXES = (".tar", *ZIPPED)

BUFFER = 1 << 20
"""bytes that pass through memory at a time"""

_DAMAGE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)


def checked_name(path: Path) -> Path:
    """The path of an archive; raises :class:`InputError` if its name does not say what it is."""
    if not path.name.endswith(SUFFIXES):
        raise InputError(f"the name of an archive ends in {', '.join(SUFFIXES)}", path)
    return path


class Writer:
    """Adds members to an archive and keeps account of them; :func:`writing` makes it."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.members: dict[str, dict[str, Any]] = {}

    def add(self, name: str, data: bytes) -> None:
        """Add a member."""
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = len(data), 0o644, int(time.time())
        self._tar.addfile(info, cast(Any, _Once(data)))
        self.members[name] = {"size": len(data), "sha256": _sha256(data)}

    def add_file(self, name: str, path: Path) -> int:
        """Add a file as it is now and return its size; raises :class:`AlpwError` if it becomes shorter."""
        with path.open("rb") as file:
            info = self._tar.gettarinfo(arcname=name, fileobj=file)
            info.uname = info.gname = ""
            info.uid = info.gid = 0
            source = _Hashed(file)
            try:
                self._tar.addfile(info, cast(Any, source))
            except OSError as error:
                if source.size >= info.size:
                    raise
                raise AlpwError(f"{path}: became shorter while it was read; stop the campaign") from error
        self.members[name] = {"size": info.size, "sha256": source.hash.hexdigest()}
        return info.size


class _Once:
    """Bytes as a file that is read once, without a copy."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)

    def read(self, size: int) -> memoryview:
        part, self._rest = self._rest[:size], self._rest[size:]
        return part


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.hash, self.size = file, hashlib.sha256(), 0

    def read(self, size: int) -> bytes:
        part = self._file.read(size)
        self.hash.update(part)
        self.size += len(part)
        return part


@contextmanager
def writing(path: Path, header: dict[str, Any], totals: dict[str, Any]) -> Iterator[Writer]:
    """An archive that takes its place when it is whole.

    Args:
        path: of the archive.
        header: what its first member says besides content and format.
        totals: what its last member says besides the members; filled in the meantime.
    """
    with (
        replacing(checked_name(path)) as file,
        _packed(path, file) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, bufsize=BUFFER) as tar,
    ):
        writer = Writer(tar)
        writer.add(HEADER, _json({"content": CONTENT, "format": FORMAT, **header}))
        yield writer
        manifest = {**totals, "members": writer.members}
        writer.add(MANIFEST, _json({**manifest, "sha256": _sha256(_json(manifest))}))


@contextmanager
def _packed(path: Path, file: BinaryIO) -> Iterator[BinaryIO]:
    if not path.name.endswith(ZIPPED):
        yield file
        return
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file) as packed:
        yield cast(BinaryIO, packed)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


@dataclass(frozen=True)
class Archive:
    """An archive of which every byte has been compared with its manifest.

    Attributes:
        path: where it lies.
        header: its first member.
        manifest: its last one.
    """

    path: Path
    header: dict[str, Any]
    manifest: dict[str, Any]

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """Collection and documents of each member that has some; raises as :func:`verified`."""
        for name, chunks in _members(self.path):
            if name.startswith(f"{DOCUMENTS}/"):
                yield PurePosixPath(name).parts[1], b"".join(self._same(name, chunks))

    def files(self) -> Iterator[tuple[PurePosixPath, str, Iterator[bytes]]]:
        """Path in the campaign's folder, SHA-256 and content of each file; raises as :func:`verified`."""
        for name, chunks in _members(self.path):
            if name.startswith(f"{FILES}/"):
                sha = self.manifest["members"][name]["sha256"]
                yield PurePosixPath(name).relative_to(FILES), sha, self._same(name, chunks)

    def _same(self, name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """What is read now, as far as it is what was verified."""
        found = hashlib.sha256()
        for chunk in chunks:
            found.update(chunk)
            yield chunk
        if found.hexdigest() != self.manifest["members"][name]["sha256"]:
            raise InputError(f"{name} was changed while the archive was read", self.path)


def verified(path: Path) -> Archive:
    """Read an archive from its first to its last byte.

    Raises:
        InputError: it is none, or of a newer format; a member is damaged, missing, altered or more than the
            manifest knows, or would end up outside its place.
    """
    if not path.is_file():
        raise InputError("no such file", path)
    header: dict[str, Any] = {}
    manifest: dict[str, Any] | None = None
    found: dict[str, str] = {}
    name = ""
    for name, chunks in _members(path):
        if manifest is not None:
            raise InputError(f"{name} comes after the manifest; the archive was altered", path)
        if name in found:
            raise InputError(f"{name} is there twice; the archive was altered", path)
        if name in (HEADER, MANIFEST):
            data = b"".join(chunks)
            found[name] = _sha256(data)
            content = _object(path, name, data)
            if name == HEADER:
                header = _known(path, content)
            else:
                manifest = content
        else:
            digest = hashlib.sha256()
            for chunk in chunks:
                digest.update(chunk)
            found[name] = digest.hexdigest()
    if manifest is None:
        raise InputError(f"the archive is cut short after {name}", path)
    del found[MANIFEST]
    _compare(path, found, manifest)
    return Archive(path, header, manifest)


def _compare(path: Path, found: dict[str, str], manifest: dict[str, Any]) -> None:
    own = manifest.pop("sha256", None)
    members = manifest.get("members")
    if own != _sha256(_json(manifest)):
        raise InputError(f"{MANIFEST} is not what it says; the archive was altered or damaged", path)
    if not isinstance(members, dict):
        raise InputError(f"{MANIFEST} names no members; the archive was altered", path)
    for name in sorted({*members, *found}):
        if name not in found:
            raise InputError(f"{name} is missing; the archive was altered", path)
        if name not in members or members[name].get("sha256") != found[name]:
            raise InputError(f"{name} is not what {MANIFEST} says; the archive was altered or damaged", path)


def _known(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    if header.get("content") != CONTENT:
        raise InputError(f"no archive of a campaign ({HEADER} does not say that it is one)", path)
    if header.get("format") != FORMAT:
        text = f"format {header.get('format')}, and this ALPW reads {FORMAT}"
        raise InputError(f"{text}; the archive was written by ALPW {header.get('alpw_version')}", path)
    if missing := TOLD - header.keys():
        raise InputError(f"{HEADER} does not say {', '.join(sorted(missing))}; the archive was altered", path)
    return header


def _object(path: Path, name: str, data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except ValueError as error:
        raise InputError(f"{name} is no JSON; the archive was altered or damaged", path) from error
    if not isinstance(content, dict):
        raise InputError(f"{name} is no JSON object; the archive was altered or damaged", path)
    return content


def _members(path: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Name and content of each member; the content has to be read before the next one is asked for."""
    name = ""
    try:
        with tarfile.open(path, mode="r|*", bufsize=BUFFER) as tar:
            for member in tar:
                if not name and member.name != HEADER:
                    raise InputError(f"no archive of a campaign (it begins with {member.name!r})", path)
                name = _safe(path, member)
                yield name, _content(path, tar, member)
    except _DAMAGE as error:
        where = f"after {name}" if name else "at its beginning"
        raise InputError(f"no whole tar archive: damaged or cut short {where} ({error})", path) from error


def _content(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    try:
        file = tar.extractfile(member)
        rest = member.size
        while file is not None and (chunk := file.read(min(BUFFER, rest))):
            rest -= len(chunk)
            yield chunk
        if rest:
            raise EOFError(f"{rest} bytes are missing")
    except _DAMAGE as error:
        raise InputError(f"{member.name} is damaged or cut short ({error})", path) from error


def _safe(path: Path, member: tarfile.TarInfo) -> str:
    """The name of a member that can do no harm."""
    parts = PurePosixPath(member.name).parts
    if not member.isreg():
        raise InputError(f"{member.name} is no regular file; the archive was altered", path)
    outside = member.name.startswith("/") or ".." in parts or "\\" in member.name or "\0" in member.name
    place = member.name in (HEADER, MANIFEST) or (
        (len(parts) > 1 and parts[0] == FILES) or (len(parts) == 3 and parts[0] == DOCUMENTS)
    )
    if outside or not place or member.name != "/".join(parts):
        raise InputError(f"{member.name!r} is no name that an archive has; it was altered", path)
    return member.name
