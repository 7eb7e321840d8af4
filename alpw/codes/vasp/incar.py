"""INCAR: read as VASP reads it, written so that every reader finds the same values in it.

The user's file is the authority. Comments go; no value changes. Two spellings are replaced by others of the
same value, because pymatgen, with which custodian rewrites the file, would misread them: Fortran's ``1D-6``
(it takes 1) and powers of ten in lists (``MAGMOM = 1E-1`` becomes 1 and -1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from alpw.codes.vasp import tags
from alpw.errors import InputError

FREE_TEXT = ("SYSTEM", "WANNIER90_WIN")
"""Tags whose value is no number, switch or keyword."""

PYMATGEN_LISTS = (
    "MAGMOM",
    "LDAUL",
    "LDAUU",
    "LDAUJ",
    "LANGEVIN_GAMMA",
    "DIPOL",
    "QUAD_EFG",
    "EINT",
    "LATTICE_CONSTRAINTS",
)
"""Tags that pymatgen reads number by number, without powers of ten."""

_FORTRAN_POWER = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))[dD]([+-]?\d+)$")
_NUMBER = re.compile(r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?$")
_LOGICAL = re.compile(r"^\.?([TF])[A-Z]*\.?$")
_TAG = re.compile(r"^[A-Z][A-Z0-9_]*(/[A-Z0-9_]+)*$")


@dataclass
class Incar:
    """Tags in upper case with their values as text, in the order of the file.

    Attributes:
        values: tag -> value; a nested tag is ``PLUGINS/STRUCTURE``.
        file: where it was read, for messages.
    """

    values: dict[str, str] = field(default_factory=dict)
    file: Path | None = None

    @classmethod
    def read(cls, path: str | Path) -> Incar:
        """Raises `InputError`: no such file, or a statement that VASP could not read."""
        try:
            text = Path(path).read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", path) from error
        return cls.parse(text, Path(path))

    @classmethod
    def parse(cls, text: str, file: Path | None = None) -> Incar:
        """From the content of an INCAR; ``file`` is for messages.

        Raises:
            InputError: names the statement that is not ``tag = values``, or the tag that is given twice.
        """
        incar = cls(file=file)
        for tag, value in _statements(text, file):
            spelt = _respelt(tag, value)
            before = incar.values.get(tag)
            if before is not None and canonical(tag, before) != canonical(tag, spelt):
                raise InputError(f"given twice, as {before} and as {spelt}; keep one", file, tag)
            incar.values[tag] = spelt
        return incar

    def __contains__(self, tag: str) -> bool:
        return tag in self.values

    def __str__(self) -> str:
        return "".join(f"{tag} = {value}\n" for tag, value in self.values.items())

    def get(self, tag: str, default: str = "") -> str:
        """The value as text."""
        return self.values.get(tag, default)

    def set(self, tag: str, value: str) -> list[str]:
        """Give a tag a value; returns the change in words, nothing if it had that value before."""
        before = self.values.get(tag)
        self.values[tag] = value
        if before is not None and canonical(tag, before) == canonical(tag, value):
            return []
        return [f"INCAR/{tag}: {before or 'none'} -> {value}"]

    def logical(self, tag: str, default: bool = False) -> bool:
        """A switch. Raises `InputError` if it is neither true nor false."""
        if tag not in self.values:
            return default
        found = logical(self._word(tag))
        if found is None:
            raise self.error(tag, "is no switch; write .TRUE. or .FALSE.")
        return found

    def integer(self, tag: str, default: int) -> int:
        """An integer. Raises `InputError` if it is none."""
        try:
            return int(self._word(tag)) if tag in self.values else default
        except ValueError:
            raise self.error(tag, "is no integer") from None

    def real(self, tag: str, default: float) -> float:
        """A number. Raises `InputError` if it is none."""
        try:
            return float(self._word(tag)) if tag in self.values else default
        except ValueError:
            raise self.error(tag, "is no number") from None

    def numbers(self, tag: str) -> list[float]:
        """A list of numbers, ``3*0.5`` written out. Raises `InputError` if one of them is none."""
        try:
            return [float(word) for word in written_out(self.values[tag])]
        except ValueError:
            raise self.error(tag, "is no list of numbers") from None

    def error(self, tag: str, message: str) -> InputError:
        """What to raise about the value of a tag."""
        return InputError(f"{self.get(tag)!r} {message}", self.file, tag)

    def _word(self, tag: str) -> str:
        words = self.values[tag].split()
        return words[0] if words else ""

    @property
    def is_noncollinear(self) -> bool:
        """Whether each moment has three components."""
        return self.logical("LNONCOLLINEAR") or self.logical("LSORBIT")


def check_values(incar: Incar) -> None:
    """Raise `InputError` for a tag that VASP does not know, or a value that it could not read."""
    for tag, value in incar.values.items():
        if not tags.is_known(tag):
            near = tags.nearest(tag)
            advice = f"do you mean {near}?" if near else "remove it"
            raise InputError(f"no tag of VASP, which would ignore it silently; {advice}", incar.file, tag)
        if not value:
            raise InputError("has no value", incar.file, tag)
        kind = tags.kind(tag)
        if kind == "bool":
            incar.logical(tag)
        elif kind == "int":
            incar.integer(tag, 0)
        elif kind == "float":
            incar.real(tag, 0.0)


def logical(word: str) -> bool | None:
    """``.TRUE.``, ``T``, ``.f.`` and the like as VASP reads them; None for anything else."""
    found = _LOGICAL.match(word.upper())
    return found[1] == "T" if found else None


def written_out(value: str) -> list[str]:
    """The words of a list, with ``4*0.5`` as four words; ``3*2*0`` are six."""
    words = []
    for word in value.split():
        *factors, last = word.split("*")
        times = 1
        for factor in factors:
            if not factor.isdigit():
                raise ValueError(f"{factor!r} is no number of repetitions")
            times *= int(factor)
        words += [last] * times
    return words


def canonical(tag: str, value: str) -> str:
    """A spelling that two values share if, and only if, VASP reads the same from both."""
    kind = tags.kind(tag)
    if tag in FREE_TEXT:
        return " ".join(value.split())
    try:
        words = written_out(value)
    except ValueError:
        words = value.split()
    if kind in {"bool", "int", "float"}:
        words = words[:1]
    spelt = [_canonical_word(word, switches=kind in {"bool", "list", "bool | str"}) for word in words]
    abbreviated = {"PREC": 1, "LREAL": 1, "GGA": 2}.get(tag)
    if abbreviated and spelt and spelt[0] not in {"SINGLEN", "LIBXC"}:
        spelt = [spelt[0][:abbreviated]]
    return " ".join(spelt)


def _canonical_word(word: str, switches: bool) -> str:
    if switches and (found := logical(word)) is not None:
        return "T" if found else "F"
    try:
        # Adding zero turns -0 into 0.
        return f"{float(_with_e(word)) + 0.0:.12g}"
    except ValueError:
        return word.upper()


def _with_e(word: str) -> str:
    return _FORTRAN_POWER.sub(r"\1E\2", word)


def plain(number: float) -> str:
    """A number in decimal digits, without a power of ten: 5, -0.25, 0.0001."""
    text = f"{Decimal(repr(float(number))):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _respelt(tag: str, value: str) -> str:
    """The same value, without the spellings that pymatgen misreads."""
    if tag in FREE_TEXT:
        return value
    words = [_with_e(word) for word in value.split()]
    if tag not in PYMATGEN_LISTS:
        return " ".join(words)
    respelt = []
    for word in words:
        *factors, last = word.split("*")
        if _NUMBER.match(last):
            last = plain(float(_with_e(last)))
        respelt.append("*".join([*factors, last]))
    return " ".join(respelt)


def _statements(text: str, file: Path | None) -> Iterator[tuple[str, str]]:
    """``(tag, value)`` for each statement; text without ``=`` is a comment, as it is for VASP."""
    prefix: list[str] = []
    for piece, mark in _pieces(text):
        words = piece.strip()
        if mark == "{":
            prefix.append(words.upper())
        elif "=" in words:
            left, _, right = words.partition("=")
            tag, value = "/".join([*prefix, left.strip().upper()]), right.strip()
            if not _TAG.match(tag):
                raise InputError(f"cannot read {words!r}; each statement is TAG = value", file)
            if "=" in value and not value.startswith('"') and tag not in FREE_TEXT:
                raise InputError(f"cannot read {words!r}; separate statements by ';'", file, tag)
            yield tag, value if value.startswith('"') else " ".join(value.split())
        if mark == "}":
            if not prefix:
                raise InputError("'}' without '{'", file)
            prefix.pop()
    if prefix:
        raise InputError(f"the block {prefix[-1]} is not closed by '}}'", file)


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Text between newlines, ``;``, ``{`` and ``}`` outside of quotes, with the mark that ends it."""
    piece, quoted, comment = "", False, False
    for character in re.sub(r"\\[ \t]*\n", " ", text) + "\n":
        if comment and character != "\n":
            continue
        comment = character in "#!" and not quoted
        if character == '"':
            quoted = not quoted
        if quoted or not (comment or character in "\n;{}"):
            piece += character
        elif not comment:
            yield piece, character
            piece = ""
    yield piece, ""
