"""Derivatives of energy and forces by the weights of a Deep Potential.

A force on atom i is the change of the atomic energies that see i: of i and its neighbours k. With the
displacement of i along a as the direction (see `alpw.uncertainty.linearised`),

    -∂F_ia/∂w_fit = Σ_k  D_k ⊗ dδ_k + dD_k ⊗ δ_k                           layer by layer
    -∂F_ia/∂w_emb = Σ_k Σ_p∈k  x_p ⊗ dδ_p + dx_p ⊗ δ_p,   with seed  R~_p^T dB_k + dR~_p^T B_k

so that the Jacobian is a set of matrix products over the neighbourhood of each atom, and its cost is linear
in the number of atoms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby

import torch
from torch import Tensor

from alpw.uncertainty.linearised import Linearised, Part
from alpw.uncertainty.tangents import Pulled, Term

# What the intermediate tensors of a chunk of atoms, or of draws, may take; small enough to stay in cache.
CHUNK_BYTES = 2**22
# The same for the Jacobian itself and what is as large as it.
JACOBIAN_BYTES = 2**27


@dataclass(frozen=True)
class Table:
    """Members of groups as the rows of a table with equally many places for each group.

    Attributes:
        n_groups, n_places: shape of the table.
        place: of each member in the flattened table.
    """

    n_groups: int
    n_places: int
    place: Tensor

    @classmethod
    def of(cls, group: Tensor, n_groups: int) -> Table:
        """Members with the groups ``(n,)``, in any order."""
        counts = torch.bincount(group, minlength=n_groups)
        order = torch.argsort(group, stable=True)
        first = torch.cumsum(counts, 0) - counts
        rank = torch.empty_like(group)
        rank[order] = torch.arange(len(group), device=group.device) - first[group[order]]
        n_places = int(counts.max()) if len(group) else 0
        return cls(n_groups, n_places, group * n_places + rank)

    def fill(self, values: Tensor) -> Tensor:
        """``(n, ...) -> (n_groups, n_places, ...)``, zero where there is no member."""
        table = values.new_zeros(self.n_groups * self.n_places, *values.shape[1:])
        return table.index_copy_(0, self.place, values).view(self.n_groups, self.n_places, *values.shape[1:])


@torch.no_grad()
def energy_gradient(state: Linearised) -> Tensor:
    """dE/dw of the frame in eV, ``(n_weights,)``."""
    gradient = state.rows.new_zeros(1, 1, state.n_weights)
    for part in (*state.embeddings, *state.fittings):
        changed = [Pulled(z_bar[:, None], y_bar[:, None]) for z_bar, y_bar in part.pulled]
        for term in part.tape.terms(changed):
            _add(gradient, part.offset, _as_one_group(term))
        for term in _vector_terms(state, part, part.input_bar[:, None]):
            _add(gradient, 0, _as_one_group(term))
    return gradient.view(-1)


def force_jacobian(state: Linearised, atoms: Tensor | None = None) -> Tensor:
    """dF/dw of ``atoms`` (all if None), ``(n, 3, n_weights)`` in eV/Å; see `force_jacobian_chunks`."""
    chunks = [chunk for _, chunk in force_jacobian_chunks(state, atoms)]
    return chunks[0] if len(chunks) == 1 else torch.cat(chunks)


@torch.no_grad()
def force_jacobian_chunks(state: Linearised, atoms: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """dF/dw of as many atoms at a time as the memory is meant for.

    Args:
        state: the model at the structure.
        atoms: ``(n,)``; all if None.

    Yields:
        Atoms ``(m,)`` and their derivatives ``(m, 3, n_weights)`` in eV/Å, weights in the flat order of
        `alpw.potential.weights`.
    """
    environment = state.environment
    if atoms is None:
        atoms = torch.arange(environment.n_atoms, device=state.rows.device)
    size = state.rows.element_size()
    links = (environment.n_slots + 1) * 3 * state.by_moments[0].numel()
    step = max(1, JACOBIAN_BYTES // ((3 * state.n_weights + links) * size))
    for chosen in atoms.split(step):
        yield chosen, _chunk(state, chosen)


def _chunk(state: Linearised, chosen: Tensor) -> Tensor:
    graph, n_atoms = state.environment.graph, state.environment.n_atoms
    jacobian = state.rows.new_zeros(len(chosen), 3, state.n_weights)
    links, dby_moments = [], []
    floats = (state.environment.n_slots + 1) * 3 * state.by_descriptor[0].numel()
    step = max(1, CHUNK_BYTES // (floats * jacobian.element_size()))
    for first in range(0, len(chosen), step):
        few = chosen[first : first + step]
        position = torch.full((n_atoms,), -1, device=few.device)
        position[few] = torch.arange(len(few), device=few.device)
        # A pair (k, i) grows when i moves, a pair (i, j) shrinks; forces are minus the energy's change.
        grows, shrinks = (torch.nonzero(position[ends] >= 0).squeeze(1) for ends in (graph.j, graph.i))
        pair = torch.cat((grows, shrinks))
        target = torch.cat((position[graph.j[grows]], position[graph.i[shrinks]]))
        bends = state.turns[pair]
        bends[: len(grows)].neg_()
        rows = jacobian[first : first + step]
        for part in state.embeddings:
            _add_direct(state, part, rows, pair, target, bends)
        for part in state.fittings:
            keys, change = _add_fitting(state, part, rows, pair, target, bends)
            links.append(keys + first * n_atoms)
            dby_moments.append(change)
    keys, change = torch.cat(links), torch.cat(dby_moments)
    order = torch.argsort(keys % n_atoms, stable=True)
    keys, change = keys[order], change[order]
    for part in state.embeddings:
        _add_through_moments(state, part, jacobian, keys // n_atoms, (keys % n_atoms).tolist(), change)
    return jacobian


def _add_fitting(
    state: Linearised, part: Part, jacobian: Tensor, pair: Tensor, target: Tensor, bends: Tensor
) -> tuple[Tensor, Tensor]:
    """Add the derivatives by the weights of a fitting net.

    Args:
        state: the model.
        part: the fitting net.
        jacobian: ``(n, 3, n_weights)``.
        pair: pairs with an end at one of the n atoms, ``(m,)``.
        target: which of the atoms that is, ``(m,)``.
        bends: -∂R~/∂r_a of that atom, ``(m, 3, 4)``.

    Returns:
        For each of the n atoms and each atom k of this net that sees it, n_atoms times the former plus k,
        and dB_k, ``(n_links, 3, 4, M)``.
    """
    n_atoms, n_chosen = state.environment.n_atoms, len(jacobian)
    row_of = torch.full((n_atoms,), -1, device=pair.device)
    row_of[part.rows] = torch.arange(len(part.rows), device=pair.device)
    centre = state.environment.graph.i[pair]
    here = torch.nonzero(row_of[centre] >= 0).squeeze(1)
    if not len(here):
        return here, bends.new_zeros(0, 3, *state.moments.shape[1:])
    pair, target, centre, bends = pair[here], target[here], centre[here], bends[here]
    # A link is a chosen atom and a centre that sees it, whether by one pair or by several images.
    keys, link = torch.unique(target * n_atoms + centre, return_inverse=True)
    table = Table.of(keys // n_atoms, n_chosen)
    # Places left over hold a centre all the same, with changes of zero.
    centres = part.rows.new_full((n_chosen * table.n_places,), int(part.rows[0]))
    centres[table.place] = keys % n_atoms

    columns, slopes, rows = state.columns[pair], state.slopes[pair], state.rows[pair]
    dmoments = bends[:, :, :, None] * columns[:, None, None, :]
    dmoments += rows[:, None, :, None] * (bends[:, :, :1, None] * slopes[:, None, None, :])
    dmoments /= state.normaliser
    changes = dmoments.new_zeros(len(centres), *dmoments.shape[1:]).index_add_(0, table.place[link], dmoments)

    at = row_of[centres]
    tape = part.tape.take(at)
    pulled = [Pulled(z_bar[at], y_bar[at]) for z_bar, y_bar in part.pulled]
    dx = state.descriptor_change(centres, changes)
    width = dx.shape[2]
    if part.vectors:
        dx = torch.cat((dx, dx.new_zeros(*dx.shape[:2], tape.layers[0].x.shape[1] - width)), dim=2)
    pushed, _ = tape.push(dx)
    changed, dx_bar = tape.pull_change(None, pulled, pushed)
    shape = (n_chosen, table.n_places)
    for term in tape.terms(changed, pulled, pushed):
        _add(jacobian, part.offset, _grouped(term, shape))
    for term in _vector_terms(state, part, dx_bar, at):
        _add(jacobian, 0, _grouped(term, shape))

    dby = dx_bar[:, :, :width].unflatten(2, state.by_descriptor.shape[1:])
    return keys, state.by_moments_change(centres, changes, dby)[table.place]


def _add_through_moments(
    state: Linearised, part: Part, jacobian: Tensor, links: Tensor, centres: list[int], dby_moments: Tensor
) -> None:
    """Terms of the seeds R~_p^T dB_k: as dB_k is the same for all pairs of k, they are dB_k ∂A_k/∂w.

    Args:
        state: the model.
        part: the embedding net.
        jacobian: ``(n, 3, n_weights)``, added to.
        links: which of the n atoms a link is of, ``(n_links,)``, sorted by centre.
        centres: the centre of each link.
        dby_moments: dB of each link, ``(n_links, 3, 4, M)``.
    """
    width = state.columns.shape[1]
    unit = torch.eye(width, dtype=jacobian.dtype, device=jacobian.device)
    totals: dict[int, Tensor] = {}
    offsets: list[int] = []
    first = 0
    for centre, run in groupby(centres):
        last = first + len(list(run))
        begin, end = part.bounds[centre], part.bounds[centre + 1]
        if begin < end:
            here = slice(begin, end)
            rows, tape = state.rows[part.rows[here]].T, part.tape.take(here)
            changed, x_bar = tape.pull_change(unit.expand(end - begin, width, width))
            seeds = dby_moments[first:last].flatten(0, 1)
            terms = (term._replace(offset=part.offset + term.offset) for term in tape.terms(changed))
            for index, term in enumerate(chain(terms, _vector_terms(state, part, x_bar, here))):
                change = _by_moments(seeds, rows, term)
                if index not in totals:
                    totals[index] = jacobian.new_zeros(len(jacobian), 3, change.shape[1])
                    offsets.append(term.offset)
                totals[index].index_add_(0, links[first:last], change.view(last - first, 3, -1))
        first = last
    for offset, total in zip(offsets, totals.values(), strict=True):
        jacobian[:, :, offset : offset + total.shape[2]] += total


def _by_moments(seeds: Tensor, rows: Tensor, term: Term) -> Tensor:
    """Σ seeds Σ_p R~_p ⊗ right_p ⊗ x_p: a derivative of A_k times N_c, by which dB_k is divided already.

    Args:
        seeds: dB, ``(n_seeds, 4, M)``.
        rows: R~, ``(4, n)``.
        term: x ``(n, n_in)`` and right ``(n, M, n_out)``.

    Returns:
        ``(n_seeds, n_out * n_in)``, column by column.
    """
    if term.x is None:
        return seeds.flatten(1) @ (rows @ term.right.flatten(1)).view(seeds[0].numel(), -1)
    moments = term.right.flatten(1).T @ (rows[:, :, None] * term.x)
    return seeds.flatten(1) @ moments.view(seeds[0].numel(), -1)


def _add_direct(
    state: Linearised, part: Part, jacobian: Tensor, pair: Tensor, target: Tensor, bends: Tensor
) -> None:
    """Terms of the seeds dR~_p^T B_k and of ds~_p, for the pairs that end at a chosen atom."""
    row_of = torch.full((len(state.rows),), -1, device=pair.device)
    row_of[part.rows] = torch.arange(len(part.rows), device=pair.device)
    here = torch.nonzero(row_of[pair] >= 0).squeeze(1)
    if not len(here):
        return
    pair, target, bends = pair[here], target[here], bends[here]
    at = row_of[pair]
    tape = part.tape.take(at)
    pulled = [Pulled(z_bar[at], y_bar[at]) for z_bar, y_bar in part.pulled]
    dseed = bends @ state.by_moments[state.environment.graph.i[pair]]
    dx = bends[:, :, :1]
    n_in = tape.layers[0].x.shape[1]
    if n_in > 1:
        dx = torch.cat((dx, dx.new_zeros(*dx.shape[:2], n_in - 1)), dim=2)
    pushed, _ = tape.push(dx)
    changed, dx_bar = tape.pull_change(dseed, pulled, pushed)
    table = Table.of(target, len(jacobian))
    for term in tape.terms(changed, pulled, pushed):
        _add(jacobian, part.offset, _mapped(term, table.fill))
    for term in _vector_terms(state, part, dx_bar, at):
        _add(jacobian, 0, _mapped(term, table.fill))


def _vector_terms(
    state: Linearised, part: Part, input_bar: Tensor, at: Tensor | slice | None = None
) -> Iterator[Term]:
    """The gradient by trained type vectors: rows of a matrix that one-hot inputs are multiplied by."""
    if state.vector_table is None:
        return
    n_types, length = state.vector_table
    for first, kind in part.vectors:
        one_hot = torch.nn.functional.one_hot(kind if at is None else kind[at], n_types).to(input_bar.dtype)
        yield Term(0, one_hot, input_bar[..., first : first + length])


def _as_one_group(term: Term) -> Term:
    return _grouped(term, (1, len(term.right)))


def _grouped(term: Term, shape: tuple[int, int]) -> Term:
    """Rows as ``shape`` (n_groups, n_places)."""
    return _mapped(term, lambda rows: rows.unflatten(0, shape))


def _mapped(term: Term, change: Callable[[Tensor], Tensor]) -> Term:
    x, dx, left = (None if part is None else change(part) for part in (term.x, term.dx, term.left))
    return Term(term.offset, x, change(term.right), dx, left)


def _add(jacobian: Tensor, offset: int, term: Term) -> None:
    """Add the sums over the rows of each group, ``(n_groups, d, n_out * n_in)``, column by column."""
    n_groups, _, n_directions, n_out = term.right.shape
    n_in = 1 if term.x is None else term.x.shape[2]
    first = offset + term.offset
    target = jacobian[:, :, first : first + n_in * n_out]
    if term.x is None:
        target += term.right.sum(1)
        return
    for a in range(n_directions):
        matrix = target[:, a].view(n_groups, n_out, n_in)
        matrix.baddbmm_(term.right[:, :, a].transpose(1, 2), term.x)
        if term.dx is not None and term.left is not None:
            matrix.baddbmm_(term.left.transpose(1, 2), term.dx[:, :, a])
