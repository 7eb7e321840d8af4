"""LAMMPS's text dumps, frame by frame.

Format: https://docs.lammps.org/dump.html, units ``metal``. Positions are those of the dump, relative to the
origin of LAMMPS's coordinates; the corner of its box is ASE's ``celldisp``.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray

from alpw.errors import InputError
from alpw.files import replacing
from alpw.formats.lammps import PS, Matrix, to_box, types_of
from alpw.formats.text import open_text

logger = logging.getLogger(__name__)

_POSITIONS = (("x", False), ("xu", False), ("xs", True), ("xsu", True))
"""Names of the first coordinate, and whether it is a fraction of the box."""


def looks_like_dump(head: str) -> bool:
    """Whether the beginning of a file is that of a text dump."""
    return head.startswith("ITEM:")


def read_lammps_dump(
    path: str | Path, elements: Sequence[str] = (), rotation: ArrayLike | None = None
) -> Iterator[Atoms]:
    """The frames of a text dump, atoms by their id, with velocities and forces where there are columns.

    The time step is in ``info["timestep"]``. A last frame that is cut short is left out with a warning, as a
    killed run leaves one.

    Args:
        path: the dump.
        elements: symbols of types 1, 2, ...; not needed for a dump with a column ``element``.
        rotation: ``(3, 3)``, or one per frame, of :func:`alpw.formats.lammps.to_box`, by which vectors are
            turned back; without it they stay in LAMMPS's orientation.

    Raises:
        InputError: not a dump, types without an element, no complete frame; names file and frame.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such file", path)
    if unknown := [symbol for symbol in elements if symbol not in atomic_numbers]:
        raise InputError(f"{unknown[0]!r} is not an element", key="elements")
    turns = None if rotation is None else np.asarray(rotation, dtype=float)
    k = 0
    with open_text(path) as file:
        frame = _Frame(path, 0, list(elements))
        while frame.read(file):
            turn = None if turns is None else turns if turns.ndim == 2 else turns[k]
            yield frame.atoms(turn)
            k += 1
            frame = _Frame(path, k, list(elements))
    if frame.has_begun:
        if k == 0:
            raise InputError("the file is cut short; it holds no complete frame", path, "frame 0")
        logger.warning("%s: frame %d, the last one, is cut short and left out", path, k)
    elif k == 0:
        raise InputError("not a LAMMPS text dump", path)


def write_lammps_dump(path: str | Path, frames: Iterable[Atoms], elements: Sequence[str] = ()) -> Matrix:
    """Writes (and replaces) a text dump with columns id, type, element, x, y, z and what else frames have.

    Forces are those of the frames' calculators; a frame's step is ``info["timestep"]``, or its number.

    Args:
        path: the file.
        frames: structures with cells.
        elements: symbols of types 1, 2, ...; by first appearance in the first frames if empty.

    Returns:
        ``(n_frames, 3, 3)`` the rotations into LAMMPS's orientation: given to :func:`read_lammps_dump`, they
        turn the vectors back.

    Raises:
        InputError: a cell without volume, or an element that is not in ``elements``.
    """
    symbols = list(elements)
    # Nine doubles a frame, in one buffer: a trajectory may have millions of frames.
    rotations = array("d")
    with replacing(path) as file:
        for k, atoms in enumerate(frames):
            if not elements:
                symbols += [symbol for symbol in dict.fromkeys(atoms.symbols) if symbol not in symbols]
            if atoms.cell.rank < 3:
                raise InputError("the cell has no volume", path, f"frame {k}")
            types = types_of(atoms, symbols, Path(path))
            # Tilts stay as they are: a trajectory must not jump between choices of lattice vectors.
            box, rotation = to_box(np.asarray(atoms.cell), atoms.pbc, reduce=False)
            file.write(_text(atoms, types, box, rotation, k).encode())
            rotations.extend(rotation.ravel())
    return np.array(rotations).reshape(-1, 3, 3)


def _text(atoms: Atoms, types: list[int], box: Matrix, rotation: Matrix, k: int) -> str:
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = box.tolist()
    shifts = (0.0, xy, xz, xy + xz)
    bounds = [(min(shifts), lx + max(shifts), xy), (min(0.0, yz), ly + max(0.0, yz), xz), (0.0, lz, yz)]
    columns = {"x y z": atoms.positions @ rotation}
    if atoms.has("momenta"):
        columns["vx vy vz"] = atoms.get_velocities() * PS @ rotation
    if atoms.calc is not None and "forces" in atoms.calc.results:
        columns["fx fy fz"] = atoms.calc.results["forces"] @ rotation
    rows = np.concatenate(list(columns.values()), axis=1).tolist()
    edges = " ".join("fp"[int(axis)] * 2 for axis in atoms.pbc)
    lines = ["ITEM: TIMESTEP", str(int(atoms.info.get("timestep", k)))]
    lines += ["ITEM: NUMBER OF ATOMS", str(len(atoms)), f"ITEM: BOX BOUNDS xy xz yz {edges}"]
    lines += [" ".join(map(repr, bound)) for bound in bounds]
    lines += [f"ITEM: ATOMS id type element {' '.join(columns)}"]
    for i, (number, symbol, row) in enumerate(zip(types, atoms.symbols, rows, strict=True), 1):
        lines.append(f"{i} {number} {symbol} {' '.join(map(repr, row))}")
    return "\n".join(lines) + "\n"


class _Frame:
    """One frame as it is read."""

    def __init__(self, path: Path, index: int, elements: list[str]) -> None:
        self.path, self.index, self.elements = path, index, elements
        self.has_begun = False
        self.step = index
        self.edges: list[str] = []
        self.bounds: list[list[float]] = []
        self.columns: dict[str, list[str]] = {}

    def read(self, file: TextIO) -> bool:
        """Whether there was another whole frame; raises :class:`InputError` for one that makes no sense."""
        n_atoms = None
        try:
            while line := file.readline():
                if not line.strip():
                    continue
                if not line.startswith("ITEM:"):
                    raise self.error(f"found {line.strip()[:40]!r} where an ITEM begins")
                self.has_begun = True
                name = line[5:].strip()
                if name.startswith("ATOMS"):
                    return self._rows(file, n_atoms, name.split()[1:])
                if name.startswith("BOX BOUNDS"):
                    self.edges = name.split()[2:]
                    lines = list(islice(file, 3))
                    if len(lines) < 3 or not lines[-1].endswith("\n"):
                        return False
                    self.bounds = [[float(word) for word in text.split()] for text in lines]
                    continue
                value = file.readline()
                if not value.endswith("\n"):
                    return False
                if name == "TIMESTEP":
                    self.step = int(value)
                elif name == "NUMBER OF ATOMS":
                    n_atoms = int(value)
        except ValueError as error:
            raise self.error(f"something that is not a number: {error}") from error
        return False

    def error(self, message: str, key: str | None = None) -> InputError:
        return InputError(message, self.path, key or f"frame {self.index}")

    def _rows(self, file: TextIO, n_atoms: int | None, names: list[str]) -> bool:
        if n_atoms is None or not self.bounds:
            raise self.error("no number of atoms or no box before its atoms")
        lines = list(islice(file, n_atoms))
        if any(line.startswith("ITEM:") for line in lines):
            raise self.error(f"has fewer than {n_atoms} atoms")
        if len(lines) < n_atoms or (lines and not lines[-1].endswith("\n")):
            return False
        words = " ".join(lines).split()
        if len(words) != n_atoms * len(names):
            raise self.error(f"its atoms do not have the {len(names)} columns {' '.join(names)}")
        self.columns = {name: words[k :: len(names)] for k, name in enumerate(names)}
        return True

    def atoms(self, rotation: Matrix | None) -> Atoms:
        cell, origin, pbc = self._box()
        turn = np.eye(3) if rotation is None else rotation.T
        try:
            n_atoms = len(next(iter(self.columns.values()), []))
            ids = [int(word) for word in self.columns.get("id", range(n_atoms))]
            order = np.argsort(ids, kind="stable")
            positions = self._positions(cell, origin)
            velocities, forces = self._vectors("v", ("x", "y", "z")), self._vectors("f", ("x", "y", "z"))
        except ValueError as error:
            raise self.error(f"something that is not a number: {error}") from error
        symbols = self._symbols()
        atoms = Atoms(
            [symbols[k] for k in order],
            positions[order] @ turn,
            cell=cell @ turn,
            pbc=pbc,
            celldisp=origin @ turn,
            info={"timestep": self.step},
        )
        if velocities is not None:
            atoms.set_velocities(velocities[order] @ turn / PS)
        if forces is not None:
            atoms.calc = SinglePointCalculator(atoms, forces=forces[order] @ turn)
        return atoms

    def _symbols(self) -> list[str]:
        if "element" in self.columns:
            symbols = self.columns["element"]
            if unknown := sorted(set(symbols) - set(atomic_numbers)):
                raise self.error(f"{unknown[0]!r} is not an element")
            return symbols
        if "type" not in self.columns:
            raise self.error("the dump has neither a column 'element' nor 'type'")
        types = self.columns["type"]
        if not self.elements:
            raise self.error(
                "the dump has LAMMPS types and no column 'element'; name the elements of types 1, 2, ...",
                "elements",
            )
        named = {str(k): symbol for k, symbol in enumerate(self.elements, 1)}
        if unknown := sorted(set(types) - set(named)):
            raise self.error(f"type {unknown[0]} has no element; {len(named)} are named", "elements")
        return [named[kind] for kind in types]

    def _box(self) -> tuple[Matrix, Matrix, list[bool]]:
        """Cell vectors, origin and periodicity."""
        pbc = ["p" in edge for edge in self.edges[-3:]] if len(self.edges) >= 3 else [True] * 3
        widths = {len(row) for row in self.bounds}
        if self.edges[:1] == ["abc"] and widths == {4}:
            table = np.array(self.bounds)
            return table[:, :3], table[:, 3], pbc
        if widths not in ({2}, {3}):
            raise self.error("its BOX BOUNDS are not understood")
        (x0, x1), (y0, y1), (z0, z1) = ((row[0], row[1]) for row in self.bounds)
        xy, xz, yz = (row[2] if len(row) == 3 else 0.0 for row in self.bounds)
        # The bounds enclose the tilted box: https://docs.lammps.org/Howto_triclinic.html
        shifts = (0.0, xy, xz, xy + xz)
        x0, x1, y0, y1 = x0 - min(shifts), x1 - max(shifts), y0 - min(0.0, yz), y1 - max(0.0, yz)
        cell = np.array([[x1 - x0, 0.0, 0.0], [xy, y1 - y0, 0.0], [xz, yz, z1 - z0]])
        return cell, np.array([x0, y0, z0]), pbc

    def _positions(self, cell: Matrix, origin: Matrix) -> Matrix:
        for name, is_scaled in _POSITIONS:
            found = self._vectors("", tuple(axis + name[1:] for axis in "xyz"))
            if found is not None:
                return found @ cell + origin if is_scaled else found
        raise self.error("the dump has no coordinates (x, xs, xu or xsu)")

    def _vectors(self, prefix: str, axes: tuple[str, ...]) -> Matrix | None:
        names = [prefix + axis for axis in axes]
        if any(name not in self.columns for name in names):
            return None
        found: NDArray[np.float64] = np.array([list(map(float, self.columns[name])) for name in names]).T
        return found.reshape(-1, 3)
