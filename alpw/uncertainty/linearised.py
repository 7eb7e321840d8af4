"""A Deep Potential at one structure to second order: what its derivatives by the weights are made of.

With A_k = (1/N_c) Σ_p R~_p ⊗ G_p over the pairs p of atom k, D_k = A_k^T A_k< and e_k = Fitting(D_k), the
energy is a function of the moments A alone, and

    B_k   = ∂e_k/∂A_k / N_c = (A_k< D̄_k^T + [A_k D̄_k, 0]) / N_c,      D̄ = ∂e/∂D
    dA_k  = (1/N_c) Σ_p dR~_p ⊗ G_p + R~_p ⊗ dG_p
    dB_k  = the same with dA and with dD̄, the second derivative of the fitting net

The names of `alpw.potential.descriptor` are kept; moments are ``(n_atoms, 4, M)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alpw.potential.environment import Environment
from alpw.potential.model import DeepPotential
from alpw.uncertainty.tangents import Pulled, Tape, Weights


@dataclass(frozen=True)
class Part:
    """One network of the model with the rows that pass through it.

    Attributes:
        rows: pairs of an embedding net, atoms of a fitting net.
        tape: the network at these rows.
        pulled: derivatives of the energy by the network's layers.
        input_bar: derivatives of the energy by the network's input.
        offset: of its first weight in the flat order.
        vectors: for each type vector in the input, its first column there and the type of each row.
        bounds: the pairs of atom k are the rows ``bounds[k]`` to ``bounds[k + 1]``; none for a fitting net.
    """

    rows: Tensor
    tape: Tape
    pulled: list[Pulled]
    input_bar: Tensor
    offset: int
    vectors: list[tuple[int, Tensor]]
    bounds: list[int]


class Linearised:
    """The model at a structure, in a chosen precision; nothing in it depends on a direction.

    Args:
        model: not compressed.
        environment: of one frame.
        dtype: of the calculation.

    Attributes:
        rows, turns: R~ and its derivatives by the pair vector, ``(n_pairs, 4)``, ``(n_pairs, 3, 4)``.
        columns, slopes: G and dG/ds~, ``(n_pairs, M)``.
        moments, by_moments: A and B, ``(n_atoms, 4, M)``.
        by_descriptor: D̄, ``(n_atoms, M, M_<)``.
        by_columns: dE/dG, ``(n_pairs, M)``.
        embeddings, fittings: the networks that have rows.
        n_weights: of the model.
        vector_table: shape of the trained type vectors ``(n_types, length)``, or None; they come first.
    """

    @torch.no_grad()
    def __init__(self, model: DeepPotential, environment: Environment, dtype: torch.dtype) -> None:
        descriptor = model.descriptor
        self.environment = environment
        self.axis, self.normaliser = descriptor.axis_neuron, float(descriptor.normaliser)
        self.n_weights = sum(parameter.numel() for parameter in model.parameters())
        vectors = descriptor.type_vectors
        trained = vectors is not None and isinstance(vectors.table, nn.Parameter)
        self.vector_table = tuple(vectors.table.shape) if vectors is not None and trained else None
        table = None if vectors is None else vectors.table.detach().to(dtype)
        offset = vectors.table.numel() if vectors is not None and trained else 0

        graph, types = environment.graph, environment.types
        scale = descriptor.dstd.double()[types[graph.i]]
        mean = descriptor.davg.double()[types[graph.i]]
        self.rows = ((environment.rows - mean) / scale).to(dtype)
        self.turns = (environment.derivatives / scale[:, :, None]).transpose(1, 2).to(dtype).contiguous()

        tapes = []
        self.columns = self.rows.new_zeros(len(self.rows), descriptor.n_columns)
        self.slopes = torch.zeros_like(self.columns)
        for network, rows in zip(
            descriptor.embeddings, _rows(environment.pairs_of, len(descriptor.embeddings)), strict=True
        ):
            x, where = self.rows[rows, :1], []
            if table is not None:
                kinds = [environment.kind[rows] % descriptor.n_types]
                if not descriptor.type_one_side:
                    kinds.append(environment.kind[rows] // descriptor.n_types)
                where = [(1 + n * table.shape[1], kind) for n, kind in enumerate(kinds)]
                x = torch.cat([x, *(table[kind] for kind in kinds)], dim=1)
            tape = Tape(network, x)
            ds = torch.zeros_like(x)
            ds[:, 0] = 1
            self.columns[rows] = tape.output
            self.slopes[rows] = tape.push(ds[:, None])[1].squeeze(1)
            tapes.append((rows, tape, offset, where))
            offset += sum(parameter.numel() for parameter in network.parameters())

        outer = self.rows[:, :, None] * self.columns[:, None, :]
        self.moments = outer.new_zeros(environment.n_atoms, *outer.shape[1:]).index_add_(0, graph.i, outer)
        self.moments /= self.normaliser
        descriptors = (self.moments.transpose(1, 2) @ self.moments[:, :, : self.axis]).flatten(1)

        self.fittings: list[Part] = []
        self.by_descriptor = torch.zeros_like(descriptors)
        for network, rows in zip(model.fitting, _rows(environment.atoms_of, len(model.fitting)), strict=True):
            x, where = descriptors[rows], []
            if table is not None:
                where = [(descriptors.shape[1], types[rows])]
                x = torch.cat((x, table[types[rows]]), dim=1)
            tape = Tape(network, x)
            pulled, by_input = tape.pull(torch.ones_like(tape.output))
            self.by_descriptor[rows] = by_input[:, : descriptors.shape[1]]
            self.fittings.append(Part(rows, tape, pulled, by_input, offset, where, []))
            offset += sum(parameter.numel() for parameter in network.parameters())
        self.by_descriptor = self.by_descriptor.view(-1, descriptor.n_columns, self.axis)

        self.by_moments = self._by_moments(self.moments, self.by_descriptor)
        self.by_columns = (self.rows[:, None, :] @ self.by_moments[graph.i]).squeeze(1)
        self.embeddings: list[Part] = []
        for rows, tape, first, where in tapes:
            pulled, by_input = tape.pull(self.by_columns[rows])
            # Pairs are sorted by centre.
            edges = torch.arange(environment.n_atoms + 1, device=rows.device)
            bounds = torch.searchsorted(graph.i[rows], edges).tolist()
            self.embeddings.append(Part(rows, tape, pulled, by_input, first, where, bounds))

    def _by_moments(self, moments: Tensor, by_descriptor: Tensor) -> Tensor:
        """B, bilinear in A ``(n, 4, M)`` and D̄ ``(n, M, M_<)``."""
        result = moments[:, :, : self.axis] @ by_descriptor.transpose(1, 2)
        result[:, :, : self.axis] += moments @ by_descriptor
        return result / self.normaliser

    def descriptor_change(self, atoms: Tensor, dmoments: Tensor) -> Tensor:
        """dD ``(n, d, M * M_<)`` of the atoms ``(n,)`` for dA ``(n, d, 4, M)``."""
        moments = self.moments[atoms][:, None]
        change = dmoments.transpose(2, 3) @ moments[..., : self.axis]
        change += moments.transpose(2, 3) @ dmoments[..., : self.axis]
        return change.flatten(2)

    def by_moments_change(self, atoms: Tensor, dmoments: Tensor, dby_descriptor: Tensor) -> Tensor:
        """dB ``(n, d, 4, M)`` of the atoms for dA ``(n, d, 4, M)`` and dD̄ ``(n, d, M, M_<)``."""
        n, d, _, width = dmoments.shape
        moments, by_descriptor = self.moments[atoms][:, None], self.by_descriptor[atoms]
        wide = dmoments.reshape(n, d * 4, width)
        result = (wide[:, :, : self.axis] @ by_descriptor.transpose(1, 2)).view(n, d, 4, width)
        result += moments[..., : self.axis] @ dby_descriptor.transpose(2, 3)
        result[..., : self.axis] += (wide @ by_descriptor).view(n, d, 4, self.axis)
        result[..., : self.axis] += moments @ dby_descriptor
        return result.div_(self.normaliser)


def layer_changes(draws: Tensor, tape: Tape, offset: int) -> list[Weights]:
    """The changes of one network's layers in draws ``(K, n_weights)`` of all weights in flat order."""
    changes = []
    for layer in tape.layers:
        n_in, n_out = layer.weights.w.shape
        sizes = [n_in * n_out, n_out] + ([] if layer.weights.idt is None else [n_out])
        w, b, *idt = draws[:, offset : offset + sum(sizes)].split(sizes, dim=1)
        changes.append(Weights(w.view(-1, n_out, n_in).transpose(1, 2), b, idt[0] if idt else None))
        offset += sum(sizes)
    return changes


def _rows(groups: Sequence[Tensor], n_networks: int) -> Sequence[Tensor]:
    """Which rows each network takes: one group each, or all of them if there is one network."""
    if len(groups) == n_networks:
        return groups
    return [torch.cat(tuple(groups)).sort().values]
