"""Errors of a model frame by frame, and those of sets of frames from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from alpw.errors import InputError
from alpw.potential.evaluation import Comparison

SCALARS = ("force_rmse", "max_force_error", "energy_error")


@dataclass(frozen=True)
class Sums:
    """Force errors of some atoms, as sums that can be added up.

    Attributes:
        n_atoms: of them.
        squares: sum of the squared errors of their force components, (eV/Å)².
        absolutes: sum of the absolute errors of their force components, eV/Å.
    """

    n_atoms: int
    squares: float
    absolutes: float


@dataclass(frozen=True)
class FrameErrors:
    """Errors of a model on one frame.

    Attributes:
        force_rmse: over all components of all atoms, eV/Å.
        max_force_error: largest |F - F_ref| of an atom, eV/Å.
        energy_error: model minus label, eV/atom.
        elements: force errors by chemical symbol.
    """

    force_rmse: float
    max_force_error: float
    energy_error: float
    elements: dict[str, Sums]

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        return asdict(self)

    @classmethod
    def of_dict(cls, document: dict[str, Any]) -> FrameErrors:
        """What `to_dict` made."""
        elements = {symbol: Sums(**sums) for symbol, sums in document["elements"].items()}
        force, largest, energy = (document[name] for name in SCALARS)
        return cls(force, largest, energy, elements)


@dataclass(frozen=True)
class Totals:
    """Errors of a model on a set of frames, as sums: those of two sets without common frames can be added.

    Attributes:
        n_frames, n_atoms: of the set.
        force_squares, force_absolutes: sums over all force components, (eV/Å)² and eV/Å.
        energy_squares, energy_absolutes: sums over frames, (eV/atom)² and eV/atom.
    """

    n_frames: int
    n_atoms: int
    force_squares: float
    force_absolutes: float
    energy_squares: float
    energy_absolutes: float

    @classmethod
    def of(cls, found: Comparison) -> Totals:
        """Those of all frames that were compared."""
        force = found.forces - found.force_labels
        energy = (found.energies - found.energy_labels) / found.n_atoms
        sums = (float(part.sum()) for part in (force**2, abs(force), energy**2, abs(energy)))
        return cls(len(energy), len(force), *sums)

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    def errors(self) -> dict[str, float]:
        """``force_rmse`` and ``force_mae`` in eV/Å, ``energy_rmse`` and ``energy_mae`` in eV/atom."""
        components = 3 * self.n_atoms
        return {
            "force_rmse": math.sqrt(self.force_squares / components),
            "force_mae": self.force_absolutes / components,
            "energy_rmse": math.sqrt(self.energy_squares / self.n_frames),
            "energy_mae": self.energy_absolutes / self.n_frames,
        }


def errors_by_frame(found: Comparison) -> Iterator[FrameErrors]:
    """The errors of each frame that was compared."""
    force = found.forces - found.force_labels
    energy = (found.energies - found.energy_labels) / found.n_atoms
    ends = np.cumsum(found.n_atoms)
    for index, (first, last) in enumerate(zip(ends - found.n_atoms, ends, strict=True)):
        mine, numbers = force[first:last], found.numbers[first:last]
        yield FrameErrors(
            force_rmse=math.sqrt(float((mine**2).mean())),
            max_force_error=float(np.linalg.norm(mine, axis=1).max()),
            energy_error=float(energy[index]),
            elements={
                chemical_symbols[number]: Sums(
                    int((numbers == number).sum()),
                    float((mine[numbers == number] ** 2).sum()),
                    float(abs(mine[numbers == number]).sum()),
                )
                for number in np.unique(numbers)
            },
        )


def pooled(frames: Sequence[FrameErrors]) -> dict[str, float]:
    """Errors of a set of frames, each atom and each frame counting alike.

    Returns:
        ``force_rmse`` and ``force_mae`` in eV/Å, ``max_force_error`` in eV/Å, ``energy_rmse`` and
        ``energy_mae`` in eV/atom, ``n_frames``.

    Raises:
        InputError: no frames.
    """
    if not frames:
        raise InputError("no frames to take errors of")
    energy = np.array([frame.energy_error for frame in frames])
    return {
        **_force(sums for frame in frames for sums in frame.elements.values()),
        "max_force_error": max(frame.max_force_error for frame in frames),
        "energy_rmse": math.sqrt(float((energy**2).mean())),
        "energy_mae": float(abs(energy).mean()),
        "n_frames": len(frames),
    }


def by_element(frames: Sequence[FrameErrors]) -> dict[str, dict[str, float]]:
    """Force errors of the atoms of each element: ``force_rmse``, ``force_mae`` in eV/Å, ``n_atoms``."""
    found: dict[str, dict[str, float]] = {}
    for symbol in sorted({symbol for frame in frames for symbol in frame.elements}):
        sums = [frame.elements[symbol] for frame in frames if symbol in frame.elements]
        found[symbol] = {**_force(sums), "n_atoms": sum(part.n_atoms for part in sums)}
    return found


def _force(sums: Iterable[Sums]) -> dict[str, float]:
    parts = list(sums)
    components = 3 * sum(part.n_atoms for part in parts)
    return {
        "force_rmse": math.sqrt(sum(part.squares for part in parts) / components),
        "force_mae": sum(part.absolutes for part in parts) / components,
    }
