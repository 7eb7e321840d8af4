"""The descriptor of an atom: its neighbours' environment matrices, weighted by networks and contracted.

    R~_ij = (R_ij - μ[t_i]) / σ[t_i]                       μ = 0 in models of our own
    G_ij  = Embedding[t_i, t_j](s~_ij)                     one net per kind of pair, or per neighbour
            Embedding(s~_ij, v[t_j], v[t_i])               one net, elements as vectors
    D_i   = (1/N_c^2) (G^T R~) (R~^T G_<)                  G_< is the first ``axis_neuron`` columns

(`se_e2_a`: Zhang et al., NeurIPS 2018, arXiv:1805.09003; with vectors, DPA-1 without attention: Zhang et
al., npj Comput. Mater. 10, 94 (2024).)

| symbol | variable |
| --- | --- |
| μ, σ | `davg`, `dstd`, ``(n_types, 4)`` |
| N_c | `normaliser` |
| v | `type_vectors` |
| M, M_< | ``neuron[-1]``, `axis_neuron` |

DeePMD-kit subtracts a mean by default and lets the empty slots of its fixed-size neighbour table carry
-μ/σ into the sum. Without the mean, an empty slot is exactly zero, so that the size of the table is no
part of the model: N_c is only a scale. Imported models keep their mean and their empty slots
(`environment.fill_slots`).
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import jvp

from alpw.potential.config import ACTIVATIONS, DeepPotentialConfig
from alpw.potential.environment import Environment, environment_matrix
from alpw.potential.networks import residual_network
from alpw.potential.tables import Contraction, EmbeddingTables, TableOptions
from alpw.potential.type_vectors import TypeVectors, learned_table, physical_table


class SmoothDescriptor(nn.Module):
    """Type vectors, embedding nets or their `tables`, and normalisation of the descriptor."""

    davg: Tensor
    dstd: Tensor
    normaliser: Tensor
    sel: Tensor

    def __init__(self, config: DeepPotentialConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.rcut_smth, self.rcut = config.rcut_smth, config.rcut
        self.axis_neuron, self.n_columns = config.axis_neuron, config.neuron[-1]
        self.n_types = len(config.elements)
        self.type_one_side = config.type_one_side
        self.type_vectors = _type_vectors(config, rng)
        vector_width = self.type_vectors.table.shape[1] if self.type_vectors else 0
        n_vectors = 1 if config.type_one_side else 2
        self.n_kinds = n_kinds = self.n_types**n_vectors
        self.tables: EmbeddingTables | None = None
        self.embeddings = nn.ModuleList(
            residual_network(
                (1 + n_vectors * vector_width, *config.neuron),
                activation=ACTIVATIONS[config.activation],
                resnet_dt=config.embedding_resnet_dt,
                dtype=config.dtype,
                rng=rng,
            )
            for _ in range(1 if self.type_vectors else n_kinds)
        )
        self.width = config.neuron[-1] * config.axis_neuron + vector_width
        capacities = _capacities(config)
        self.register_buffer("sel", capacities)
        self.register_buffer("davg", torch.zeros(self.n_types, 4, dtype=config.dtype))
        self.register_buffer("dstd", torch.ones(self.n_types, 4, dtype=config.dtype))
        self.register_buffer("normaliser", capacities.sum().to(config.dtype))

    def forward(self, environment: Environment, scaled: Tensor) -> Tensor:
        """Descriptors ``(n_atoms, M * M_<)``, followed by the atom's type vector where there is one.

        Args:
            environment: how the pairs are ordered.
            scaled: R~ of the pairs, ``(n_pairs, 4)``.
        """
        moments = self._moments(environment, scaled) / self.normaliser
        descriptors = torch.bmm(moments.transpose(1, 2), moments[:, :, : self.axis_neuron]).flatten(1)
        if self.type_vectors is None:
            return descriptors
        return torch.cat((descriptors, self.type_vectors.table[environment.types]), dim=1)

    def _moments(self, environment: Environment, scaled: Tensor) -> Tensor:
        """R~^T G of the atoms, ``(n_atoms, 4, M)``."""
        # The pairs of an atom go to the first slots of its row in a table (n_atoms, n_slots, .); the slots
        # left over stay zero. A batched matrix product over slots is faster than a sum over pairs.
        n_atoms, n_slots = len(environment.types), environment.n_slots
        slots, by_atom = n_atoms * n_slots, (n_atoms, n_slots, self.n_columns)
        rows = scaled.new_zeros(slots, 4).index_copy(0, environment.slot, scaled)
        table = rows.view(n_atoms, n_slots, 4)
        if self.tables is not None:
            columns, slopes = self._look_up(self.tables, environment, rows.detach()[:, 0])
            moments: Tensor = Contraction.apply(table, columns.view(by_atom), slopes.view(by_atom))
            return moments
        order, embedded = self._embed(environment, scaled[:, :1])
        columns = scaled.new_zeros(slots, self.n_columns).index_copy(
            0, environment.slot[order] if order is not None else environment.slot, embedded
        )
        return torch.bmm(table.transpose(1, 2), columns.view(by_atom))

    def tabulate(self, options: TableOptions) -> None:
        """Take G from tables from now on; the networks stay, for the pairs closer than the tables reach."""
        precise = copy.deepcopy(self).double()
        at_shortest = torch.tensor([[options.shortest, 0.0, 0.0]], dtype=torch.float64)
        s = environment_matrix(at_shortest, self.rcut_smth, self.rcut)[0][0, 0]
        # From s = 0 of the farthest neighbours, which is s~ = 0 unless a mean is subtracted, to the closest.
        span = [(at - precise.davg[:, 0]) / precise.dstd[:, 0] for at in (0.0, s)]
        embeddings = [partial(precise.embed_kind, kind) for kind in range(self.n_kinds)]
        self.tables = EmbeddingTables(
            embeddings, (float(span[0].min()), float(span[1].max())), options, like=self.dstd
        )

    def embed_kind(self, kind: int, s: Tensor) -> Tensor:
        """G ``(n, M)`` of pairs of one kind at s~ ``(n, 1)``, by its network."""
        if self.type_vectors is None:
            embedded: Tensor = self.embeddings[kind](s)
            return embedded
        return self._embed_vectors(torch.full((len(s),), kind, device=s.device), s)

    def _embed_vectors(self, kind: Tensor, s: Tensor) -> Tensor:
        assert self.type_vectors is not None
        vectors = [self.type_vectors.table[kind % self.n_types]]
        if not self.type_one_side:
            vectors.append(self.type_vectors.table[kind // self.n_types])
        embedded: Tensor = self.embeddings[0](torch.cat((s, *vectors), dim=1))
        return embedded

    def _embed(self, environment: Environment, s: Tensor) -> tuple[Tensor | None, Tensor]:
        """G of the pairs in some order, ``(n_pairs, M)``; the order is None if it is that of the pairs."""
        if self.type_vectors is not None:
            return None, self._embed_vectors(environment.kind, s)
        if self.n_kinds == 1:
            return None, self.embeddings[0](s)
        groups = zip(self.embeddings, environment.pairs_of, strict=True)
        embedded = [embedding(s.index_select(0, pairs)) for embedding, pairs in groups]
        return torch.cat(environment.pairs_of), torch.cat(embedded)

    def _look_up(self, tables: EmbeddingTables, environment: Environment, s: Tensor) -> tuple[Tensor, Tensor]:
        """G and dG/ds~ in slots: by the tables, and by the networks where pairs are too close for them."""
        kind = None
        if self.n_kinds > 1:
            kind = torch.zeros_like(s, dtype=torch.int64).index_copy_(0, environment.slot, environment.kind)
        columns, slopes = tables(kind, s)
        if environment.graph.closest >= tables.options.shortest:
            return columns, slopes
        beyond = torch.nonzero(s > tables.end).squeeze(1)
        kinds = torch.zeros_like(beyond) if kind is None else kind[beyond]
        for index in torch.unique(kinds).tolist():
            slots = beyond[kinds == index]
            at = s[slots][:, None]
            exact = jvp(partial(self.embed_kind, index), (at,), (torch.ones_like(at),))
            columns[slots], slopes[slots] = exact[0], exact[1]
        return columns, slopes


def _type_vectors(config: DeepPotentialConfig, rng: torch.Generator) -> TypeVectors | None:
    if config.type_embedding is None:
        return None
    if config.type_embedding == "learned":
        return TypeVectors(
            learned_table(len(config.elements), config.tebd_dim, rng).to(config.dtype), trained=True
        )
    table = physical_table(config.elements, config.physical_properties)
    return TypeVectors(table.to(config.dtype), trained=False)


def _capacities(config: DeepPotentialConfig) -> Tensor:
    """Neighbours to make room for: per element, or in all with type vectors, as DeePMD-kit counts them."""
    sel = config.sel or 1
    if config.type_embedding is not None:
        return torch.tensor([sum(sel) if isinstance(sel, tuple) else sel])
    # One number for several elements: any share of it may be of one element, only the sum is known.
    return torch.tensor(sel if isinstance(sel, tuple) else [sel] + [0] * (len(config.elements) - 1))
