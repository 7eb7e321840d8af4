"""FireWorks' YAML files as plain data, with errors that name the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monty.serialization import loadfn

from alpw.errors import InputError


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, or of a JSON file with that ending.

    Raises:
        InputError: it cannot be read, or is none; names the line.
    """
    try:
        return loadfn(path)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from error
    # The readers have exception families of their own, which depend on their versions. What they say may
    # quote a password.
    except Exception as error:
        kind = "JSON" if Path(path).suffix == ".json" else "YAML"
        text = f"is no valid {kind}{_line(error)} ({type(error).__name__}); correct it"
        raise InputError(text, file=path) from error


def read_settings(path: Path) -> dict[str, Any]:
    """The same of a file that has to be lines ``KEY: value``; raises :class:`InputError` for another one."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError("holds no lines 'KEY: value'; correct or remove it", file=path)
    return content


def _line(error: Any) -> str:
    mark = getattr(error, "problem_mark", None)
    number = mark.line + 1 if mark else getattr(error, "lineno", None)
    return f" in line {number}" if number else ""
