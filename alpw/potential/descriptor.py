"""The `se_e2_a` descriptor: Deep Potential Smooth Edition, built from distances and directions.

Equations (Zhang et al., NeurIPS 2018, arXiv:1805.09003; notation of Zeng et al., J. Chem. Phys. 159,
054801 (2023)), for centre i, neighbour j, r = |r_j - r_i|, u = (r - r_s) / (r_c - r_s):

    s(r)  = (1/r) * { 1 if r < r_s;  u^3 (-6 u^2 + 15 u - 10) + 1 if r < r_c;  0 otherwise }
    R_ij  = (s, s x/r, s y/r, s z/r)                       environment matrix, one row per neighbour
    R~_ij = R_ij / σ[t_i]                                  no mean is subtracted
    G_ij  = Embedding[t_j](s~_ij)                          or Embedding[t_i, t_j]
    D_i   = (1/N_c^2) (G^T R~) (R~^T G_<)                  G_< is the first ``axis_neuron`` columns

| symbol | variable |
| --- | --- |
| r_s, r_c | `rcut_smth`, `rcut` |
| σ | `dstd`, ``(n_types, 4)`` |
| N_c | `normaliser` |
| M, M_< | ``neuron[-1]``, `axis_neuron` |

DeePMD-kit subtracts a mean `davg` too and lets the empty slots of its fixed-size neighbour table carry
-davg/dstd into the sum. Without the mean, an empty slot is exactly zero, so that the size of the table
is no part of the model: N_c is only a scale.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from alpw.potential.config import ACTIVATIONS, DeepPotentialConfig
from alpw.potential.neighbors import Graph
from alpw.potential.networks import residual_network


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


class SmoothDescriptor(nn.Module):
    """Embedding nets and normalisation of the descriptor."""

    dstd: Tensor
    normaliser: Tensor

    def __init__(self, config: DeepPotentialConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.rcut_smth, self.rcut = config.rcut_smth, config.rcut
        self.axis_neuron = config.axis_neuron
        self.n_types = len(config.elements)
        self.type_one_side = config.type_one_side
        self.embeddings = nn.ModuleList(
            residual_network(
                (1, *config.neuron),
                activation=ACTIVATIONS[config.activation],
                resnet_dt=False,
                dtype=config.dtype,
                rng=rng,
            )
            for _ in range(self.n_types ** (1 if config.type_one_side else 2))
        )
        self.n_columns = config.neuron[-1]
        self.width = config.neuron[-1] * config.axis_neuron
        self.register_buffer("dstd", torch.ones(self.n_types, 4, dtype=config.dtype))
        self.register_buffer("normaliser", torch.tensor(float(config.sel or 1), dtype=config.dtype))

    def environment(self, types: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        """R~ in the model's precision, ``(n_pairs, 4)``, and dR~/dr_ij in float64, ``(n_pairs, 4, 3)``."""
        rows, derivatives = environment_matrix(graph.vectors, self.rcut_smth, self.rcut)
        scale = self.dstd[types[graph.i]].double()
        return (rows / scale).to(self.dstd.dtype), derivatives / scale[:, :, None]

    def forward(self, types: Tensor, graph: Graph, environment: Tensor) -> Tensor:
        """Descriptors ``(n_atoms, M * M_<)``.

        Args:
            types: of the atoms, ``(n_atoms,)``.
            graph: the pairs.
            environment: R~ of the pairs, ``(n_pairs, 4)``.
        """
        n_atoms, n_pairs = graph.n_atoms, len(graph.i)

        # The pairs of an atom go to the first slots of its row in a table (n_atoms, n_slots, .); the slots
        # left over stay zero. A batched matrix product over slots is faster than a sum over pairs.
        counts = torch.bincount(graph.i, minlength=n_atoms)
        first = torch.cumsum(counts, 0) - counts
        n_slots = int(counts.max())
        slot = graph.i * n_slots + torch.arange(n_pairs, device=graph.i.device) - first[graph.i]

        kind = types[graph.j] if self.type_one_side else types[graph.i] * self.n_types + types[graph.j]
        embedded = environment.new_zeros(n_atoms * n_slots, self.n_columns)
        s = environment[:, :1]
        for index, embedding in enumerate(self.embeddings):
            rows = torch.nonzero(kind == index).squeeze(1)
            embedded = embedded.index_copy(0, slot[rows], embedding(s.index_select(0, rows)))
        table = environment.new_zeros(n_atoms * n_slots, 4).index_copy(0, slot, environment)

        table = table.view(n_atoms, n_slots, 4).transpose(1, 2)
        moments = torch.bmm(table, embedded.view(n_atoms, n_slots, self.n_columns)) / self.normaliser
        return torch.bmm(moments.transpose(1, 2), moments[:, :, : self.axis_neuron]).flatten(1)
