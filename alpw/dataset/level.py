"""Level of theory of labels that come in a file."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

from alpw.codes.protocol import INPUTS_FILE, settings_hash
from alpw.codes.registry import code_of
from alpw.errors import CalculationError, InputError
from alpw.formats.level import stated_level
from alpw.formats.registry import Options

logger = logging.getLogger(__name__)

UNKNOWN_LEVEL = "imported"
"""level of theory of labels whose file does not tell it"""


class Level(NamedTuple):
    """Level of theory of a file's labels.

    Attributes:
        hash: of the settings; :data:`UNKNOWN_LEVEL` without any.
        record: further fields of each document: ``code``, ``settings``.
        potentials: titles of pseudopotentials.
    """

    hash: str
    record: dict[str, Any]
    potentials: tuple[str, ...]


def level_of(path: Path, form: str, words: str | None, options: Options) -> Level:
    """Level of theory of a file: the user's word, what a run of ours left, what the file tells, or unknown.

    Args:
        path: the file.
        form: name of its format.
        words: the user's, or a ``settings_hash``; None if he says nothing.
        options: with which the file is read.
    """
    stated = stated_level(path, form, options)
    record: dict[str, Any] = {"code": stated.code} if stated else {}
    potentials = stated.potentials if stated else ()
    if words and re.fullmatch(r"[0-9a-f]{64}", words):
        return Level(words, record, potentials)
    settings = {"level": words} if words else None
    if settings is None and stated:
        settings = _of_our_run(path, stated.code, options) or stated.settings
    if settings is None:
        return Level(UNKNOWN_LEVEL, record, potentials)
    return Level(settings_hash(settings), record | {"settings": settings}, potentials)


def _of_our_run(path: Path, code: str, options: Options) -> dict[str, Any] | None:
    """Settings of a calculation that ALPW made, so that its labels go with those of a campaign."""
    if not (path.parent / INPUTS_FILE).is_file():
        return None
    try:
        settings = code_of(code).settings(path.parent)
    except (CalculationError, InputError, OSError, LookupError, ValueError) as error:
        logger.warning(
            "%s: the settings of this run cannot be read (%s); the output's are taken", path, error
        )
        return None
    return settings | ({"energy": options.energy} if "energy" in settings else {})
