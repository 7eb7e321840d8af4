"""What became of every key of a foreign input file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Fate(str, Enum):
    """What became of a key."""

    TAKEN = "taken"
    CHANGED = "changed"
    ABSENT = "no counterpart"
    COMMENT = "comment"


@dataclass(frozen=True)
class Note:
    """One key of a source file.

    Attributes:
        file: name of the source file.
        key: dotted, in the source's spelling, without indices of lists: ``model_devi_jobs.temps``.
        fate: what became of it.
        became: our keys that say it now; empty for none.
        text: how it was changed, or why there is no counterpart; values never, they may be secrets.
        todo: what is left to the user; empty for nothing.
    """

    file: str
    key: str
    fate: Fate
    became: str = ""
    text: str = ""
    todo: str = ""


Place = tuple[str | int, ...]

Rebase = Callable[[str], str]
"""A path of the source as it has to be written for the new file."""


@dataclass
class Converted:
    """A source file in our words.

    Attributes:
        content: of our input file.
        notes: one for each key of the source.
        remarks: what is new here.
        files: further files by name, with their content.
    """

    content: dict[str, Any]
    notes: list[Note]
    remarks: list[str] = field(default_factory=list)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)


def leaves(content: Any, path: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value of a parsed file that is no block, with its place; lists of plain values are one."""
    if isinstance(content, dict) and content:
        for key, value in content.items():
            if key.startswith("_"):
                yield (*path, key), value
            else:
                yield from leaves(value, (*path, key))
    elif isinstance(content, list) and _holds_blocks(content):
        for index, value in enumerate(content):
            yield from leaves(value, (*path, index))
    else:
        yield path, content


def _holds_blocks(values: list[Any]) -> bool:
    return any(
        isinstance(value, dict) or (isinstance(value, list) and _holds_blocks(value)) for value in values
    )


def dotted(path: Place) -> str:
    """The name of a place, without indices."""
    return ".".join(part for part in path if isinstance(part, str))


def is_comment(path: Place) -> bool:
    """Whether a place belongs to a key that begins with an underscore."""
    return any(isinstance(part, str) and part.startswith("_") for part in path)


def source_keys(content: Any) -> list[str]:
    """Every key of a parsed file once, in its order."""
    return list(dict.fromkeys(dotted(path) for path, _ in leaves(content)))


class NoteBook:
    """The notes on one file, each place of a key counted, equal remarks told once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[tuple[str, str, str], Note] = {}

    def add(self, key: str | Place, fate: Fate, became: str = "", text: str = "", todo: str = "") -> None:
        """Note what became of a key."""
        name = key if isinstance(key, str) else dotted(key)
        self._found.setdefault((name, became, text), Note(self.file, name, fate, became, text, todo))

    def taken(self, key: str | Place, became: str, text: str = "") -> None:
        """It says the same under another or the same name."""
        self.add(key, Fate.TAKEN, became, text)

    def changed(self, key: str | Place, became: str, text: str, todo: str = "") -> None:
        """It says something else, or in another way."""
        self.add(key, Fate.CHANGED, became, text, todo)

    def absent(self, key: str | Place, text: str, todo: str = "") -> None:
        """There is nothing like it here."""
        self.add(key, Fate.ABSENT, "", text, todo)

    def add_block(
        self, key: str, value: Any, became: str, text: str, changed: bool | None, todo: str = ""
    ) -> None:
        """Note every key of a value that may be a block.

        Args:
            key: of the value.
            value: what the source has there.
            became: our key.
            text: how, or why not.
            changed: whether it says something else now; None if there is no counterpart.
            todo: what is left to the user.
        """
        fate = Fate.ABSENT if changed is None else Fate.CHANGED if changed else Fate.TAKEN
        for path, _ in leaves(value):
            if not is_comment(path):
                self.add((key, *path), fate, became, text, todo)

    @property
    def keys(self) -> set[str]:
        """The keys that are noted."""
        return {name for name, _, _ in self._found}

    def complete(self, content: Any, unknown: str) -> list[Note]:
        """All notes in the order of the file; comments and keys that nobody asked for are added.

        Notes on keys that the file does not have are left out.

        Args:
            content: the parsed file.
            unknown: what to say of a key that nobody asked for.
        """
        for path, _ in leaves(content):
            if dotted(path) in self.keys:
                continue
            if is_comment(path):
                self.add(path, Fate.COMMENT, "", "left out")
            else:
                self.absent(path, unknown)
        order = {key: place for place, key in enumerate(source_keys(content))}
        found = [note for note in self._found.values() if note.key in order]
        return sorted(found, key=lambda note: order[note.key])
