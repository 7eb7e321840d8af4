"""What the networks read of a structure: everything that depends neither on weights nor on statistics.

Equations (Zhang et al., NeurIPS 2018, arXiv:1805.09003; notation of Zeng et al., J. Chem. Phys. 159,
054801 (2023)), for centre i, neighbour j, r = |r_j - r_i|, u = (r - r_s) / (r_c - r_s):

    s(r)  = (1/r) * { 1 if r < r_s;  u^3 (-6 u^2 + 15 u - 10) + 1 if r < r_c;  0 otherwise }
    R_ij  = (s, s x/r, s y/r, s z/r)

Frames of a training set keep their environment from step to step, members of a committee share it, and
nothing in a step has to ask the device for the size of an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from alpw.potential.neighbors import Graph, collate


@dataclass(frozen=True)
class Environment:
    """The environment matrices of one or more frames, and the order in which networks take them.

    Attributes:
        graph: atoms and pairs.
        types: of the atoms, ``(n_atoms,)``.
        kind: which embedding a pair takes, ``(n_pairs,)``: the type of its neighbour, or
            ``type of centre * n_types + type of neighbour``.
        rows: R of each pair in 1/Å, float64, ``(n_pairs, 4)``.
        derivatives: of R by the pair vector in 1/Å^2, float64, ``(n_pairs, 4, 3)``.
        slot: where a pair stands in a table of ``n_atoms * n_slots`` rows, ``(n_pairs,)``.
        n_slots: largest number of neighbours of an atom.
        pairs_of: the pairs of each kind.
        atoms_of: the atoms of each type.
    """

    graph: Graph
    types: Tensor
    kind: Tensor
    rows: Tensor
    derivatives: Tensor
    slot: Tensor
    n_slots: int
    pairs_of: tuple[Tensor, ...]
    atoms_of: tuple[Tensor, ...]

    @property
    def n_atoms(self) -> int:
        return self.graph.n_atoms

    def neighbor_counts(self, n_types: int) -> Tensor:
        """Number of neighbours of each atom by their type, ``(n_atoms, n_types)``."""
        index = self.graph.i * n_types + self.kind % n_types
        return torch.bincount(index, minlength=self.n_atoms * n_types).view(self.n_atoms, n_types)

    def to(self, device: torch.device | str | None) -> Environment:
        """The same environment on another device."""
        return replace(
            self,
            graph=self.graph.to(device),
            **{
                name: getattr(self, name).to(device)
                for name in ("types", "kind", "rows", "derivatives", "slot")
            },
            pairs_of=tuple(pairs.to(device) for pairs in self.pairs_of),
            atoms_of=tuple(atoms.to(device) for atoms in self.atoms_of),
        )


def environment_matrix(vectors: Tensor, rcut_smth: float, rcut: float) -> tuple[Tensor, Tensor]:
    """Rows (s, s n) with n = r_ij/r, and their derivatives by r_ij, in closed form:

        ds/dr_ij      = s' n
        d(s n)/dr_ij  = s' n n^T + (s/r) (1 - n n^T)

    Args:
        vectors: from i to j in Å, ``(n_pairs, 3)``.
        rcut_smth: start of the switching function in Å.
        rcut: its end in Å.

    Returns:
        The rows in 1/Å, ``(n_pairs, 4)``, and the derivatives in 1/Å^2, ``(n_pairs, 4, 3)``.
    """
    r = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    n = vectors / r
    u = ((r - rcut_smth) / (rcut - rcut_smth)).clamp(0.0, 1.0)
    s = (u**3 * (u * (15.0 - 6.0 * u) - 10.0) + 1.0) / r
    slope = -(30.0 * (u * (1.0 - u)) ** 2 / (rcut - rcut_smth) + s) / r
    radial = (slope * n)[:, None, :]
    tangential = torch.eye(3, dtype=n.dtype, device=n.device) - n[:, :, None] * n[:, None, :]
    derivatives = torch.cat((radial, n[:, :, None] * radial + (s / r)[:, :, None] * tangential), dim=1)
    return torch.cat((s, s * n), dim=1), derivatives


def build_environment(
    graph: Graph, types: Tensor, *, n_types: int, type_one_side: bool, rcut_smth: float, rcut: float
) -> Environment:
    """The environment of ``graph``, whose atoms have ``types`` (n_atoms,), on the device of both."""
    rows, derivatives = environment_matrix(graph.vectors, rcut_smth, rcut)
    kind = types[graph.j] if type_one_side else types[graph.i] * n_types + types[graph.j]
    counts = torch.bincount(graph.i, minlength=graph.n_atoms)
    first = torch.cumsum(counts, 0) - counts
    rank = torch.arange(len(graph.i), device=graph.i.device) - first[graph.i]
    n_slots = int(counts.max())
    return Environment(
        graph=graph,
        types=types,
        kind=kind,
        rows=rows,
        derivatives=derivatives,
        slot=graph.i * n_slots + rank,
        n_slots=n_slots,
        pairs_of=_members(kind, n_types if type_one_side else n_types**2),
        atoms_of=_members(types, n_types),
    )


def _members(labels: Tensor, n_labels: int) -> tuple[Tensor, ...]:
    if n_labels == 1:
        return (torch.arange(len(labels), device=labels.device),)
    return tuple(torch.nonzero(labels == label).squeeze(1) for label in range(n_labels))


def join_environments(environments: Sequence[Environment]) -> Environment:
    """One environment of all frames, in order; they may differ in size."""
    if len(environments) == 1:
        return environments[0]
    n_slots = max(environment.n_slots for environment in environments)
    slots, pairs, atoms = [], [], []
    first_atom, first_pair = 0, 0
    for environment in environments:
        centre = environment.graph.i
        rank = environment.slot - centre * environment.n_slots
        slots.append((centre + first_atom) * n_slots + rank)
        pairs.append([members + first_pair for members in environment.pairs_of])
        atoms.append([members + first_atom for members in environment.atoms_of])
        first_atom += environment.n_atoms
        first_pair += len(centre)
    return Environment(
        graph=collate([environment.graph for environment in environments]),
        types=torch.cat([environment.types for environment in environments]),
        kind=torch.cat([environment.kind for environment in environments]),
        rows=torch.cat([environment.rows for environment in environments]),
        derivatives=torch.cat([environment.derivatives for environment in environments]),
        slot=torch.cat(slots),
        n_slots=n_slots,
        pairs_of=tuple(torch.cat(members) for members in zip(*pairs, strict=True)),
        atoms_of=tuple(torch.cat(members) for members in zip(*atoms, strict=True)),
    )
