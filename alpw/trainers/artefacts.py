"""The files of an external trainer's model in one piece of bytes: an uncompressed tar, always the same."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from alpw.errors import AlpwError


def pack(files: Mapping[str, bytes]) -> bytes:
    """Files by name as one tar; equal files make equal bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """The files of `pack`.

    Raises:
        AlpwError: something else.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            found = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
            return {name: file.read() for name, file in found.items() if file is not None}
    except tarfile.TarError as error:
        raise AlpwError(f"not the files of an external trainer's model: {error}") from error
