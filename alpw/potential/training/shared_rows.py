"""Which pairs of atoms share a row of the embedding net: i-j and j-i, where both atoms are of one type.

The net sees s(r_ij) and the types only, and both are the same from either end. So a crystal of one element
needs half the rows that it has pairs, and any other structure saves those of its pairs of like atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alpw.potential.environment import Environment

# In Å; vectors of i-j and j-i add up to rounding.
TOLERANCE = 1e-6
# Tells images of a pair apart: no lattice vector of a crystal is at a right angle to it.
DIRECTION = np.array([0.5366563, 0.6180340, 0.5745968])


@dataclass(frozen=True)
class SharedRows:
    """The rows of a frame's embedding nets.

    Attributes:
        first: for each net, the pair that a row is computed from, ``(n_rows,)``.
        second: for each net, the pair that shares the row, ``(n_rows,)``; -1 where there is none.
    """

    first: tuple[Tensor, ...]
    second: tuple[Tensor, ...]


def shared_rows(environment: Environment, n_nets: int) -> SharedRows:
    """Find them for the pairs of one frame; with one net, it takes pairs of every kind."""
    partner = torch.from_numpy(_mirror_images(environment)).to(environment.kind.device)
    pairs = torch.arange(len(partner), device=partner.device)
    # Of two mirror images, the one that stands first makes the row.
    owners = (partner < 0) | (pairs < partner)
    groups = environment.pairs_of if n_nets > 1 else (pairs,)
    first = tuple(group[owners[group]] for group in groups)
    return SharedRows(first, tuple(partner[rows] for rows in first))


def _mirror_images(environment: Environment) -> np.ndarray:
    """For each pair the one from the other end, ``(n_pairs,)``; -1 for pairs of unlike atoms."""
    graph, types = environment.graph, environment.types.cpu().numpy()
    i, j, vectors = (tensor.cpu().numpy() for tensor in (graph.i, graph.j, graph.vectors))
    along = vectors @ DIRECTION
    partner = np.full(len(i), -1)
    like = types[i] == types[j]
    forward = (i < j) | ((i == j) & (along > 0))
    there, back = np.flatnonzero(like & forward), np.flatnonzero(like & ~forward)
    if len(there) != len(back):
        return partner
    there = there[np.lexsort((along[there], j[there], i[there]))]
    back = back[np.lexsort((-along[back], i[back], j[back]))]
    ends_agree = np.array_equal(i[there], j[back]) and np.array_equal(j[there], i[back])
    if ends_agree and (abs(vectors[there] + vectors[back]) < TOLERANCE).all():
        partner[there], partner[back] = back, there
    return partner


def join_rows(frames: Sequence[SharedRows], n_pairs: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Rows of all frames, ordered by net and then by frame, as pairs of the joined environment.

    Args:
        frames: the rows of each.
        n_pairs: in each frame.

    Returns:
        `first` and `second`; the latter is the number of all pairs where there is none.
    """
    offsets = np.cumsum([0, *n_pairs]).tolist()
    starts = offsets[:-1]
    n_nets = len(frames[0].first)
    each = [(net, frame, start) for net in range(n_nets) for frame, start in zip(frames, starts, strict=True)]
    first = torch.cat([frame.first[net] + start for net, frame, start in each])
    second = torch.cat([frame.second[net] for net, frame, _ in each])
    shift = torch.cat([torch.full_like(frame.second[net], start) for net, frame, start in each])
    return first, torch.where(second < 0, offsets[-1], second + shift)
