"""Passwords of the database: what may be shown of an address, and of what others say about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

#: User and password of an address: all up to the last @, for whoever forgot to escape one of ``@/:?``.
_CREDENTIALS = re.compile(r"(mongodb(?:\+srv)?://)\S*@", re.IGNORECASE)
_IS_ADDRESS = re.compile(r"mongodb(\+srv)?://", re.IGNORECASE)
#: Of settings in YAML or JSON, or of a shell's variables.
_PASSWORD = re.compile(r"""password["']?\s*[:=]\s*["']?(?!null|none|~)[^\s"',}]""", re.IGNORECASE)
#: Pieces into which a driver takes an address apart before it complains about one of them.
_BORDERS = re.compile(r"[@/:?#\[\],&=%]+")
#: A shorter piece of a password is no secret, and would be found in ordinary words.
_SHORTEST_PIECE = 3


def without_secrets(text: str, settings: Mapping[str, Any] | None = None) -> str:
    """A text without user and password of any MongoDB address in it.

    Args:
        text: such as an error message of the driver.
        settings: of a my_launchpad.yaml, whose password is hidden wherever else the text holds it, or a
            piece of it.
    """
    for secret in _secrets(settings or {}):
        text = text.replace(secret, "***")
    return _CREDENTIALS.sub(r"\1", text)


def server_uri(settings: Mapping[str, Any]) -> str:
    """Address of the server without user, password and options, to show and to compare."""
    host = str(settings["host"])
    # The driver takes an address as a host name too, without uri_mode.
    if not _IS_ADDRESS.match(host):
        host = f"mongodb://{host}:{settings.get('port') or 27017}"
    return _CREDENTIALS.sub(r"\1", host).split("?", 1)[0].rstrip("/")


def has_credentials(settings: Mapping[str, Any]) -> bool:
    """Whether somebody who reads these settings can log in with them."""
    return bool(settings.get("password")) or "@" in str(settings["host"])


def holds_credentials(text: str) -> bool:
    """Whether a text has the address of a MongoDB with a user in it, or settings with a password."""
    return bool(_CREDENTIALS.search(text) or _PASSWORD.search(text))


def _secrets(settings: Mapping[str, Any]) -> list[str]:
    """Passwords in the settings and all their pieces, the longest first."""
    found = {str(settings.get("password") or "")}
    credentials = _IS_ADDRESS.sub("", str(settings.get("host", ""))).rpartition("@")[0]
    found.add(credentials.partition(":")[2])
    found |= {unquote(secret) for secret in found}
    pieces = {piece for secret in found for piece in _BORDERS.split(secret)}
    return sorted((word for word in found | pieces if len(word) >= _SHORTEST_PIECE), key=len, reverse=True)
