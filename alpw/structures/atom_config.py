"""PWmat's structure file, atom.config: a cell in Å and fractional positions.

pymatgen's writer keeps six decimals; this one keeps fifteen, which labels need.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms

from alpw.errors import InputError


def looks_like_atom_config(head: str) -> bool:
    """Whether the beginning of a file is that of an atom.config."""
    lines = head.splitlines()
    first = lines[0].split() if lines else []
    return bool(first) and first[0].isdigit() and any(_is(line, "lattice vector") for line in lines[1:])


def read_atom_config(path: str | Path) -> Atoms:
    """Reads an atom.config (or final.config), periodic in all directions.

    Blocks may come in any order; forces, velocities and magnetic moments are not read.

    Raises:
        InputError: a block that is missing, cut short or not numbers.
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    try:
        n_atoms = int(lines[0].split()[0])
    except (IndexError, ValueError) as error:
        raise InputError("line 1 does not begin with the number of atoms", path) from error
    cell = _rows(lines, "lattice vector", 3, slice(0, 3), path)
    if np.linalg.matrix_rank(cell) < 3:
        raise InputError("the lattice has no volume", path)
    table = _rows(lines, "position", n_atoms, slice(0, 4), path)
    numbers = table[:, 0].astype(int)
    if (numbers != table[:, 0]).any() or (numbers < 1).any() or (numbers > 118).any():
        raise InputError("the first column of Position is not an atomic number", path)
    return Atoms(numbers=numbers, cell=cell, scaled_positions=table[:, 1:], pbc=True)


def write_atom_config(path: str | Path, atoms: Atoms) -> None:
    """Writes an atom.config with all atoms free to move; fractions have fifteen decimals."""
    lines = [f"{len(atoms)}", " Lattice vector (Angstrom)"]
    lines += ["".join(f" {x:22.15f}" for x in vector) for vector in np.asarray(atoms.cell)]
    lines += [" Position (normalized), move_x, move_y, move_z"]
    fractions = atoms.cell.scaled_positions(atoms.positions)
    for number, fraction in zip(atoms.numbers, fractions, strict=True):
        lines.append(f"{number:4d}" + "".join(f" {x:20.15f}" for x in fraction) + "  1  1  1")
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _is(line: str, keyword: str) -> bool:
    return line.strip().lower().startswith(keyword)


def _rows(lines: list[str], keyword: str, count: int, columns: slice, path: Path) -> np.ndarray:
    starts = [i for i, line in enumerate(lines) if _is(line, keyword)]
    if not starts:
        raise InputError(f"no block '{keyword}'", path)
    rows = [line.split()[columns] for line in lines[starts[0] + 1 : starts[0] + 1 + count]]
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
