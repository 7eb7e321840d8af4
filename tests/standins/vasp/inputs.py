"""INCAR and POSCAR as VASP reads them, and how it refuses bad ones.

INCAR: case-insensitive tags, ``;`` between assignments, ``#`` and ``!`` comments, a backslash continues a
line, the first of two equal tags counts, words behind the value are ignored, unknown tags too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vasp.fortran import expand, read_integer, read_logical, read_real

NUMBERS = {
    read_real: "ENCUT EDIFF EDIFFG POTIM SIGMA TEBEG TEEND SMASS PSTRESS NELECT SYMPREC KSPACING AMIX "
    "BMIX AMIN AMIX_MAG BMIX_MAG AEXX HFSCREEN ANDERSEN_PROB LANGEVIN_GAMMA_L PMASS TIME ENAUG",
    read_integer: "NSW IBRION ISIF NELM NELMIN NELMDL ISMEAR ISPIN ISTART ICHARG ISYM NBANDS MDALGO NBLOCK "
    "KPAR NCORE NPAR IVDW LORBIT LMAXMIX LDAUTYPE LDAUPRINT IMIX INIMIX MIXPRE MAXMIX NSIM IALGO NWRITE",
    read_logical: "LWAVE LCHARG LDAU LHFCALC KGAMMA ADDGRID LASPH LUSE_VDW LSCALAPACK LPLANE LSORBIT "
    "LNONCOLLINEAR LAECHG LVTOT LELF",
}
READERS = {tag: reader for reader, tags in NUMBERS.items() for tag in tags.split()}
LOGICALS = frozenset(NUMBERS[read_logical].split())
LETTERS = {"ALGO": "nvfacdseog", "PREC": "lmnsah", "LREAL": "tfao."}
"""First letters of the words that VASP knows; other words stop it."""


class InputFailure(Exception):
    """The program stops before it has computed anything.

    Args:
        message: what it prints on the standard output.
        error: what the Fortran runtime prints on the standard error instead.
        code: exit status.
    """

    def __init__(self, message: str = "", error: str = "", code: int = 1) -> None:
        super().__init__(message or error)
        self.message, self.error, self.code = message, error, code


def unreadable_tag(tag: str, ierr: int = 5, found: int = 0) -> InputFailure:
    return InputFailure(
        f" Error reading item '{tag}' from file INCAR.\n Error code was IERR={ierr:2d} ... ."
        f" Found N={found:4d} data."
    )


class Incar(dict[str, str]):
    """Tags in upper case and the text of their values."""

    @classmethod
    def read(cls, path: Path) -> Incar:
        if not path.is_file():
            raise InputFailure(" No INCAR found, STOPPING")
        text = path.read_text(errors="replace").replace("\\\n", " ")
        tags = cls()
        for line in text.splitlines():
            for assignment in line.split("#")[0].split("!")[0].split(";"):
                tag, equals, value = assignment.partition("=")
                if equals and tag.strip():
                    tags.setdefault(tag.strip().upper(), value.strip())
        tags._check()
        return tags

    def _check(self) -> None:
        for tag, value in self.items():
            if tag in READERS:
                self._first(tag, READERS[tag])
            elif tag in LETTERS and value[:1].lower() not in set(LETTERS[tag]):
                raise unreadable_tag(tag)

    def _first(self, tag: str, reader):
        words = self[tag].replace(",", " ").split()
        try:
            return reader(words[0])
        except (ValueError, IndexError):
            raise unreadable_tag(tag) from None

    def real(self, tag: str, default: float) -> float:
        return self._first(tag, read_real) if tag in self else default

    def integer(self, tag: str, default: int) -> int:
        return self._first(tag, read_integer) if tag in self else default

    def logical(self, tag: str, default: bool) -> bool:
        return self._first(tag, read_logical) if tag in self else default

    def word(self, tag: str, default: str) -> str:
        return (self.get(tag) or default).split()[0]

    def reals(self, tag: str, count: int) -> list[float] | None:
        """A list of ``count`` numbers, None if the tag is absent.

        Too few stop VASP. A surplus VASP ignores; here it stops the run too, because it is a mistake of
        whoever wrote the file.
        """
        if tag not in self:
            return None
        numbers: list[float] = []
        for word in expand(self[tag]):
            try:
                numbers.append(read_real(word))
            except ValueError:
                break
        if len(numbers) != count:
            raise unreadable_tag(tag, 3, len(numbers))
        return numbers


@dataclass
class Poscar:
    """A structure as its file gives it.

    Attributes:
        title: first line.
        cell: lattice vectors in the rows, Å.
        species: symbols in the order of the file, or None in the format of VASP 4.
        counts: atoms of each species.
        scaled: fractional positions ``(n_atoms, 3)``.
        movable: which coordinates may move ``(n_atoms, 3)``.
        selective: whether the file says so.
        velocities: Å/fs ``(n_atoms, 3)``, or None.
    """

    title: str
    cell: np.ndarray
    species: list[str] | None
    counts: list[int]
    scaled: np.ndarray
    movable: np.ndarray
    selective: bool
    velocities: np.ndarray | None

    @classmethod
    def read(cls, path: Path) -> Poscar:
        if not path.is_file() or not path.stat().st_size:
            raise InputFailure(
                error=f"forrtl: severe (29): file not found, unit 7, file {path.name}", code=29
            )
        lines = path.read_text(errors="replace").splitlines()
        try:
            return cls._parse(lines)
        except IndexError:
            raise InputFailure(
                error=f"forrtl: severe (24): end-of-file during read, unit 7, file {path.name}", code=24
            ) from None
        except ValueError:
            raise InputFailure(
                error=f"forrtl: severe (59): list-directed I/O syntax error, unit 7, file {path.name}",
                code=59,
            ) from None

    @classmethod
    def _parse(cls, lines: list[str]) -> Poscar:
        scale = [read_real(word) for word in lines[1].split("!")[0].split()]
        if len(scale) not in (1, 3):
            raise InputFailure(" ERROR: there must be 1 or 3 items on line 2 of POSCAR")
        cell = np.array([_three(line) for line in lines[2:5]])
        factors = np.array(scale)
        if factors[0] < 0:
            factors = np.array([(-factors[0] / abs(np.linalg.det(cell))) ** (1 / 3)])
        cell = cell * factors
        row, species = 5, None
        if not lines[row].split()[0].isdigit():
            species = [name.split("/")[0].split("_")[0] for name in lines[row].split()]
            row += 1
        counts = [read_integer(word) for word in lines[row].split("!")[0].split()]
        selective = lines[row + 1].strip()[:1].lower() == "s"
        row += 2 if selective else 1
        cartesian = lines[row].strip()[:1].lower() in ("c", "k")
        n_atoms = sum(counts)
        if len(lines) < row + 1 + n_atoms:
            raise IndexError
        atoms = [line.split() for line in lines[row + 1 : row + 1 + n_atoms]]
        given = np.array([[read_real(word) for word in words[:3]] for words in atoms]).reshape(n_atoms, 3)
        movable = np.ones((n_atoms, 3), bool)
        if selective:
            movable = np.array([[read_logical(word) for word in words[3:6]] for words in atoms])
        return cls(
            title=lines[0].strip(),
            cell=cell,
            species=species,
            counts=counts,
            scaled=np.linalg.solve(cell.T, (given * factors).T).T if cartesian else given,
            movable=movable.reshape(n_atoms, 3),
            selective=selective,
            velocities=_velocities(lines[row + 1 + n_atoms :], n_atoms, cell),
        )


def _three(line: str) -> list[float]:
    words = line.split()[:3]
    if len(words) < 3:
        raise ValueError(line)
    return [read_real(word) for word in words]


def _velocities(lines: list[str], n_atoms: int, cell: np.ndarray) -> np.ndarray | None:
    """The block behind the positions: a line with the kind of coordinates, empty for Cartesian, then Å/fs."""
    if len(lines) < n_atoms + 1 or not any(line.strip() for line in lines[1:]):
        return None
    values = np.array([_three(line) for line in lines[1 : n_atoms + 1]])
    return values @ cell if lines[0].strip()[:1].lower() == "d" else values
