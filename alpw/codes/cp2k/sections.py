"""A CP2K input as a tree of sections, read and written without losing anything.

pymatgen's ``Cp2kInput`` looks each keyword up in its own description of CP2K and rewrites values; here every
value stays the text that the user wrote, so that the control file remains the authority.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from alpw.errors import InputError

_COMMENT = re.compile(r"""((?:[^"'!#]|"[^"]*"|'[^']*')*)[!#].*""")
_RECORD = "\0"
"""Begins a line that is no keyword: the state of random numbers has fixed columns and may hold a ``#``."""

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass
class Section:
    """One ``&NAME argument ... &END``; sections and keywords are found in any case.

    Attributes:
        name: upper case; empty for the root.
        argument: what follows the name, such as ``Si`` in ``&KIND Si``.
        keywords: name and value of each line, verbatim, in order; names may repeat.
        sections: subsections, in order; names may repeat.
    """

    name: str = ""
    argument: str = ""
    keywords: list[tuple[str, str]] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)

    def all(self, name: str) -> list[Section]:
        """Every direct subsection of that name."""
        return [section for section in self.sections if section.name == name]

    def find(self, path: str) -> Section | None:
        """The first section at ``A/B/C``, or None."""
        section: Section | None = self
        for name in path.split("/"):
            section = next(iter(section.all(name)), None) if section else None
        return section

    def need(self, path: str) -> Section:
        """The first section at ``A/B/C``, created where missing."""
        section = self
        for name in path.split("/"):
            found = section.find(name)
            if found is None:
                found = Section(name)
                section.sections.append(found)
            section = found
        return section

    def remove(self, name: str) -> list[Section]:
        """Take out every direct subsection of that name and return them."""
        removed = self.all(name)
        self.sections = [section for section in self.sections if section.name != name]
        return removed

    def values(self, name: str) -> list[str]:
        """Values of a keyword, in order."""
        return [value for key, value in self.keywords if key.upper() == name]

    def get(self, name: str, default: str = "") -> str:
        """Value of a keyword that may appear once."""
        return next(iter(self.values(name)), default)

    def set(self, name: str, *values: str, aliases: tuple[str, ...] = ()) -> None:
        """Give a keyword these values, in place of all it had under its name and its aliases.

        CP2K aborts when a keyword and its alias both appear.
        """
        old = {name, *aliases}
        self.keywords = [(key, value) for key, value in self.keywords if key.upper() not in old]
        self.keywords += [(name, value) for value in values]

    def walk(self) -> Iterator[Section]:
        """This section and all below it."""
        yield self
        for section in self.sections:
            yield from section.walk()

    def __str__(self) -> str:
        lines = [f"{key} {value}".rstrip() for key, value in self.keywords]
        lines += [line for section in self.sections for line in str(section).splitlines()]
        if not self.name:
            return "\n".join(lines) + "\n"
        head = f"&{self.name} {self.argument}".rstrip()
        return "\n".join([head, *(f"  {line}" for line in lines), f"&END {self.name}"])


def parse(text: str, file: Path | None = None) -> Section:
    """Tree of a CP2K input.

    Comments go, continued lines are joined, ``@SET`` variables and ``@INCLUDE`` files are filled in.

    Args:
        text: the input.
        file: where it comes from: for messages and for the folder of ``@INCLUDE``.

    Raises:
        InputError: unbalanced sections, an unset variable, ``@IF`` or another directive.
    """
    root = Section()
    stack = [root]
    for number, line in _lines(text, file, {}):
        where = f"line {number}"
        if line.startswith(_RECORD):
            stack[-1].keywords.append((line.removeprefix(_RECORD), ""))
            continue
        first, _, rest = line.partition(" ")
        rest = rest.strip()
        if first.upper() == "&END":
            if len(stack) == 1:
                raise InputError("&END without a section", file, where)
            if rest and rest.split()[0].upper() != stack[-1].name:
                raise InputError(f"&END {rest} closes &{stack[-1].name}", file, where)
            stack.pop()
        elif first.startswith("&"):
            section = Section(first[1:].upper(), rest)
            stack[-1].sections.append(section)
            stack.append(section)
        else:
            stack[-1].keywords.append((first, rest))
    if len(stack) > 1:
        raise InputError(f"&{stack[-1].name} is never closed", file)
    return root


def _lines(text: str, file: Path | None, variables: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Number and text of each meaningful line, directives followed; blanks are single except in records."""
    in_record = False
    for number, raw in enumerate(text.replace("\\\n", " ").splitlines(), start=1):
        if in_record and not raw.lstrip().startswith("&"):
            yield number, _RECORD + raw.strip()
            continue
        in_record = raw.strip().upper() == "&RNG_INIT"
        stripped = _COMMENT.sub(r"\1", raw.strip())
        line = " ".join(stripped.split())
        where = f"line {number}"
        for name in _VARIABLE.findall(line):
            if name not in variables:
                raise InputError(f"variable {name} is not set; use @SET {name} value", file, where)
        line = _VARIABLE.sub(lambda match: variables[match[1]], line)
        first, _, rest = line.partition(" ")
        if first.upper() == "@SET":
            name, _, value = rest.partition(" ")
            variables[name] = value
        elif first.upper() == "@INCLUDE":
            included = (file.parent if file else Path()) / rest.strip("\"'")
            if not included.is_file():
                raise InputError(f"@INCLUDE of {included}, which does not exist", file, where)
            yield from _lines(included.read_text(), included, variables)
        elif first.startswith("@"):
            raise InputError(f"{first} is not followed here; write its outcome out", file, where)
        elif line:
            yield number, line


def read(path: Path) -> Section:
    """Tree of the CP2K input in a file.

    Raises:
        InputError: missing or malformed file.
    """
    if not path.is_file():
        raise InputError("no such file; dft.input names the CP2K control file", path)
    return parse(path.read_text(), path)
