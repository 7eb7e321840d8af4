"""Who is near whom: pair lists for any cell, and the graph of pair vectors that a model reads.

A pair is (i, j, S): atom j, shifted by S cell vectors, lies near atom i. Cells smaller than the cutoff,
skewed cells and mixed boundary conditions need no special case, since an atom may be paired with any
number of images of any atom, itself included. The pairs are found by vesin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from vesin import NeighborList as VesinNeighborList

from alpw.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Graph:
    """One or more frames as tensors: all that a model needs to know about them.

    Attributes:
        numbers: atomic numbers, ``(n_atoms,)``.
        frame: index of each atom's frame, ``(n_atoms,)``.
        n_frames: number of frames.
        i: centre of each pair, ``(n_pairs,)``, ascending.
        j: neighbour of each pair, ``(n_pairs,)``.
        vectors: from i to j in Å, float64, ``(n_pairs, 3)``.
        cutoff: every pair closer than this, in Å, is listed.
        closest: no pair is closer than this, in Å; known to the host without asking the device.
    """

    numbers: Tensor
    frame: Tensor
    n_frames: int
    i: Tensor
    j: Tensor
    vectors: Tensor
    cutoff: float
    closest: float = 0.0

    @property
    def n_atoms(self) -> int:
        return len(self.numbers)

    def to(self, device: torch.device | str | None) -> Graph:
        """The same graph on another device."""
        tensors = (self.numbers, self.frame, self.i, self.j, self.vectors)
        numbers, frame, i, j, vectors = (tensor.to(device) for tensor in tensors)
        return Graph(numbers, frame, self.n_frames, i, j, vectors, self.cutoff, self.closest)


def collate(graphs: Sequence[Graph]) -> Graph:
    """Join graphs into one; frames keep their order and may differ in size."""
    if len(graphs) == 1:
        return graphs[0]
    atoms = np.cumsum([0] + [graph.n_atoms for graph in graphs]).tolist()
    frames = np.cumsum([0] + [graph.n_frames for graph in graphs]).tolist()
    return Graph(
        numbers=torch.cat([graph.numbers for graph in graphs]),
        frame=torch.cat([graph.frame + first for graph, first in zip(graphs, frames, strict=False)]),
        n_frames=frames[-1],
        i=torch.cat([graph.i + first for graph, first in zip(graphs, atoms, strict=False)]),
        j=torch.cat([graph.j + first for graph, first in zip(graphs, atoms, strict=False)]),
        vectors=torch.cat([graph.vectors for graph in graphs]),
        cutoff=min(graph.cutoff for graph in graphs),
        closest=min(graph.closest for graph in graphs),
    )


@dataclass(frozen=True)
class NeighborList:
    """A Verlet list: the pairs within ``cutoff + skin`` of a reference structure.

    It stays exact while `covers` is true, for moved atoms, for a deformed cell, and for atoms that the
    engine has meanwhile wrapped into another image.

    Attributes:
        numbers: atomic numbers, ``(n_atoms,)``.
        positions: of the reference in Å, ``(n_atoms, 3)``.
        cell: of the reference in Å, rows are vectors, ``(3, 3)``; missing vectors of non-periodic
            directions are completed by unit vectors.
        pbc: periodic directions, ``(3,)``.
        i, j: atoms of each pair, ``(n_pairs,)``, i ascending.
        shifts: image of j in cell vectors, ``(n_pairs, 3)``.
        cutoff, skin: in Å.
    """

    numbers: Ints
    positions: Floats
    cell: Floats
    pbc: NDArray[np.bool_]
    i: Ints
    j: Ints
    shifts: Floats
    cutoff: float
    skin: float

    @classmethod
    def build(cls, atoms: Atoms, cutoff: float, skin: float = 0.0) -> NeighborList:
        """Find all pairs of ``atoms`` within ``cutoff + skin`` Å.

        Raises:
            InputError: non-finite positions, no atoms, or periodic directions that span no volume.
        """
        if len(atoms) == 0:
            raise InputError("the structure has no atoms")
        positions = np.array(atoms.positions, dtype=float)
        cell, pbc = np.array(atoms.cell.complete(), dtype=float), np.array(atoms.pbc, dtype=bool)
        if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
            raise InputError(f"{atoms.get_chemical_formula()}: positions or cell are not finite numbers")
        missing = pbc & ~atoms.cell.any(axis=1)
        if missing.any() or abs(np.linalg.det(cell)) < 1e-8:
            raise InputError(
                f"{atoms.get_chemical_formula()}: periodic along {pbc.tolist()}, but the cell "
                f"{atoms.cell.array.tolist()} spans no volume there"
            )
        i, j, shifts = VesinNeighborList(cutoff=cutoff + skin, full_list=True).compute(
            points=positions, box=cell, periodic=pbc.tolist(), quantities="ijS"
        )
        order = np.lexsort((j, i))
        i, j = (index[order].astype(np.int64) for index in (i, j))
        numbers = np.array(atoms.numbers, dtype=np.int64)
        return cls(numbers, positions, cell, pbc, i, j, shifts[order].astype(float), cutoff, skin)

    def covers(self, positions: ArrayLike, cell: ArrayLike | None = None) -> bool:
        """Whether no pair outside the list can have come within the cutoff.

        With F the deformation of the cell and u the displacements beyond it, a pair that was farther
        apart than cutoff + skin is still farther than σ_min(F) (cutoff + skin) - 2 max|u|.

        Args:
            positions: ``(n_atoms, 3)`` in Å, wrapped or not.
            cell: ``(3, 3)`` in Å; None if it has not changed.
        """
        box = self._box(cell)
        deformation = self._deformation(box)
        moved = self._unwrapped(np.asarray(positions, dtype=float), box) - self.positions @ deformation
        stretch = 1.0 if box is self.cell else np.linalg.svd(deformation, compute_uv=False)[-1]
        farthest = np.sqrt((moved**2).sum(axis=1).max())
        return bool(stretch * (self.cutoff + self.skin) - 2 * farthest >= self.cutoff)

    def graph(self, positions: ArrayLike | None = None, cell: ArrayLike | None = None) -> Graph:
        """Pair vectors of the current structure, the skin left out.

        Args:
            positions: ``(n_atoms, 3)`` in Å, wrapped or not; None for those of the reference.
            cell: ``(3, 3)`` in Å; None if it has not changed.
        """
        box = self._box(cell)
        at = self.positions if positions is None else self._unwrapped(np.asarray(positions, dtype=float), box)
        # `take` and sums in place: indexing with brackets and new arrays cost three times as much.
        vectors = at.take(self.j, axis=0)
        vectors -= at.take(self.i, axis=0)
        vectors += self._offsets if box is self.cell else self.shifts @ box
        squares = np.einsum("pk,pk->p", vectors, vectors)
        near = np.flatnonzero(squares < self.cutoff**2)
        return Graph(
            numbers=torch.from_numpy(self.numbers),
            frame=torch.zeros(len(self.numbers), dtype=torch.int64),
            n_frames=1,
            i=torch.from_numpy(self.i.take(near)),
            j=torch.from_numpy(self.j.take(near)),
            vectors=torch.from_numpy(vectors.take(near, axis=0)),
            cutoff=self.cutoff,
            closest=float(np.sqrt(squares.min(initial=self.cutoff**2))),
        )

    @cached_property
    def _offsets(self) -> Floats:
        """Of the images in the reference cell, ``(n_pairs, 3)``."""
        return np.asarray(self.shifts @ self.cell, dtype=float)

    def _box(self, cell: ArrayLike | None) -> Floats:
        """The cell with its missing vectors; the very array of the reference if it has not changed."""
        if cell is None:
            return self.cell
        box = np.where(self.pbc[:, None], np.asarray(cell, dtype=float), self.cell)
        return self.cell if np.array_equal(box, self.cell) else box

    def _deformation(self, box: Floats) -> Floats:
        return np.eye(3) if box is self.cell else np.asarray(np.linalg.solve(self.cell, box), dtype=float)

    def _unwrapped(self, positions: Floats, box: Floats) -> Floats:
        """Each atom in the image closest to its reference, which is the one that the shifts refer to."""
        if positions.shape != self.positions.shape:
            raise InputError(f"found positions of shape {positions.shape}; allowed: {self.positions.shape}")
        moved = positions - self.positions @ self._deformation(box)
        images = np.rint(np.linalg.solve(box.T, moved.T).T) * self.pbc
        return positions - images @ box
