"""The k-points of KPOINTS or KSPACING, reduced by time reversal only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vasp.fortran import read_integer, read_real
from vasp.inputs import Incar, InputFailure


@dataclass(frozen=True)
class Kpoints:
    """Points of the Brillouin zone.

    Attributes:
        mesh: divisions along the reciprocal vectors, or None for an explicit list.
        style: ``Gamma``, ``Monkhorst-Pack`` or ``Reciprocal``.
        shift: the user's shift of the mesh.
        points: fractional coordinates ``(n_points, 3)``.
        weights: their weights, of sum 1.
    """

    mesh: tuple[int, int, int] | None
    style: str
    shift: np.ndarray
    points: np.ndarray
    weights: np.ndarray

    @property
    def total(self) -> int:
        """Points of the full mesh, which is what the density of the sampling depends on."""
        return int(np.prod(self.mesh)) if self.mesh else len(self.points)


def read_kpoints(path: Path, incar: Incar, cell: np.ndarray) -> Kpoints:
    """The file if there is one, else the mesh of KSPACING (default 0.5 1/Å, Gamma-centred)."""
    if not path.is_file():
        reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell).T, axis=1)
        divisions = np.maximum(1, np.ceil(reciprocal / incar.real("KSPACING", 0.5) - 1e-8)).astype(int)
        return regular_mesh(tuple(divisions), incar.logical("KGAMMA", True), np.zeros(3))
    lines = path.read_text(errors="replace").splitlines()
    number = 2
    try:
        count, style = read_integer(lines[1].split()[0]), lines[2].strip()[:1].lower()
        number = 3
        if count > 0:
            rows = [[read_real(word) for word in line.split()[:4]] for line in lines[3 : 3 + count]]
            values = np.array(rows).reshape(count, 4)
            points = values[:, :3] if style not in ("c", "k") else values[:, :3] @ cell.T
            return Kpoints(None, "Reciprocal", np.zeros(3), points, values[:, 3] / values[:, 3].sum())
        number = 4
        if style == "a":
            length = read_real(lines[3].split()[0])
            reciprocal = np.linalg.norm(np.linalg.inv(cell).T, axis=1)
            divisions = np.maximum(1, np.floor(length * reciprocal + 0.5)).astype(int)
            return regular_mesh(tuple(divisions), True, np.zeros(3))
        if style not in ("g", "m"):
            number = 3
            raise ValueError(style)
        mesh = tuple(read_integer(word) for word in lines[3].split()[:3])
        if len(mesh) < 3 or min(mesh) < 1:
            raise ValueError(mesh)
        number = 5
        words = lines[4].split()[:3] if len(lines) > 4 else []
        shift = np.array([read_real(word) for word in words]) if len(words) == 3 else np.zeros(3)
        return regular_mesh(mesh, style == "g", shift)
    except (ValueError, IndexError):
        raise InputFailure(f" Error reading KPOINTS file\n the error occurred at line: {number:5d}") from None


def regular_mesh(mesh: tuple[int, ...], gamma: bool, shift: np.ndarray) -> Kpoints:
    """Of each pair k and -k the one whose first nonzero component is positive; Gamma comes first."""
    divisions = np.array(mesh)
    offset = shift if gamma else shift + 0.5 * (divisions % 2 == 0)
    indices = np.stack(np.meshgrid(*map(np.arange, mesh), indexing="ij"), axis=-1).reshape(-1, 3)
    points = _wrapped((indices + offset) / divisions)
    opposite = _wrapped(-points)
    difference = points - opposite
    leading = np.take_along_axis(difference, (difference != 0).argmax(axis=1)[:, None], axis=1)
    kept, counts = np.unique(np.where(leading < 0, opposite, points), axis=0, return_counts=True)
    style = "Gamma" if gamma else "Monkhorst-Pack"
    return Kpoints(tuple(int(n) for n in mesh), style, shift, kept, counts / counts.sum())


def _wrapped(points: np.ndarray) -> np.ndarray:
    """Into (-1/2, 1/2], with equal points made equal to the last bit."""
    rounded = np.round(points, 8)
    return np.round(rounded - np.ceil(rounded - 0.5), 8) + 0.0
