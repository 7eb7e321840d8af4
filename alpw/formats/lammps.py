"""LAMMPS's data files, and its orientation of a cell.

LAMMPS wants the first cell vector along x, the second in the xy plane and small tilts. With row vectors

    box = lattice @ cell @ rotation          r_box = r @ rotation

A data file that we write keeps the user's cell in its comments, and reading it turns everything back. Format:
https://docs.lammps.org/read_data.html, units ``metal``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import ArrayLike, NDArray

from alpw.errors import InputError
from alpw.files import write_atomically
from alpw.formats.poscar import species_order
from alpw.formats.text import read_text

logger = logging.getLogger(__name__)

Matrix = NDArray[np.float64]

PS = 1000 * units.fs
"""one picosecond in ASE's units"""

_CELL = "# cell vector of the structure:"
_PERIODIC = "# periodic:"
_MARGIN = 5.0
"""Å around a molecule without a cell"""
_TITLE = "LAMMPS data file by alpw, units metal"
_SECTION = re.compile(r"[A-Z][A-Za-z]*( [A-Z][A-Za-z]*)*$")
_STYLES = {"atomic": 1, "charge": 1, "bond": 2, "angle": 2, "molecular": 2, "full": 2}
"""atom style -> column of the type; coordinates are in the last three columns before image flags"""
_COLUMNS = {"atomic": 5, "charge": 6, "bond": 6, "angle": 6, "molecular": 6, "full": 7}


class Box(NamedTuple):
    """A cell as LAMMPS wants it.

    Attributes:
        box: ``(3, 3)`` lower triangular, rows are vectors, Å.
        rotation: ``(3, 3)`` orthogonal, ``r_box = r @ rotation``; improper for a left-handed cell.
    """

    box: Matrix
    rotation: Matrix


def to_box(cell: ArrayLike, pbc: ArrayLike = True, *, reduce: bool = True) -> Box:
    """LAMMPS's orientation of a cell.

    Args:
        cell: ``(3, 3)`` in Å, rows are cell vectors.
        pbc: periodicity along the vectors.
        reduce: choose other lattice vectors where the tilts are large, as LAMMPS demands of a simulation.
    """
    periodic = np.broadcast_to(np.asarray(pbc, dtype=bool), 3)
    # cell^T = Q R makes R^T = cell @ Q lower triangular; the diagonal has to be positive.
    rotation, upper = np.linalg.qr(np.asarray(cell, dtype=float).T)
    signs = np.where(np.diag(upper) < 0, -1.0, 1.0)
    rotation, box = rotation * signs, np.tril(upper.T * signs)
    if reduce:
        for vector, other in ((1, 0), (2, 1), (2, 0)):
            if periodic[other]:
                box[vector] -= np.rint(box[vector, other] / box[other, other]) * box[other]
    return Box(box, rotation)


def looks_like_lammps_data(head: str) -> bool:
    """Whether the beginning of a file is that of a LAMMPS data file."""
    lines = [line.split("#")[0].strip() for line in head.splitlines()[1:]]
    has_atoms = any(re.fullmatch(r"\d+\s+atoms", line) for line in lines)
    return has_atoms and any(re.search(r"\sxlo\s+xhi$|\savec$", line) for line in lines)


def write_lammps_data(path: str | Path, atoms: Atoms, elements: Sequence[str] = ()) -> Matrix:
    """Writes (and replaces) a LAMMPS data file of style ``atomic``, with velocities if there are any.

    Args:
        path: the file.
        atoms: the structure, in its order; a molecule without a cell gets a box around it.
        elements: symbols of types 1, 2, ...; by first appearance if empty.

    Returns:
        The rotation of :class:`Box`: ``r_box = r @ rotation`` in the file and in what LAMMPS makes of it.

    Raises:
        InputError: an element that is not in ``elements``, a flat cell, or numbers that are not finite.
    """
    path = Path(path)
    symbols = list(elements) or [atoms.symbols[int(k)] for k in species_order(atoms)]
    symbols = list(dict.fromkeys(symbols))
    types = types_of(atoms, symbols, path)
    cell = np.asarray(atoms.cell)
    if atoms.cell.rank == 0 and not atoms.pbc.any():
        extent = [atoms.positions.min(axis=0) - _MARGIN, atoms.positions.max(axis=0) + _MARGIN]
        low, (box, rotation) = extent[0], Box(np.diag(extent[1] - extent[0]), np.eye(3))
    elif atoms.cell.rank == 3:
        low, (box, rotation) = np.zeros(3), to_box(cell, atoms.pbc)
    else:
        raise InputError("the cell has no volume", path)
    # What rounding leaves of a right angle would make the box triclinic.
    box = np.where(abs(box) < 1e-13 * abs(box).max(), 0.0, box)
    positions = atoms.positions @ rotation
    if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
        raise InputError("a position or a cell vector is not finite", path)
    lines = [_TITLE, *(f"{_CELL} {_row(vector)}" for vector in cell)]
    lines += [f"{_PERIODIC} {' '.join(str(int(axis)) for axis in atoms.pbc)}", ""]
    lines += [f"{len(atoms)} atoms", f"{len(symbols)} atom types", ""]
    for k, axis in enumerate("xyz"):
        lines.append(f"{_row([low[k], low[k] + box[k, k]])} {axis}lo {axis}hi")
    tilts = [box[1, 0], box[2, 0], box[2, 1]]
    lines += [f"{_row(tilts)} xy xz yz"] if any(tilts) else []
    masses = _masses(atoms, symbols)
    lines += ["", "Masses", "", *(f"{k} {masses[s]!r} # {s}" for k, s in enumerate(symbols, 1))]
    lines += ["", "Atoms # atomic", ""]
    lines += [f"{k} {t} {_row(r)}" for k, (t, r) in enumerate(zip(types, positions, strict=True), 1)]
    if atoms.has("momenta"):
        velocities = atoms.get_velocities() * PS @ rotation
        lines += ["", "Velocities", "", *(f"{k} {_row(v)}" for k, v in enumerate(velocities, 1))]
    write_atomically(path, ("\n".join(lines) + "\n").encode())
    return rotation


def read_lammps_data(path: str | Path, elements: Sequence[str] = ()) -> Atoms:
    """The structure of a LAMMPS data file, atoms by their id; in the user's orientation if we wrote the file.

    Image flags are added to the positions. The elements of the types are ``elements``, else type labels, else
    the comments of the masses, else those of the nearest mass. Known styles: atomic, charge, bond, angle,
    molecular, full.

    Raises:
        InputError: not such a file, a section cut short, or types without an element.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such file", path)
    file = _DataFile(path)
    n_atoms = file.count("atoms")
    box, low = file.box()
    ids, types, positions = file.atoms(n_atoms, box)
    order = np.argsort(ids, kind="stable")
    symbols = file.symbols(elements)
    if unknown := sorted({name for name in types if name not in symbols}):
        raise InputError(f"type {unknown[0]} has no element; name those of types 1, 2, ...", path, "elements")
    atoms = Atoms([symbols[types[k]] for k in order], positions[order], cell=box, pbc=True, celldisp=low)
    rotation = np.eye(3)
    if (given := file.given_cell()) is not None:
        cell, pbc = given
        if not cell.any():
            atoms = Atoms(atoms.symbols, atoms.positions, pbc=pbc)
        elif np.allclose((turned := to_box(cell, pbc)).box, box, rtol=0, atol=1e-8 * abs(box).max()):
            rotation = turned.rotation
            atoms = Atoms(atoms.symbols, atoms.positions @ rotation.T, cell=cell, pbc=pbc)
        else:
            logger.warning("%s: its box is not the one its comments speak of; they are ignored", path)
    if "Velocities" in file.sections:
        rows = {int(row[0]): row[1:4] for row in file.table("Velocities", n_atoms)}
        velocities = np.array([[float(x) for x in rows[k]] for k in ids[order].tolist()])
        atoms.set_velocities(velocities @ rotation.T / PS)
    return atoms


def types_of(atoms: Atoms, symbols: Sequence[str], path: Path) -> list[int]:
    """LAMMPS's type of each atom, counted from 1.

    Raises:
        InputError: an element that is not in ``symbols``.
    """
    number = {symbol: k for k, symbol in enumerate(symbols, 1)}
    if missing := sorted(set(atoms.symbols) - set(symbols)):
        raise InputError(f"holds {missing[0]}, which is none of {', '.join(symbols)}", path, "elements")
    return [number[symbol] for symbol in atoms.symbols]


def _masses(atoms: Atoms, symbols: Sequence[str]) -> dict[str, float]:
    """Those of the atoms, for isotopes; those of the periodic table for elements that do not occur."""
    found = {s: float(atomic_masses[atomic_numbers[s]]) for s in symbols}
    return found | {s: float(m) for s, m in zip(atoms.symbols, atoms.get_masses(), strict=True)}


def _row(values: ArrayLike) -> str:
    return " ".join(map(repr, np.asarray(values, dtype=float).tolist()))


class _DataFile:
    """Header and sections of one file; every error names it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: list[str] = []
        self.comments: list[str] = []
        self.sections: dict[str, list[tuple[list[str], str]]] = {}
        self.hints: dict[str, str] = {}
        section = ""
        for line in read_text(path).splitlines()[1:]:
            text, _, comment = (part.strip() for part in line.partition("#"))
            if not text:
                self.comments.append(line.strip())
            elif _SECTION.match(text):
                section = text
                self.sections[section], self.hints[section] = [], comment
            elif section:
                self.sections[section].append((text.split(), comment))
            else:
                self.header.append(text)

    def error(self, message: str) -> InputError:
        return InputError(message, self.path)

    def numbers(self, keyword: str) -> list[float] | None:
        """The numbers before a keyword of the header."""
        for line in self.header:
            if line.endswith(keyword) and len(words := line[: -len(keyword)].split()):
                try:
                    return [float(word) for word in words]
                except ValueError:
                    continue
        return None

    def count(self, keyword: str) -> int:
        found = self.numbers(keyword)
        if not found or found[0] < 1:
            raise self.error(f"the header does not say how many {keyword} there are")
        return int(found[0])

    def box(self) -> tuple[Matrix, Matrix]:
        """Cell vectors and origin."""
        vectors = [self.numbers(keyword) for keyword in ("avec", "bvec", "cvec")]
        if all(vectors):
            return np.array(vectors), np.array(self.numbers("abc origin") or np.zeros(3))
        bounds = [self.numbers(f"{axis}lo {axis}hi") for axis in "xyz"]
        xy, xz, yz = self.numbers("xy xz yz") or (0.0, 0.0, 0.0)
        if any(bound is None or len(bound) != 2 for bound in bounds):
            raise self.error("the header has no complete box (xlo xhi, ylo yhi, zlo zhi)")
        (x0, x1), (y0, y1), (z0, z1) = (bound for bound in bounds if bound)
        cell = np.array([[x1 - x0, 0, 0], [xy, y1 - y0, 0], [xz, yz, z1 - z0]])
        if np.linalg.matrix_rank(cell) < 3 or not np.isfinite(cell).all():
            raise self.error("the box has no volume")
        return cell, np.array([x0, y0, z0])

    def table(self, section: str, n_rows: int) -> list[list[str]]:
        rows = [words for words, _ in self.sections.get(section, [])]
        if len(rows) != n_rows:
            raise self.error(f"section {section} has {len(rows)} lines; {n_rows} are needed")
        return rows

    def atoms(self, n_atoms: int, box: Matrix) -> tuple[NDArray[np.int64], list[str], Matrix]:
        """Ids, types and positions, image flags added."""
        rows = self.table("Atoms", n_atoms)
        width = len(rows[0])
        by_width = {5: "atomic", 8: "atomic", 6: "charge", 9: "charge", 7: "full", 10: "full"}
        hint = self.hints["Atoms"].split()
        style = hint[0] if hint else by_width.get(width, "")
        if style not in _STYLES:
            raise self.error(f"atom style {style!r} is not known; known are {', '.join(_STYLES)}")
        columns = _COLUMNS[style]
        if bad := next((k for k, row in enumerate(rows) if len(row) not in (columns, columns + 3)), None):
            raise self.error(f"section Atoms, line {bad + 1} has {len(rows[bad])} columns, not {columns}")
        if width not in (columns, columns + 3):
            raise self.error(f"section Atoms has {width} columns; style {style} has {columns}")
        try:
            ids = np.array([int(row[0]) for row in rows])
            positions = np.array([[float(x) for x in row[columns - 3 : columns]] for row in rows])
            images = np.array([[int(x) for x in row[columns:] or (0, 0, 0)] for row in rows])
        except ValueError as error:
            raise self.error(f"section Atoms holds something that is not a number: {error}") from error
        if not np.isfinite(positions).all() or len(set(ids.tolist())) != n_atoms:
            raise self.error("section Atoms has a position that is not finite, or an id twice")
        return ids, [row[_STYLES[style]] for row in rows], positions + images @ box

    def symbols(self, elements: Sequence[str]) -> dict[str, str]:
        """Element of each type, which may be a number or a label."""
        named = {str(k): symbol for k, symbol in enumerate(elements, 1)}
        if unknown := [symbol for symbol in elements if symbol not in atomic_numbers]:
            raise InputError(f"{unknown[0]!r} is not an element", self.path, "elements")
        labels = {row[0]: row[1] for row, _ in self.sections.get("Atom Type Labels", [])}
        for words, comment in self.sections.get("Masses", []):
            kind = words[0]
            label = labels.get(kind, kind)
            name = next((n for n in (label, *comment.split()[:1]) if n in atomic_numbers and n != "X"), None)
            named.setdefault(kind, name or _nearest(float(words[1])))
        named |= {kind: label for kind, label in labels.items() if kind not in named}
        named |= {label: named[kind] for kind, label in labels.items()}
        return {kind: symbol for kind, symbol in named.items() if symbol in atomic_numbers}

    def given_cell(self) -> tuple[Matrix, list[bool]] | None:
        """The cell and the periodicity that our comments hold."""
        vectors = [line[len(_CELL) :].split() for line in self.comments if line.startswith(_CELL)]
        flags = [line[len(_PERIODIC) :].split() for line in self.comments if line.startswith(_PERIODIC)]
        try:
            return np.array(vectors, dtype=float).reshape(3, 3), [word == "1" for word in flags[0]]
        except (ValueError, IndexError):
            return None


def _nearest(mass: float) -> str:
    """The element of a mass in g/mol; empty if there is none within half a unit."""
    symbols = [symbol for symbol in atomic_numbers if symbol != "X"]
    away = [abs(atomic_masses[atomic_numbers[symbol]] - mass) for symbol in symbols]
    best = int(np.argmin(away))
    return symbols[best] if away[best] < 0.5 else ""
