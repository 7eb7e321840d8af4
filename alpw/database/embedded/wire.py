"""MongoDB's wire protocol: OP_MSG, and OP_QUERY for the handshake of old drivers.

https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
"""

from __future__ import annotations

import itertools
import socket
import struct
from dataclasses import dataclass
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from alpw.database.embedded.store import CODEC

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
CHECKSUM_PRESENT, MORE_TO_COME = 1, 2
KNOWN_REQUIRED_FLAGS = CHECKSUM_PRESENT | MORE_TO_COME
HEADER = struct.Struct("<iiii")
MAX_MESSAGE_BYTES = 48_000_000

_request_ids = itertools.count(1)


class ProtocolError(Exception):
    """The peer sent something that is not a message of the protocol; the connection is closed."""


@dataclass
class Request:
    """One command.

    Attributes:
        command: its document, document sequences merged in; the first key is the command's name.
        wants_reply: False for the unacknowledged writes (``w: 0``) of a client.
    """

    operation: int
    identifier: int
    database: str
    command: dict[str, Any]
    wants_reply: bool = True


def read_request(connection: socket.socket) -> Request:
    """Wait for the next request.

    Raises:
        ConnectionError: the peer is gone.
        ProtocolError: not the protocol.
    """
    length, identifier, _, operation = HEADER.unpack(_read(connection, HEADER.size))
    if not HEADER.size <= length <= MAX_MESSAGE_BYTES + 16 * 1024:
        raise ProtocolError(f"message of {length} bytes")
    body = _read(connection, length - HEADER.size)
    try:
        if operation == OP_MSG:
            return _parse_message(identifier, body)
        if operation == OP_QUERY:
            return _parse_query(identifier, body)
    except (struct.error, ValueError, IndexError, bson.errors.BSONError) as error:
        raise ProtocolError(f"malformed message: {error}") from error
    raise ProtocolError(f"operation {operation} is not supported")


def _read(connection: socket.socket, count: int) -> bytes:
    buffer = bytearray(count)
    view, done = memoryview(buffer), 0
    while done < count:
        received = connection.recv_into(view[done:])
        if not received:
            raise ConnectionError("closed by the client")
        done += received
    return bytes(buffer)


def _parse_message(identifier: int, body: bytes) -> Request:
    (flags,) = struct.unpack_from("<I", body)
    if flags & 0xFFFF & ~KNOWN_REQUIRED_FLAGS:
        raise ProtocolError(f"unknown flags {flags:#x}")
    end = len(body) - (4 if flags & CHECKSUM_PRESENT else 0)
    position = 4
    command: dict[str, Any] | None = None
    sequences: dict[str, list[dict]] = {}
    while position < end:
        kind = body[position]
        position += 1
        (size,) = struct.unpack_from("<i", body, position)
        section = body[position : position + size]
        if size < 5 or len(section) != size:
            raise ProtocolError("a section exceeds its message")
        if kind == 0:
            command = bson.decode(section, CODEC)
        elif kind == 1:
            stop = section.index(b"\0", 4)
            sequences[section[4:stop].decode()] = bson.decode_all(section[stop + 1 :], CODEC)
        else:
            raise ProtocolError(f"unknown section kind {kind}")
        position += size
    if not command:
        raise ProtocolError("a message without a command")
    command.update(sequences)
    database = command.get("$db")
    if not isinstance(database, str):
        raise ProtocolError("OP_MSG requests require a $db argument")
    return Request(OP_MSG, identifier, database, command, wants_reply=not flags & MORE_TO_COME)


def _parse_query(identifier: int, body: bytes) -> Request:
    stop = body.index(b"\0", 4)
    database = body[4:stop].decode().split(".", 1)[0]
    start = stop + 1 + 8
    (size,) = struct.unpack_from("<i", body, start)
    command = bson.decode(body[start : start + size], CODEC)
    if next(iter(command), "").lower() not in ("hello", "ismaster"):
        raise ProtocolError("OP_QUERY is accepted for the handshake only")
    return Request(OP_QUERY, identifier, database, command)


def send_reply(connection: socket.socket, request: Request, reply: dict[str, Any]) -> None:
    """Send the reply, whose documents may be `RawBSONDocument`."""
    document = bson.encode(reply)
    if request.operation == OP_QUERY:
        body = struct.pack("<iqii", 8, 0, 0, 1) + document
        operation = OP_REPLY
    else:
        body = struct.pack("<IB", 0, 0) + document
        operation = OP_MSG
    header = HEADER.pack(HEADER.size + len(body), next(_request_ids), request.identifier, operation)
    connection.sendall(header + body)


def raw(document: dict) -> RawBSONDocument:
    """The document encoded once, which the reply takes over as it is."""
    return RawBSONDocument(bson.encode(document))
