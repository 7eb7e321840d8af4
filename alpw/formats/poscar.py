"""POSCAR and CONTCAR of VASP, with all digits, selective dynamics and velocities.

VASP wants the atoms of one element in one block, in the order of the POTCAR. Atoms are therefore written in
the order :func:`species_order`; what VASP gives back is put into the user's order with its inverse::

    order = species_order(atoms)
    write_poscar("POSCAR", atoms)
    forces[order] = forces_of_vasp

Not kept: the predictor-corrector block and the lattice velocities of a CONTCAR, which belong to one MD run.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray

from alpw.errors import InputError
from alpw.files import write_atomically
from alpw.formats.text import read_text

if TYPE_CHECKING:
    from ase.constraints import FixAtoms, FixScaled

_ANGSTROM_PER_FS = 1 / units.fs
"""Å/fs in one of ASE's units of velocity"""


def species_order(atoms: Atoms) -> NDArray[np.int64]:
    """Indices that put the atoms of each element together, elements by first appearance, else in their order.

    Returns:
        ``(n_atoms,)``; atom ``order[i]`` comes to place ``i``.
    """
    _, first, inverse = np.unique(atoms.numbers, return_index=True, return_inverse=True)
    return np.argsort(first[inverse.reshape(-1)], kind="stable").astype(np.int64)


def looks_like_poscar(head: str) -> bool:
    """Whether the beginning of a file is that of a POSCAR: a scale, three vectors, then species or counts."""
    lines = head.splitlines()
    if len(lines) < 8:
        return False
    scale = _floats(lines[1])
    vectors = [_floats(line) for line in lines[2:5]]
    if len(scale) not in (1, 3) or any(len(vector) < 3 for vector in vectors):
        return False
    words = lines[5].split()
    has_names = not (words and words[0].isdigit())
    counts, kind = (lines[6].split(), lines[7]) if has_names else (words, lines[6])
    # XDATCAR begins in the same way and goes on with "Direct configuration=".
    return (
        bool(counts)
        and counts[0].isdigit()
        and kind.strip()[:1].lower() in tuple("sckd")
        and ("configuration" not in kind.lower())
    )


def read_poscar(path: str | Path) -> Atoms:
    """The structure of a POSCAR or CONTCAR, periodic in all directions.

    Selective dynamics become ASE's constraints, velocities the velocities of the atoms. POTCAR names such as
    ``Fe_pv`` count as their element; a file without names (VASP 4) takes them from its first line.

    Raises:
        InputError: a line that is missing or not what it has to be; names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such file", path)
    return _Poscar(path).read()


def write_poscar(path: str | Path, atoms: Atoms, velocities: ArrayLike | None = None) -> None:
    """Writes (and replaces) a POSCAR with fractional coordinates of 16 decimals.

    Args:
        path: the file.
        atoms: the structure in any order; it is written in the order :func:`species_order`. Constraints
            ``FixAtoms`` and ``FixScaled`` become selective dynamics.
        velocities: ``(n_atoms, 3)`` in Å/ps, in the order of ``atoms``; by default those of ``atoms``, if it
            has any.

    Raises:
        InputError: no atoms, a cell without volume, numbers that are not finite, or another constraint.
    """
    path = Path(path)
    cell = np.asarray(atoms.cell)
    if len(atoms) == 0:
        raise InputError("a structure without atoms cannot be written", path)
    if np.linalg.matrix_rank(cell) < 3:
        raise InputError("a POSCAR needs a cell with a volume; give the molecule one", path)
    rates: NDArray[np.float64] | None
    if velocities is not None:
        rates = np.asarray(velocities, dtype=float) / 1000  # Å/fs
    else:
        rates = atoms.get_velocities() / _ANGSTROM_PER_FS if atoms.has("momenta") else None
    if rates is not None and rates.shape != (len(atoms), 3):
        raise InputError(f"velocities have the shape {rates.shape}, not {(len(atoms), 3)}", path)
    for name, array in (("cell", cell), ("positions", atoms.positions), ("velocities", rates)):
        if array is not None and not np.isfinite(array).all():
            raise InputError(f"{name}: a number that is not finite", path)
    order = species_order(atoms)
    blocks = [(symbol, len(list(same))) for symbol, same in groupby(np.array(atoms.symbols)[order])]
    free = _free_axes(atoms, path)
    lines = [" ".join(f"{symbol}{count}" for symbol, count in blocks), "1.0"]
    lines += [" ".join(f"{x:22.16f}" for x in vector) for vector in cell]
    lines += [" ".join(f"{symbol:>5}" for symbol, _ in blocks), " ".join(f"{n:5d}" for _, n in blocks)]
    lines += ["Selective dynamics"] * (free is not None) + ["Direct"]
    fractions = np.linalg.solve(cell.T, atoms.positions.T).T
    for atom in order:
        flags = [] if free is None else ["FT"[int(axis)] for axis in free[atom]]
        lines.append(" ".join([*(f"{x:22.16f}" for x in fractions[atom]), *flags]))
    if rates is not None:
        lines += ["", *(" ".join(f"{x:23.16e}" for x in rates[atom]) for atom in order)]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def _free_axes(atoms: Atoms, path: Path) -> NDArray[np.bool_] | None:
    """Which fractional coordinates may move, ``(n_atoms, 3)``; None if nothing is fixed."""
    if not atoms.constraints:
        return None
    # Late: it brings SciPy's integrators, for which no command should wait.
    from ase.constraints import FixAtoms, FixScaled

    free = np.ones((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            free[constraint.index] = False
        elif isinstance(constraint, FixScaled):
            free[constraint.index] &= ~np.asarray(constraint.mask, dtype=bool)
        else:
            raise InputError(f"selective dynamics cannot express {type(constraint).__name__}", path)
    return free


class _Poscar:
    """The lines of one file and the place of the reader in them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = read_text(path).splitlines()
        self.at = 0

    def read(self) -> Atoms:
        title = self.line("the title")
        factors = self.numbers("the scale", None)
        cell = np.array([self.numbers("a lattice vector", 3) for _ in range(3)])
        scale = self._scale(factors, cell)
        cell = cell * scale
        if np.linalg.matrix_rank(cell) < 3 or not np.isfinite(cell).all():
            raise self.error("the cell has no volume", 5)
        symbols = self._symbols(title)
        n_atoms = len(symbols)
        mode = self.line("the kind of coordinates").strip().lower()
        selective = mode.startswith("s")
        if selective:
            mode = self.line("the kind of coordinates").strip().lower()
        cartesian = mode[:1] in ("c", "k")
        rows, flags = [], []
        for atom in range(n_atoms):
            words = self.line(f"the position of atom {atom}").split()
            rows.append(self._floats(words[:3], 3, f"the position of atom {atom}"))
            flags.append([_is_free(word) for word in words[3:6]] if selective else [])
        atoms = Atoms(symbols, cell=cell, pbc=True)
        atoms.positions = np.array(rows) * scale if cartesian else np.array(rows) @ cell
        if selective:
            if bad := [k for k, row in enumerate(flags) if len(row) != 3]:
                raise self.error(f"selective dynamics: atom {bad[0]} needs three of T and F")
            atoms.set_constraint(list(_constraints(~np.array(flags))))
        velocities = self._velocities(n_atoms, cell)
        if velocities is not None:
            atoms.set_velocities(velocities * _ANGSTROM_PER_FS)
        return atoms

    def line(self, what: str) -> str:
        if self.at >= len(self.lines):
            raise self.error(f"the file ends before {what}")
        self.at += 1
        return self.lines[self.at - 1]

    def numbers(self, what: str, count: int | None) -> list[float]:
        words = self.line(what).split()
        if count is None:
            words = words[: len(_floats(" ".join(words[:3]))) or 1]
            return self._floats(words, len(words), what)
        return self._floats(words[:count], count, what)

    def error(self, message: str, line: int | None = None) -> InputError:
        return InputError(message, self.path, f"line {line or self.at}")

    def _floats(self, words: list[str], count: int, what: str) -> list[float]:
        values = _floats(" ".join(words))
        if len(values) != count or not np.isfinite(values).all():
            raise self.error(f"{what}: found {' '.join(words)!r}; {count} finite numbers are needed")
        return values

    def _scale(self, scale: list[float], cell: NDArray[np.float64]) -> NDArray[np.float64]:
        """Factors of the x, y and z components; a negative one is the volume that is wanted."""
        if len(scale) == 2 or 0.0 in scale or (len(scale) == 3 and min(scale) < 0):
            raise self.error("the scale is one number or three positive ones", 2)
        if scale[0] < 0:
            volume = abs(np.linalg.det(cell))
            return np.full(3, (-scale[0] / volume) ** (1 / 3)) if volume else np.ones(3)
        return np.array(scale if len(scale) == 3 else scale * 3)

    def _symbols(self, title: str) -> list[str]:
        words = self.line("the elements").split()
        if words and words[0].isdigit():
            names, counts = title.split(), words
        else:
            names, counts = words, self.line("the numbers of atoms").split()
        # A comment may follow the counts.
        counts = [word for k, word in enumerate(counts) if all(w.isdigit() for w in counts[: k + 1])]
        symbols = [_symbol(name) for name in names[: len(counts)]]
        if not counts or len(symbols) < len(counts) or None in symbols:
            raise self.error(f"found elements {' '.join(names)!r} for the numbers {' '.join(counts)!r}")
        if not sum(map(int, counts)):
            raise self.error("holds no atoms")
        return [str(s) for s, count in zip(symbols, counts, strict=True) for _ in range(int(count))]

    def _velocities(self, n_atoms: int, cell: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Å/fs. The block begins with an empty line (or the kind of coordinates), or there is none."""
        if self.at < len(self.lines) and self.lines[self.at].strip().lower().startswith("lattice vel"):
            self.at += 8
        if not any(line.strip() for line in self.lines[self.at :]):
            return None
        kind = self.line("the velocities").strip().lower()
        rows = [
            self._floats(self.line(f"the velocity of atom {k}").split()[:3], 3, f"the velocity of atom {k}")
            for k in range(n_atoms)
        ]
        # Fractional velocities are per time step, whose length the file does not know.
        if kind.startswith("d"):
            raise self.error("velocities in fractional coordinates cannot be used; write them in Å/fs")
        return np.array(rows)


def _constraints(fixed: NDArray[np.bool_]) -> Iterator[FixAtoms | FixScaled]:
    if not fixed.any():
        return
    # Late: it brings SciPy's integrators, for which no command should wait.
    from ase.constraints import FixAtoms, FixScaled

    if (whole := np.flatnonzero(fixed.all(axis=1))).size:
        yield FixAtoms(indices=whole)
    for mask in np.unique(fixed[fixed.any(axis=1) & ~fixed.all(axis=1)], axis=0):
        yield FixScaled(np.flatnonzero((fixed == mask).all(axis=1)), mask)


def _is_free(word: str) -> bool:
    return word.strip(".").upper().startswith("T")


def _symbol(name: str) -> str | None:
    """The element of ``Fe``, ``Fe_pv`` or ``Fe/ab12cd``, the last as VASP 6 writes it."""
    symbol = name.replace("/", "_").split("_")[0]
    return symbol if symbol in atomic_numbers and symbol != "X" else None


def _floats(text: str) -> list[float]:
    """The numbers that a line begins with."""
    values: list[float] = []
    for word in text.split():
        try:
            values.append(float(word.replace("D", "E").replace("d", "e")))
        except ValueError:
            break
    return values
