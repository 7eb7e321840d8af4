"""JSON files as users write them, and their errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alpw.errors import InputError


class InputErrors(InputError):
    """All errors of one or more input files, one line each.

    Attributes:
        errors: each error by itself; ``message``, ``file`` and ``key`` are those of the first.
    """

    def __init__(self, errors: list[InputError]) -> None:
        self.errors = errors
        super().__init__(errors[0].message, errors[0].file, errors[0].key)

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


class JsonObject(dict[str, Any]):
    """A JSON object that remembers the keys given twice with different values."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        # A NaN differs from itself; identity keeps it from counting as a repetition.
        self.repeated = sorted({key for key, value in pairs if self[key] is not value and self[key] != value})


def read_json(path: Path) -> JsonObject:
    """The JSON object in a file.

    Raises:
        InputErrors: no such file, or no JSON object in it; names line and column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputErrors([InputError("no such file", path)]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputErrors([InputError(f"cannot be read: {error}", path)]) from error
    try:
        raw = json.loads(text, object_pairs_hook=JsonObject)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputErrors([InputError(f"{place}: not valid JSON: {error.msg}", path)]) from error
    except RecursionError as error:
        raise InputErrors([InputError("not valid JSON: nested too deeply", path)]) from error
    if not isinstance(raw, JsonObject):
        raise InputErrors([InputError("holds no JSON object {...}", path)])
    return raw
