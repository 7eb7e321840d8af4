"""What an OUTCAR says before the first ionic step: version, potentials, atoms and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.formats.streaming import Unreadable, open_any, pieces, read_some, rows, table

ITERATION = b"Iteration"
FIRST = re.compile(rb"Iteration *[\d*]+\( *1\)")
"""of the line that begins an ionic step; ``Iteration n(   2)`` is the next electronic step"""

ENDED = b"Elapsed time (sec)"
"""stands in the timings with which VASP closes the file"""

_TAIL = 1 << 18
_VERSION = re.compile(rb"^\s*vasp\.(\S+)", re.MULTILINE)
_TITEL = re.compile(rb"^\s*TITEL\s*=\s*(.*?)\s*$", re.MULTILINE)
_VRHFIN = re.compile(rb"^\s*VRHFIN\s*=\s*([A-Za-z]+)", re.MULTILINE)
_POTCAR = re.compile(rb"^\s*POTCAR:\s+(.*?)\s*$", re.MULTILINE)
_COUNTS = re.compile(rb"ions per type\s*=([\s\d]*)\n")
_N_IONS = re.compile(rb"number of ions\s+NIONS\s*=\s*(\d+)")
_PARAMETER = re.compile(rb"\b([A-Z][A-Z0-9_]*)\s*=\s*([^\s;=]+)")


@dataclass(frozen=True)
class OutcarHeader:
    """The header of an OUTCAR.

    Attributes:
        version: such as ``5.4.4.18Apr17-6-g9f103f2a35``; empty if the file does not begin with it.
        titel: the potentials' titles, such as ``PAW_PBE Ni 02Aug2007``, one by type.
        symbols: chemical symbols, one by type.
        counts: atoms of each type.
        cell: the cell at the start, Å, ``(3, 3)``.
        parameters: the first word of every setting that VASP lists as ``NAME = value``, as it stands.
    """

    version: str
    titel: tuple[str, ...]
    symbols: tuple[str, ...]
    counts: tuple[int, ...]
    cell: NDArray[np.float64] | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    numbers: NDArray[np.int64] = field(init=False)
    """atomic numbers of all atoms"""

    def __post_init__(self) -> None:
        types = np.array([atomic_numbers[symbol] for symbol in self.symbols], dtype=np.int64)
        object.__setattr__(self, "numbers", np.repeat(types, self.counts))

    @property
    def n_atoms(self) -> int:
        return len(self.numbers)

    def value(self, name: str) -> float | None:
        """A setting as a number; None if it is missing or none."""
        try:
            return float(self.parameters[name].upper().replace("D", "E"))
        except (KeyError, ValueError):
            return None

    def _integer(self, name: str) -> int | None:
        value = self.value(name)
        return None if value is None else int(value)

    @property
    def nelm(self) -> int | None:
        """Largest number of electronic steps."""
        return self._integer("NELM")

    @property
    def nsw(self) -> int | None:
        """Largest number of ionic steps."""
        return self._integer("NSW")

    @property
    def ibrion(self) -> int | None:
        return self._integer("IBRION")

    @property
    def isif(self) -> int | None:
        return self._integer("ISIF")

    @property
    def ispin(self) -> int | None:
        return self._integer("ISPIN")

    @property
    def ediff(self) -> float | None:
        """eV"""
        return self.value("EDIFF")

    @property
    def ediffg(self) -> float | None:
        """eV, or minus eV/Å"""
        return self.value("EDIFFG")

    @property
    def encut(self) -> float | None:
        """eV"""
        return self.value("ENCUT")

    @property
    def potim(self) -> float | None:
        """fs in dynamics, else a step width"""
        return self.value("POTIM")

    @property
    def is_dynamics(self) -> bool:
        return self.ibrion == 0


def outcar_header(path: str | Path) -> OutcarHeader:
    """The header of an OUTCAR, packed or not, finished or not.

    Raises:
        InputError: no such file, not an OUTCAR, or the header is cut short before the atoms.
    """
    return parse_header(next(iter(pieces(path, ITERATION, FIRST))).text, path)


def is_finished(path: str | Path) -> bool:
    """Whether VASP came to its regular end: the file closes with timings. False if there is no file."""
    path = Path(path)
    if not path.is_file():
        return False
    with open_any(path) as file:
        if path.suffix.lower() in {".gz", ".xz", ".lzma", ".bz2"}:
            tail = b""
            while data := read_some(file, _TAIL, path):
                tail = tail[-_TAIL:] + data
        else:
            file.seek(max(path.stat().st_size - _TAIL, 0))
            tail = file.read()
    return ENDED in tail


def begins_like_outcar(text: bytes) -> bool:
    """Whether VASP began to write this, even if it came no further."""
    return _VERSION.search(text, 0, 4096) is not None


def parse_header(text: bytes, path: str | Path) -> OutcarHeader:
    """The header in ``text``; ``path`` is for messages.

    Raises:
        InputError: it does not tell the atoms.
    """
    version, counts = _VERSION.search(text), _COUNTS.search(text)
    if counts is None:
        what = "ends before the atoms are listed" if version else "is not an OUTCAR: no 'ions per type'"
        raise InputError(what, path)
    start = max(text.find(b"Startparameter for this run"), 0)
    parameters: dict[str, str] = {}
    for name, value in _PARAMETER.findall(text, start):
        parameters.setdefault(name.decode(), value.decode(errors="replace"))
    n_ions = _N_IONS.search(text)
    numbers = _counts(counts[1], int(n_ions[1]) if n_ions else None)
    titel, symbols = _types(text, len(numbers), path)
    return OutcarHeader(
        version=version[1].decode(errors="replace") if version else "",
        titel=titel,
        symbols=symbols,
        counts=numbers,
        cell=_initial_cell(text),
        parameters=parameters,
    )


def _counts(field: bytes, n_ions: int | None) -> tuple[int, ...]:
    counts = tuple(int(word) for word in field.split())
    if n_ions is not None and sum(counts) != n_ions:
        # Fields of four digits: ``1000 500`` is two types, ``10001000`` too.
        joined = field.strip()
        joined = joined.rjust(-(-len(joined) // 4) * 4)
        counts = tuple(int(joined[k : k + 4]) for k in range(0, len(joined), 4) if joined[k : k + 4].strip())
    return counts


def _types(text: bytes, n_types: int, path: str | Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Titles and symbols of the potentials, which VASP prints in full, or as a list that it prints twice."""
    titel = [match.decode(errors="replace") for match in _TITEL.findall(text)]
    if not titel:
        titel = [match.decode(errors="replace") for match in _POTCAR.findall(text)]
        if len(titel) == 2 * n_types:
            titel = titel[:n_types]
    if len(titel) != n_types:
        raise InputError(
            f"lists {len(titel)} potentials (TITEL) for {n_types} types of ions; read vasprun.xml instead",
            path,
        )
    plain = [match.decode() for match in _VRHFIN.findall(text)]
    symbols = []
    for k, title in enumerate(titel):
        words = title.split()
        found = [words[1]] if len(words) > 1 else []
        found += [plain[k]] if len(plain) == n_types else []
        names = [match[0] for word in found if (match := re.match(r"[A-Z][a-z]?", word))]
        known = [name for name in names if name in atomic_numbers]
        if not known:
            raise InputError(f"{title!r} does not name an element", path, "TITEL")
        symbols.append(known[0])
    return tuple(titel), tuple(symbols)


def _initial_cell(text: bytes) -> NDArray[np.float64] | None:
    found = text.rfind(b"direct lattice vectors")
    if found < 0:
        return None
    try:
        return lattice_vectors(text, found)
    except Unreadable:
        return None


def lattice_vectors(text: bytes, title: int) -> NDArray[np.float64]:
    """``(3, 3)``, Å, from the table of direct and reciprocal vectors whose title begins at an offset.

    Raises:
        Unreadable: the table is cut short or holds asterisks.
    """
    return table(rows(text, text.find(b"\n", title) + 1, 3), 3, width=6, keep=3).copy()
