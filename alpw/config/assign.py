"""``strategy.max_select=50``: a value for one key of an input file, as a command line gives it."""

from __future__ import annotations

import json
import re
from typing import Any

from alpw.errors import InputError

_PART = re.compile(r"([A-Za-z_]\w*)((?:\[\d+\])*)")


def assign(content: dict[str, Any], assignment: str) -> None:
    """Set one key of the content of an input file.

    Args:
        content: changed in place; blocks that are not there are made.
        assignment: a dotted path with indices, such as ``explore.md_jobs[0][1].temps``, ``=``, and JSON; what
            is no JSON is taken as text.

    Raises:
        InputError: no such form, or a path through something that is no block or has no such entry.
    """
    path, equals, text = assignment.partition("=")
    parts = _parts(path.strip())
    if not equals or not parts:
        raise InputError(f"{assignment!r} is not KEY=VALUE, such as strategy.max_select=50", key="--set")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text.strip()
    place: Any = content
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        _check(place, part, path)
        if following is None:
            place[part] = value
        else:
            if isinstance(part, str) and place.get(part) is None:
                place[part] = {}
            place = place[part]


def _parts(path: str) -> list[str | int]:
    parts: list[str | int] = []
    for piece in path.split("."):
        match = _PART.fullmatch(piece)
        if match is None:
            return []
        parts.append(match[1])
        parts += [int(index) for index in re.findall(r"\d+", match[2])]
    return parts


def _check(place: Any, part: str | int, path: str) -> None:
    if isinstance(part, int):
        if not isinstance(place, list):
            raise InputError(f"[{part}] follows what is no list", key=path)
        if part >= len(place):
            raise InputError(f"[{part}] is beyond the {len(place)} entries there are", key=path)
    elif not isinstance(place, dict):
        raise InputError(f"'{part}' follows what is no block", key=path)
