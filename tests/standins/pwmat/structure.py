"""atom.config: the structure that PWmat reads, and the order in which it works.

Sections are found by the word with which their line begins, as PWmat finds them: a final.config of an MD run,
with forces and all, is as good an input as a bare structure.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units

from pwmat.inputs import Refused


@dataclass
class Configuration:
    """A structure with what else stands in its file.

    Attributes:
        atoms: periodic structure; atoms of one element stand together.
        order: ``(n_atoms,)``, places of the atoms in the file.
        mobile: ``(n_atoms, 3)``, whether an atom moves along x, y, z.
        velocities: ``(n_atoms, 3)`` Å/fs, or None.
        stress_mask: ``(3, 3)``, components of the cell that may change.
        time: fs of an MD run that goes on, else 0.
        thermostat: velocity of its Nose-Hoover thermostat, 1/fs.
    """

    atoms: Atoms
    order: np.ndarray
    mobile: np.ndarray
    velocities: np.ndarray | None
    stress_mask: np.ndarray
    time: float = 0.0
    thermostat: float = 0.0


def read_configuration(path: Path) -> Configuration:
    """Read an atom.config.

    Raises:
        Refused: no file, no lattice, or fewer atoms than the first line says.
    """
    if not path.is_file():
        raise Refused(f" file {path} of IN.ATOM does not exist, stop")
    lines = path.read_text().splitlines()
    try:
        n_atoms = int(lines[0].split()[0])
        cell = _table(lines, "LATTICE", 3)[:, :3]
        rows = _table(lines, "POSITION", n_atoms)
    except (IndexError, ValueError, KeyError) as error:
        raise Refused(f" error in reading {path}, stop ({error})") from error
    numbers = rows[:, 0].astype(int)
    if not ((numbers > 0) & (numbers < 119)).all() or abs(np.linalg.det(cell)) < 1e-6:
        raise Refused(f" error in reading {path}, stop")
    mobile = rows[:, 4:7].astype(bool) if rows.shape[1] >= 7 else np.ones((n_atoms, 3), bool)
    velocities = None
    if _line(lines, "VELOCITY") is not None:
        velocities = _table(lines, "VELOCITY", n_atoms)[:, 1:4] * units.Bohr
    mask = np.ones((3, 3), bool)
    if _line(lines, "STRESS_MASK") is not None:
        mask = _table(lines, "STRESS_MASK", 3)[:, :3].astype(bool)
    order = _grouped(numbers)
    return Configuration(
        Atoms(numbers[order], cell=cell, scaled_positions=rows[order, 1:4], pbc=True),
        order,
        mobile[order],
        None if velocities is None else velocities[order],
        mask,
        _following(lines, "MD_INFO", 1),
        _following(lines, "MD_NH_INFO", 0),
    )


def _grouped(numbers: np.ndarray) -> np.ndarray:
    """Places that bring the atoms of each element together, elements by first appearance."""
    _, first, kind = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(first[kind.reshape(-1)], kind="stable")


def _line(lines: list[str], keyword: str) -> int | None:
    starts = (i for i, line in enumerate(lines) if line.strip().upper().startswith(keyword))
    return next(starts, None)


def _table(lines: list[str], keyword: str, length: int) -> np.ndarray:
    """The numbers of the rows below a keyword, as many columns as every row has."""
    start = _line(lines, keyword)
    if start is None:
        raise KeyError(keyword)
    rows = []
    for line in lines[start + 1 : start + 1 + length]:
        row = []
        for word in line.split():
            try:
                row.append(float(word))
            except ValueError:
                break
        rows.append(row)
    columns = min(len(row) for row in rows)
    if len(rows) < length or columns < 3:
        raise ValueError(f"{keyword}: {length} rows expected")
    return np.array([row[:columns] for row in rows])


def _following(lines: list[str], keyword: str, column: int) -> float:
    """A number in the line below a keyword, 0 without it."""
    start = _line(lines, keyword)
    return 0.0 if start is None else float(lines[start + 1].split()[column])
