"""What the networks read of a structure: everything that depends neither on weights nor on statistics.

Equations (Zhang et al., NeurIPS 2018, arXiv:1805.09003; notation of Zeng et al., J. Chem. Phys. 159,
054801 (2023)), for centre i, neighbour j, r = |r_j - r_i|, u = (r - r_s) / (r_c - r_s):

    s(r)  = (1/r) * { 1 if r < r_s;  u^3 (-6 u^2 + 15 u - 10) + 1 if r < r_c;  0 otherwise }
    R_ij  = (s, s x/r, s y/r, s z/r)

Frames of a training set keep their environment from step to step, members of a committee share it, and
nothing in a step has to ask the device for the size of an array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from alpw.errors import InputError
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
        radial: what derivatives of R by the pair vector consist of, float64, ``(n_pairs, 3)``; see
            `environment_matrix`.
        slot: where a pair stands in a table of ``n_atoms * n_slots`` rows, ``(n_pairs,)``.
        n_slots: largest number of neighbours of an atom.
        pairs_of: the pairs of each kind.
        atoms_of: the atoms of each type.
    """

    graph: Graph
    types: Tensor
    kind: Tensor
    rows: Tensor
    radial: Tensor
    slot: Tensor
    n_slots: int
    pairs_of: tuple[Tensor, ...]
    atoms_of: tuple[Tensor, ...]

    @property
    def n_atoms(self) -> int:
        return self.graph.n_atoms

    @property
    def derivatives(self) -> Tensor:
        """Of R by the pair vector in 1/Å^2, ``(n_pairs, 4, 3)``; `pull` contracts them without this array."""
        vectors = self.graph.vectors[:, None, :]
        q, slope, bend = self.radial[:, :, None, None].unbind(1)
        identity = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
        return torch.cat((slope * vectors, q * identity + bend * vectors.mT * vectors), dim=1)

    def pull(self, gradient: Tensor) -> Tensor:
        """dE/dr_ij ``(n_pairs, 3)`` from dE/dR ``(n_pairs, 4)``, linearly; both float64."""
        vectors = self.graph.vectors
        q, slope, bend = self.radial.split(1, dim=1)
        by_s, by_direction = gradient.split((1, 3), dim=1)
        # As a matrix product: sums over rows of three numbers are slow.
        along = (vectors * by_direction) @ torch.ones(3, 1, dtype=vectors.dtype, device=vectors.device)
        return torch.addcmul(q * by_direction, torch.addcmul(slope * by_s, bend, along), vectors)

    def pieces(self, n_pairs: int) -> Iterator[tuple[slice, Environment]]:
        """Consecutive centres with about ``n_pairs`` pairs, so that temporary arrays stay in the cache.

        Yields:
            The pairs, and an environment with what `DeepPotential.forward` reads of them; its graph
            stays the whole one.
        """
        n_pieces = -(-len(self.graph.i) // n_pairs)
        if n_pieces < 2:
            yield slice(None), self
            return
        atoms = torch.linspace(0, self.n_atoms, n_pieces + 1).long()
        pairs = torch.searchsorted(self.graph.i, atoms)
        pairs_of = [_cut(members, pairs) for members in self.pairs_of]
        atoms_of = [_cut(members, atoms) for members in self.atoms_of]
        for piece, (atom, end, first, last) in enumerate(
            zip(*(bounds.tolist() for bounds in (atoms[:-1], atoms[1:], pairs[:-1], pairs[1:])), strict=True)
        ):
            cut = replace(
                self,
                types=self.types[atom:end],
                kind=self.kind[first:last],
                slot=self.slot[first:last] - atom * self.n_slots,
                pairs_of=tuple(members[piece] for members in pairs_of),
                atoms_of=tuple(members[piece] for members in atoms_of),
            )
            yield slice(first, last), cut

    def neighbor_counts(self, n_types: int) -> Tensor:
        """Number of neighbours of each atom by their type, ``(n_atoms, n_types)``."""
        index = self.graph.i * n_types + self.kind % n_types
        return torch.bincount(index, minlength=self.n_atoms * n_types).view(self.n_atoms, n_types)

    def to(self, device: torch.device | str | None) -> Environment:
        """The same environment on another device."""
        return replace(
            self,
            graph=self.graph.to(device),
            **{name: getattr(self, name).to(device) for name in ("types", "kind", "rows", "radial", "slot")},
            pairs_of=tuple(pairs.to(device) for pairs in self.pairs_of),
            atoms_of=tuple(atoms.to(device) for atoms in self.atoms_of),
        )


def environment_matrix(vectors: Tensor, rcut_smth: float, rcut: float) -> tuple[Tensor, Tensor]:
    """Rows (s, q r_ij) with q = s/r, and the three numbers per pair that their derivatives need:

        ds/dr_ij        = (s'/r) r_ij
        d(q r_ij)/dr_ij = q 1 + (q'/r) r_ij r_ij^T

    Args:
        vectors: from i to j in Å, ``(n_pairs, 3)``.
        rcut_smth: start of the switching function in Å.
        rcut: its end in Å.

    Returns:
        The rows in 1/Å, ``(n_pairs, 4)``, and q, s'/r, q'/r in 1/Å^2, 1/Å^3, 1/Å^4, ``(n_pairs, 3)``.
    """
    r = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    inverse = 1.0 / r
    u = ((r - rcut_smth) / (rcut - rcut_smth)).clamp(0.0, 1.0)
    s = (u**3 * (u * (15.0 - 6.0 * u) - 10.0) + 1.0) * inverse
    q = s * inverse
    slope = -(30.0 / (rcut - rcut_smth) * (u * (1.0 - u)) ** 2 + s) * inverse**2
    bend = (slope - q * inverse) * inverse
    return torch.cat((s, q * vectors), dim=1), torch.cat((q, slope, bend), dim=1)


def build_environment(
    graph: Graph, types: Tensor, *, n_types: int, type_one_side: bool, rcut_smth: float, rcut: float
) -> Environment:
    """The environment of ``graph``, whose atoms have ``types`` (n_atoms,), on the device of both."""
    rows, radial = environment_matrix(graph.vectors, rcut_smth, rcut)
    kind = types.index_select(0, graph.j)
    if not type_one_side:
        kind = kind + n_types * types.index_select(0, graph.i)
    counts = torch.bincount(graph.i, minlength=graph.n_atoms)
    first = torch.cumsum(counts, 0) - counts
    rank = torch.arange(len(graph.i), device=graph.i.device) - first.index_select(0, graph.i)
    n_slots = int(counts.max())
    return Environment(
        graph=graph,
        types=types,
        kind=kind,
        rows=rows,
        radial=radial,
        slot=graph.i * n_slots + rank,
        n_slots=n_slots,
        pairs_of=_members(kind, n_types if type_one_side else n_types**2),
        atoms_of=_members(types, n_types),
    )


def fill_slots(environment: Environment, sel: Tensor, *, type_one_side: bool) -> Environment:
    """Add a pair for every empty slot of DeePMD-kit's neighbour table, as far away as the cutoff.

    Such a pair has R = 0 and exerts no force. It counts where a mean is subtracted from R.

    Args:
        environment: of one or more frames.
        sel: slots for neighbours of each type, ``(n_types,)``.
        type_one_side: as for `build_environment`.

    Raises:
        InputError: an atom with more neighbours than slots.
    """
    n_types, n_atoms = len(sel), environment.n_atoms
    empty = sel - environment.neighbor_counts(n_types)
    if bool((empty < 0).any()):
        atom, column = divmod(int(empty.argmin()), n_types)
        n_neighbors, n_slots = int(sel[column] - empty[atom, column]), int(sel[column])
        raise InputError(
            f"atom {atom} has {n_neighbors} neighbours of type {column}; this model subtracts a mean (davg) "
            f"from its descriptor, which ties it to the {n_slots} slots that it was trained with",
            key="sel",
        )
    graph, device = environment.graph, sel.device
    slots = torch.arange(n_atoms * n_types, device=device).repeat_interleave(empty.flatten())
    centre, kind = slots // n_types, slots % n_types
    if not type_one_side:
        kind = kind + n_types * environment.types[centre]
    i, order = torch.cat((graph.i, centre)).sort(stable=True)
    n_empty, n_slots = len(slots), int(sel.sum())
    far = graph.vectors.new_tensor([graph.cutoff, 0.0, 0.0]).expand(n_empty, 3)
    kind = torch.cat((environment.kind, kind))[order]
    return replace(
        environment,
        graph=replace(
            graph, i=i, j=torch.cat((graph.j, centre))[order], vectors=torch.cat((graph.vectors, far))[order]
        ),
        kind=kind,
        rows=torch.cat((environment.rows, environment.rows.new_zeros(n_empty, 4)))[order],
        radial=torch.cat((environment.radial, environment.radial.new_zeros(n_empty, 3)))[order],
        # Every atom has all its slots now.
        slot=torch.arange(n_atoms * n_slots, device=device),
        n_slots=n_slots,
        pairs_of=_members(kind, len(environment.pairs_of)),
    )


def _members(labels: Tensor, n_labels: int) -> tuple[Tensor, ...]:
    if n_labels == 1:
        return (torch.arange(len(labels), device=labels.device),)
    return tuple(torch.nonzero(labels == label).squeeze(1) for label in range(n_labels))


def _cut(members: Tensor, bounds: Tensor) -> list[Tensor]:
    """Ascending indices between consecutive bounds, each counted from its lower bound."""
    ends = torch.searchsorted(members, bounds).tolist()
    starts = bounds.tolist()
    return [members[a:b] - start for a, b, start in zip(ends[:-1], ends[1:], starts[:-1], strict=True)]


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
        radial=torch.cat([environment.radial for environment in environments]),
        slot=torch.cat(slots),
        n_slots=n_slots,
        pairs_of=tuple(torch.cat(members) for members in zip(*pairs, strict=True)),
        atoms_of=tuple(torch.cat(members) for members in zip(*atoms, strict=True)),
    )
