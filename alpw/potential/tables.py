"""Embedding nets as tables: Hermite polynomials in s~, one table for each kind of pair.

Between the nodes x_k = x_0 + k Δ, with t = (s~ - x_k)/Δ in [0, 1), a function g of s~ is the polynomial that
has its value and derivatives at both ends,

    g(s~) = Σ_e  h_e0(t) g(x_k+e) + h_e1(t) Δ g'(x_k+e) + h_e2(t) Δ^2 g''(x_k+e)        e = 0, 1

(order 5; order 3 is without the second derivatives). It is continuous with its first two (order 3: one)
derivatives. Stored are its coefficients in powers of t. A row of the table holds one of them for all columns
of the embedding, so that a look-up is a sum of the rows of an interval with the weights 1, t, t^2, ..., and
its derivative sums them with 0, 1, 2t, ... over Δ. The coefficients come from float64: differences between
nodes, divided by Δ, would cost a float32 model two digits of its forces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from alpw.errors import InputError

# Rows: the coefficient of 1, t, t^2, ...; columns: g, Δ g' (, Δ^2 g'') at the left end, then at the right.
HERMITE: dict[int, list[list[float]]] = {
    3: [[1, 0, 0, 0], [0, 1, 0, 0], [-3, -2, 3, -1], [2, 1, -2, 1]],
    5: [
        [1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 0, 0.5, 0, 0, 0],
        [-10, -6, -1.5, 10, -4, 0.5],
        [15, 8, 1.5, -15, 7, -1],
        [-6, -3, -0.5, 6, -3, 0.5],
    ],
}

Embedding = Callable[[Tensor], Tensor]
"""One kind of pair: s~ ``(n, 1)`` to G ``(n, M)``."""


@dataclass(frozen=True)
class TableOptions:
    """How embedding nets are tabulated.

    Attributes:
        spacing: Δ of the nodes, in units of s~.
        order: of the polynomials, 5 or 3.
        shortest: the tables reach to s at this distance in Å; closer pairs are computed by the net itself.

    Raises:
        InputError: a value that makes no table, naming the key.
    """

    spacing: float = 0.01
    order: int = 5
    shortest: float = 0.5

    def __post_init__(self) -> None:
        for name in ("spacing", "shortest"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"found {getattr(self, name)!r}; allowed: a positive number", key=name)
        if self.order not in HERMITE:
            raise InputError(f"found {self.order!r}; allowed: 5 or 3", key="order")


class EmbeddingTables(nn.Module):
    """The tables of all kinds of pairs, one below the other.

    They are no part of the state of a model: they follow from its weights and `options`.

    Args:
        embeddings: one for each kind.
        span: s~ where the tables start, and s~ that they reach at least.
        options: spacing and order.
        like: gives data type and device.
    """

    rows: Tensor
    offsets: Tensor

    def __init__(
        self, embeddings: Sequence[Embedding], span: tuple[float, float], options: TableOptions, like: Tensor
    ) -> None:
        super().__init__()
        self.options = options
        self.start, end = span
        self.n_intervals = max(1, math.ceil((end - self.start) / options.spacing))
        # Nodes in float64 also for a float32 model: x_k has to be exact to have the right G.
        count = torch.arange(self.n_intervals + 1, dtype=torch.float64, device=like.device)
        nodes = self.start + count * options.spacing
        tables = [_coefficients(embedding, nodes, options) for embedding in embeddings]
        self.register_buffer("rows", torch.cat(tables).to(like.dtype), persistent=False)
        offsets = torch.arange(options.order + 1, dtype=torch.int32, device=like.device)
        self.register_buffer("offsets", offsets, persistent=False)

    @property
    def end(self) -> float:
        """s~ where the tables end."""
        return self.start + self.n_intervals * self.options.spacing

    def forward(self, kind: Tensor | None, s: Tensor) -> tuple[Tensor, Tensor]:
        """G and dG/ds~, both ``(n, M)``.

        Args:
            kind: of the pairs, ``(n,)``; None if there is only one.
            s: s~ of the pairs, ``(n,)``; before `start` and beyond `end` the result means nothing.
        """
        order, spacing = self.options.order, self.options.spacing
        # Beyond the end stay there: a finite number can be overwritten, infinity times zero cannot.
        x = ((s - self.start) / spacing).clamp(max=self.n_intervals)
        interval = x.int().clamp_(0, self.n_intervals - 1)
        powers = [torch.ones_like(x), x - interval]
        for _ in range(order - 1):
            powers.append(powers[-1] * powers[1])
        slopes = [powers[k - 1] * (k / spacing) for k in range(1, order + 1)]
        if kind is not None:
            interval += kind.int() * self.n_intervals
        rows = interval[:, None] * (order + 1) + self.offsets
        columns = weighted_rows(self.rows, rows, torch.stack(powers, dim=1))
        derivatives = weighted_rows(self.rows, rows[:, 1:].contiguous(), torch.stack(slopes, dim=1))
        return columns, derivatives


def weighted_rows(table: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Sums of a few rows of a table, ``Σ_k weights[p, k] table[index[p, k]]``, ``(n, M)``.

    Args:
        table: ``(n_rows, M)``.
        index: of rows, ``(n, k)``, int32.
        weights: of the rows, ``(n, k)``.
    """
    if table.device.type == "cpu" and table.dtype == torch.float64:
        # As a sparse matrix: torch has a fast kernel for float32 only, this one takes 60% of its time.
        n, k = index.shape
        ends = np.arange(0, n * k + 1, k, dtype=np.int32)
        contents = weights.numpy().ravel(), index.numpy().ravel(), ends
        return torch.from_numpy(csr_array(contents, shape=(n, len(table))) @ table.numpy())
    return nn.functional.embedding_bag(index, table, per_sample_weights=weights, mode="sum")


class Contraction(torch.autograd.Function):
    """Σ_j R~_ij^T G(s~_ij) of every centre, where G and its derivative are known.

    The derivative by R~ is in closed form, so that the look-up itself needs no graph; there is no second one.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, columns: Tensor, slopes: Tensor) -> Tensor:
        """Moments ``(n_atoms, 4, M)``.

        Args:
            ctx: of autograd.
            table: R~ in slots, ``(n_atoms, n_slots, 4)``, zero in empty ones.
            columns: G in slots, ``(n_atoms, n_slots, M)``, finite in empty ones.
            slopes: dG/ds~ in slots, of the same shape.
        """
        ctx.save_for_backward(table, columns, slopes)
        return torch.bmm(table.transpose(1, 2), columns)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """dE/dR~ in slots from dE/dmoments."""
        table, columns, slopes = ctx.saved_tensors
        by_moments = gradient.transpose(1, 2)
        by_table = torch.bmm(columns, by_moments)
        # As a matrix product: sums over rows of four numbers are slow.
        by_table[:, :, :1] += (torch.bmm(slopes, by_moments) * table) @ table.new_ones(4, 1)
        return by_table, None, None


def _coefficients(embedding: Embedding, nodes: Tensor, options: TableOptions) -> Tensor:
    """Coefficients between the nodes ``(n_nodes,)``, ``((n_nodes - 1) (order + 1), M)``."""
    x = nodes[:, None]
    step = torch.full_like(x, options.spacing)

    def slope(at: Tensor) -> Tensor:
        derivative: Tensor = torch.func.jvp(embedding, (at,), (step,))[1]
        return derivative

    with torch.no_grad():
        at_node = [embedding(x), slope(x)]
        if options.order == 5:
            at_node.append(torch.func.jvp(slope, (x,), (step,))[1])
    ends = torch.stack([*(values[:-1] for values in at_node), *(values[1:] for values in at_node)], dim=1)
    return (x.new_tensor(HERMITE[options.order]) @ ends).flatten(0, 1)
