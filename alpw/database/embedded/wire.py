"""MongoDB's wire protocol: OP_MSG, and OP_QUERY for the handshake of drivers.

https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
"""

from __future__ import annotations

import itertools
import socket
import struct
from typing import Any, NamedTuple

import bson

from alpw.database.embedded.store import CODEC

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
CHECKSUM_PRESENT, MORE_TO_COME = 1, 2
HEADER = struct.Struct("<iiii")
MAX_MESSAGE_BYTES = 48_000_000

_request_ids = itertools.count(1)


class ProtocolError(Exception):
    """The peer sent something that is not a message of the protocol; the connection is closed."""


class Request(NamedTuple):
    """A command, document sequences merged in; its first key is its name. ``w: 0`` wants no reply."""

    operation: int
    identifier: int
    database: str
    command: dict[str, Any]
    wants_reply: bool


def read_request(connection: socket.socket) -> Request:
    """Wait for the next request.

    Raises:
        ConnectionError: the peer is gone.
        ProtocolError: not the protocol.
    """
    length, identifier, _, operation = HEADER.unpack(_read(connection, HEADER.size))
    if not HEADER.size <= length <= MAX_MESSAGE_BYTES + 16 * 1024 or operation not in (OP_MSG, OP_QUERY):
        raise ProtocolError(f"message of {length} bytes with operation {operation}")
    body = _read(connection, length - HEADER.size)
    try:
        parsed = _parse_message(body) if operation == OP_MSG else _parse_query(body)
    except (struct.error, KeyError, ValueError, IndexError, bson.errors.BSONError) as error:
        raise ProtocolError(f"malformed message: {error}") from error
    return Request(operation, identifier, *parsed)


def _read(connection: socket.socket, count: int) -> bytes:
    buffer = bytearray(count)
    view, done = memoryview(buffer), 0
    while done < count:
        received = connection.recv_into(view[done:])
        if not received:
            raise ConnectionError("closed by the client")
        done += received
    return bytes(buffer)


def _parse_message(body: bytes) -> tuple[str, dict[str, Any], bool]:
    (flags,) = struct.unpack_from("<I", body)
    # the lower 16 flags must be understood
    if flags & 0xFFFF & ~(CHECKSUM_PRESENT | MORE_TO_COME):
        raise ProtocolError(f"unknown flags {flags:#x}")
    position, end = 4, len(body) - (4 if flags & CHECKSUM_PRESENT else 0)
    command: dict[str, Any] = {}
    sequences: dict[str, list[dict]] = {}
    while position < end:
        (size,) = struct.unpack_from("<i", body, position + 1)
        section = body[position + 1 : position + 1 + size]
        if body[position] == 0:
            command = bson.decode(section, CODEC)
        elif body[position] == 1 and size > 4:
            stop = section.index(b"\0", 4)
            sequences[section[4:stop].decode()] = bson.decode_all(section[stop + 1 :], CODEC)
        else:
            raise ProtocolError(f"unknown section of kind {body[position]}")
        position += 1 + size
    command.update(sequences)
    return command["$db"], command, not flags & MORE_TO_COME


def _parse_query(body: bytes) -> tuple[str, dict[str, Any], bool]:
    start = body.index(b"\0", 4) + 9
    command = bson.decode(body[start : start + struct.unpack_from("<i", body, start)[0]], CODEC)
    if next(iter(command), "").lower() not in ("hello", "ismaster"):
        raise ProtocolError("OP_QUERY is accepted for the handshake only")
    return "admin", command, True


def send_reply(connection: socket.socket, request: Request, reply: bytes) -> None:
    """Send a reply that is encoded already."""
    if request.operation == OP_QUERY:
        operation, body = OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1) + reply
    else:
        operation, body = OP_MSG, struct.pack("<IB", 0, 0) + reply
    header = HEADER.pack(HEADER.size + len(body), next(_request_ids), request.identifier, operation)
    connection.sendall(header + body)
