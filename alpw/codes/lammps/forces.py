"""What drives the dynamics, as the engine sees it."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from vesin import NeighborList

Array = NDArray[np.float64]

_SMALLEST_BIN = 1.0
"""Å; the search for pairs bins space by the cutoff, and tiny bins are many."""


class Forces(Protocol):
    """What a model says about one structure."""

    @property
    def energy(self) -> float:
        """eV."""

    @property
    def forces(self) -> Array:
        """``(n_atoms, 3)`` in eV/Å."""

    @property
    def virial(self) -> Array:
        """``(3, 3)`` in eV, positive under compression."""


class ForceModel(Protocol):
    """Anything that gives energy, forces and virial; `alpw.potential.DeepPotential` does."""

    def predict(self, atoms: Atoms) -> Forces:
        """Energy, forces and virial of a structure whose positions may lie outside its cell."""


class _Nothing(NamedTuple):
    energy: float
    forces: Array
    virial: Array


class NoForces:
    """A force model without forces, to try LAMMPS's commands with."""

    def predict(self, atoms: Atoms) -> _Nothing:
        """Zero everywhere."""
        return _Nothing(0.0, np.zeros((len(atoms), 3)), np.zeros((3, 3)))


class ClosePairs(NamedTuple):
    """Pairs of atoms, each at least once; an atom may be paired with its own image.

    Attributes:
        i, j: the atoms, ``(n_pairs,)``.
        distances: in Å, ``(n_pairs,)``.
    """

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    distances: Array


@runtime_checkable
class PairModel(ForceModel, Protocol):
    """A force model that has looked for neighbours anyway and says which are close."""

    def close_pairs(self, atoms: Atoms, within: float) -> ClosePairs:
        """Every pair closer than ``within`` Å."""


@runtime_checkable
class RememberingModel(ForceModel, Protocol):
    """A force model whose sums depend, in their last digits, on what it was asked before."""

    def forget(self) -> None:
        """Answer the next question as if it were the first."""


def search_close_pairs(atoms: Atoms, within: float) -> ClosePairs:
    """Every pair closer than ``within`` Å, and perhaps a few more, by a search of its own."""
    found = NeighborList(cutoff=max(within, _SMALLEST_BIN), full_list=False).compute(
        points=atoms.positions, box=atoms.cell.array, periodic=atoms.pbc.tolist(), quantities="ijd"
    )
    return ClosePairs(*found)
