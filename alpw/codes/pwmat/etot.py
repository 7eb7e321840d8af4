"""Reader and writer of etot.input, which leaves every line of the user's as it is.

The first line holds the node grid, two integers whose product is the number of MPI ranks. Then come lines
``KEY = VALUE``: keys in any case, values separated by blanks or commas, comments after ``#`` or ``!``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alpw.codes.pwmat.keys import CONVERTERS, Kind, Shape, flag, integer, known_keys, number, shape_of
from alpw.errors import InputError

INPUT = "etot.input"

_COMMENT = re.compile(r"[#!]")


@dataclass
class Entry:
    """One line ``KEY = VALUE``: where it stands, and what it holds."""

    key: str
    value: str
    line: int
    """index into the lines of the file"""


class Etot:
    """The content of one etot.input.

    Args:
        text: of the file.
        file: for error messages.

    Attributes:
        nodes: the node grid, band groups and k-point groups.

    Raises:
        InputError: a key that PWmat does not know, a value of the wrong type, a key that is given twice, or
        no
            node grid; names the line.
    """

    def __init__(self, text: str, file: Path | None = None) -> None:
        self.file = file
        self._lines = text.splitlines()
        first = next((i for i, line in enumerate(self._lines) if line.strip()), 0)
        self.nodes = self._read_nodes(first)
        self._entries: dict[str, Entry] = {}
        for index in range(first + 1, len(self._lines)):
            self._read_line(index)

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    def __contains__(self, key: str) -> bool:
        return key.upper() in self._entries

    def __iter__(self) -> Iterator[str]:
        """The keys that are given, in upper case, in the order of the file."""
        return iter(sorted(self._entries, key=lambda key: self._entries[key].line))

    def get(self, key: str, default: str = "") -> str:
        """The value as it stands in the file, without comment."""
        entry = self._entries.get(key.upper())
        return default if entry is None else entry.value

    def words(self, key: str) -> list[str]:
        """The words of a value; none if the key is not given."""
        return split_words(self.get(key))

    def numbers(self, key: str) -> list[float]:
        """The numbers of a value."""
        return [number(word) for word in self.words(key)]

    def flag(self, key: str, default: bool = False) -> bool:
        """Whether a switch is on; further words that go with it are left aside."""
        words = self.words(key)
        return flag(words[0]) if words else default

    def numbered(self, prefix: str) -> list[str]:
        """The keys ``prefix`` + number, ``IN.PSP1`` but not ``IN.PSP_RCUT1``, in numerical order."""
        found = [key for key in self if re.fullmatch(re.escape(prefix) + r"\d+", key)]
        return sorted(found, key=lambda key: int(key.removeprefix(prefix)))

    def set(self, key: str, value: str) -> list[str]:
        """Give a key a value, on its own line if it has one; returns the change in words, if it is one."""
        key = key.upper()
        before = self._entries.get(key)
        if before is None:
            self._lines.append(f"{key} = {value}")
            self._entries[key] = Entry(key, value, len(self._lines) - 1)
            return [f"{key}: none -> {value}"]
        if before.value.upper() == value.upper():
            return []
        found = before.value
        comment = _COMMENT.search(self._lines[before.line])
        rest = f"   {self._lines[before.line][comment.start() :]}" if comment else ""
        self._lines[before.line] = f"{key} = {value}{rest}"
        before.value = value
        return [f"{key}: {found} -> {value}"]

    def remove(self, key: str) -> None:
        """Take a key out, with its line."""
        entry = self._entries.pop(key.upper(), None)
        if entry is None:
            return
        del self._lines[entry.line]
        for other in self._entries.values():
            other.line -= other.line > entry.line

    def _read_nodes(self, index: int) -> tuple[int, int]:
        words = split_words(_without_comment(self._lines[index])) if self._lines else []
        try:
            grid = integer(words[0]), integer(words[1])
        except (IndexError, ValueError) as error:
            raise InputError(
                "the first line must hold the node grid, two integers such as '4 1' whose product is the "
                "number of MPI ranks",
                self.file,
                f"line {index + 1}",
            ) from error
        if min(grid) < 1:
            raise InputError(f"{grid[0]} {grid[1]} is no node grid", self.file, f"line {index + 1}")
        return grid

    def _read_line(self, index: int) -> None:
        content = _without_comment(self._lines[index])
        if not content:
            return
        where = f"line {index + 1}"
        name, sign, value = content.partition("=")
        key, value = name.strip().upper(), value.strip()
        if not sign:
            raise InputError(f"{content!r} is no 'KEY = VALUE'; put # before a comment", self.file, where)
        shape = shape_of(key)
        if shape is None:
            nearest = difflib.get_close_matches(key, known_keys(), n=1, cutoff=0.5)
            hint = f", did you mean {nearest[0]}?" if nearest else ""
            raise InputError(f"{name.strip()} is no key of PWmat{hint}", self.file, where)
        if key in self._entries:
            raise InputError(
                f"{key} is given a second time; the first is on line {self._entries[key].line + 1}",
                self.file,
                where,
            )
        if reason := _mismatch(shape, split_words(value)):
            raise InputError(f"{key} = {value}: {reason}", self.file, where)
        self._entries[key] = Entry(key, value, index)


def read_etot(path: Path) -> Etot:
    """The etot.input at ``path``.

    Raises:
        InputError: missing, or not valid.
    """
    try:
        return Etot(path.read_text(encoding="utf-8", errors="replace"), path)
    except FileNotFoundError as error:
        raise InputError("no such file", path) from error


def split_words(value: str) -> list[str]:
    """The words of a value, separated by blanks or commas."""
    return value.replace(",", " ").split()


def _without_comment(line: str) -> str:
    return _COMMENT.split(line, maxsplit=1)[0].strip()


def _mismatch(shape: Shape, words: list[str]) -> str:
    """Why words are no value of this shape; empty if they are."""
    if not shape.least <= len(words) <= shape.most:
        wanted = f"{shape.least}" if shape.least == shape.most else f"{shape.least} to {shape.most}"
        return f"{wanted} word{'s' * (shape.most > 1)} wanted, found {len(words)}"
    convert = CONVERTERS.get(shape.kind)
    judged = words[:1] if shape.kind is Kind.FLAG else words
    for word in judged if convert else []:
        try:
            convert(word)  # type: ignore[misc]
        except ValueError:
            return f"{shape.kind.value} wanted, {word!r} found"
    return ""
