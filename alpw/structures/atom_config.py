"""PWmat's structure file, atom.config: a cell in Å, fractional positions, and what PWmat keeps beside them.

| block | ASE |
| --- | --- |
| LATTICE, POSITION | cell, numbers, positions; move flags 0 become FixAtoms and FixCartesian |
| VELOCITY, bohr/fs | velocities, if asked for |
| MAGNETIC, MAGNETIC_XYZ, Bohr magnetons | initial magnetic moments, ``(n_atoms,)`` or ``(n_atoms, 3)`` |
| STRESS_MASK, STRESS_EXTERNAL, PTENSOR_EXTERNAL | ``info["stress_mask"]`` and so on, ``(3, 3)`` |

Names are read in any case, blocks in any order, and others (FORCE, for one) are passed over. pymatgen's
writer keeps six decimals; this one keeps fifteen, which labels need.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.files import write_atomically

if TYPE_CHECKING:
    from ase.constraints import FixAtoms, FixCartesian

MATRICES = {
    "stress_mask": "STRESS_MASK",
    "stress_external": "STRESS_EXTERNAL",
    "ptensor_external": "PTENSOR_EXTERNAL",
}
"""key of ``Atoms.info`` -> block with three rows of three numbers"""

BOHR_PER_FS: float = units.Bohr / units.fs
"""ASE's unit of velocity, Å sqrt(eV/u)/Å"""


def looks_like_atom_config(head: str) -> bool:
    """Whether the beginning of a file is that of an atom.config."""
    lines = head.splitlines()
    first = lines[0].split() if lines else []
    titled = any(_is(line, "lattice vector") or line.strip().upper() == "LATTICE" for line in lines[1:])
    return bool(first) and first[0].isdigit() and titled


def read_atom_config(path: str | Path, *, velocities: bool = False) -> Atoms:
    """Reads an atom.config (or final.config), periodic in all directions.

    Args:
        path: the file.
        velocities: whether to read velocities, where the file has some; forces are never read.

    Raises:
        InputError: a block that is missing, cut short or not numbers.
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    try:
        n_atoms = int(lines[0].split()[0])
    except (IndexError, ValueError) as error:
        raise InputError("line 1 does not begin with the number of atoms", path) from error
    title = (
        "lattice" if _find(lines, "lattice vector") is None and _find(lines, "lattice") else "lattice vector"
    )
    cell = _rows(lines, title, 3, slice(0, 3), path)
    if np.linalg.matrix_rank(cell) < 3:
        raise InputError("the lattice has no volume", path)
    table = _rows(lines, "position", n_atoms, slice(0, 4), path)
    numbers = table[:, 0].astype(int)
    if (numbers != table[:, 0]).any() or (numbers < 1).any() or (numbers > 118).any():
        raise InputError("the first column of Position is not an atomic number", path)
    atoms = Atoms(numbers=numbers, cell=cell, scaled_positions=table[:, 1:], pbc=True)
    # Before the constraints, which would set the velocities of fixed atoms to zero.
    if velocities and _find(lines, "velocity") is not None:
        atoms.set_velocities(_rows(lines, "velocity", n_atoms, slice(1, 4), path) * BOHR_PER_FS)
    atoms.set_constraint(_constraints(_fixed(lines, n_atoms)))
    if _find(lines, "magnetic") is not None:
        moments = _rows(lines, "magnetic", n_atoms, slice(1, 2), path)[:, 0]
        atoms.set_initial_magnetic_moments(moments)
    elif _find(lines, "magnetic_xyz") is not None:
        atoms.set_initial_magnetic_moments(_rows(lines, "magnetic_xyz", n_atoms, slice(1, 4), path))
    for key, name in MATRICES.items():
        if _find(lines, name.lower()) is not None:
            atoms.info[key] = _rows(lines, name.lower(), 3, slice(0, 3), path)
    return atoms


def write_atom_config(path: str | Path, atoms: Atoms, *, velocities: bool = False) -> None:
    """Writes an atom.config; fractions have fifteen decimals.

    Initial magnetic moments, the matrices of :data:`MATRICES` in ``info`` and fixed atoms are written where
    there are some; without constraints all atoms are free to move.

    Args:
        path: the file, replaced in one step.
        atoms: a structure with a cell.
        velocities: whether to write the velocities of the atoms.

    Raises:
        InputError: no cell, numbers that are not finite, or a constraint that move flags cannot express.
    """
    cell = np.asarray(atoms.cell)
    if (
        not (np.isfinite(cell).all() and np.isfinite(atoms.positions).all())
        or np.linalg.matrix_rank(cell) < 3
    ):
        raise InputError("an atom.config needs a cell with a volume and finite positions", path)
    free = _free_axes(atoms, path)
    lines = [f"{len(atoms)}", " Lattice vector (Angstrom)"]
    lines += ["".join(f" {x:22.15f}" for x in vector) for vector in cell]
    lines += [" Position (normalized), move_x, move_y, move_z"]
    fractions = atoms.cell.scaled_positions(atoms.positions)
    for number, fraction, axes in zip(atoms.numbers, fractions, free, strict=True):
        flags = "".join(f"  {int(axis)}" for axis in axes)
        lines.append(f"{number:4d}" + "".join(f" {x:20.15f}" for x in fraction) + flags)
    if velocities:
        lines += _block("VELOCITY (bohr/fs)", atoms, atoms.get_velocities() / BOHR_PER_FS)
    if atoms.has("initial_magmoms"):
        moments = atoms.get_initial_magnetic_moments()
        name = "MAGNETIC" if moments.ndim == 1 else "MAGNETIC_XYZ"
        lines += _block(name, atoms, moments.reshape(len(atoms), -1))
    for key, name in MATRICES.items():
        if key in atoms.info:
            lines.append(f" {name}")
            lines += [
                "".join(f" {x:22.15g}" for x in row) for row in np.asarray(atoms.info[key], dtype=float)
            ]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def _block(title: str, atoms: Atoms, table: NDArray[np.float64]) -> list[str]:
    pairs = zip(atoms.numbers, table, strict=True)
    return [f" {title}"] + [f"{number:4d}" + "".join(f" {x:24.16E}" for x in row) for number, row in pairs]


def _fixed(lines: list[str], n_atoms: int) -> NDArray[np.bool_]:
    """Which Cartesian coordinates may not move, ``(n_atoms, 3)``; missing flags mean that all may."""
    start = _find(lines, "position") or 0
    flags = [line.split()[4:7] for line in lines[start + 1 : start + 1 + n_atoms]]
    return np.array([[word == "0" for word in row] if len(row) == 3 else [False] * 3 for row in flags])


def _constraints(fixed: NDArray[np.bool_]) -> list[FixAtoms | FixCartesian]:
    if not fixed.any():
        return []
    # Late: it brings SciPy's integrators, for which no command should wait.
    from ase.constraints import FixAtoms, FixCartesian

    constraints: list[FixAtoms | FixCartesian] = []
    if (whole := np.flatnonzero(fixed.all(axis=1))).size:
        constraints.append(FixAtoms(indices=whole))
    for mask in np.unique(fixed[fixed.any(axis=1) & ~fixed.all(axis=1)], axis=0):
        constraints.append(FixCartesian(np.flatnonzero((fixed == mask).all(axis=1)), mask))
    return constraints


def _free_axes(atoms: Atoms, path: str | Path) -> NDArray[np.bool_]:
    free = np.ones((len(atoms), 3), dtype=bool)
    if not atoms.constraints:
        return free
    # Late: it brings SciPy's integrators, for which no command should wait.
    from ase.constraints import FixAtoms, FixCartesian, FixScaled

    cell = np.asarray(atoms.cell)
    straight = np.array_equal(cell, np.diag(np.diag(cell)))
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            free[constraint.index] = False
        elif isinstance(constraint, FixCartesian) or (isinstance(constraint, FixScaled) and straight):
            free[constraint.index] &= ~np.asarray(constraint.mask, dtype=bool)
        else:
            raise InputError(f"move flags cannot express {type(constraint).__name__} in this cell", path)
    return free


def _is(line: str, keyword: str) -> bool:
    return line.strip().lower().startswith(keyword)


def _find(lines: list[str], keyword: str) -> int | None:
    """Index of the line that begins with a keyword, and not with one that continues it by an underscore."""
    for i, line in enumerate(lines):
        if i and _is(line, keyword) and not line.strip()[len(keyword) :].startswith("_"):
            return i
    return None


def _rows(lines: list[str], keyword: str, count: int, columns: slice, path: Path) -> NDArray[np.float64]:
    start = _find(lines, keyword)
    if start is None:
        raise InputError(f"no block '{keyword}'", path)
    rows = [line.split()[columns] for line in lines[start + 1 : start + 1 + count]]
    width = columns.stop - columns.start
    try:
        table = np.array([[float(x.replace("D", "E").replace("d", "e")) for x in row] for row in rows])
    except ValueError as error:
        raise InputError(
            f"the block '{keyword}' holds something that is not a number: {error}", path
        ) from error
    if table.shape != (count, width) or not np.isfinite(table).all():
        raise InputError(f"the block '{keyword}' needs {count} rows of {width} finite numbers", path)
    return table
