"""Many residual networks side by side, differentiated in closed form.

The networks have one architecture. A layer's weights are ``(n_groups, n_in, n_out)``; its input is one array
of rows, those of a group after one another, however many they are. Elementwise operations run over all rows
at once, matrix products group by group.

Training needs the gradient by the weights of S = Σ_rows r·y + Σ_rows p·y', where y' is the derivative of the
outputs along a direction x' of the inputs. For a layer z = x w + b, a = act(z), y = skip(x) + idt a:

    values       y
    tangents     z' = x' w,    a' = act'(z) z',    y' = skip(x') + idt a'
    cotangents   q = p idt act'(z),    dS/dx' = q w^T + skip^T(p)
    adjoints     dS/dz = r idt act'(z) + p idt act''(z) z',    dS/dx = dS/dz w^T + skip^T(r)
    gradients    dS/dw = x^T dS/dz + x'^T q,    dS/db = Σ dS/dz,    dS/didt = Σ (r a + p a')

These are the matrix products of differentiating twice, with a third of the elementwise operations and
without a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alpw.potential.networks import Activation


@dataclass(frozen=True)
class Rows:
    """Which rows of an array belong to which group: ``sizes[g]`` rows, one group after the other."""

    sizes: tuple[int, ...]

    @property
    def _equal(self) -> bool:
        return len(set(self.sizes)) == 1

    def _grouped(self, x: Tensor) -> Tensor:
        return x.view(len(self.sizes), self.sizes[0], x.shape[1])

    def add_product(self, start: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """``start += x w`` in each group, ``(n_rows, n_out)``; w is ``(n_groups, n_in, n_out)``."""
        if self._equal:
            self._grouped(start).baddbmm_(self._grouped(x), w)
        else:
            for out, part, weight in zip(
                start.split(self.sizes), x.split(self.sizes), w.unbind(), strict=True
            ):
                out.addmm_(part, weight)
        return start

    def product(self, x: Tensor, w: Tensor) -> Tensor:
        """``x w`` in each group, ``(n_rows, n_out)``."""
        out = x.new_empty(len(x), w.shape[2])
        if self._equal:
            torch.bmm(self._grouped(x), w, out=self._grouped(out))
        else:
            for result, part, weight in zip(
                out.split(self.sizes), x.split(self.sizes), w.unbind(), strict=True
            ):
                torch.mm(part, weight, out=result)
        return out

    def outer(self, *pairs: tuple[Tensor, Tensor]) -> Tensor:
        """Σ over pairs of ``x^T z`` in each group, ``(n_groups, n_in, n_out)``."""
        (x, z), *others = pairs
        total = x.new_empty(len(self.sizes), x.shape[1], z.shape[1])
        if self._equal:
            torch.bmm(self._grouped(x).transpose(1, 2), self._grouped(z), out=total)
            for x, z in others:
                total.baddbmm_(self._grouped(x).transpose(1, 2), self._grouped(z))
            return total
        for out, a, b in zip(total, x.split(self.sizes), z.split(self.sizes), strict=True):
            torch.mm(a.t(), b, out=out)
        for x, z in others:
            for out, a, b in zip(total, x.split(self.sizes), z.split(self.sizes), strict=True):
                out.addmm_(a.t(), b)
        return total

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the rows of each group, ``(n_groups, n)``."""
        if self._equal:
            return self._grouped(values).sum(1)
        return torch.stack([part.sum(0) for part in values.split(self.sizes)])

    def spread(self, values: Tensor) -> Tensor:
        """The row of its group for each row, ``(n_rows, n)`` from ``(n_groups, n)``."""
        out = values.new_empty(sum(self.sizes), values.shape[1])
        if self._equal:
            self._grouped(out).copy_(values[:, None])
        else:
            for part, value in zip(out.split(self.sizes), values.unbind(), strict=True):
                part.copy_(value)
        return out


class GroupedLayer:
    """One layer of each network.

    Args:
        w, b: ``(n_groups, n_in, n_out)``, ``(n_groups, n_out)``.
        idt: ``(n_groups, n_out)``, or None.
        activation: None for a linear layer.
        copies: how often the input is repeated in the skip connection; 0 where there is none.
    """

    # What `values` and `tangents` keep for the sweeps back. `bend` is act''(z), for tanh act(z).
    rows: Rows
    x: Tensor
    act: Tensor
    slope: Tensor
    bend: Tensor
    step: Tensor | None
    x_tangent: Tensor
    act_tangent: Tensor
    bend_tangent: Tensor

    def __init__(
        self, w: Tensor, b: Tensor, idt: Tensor | None, activation: Activation | None, copies: int
    ) -> None:
        self.w, self.b, self.idt, self.activation, self.copies = w, b, idt, activation, copies
        # tanh'' = -2 tanh tanh': act''(z) z' is -2 act a', where a' is at hand.
        self.bend_factor = -2 if activation is torch.tanh else 1

    @property
    def weights(self) -> list[Tensor]:
        return [self.w, self.b] if self.idt is None else [self.w, self.b, self.idt]

    def values(self, rows: Rows, x: Tensor) -> Tensor:
        """y, ``(n_rows, n_out)``."""
        self.rows, self.x = rows, x
        z = rows.add_product(rows.spread(self.b), x, self.w)
        if self.activation is None:
            return z
        self.step = None if self.idt is None else rows.spread(self.idt)
        self.act, self.slope, self.bend = _derivatives(self.activation, z)
        return self._stepped(self.act, x)

    def tangents(self, x_tangent: Tensor) -> Tensor:
        """y' along x', ``(n_rows, n_out)``."""
        self.x_tangent = x_tangent
        z_tangent = self.rows.product(x_tangent, self.w)
        if self.activation is None:
            return z_tangent
        self.act_tangent = z_tangent * self.slope
        self.bend_tangent = self.bend * (self.act_tangent if self.activation is torch.tanh else z_tangent)
        return self._stepped(self.act_tangent, x_tangent)

    def _stepped(self, act: Tensor, x: Tensor) -> Tensor:
        """skip(x) + idt act."""
        y = act if self.step is None else act * self.step
        if self.copies == 0:
            return y
        return (y.view(len(y), self.copies, x.shape[1]) + x[:, None]).view(y.shape)

    def cotangents(self, p: Tensor) -> Tensor:
        """q = dS/dz' for dS/dy' = p, ``(n_rows, n_out)``; and dS/dz for dS/dy = p where S has no y'."""
        if self.activation is None:
            return p
        return p * self.slope if self.step is None else (p * self.step).mul_(self.slope)

    def add_bend(self, by_z: Tensor, p: Tensor) -> None:
        """Add to dS/dz what y' has a part in: p idt act''(z) z'."""
        if self.activation is not None:
            scaled = p if self.step is None else p * self.step
            by_z.addcmul_(scaled, self.bend_tangent, value=self.bend_factor)

    def to_inputs(self, by_y: Tensor, by_z: Tensor) -> Tensor:
        """by_z w^T + skip^T(by_y), ``(n_rows, n_in)``."""
        transposed = self.w.transpose(1, 2)
        if self.copies == 0:
            return self.rows.product(by_z, transposed)
        n = by_y.shape[1] // self.copies
        skipped = by_y.clone() if self.copies == 1 else by_y[:, :n] + by_y[:, n:]
        return self.rows.add_product(skipped, by_z, transposed)


class GroupedNetwork:
    """Layers in a row. The sweeps back belong to the last `values`, and to the last `tangents` after it."""

    def __init__(self, layers: Sequence[GroupedLayer]) -> None:
        self.layers = layers

    @property
    def weights(self) -> list[Tensor]:
        """Layer by layer w, b, idt."""
        return [weight for layer in self.layers for weight in layer.weights]

    def values(self, rows: Rows, x: Tensor) -> Tensor:
        """Outputs y, ``(n_rows, n_out)``."""
        for layer in self.layers:
            x = layer.values(rows, x)
        return x

    def tangents(self, x_tangent: Tensor) -> Tensor:
        """Their derivatives y' along a direction of the inputs, ``(n_rows, n_out)``."""
        for layer in self.layers:
            x_tangent = layer.tangents(x_tangent)
        return x_tangent

    def cotangents(self, p: Tensor) -> Tensor:
        """The derivative of Σ p·y by the inputs, ``(n_rows, n_in)``."""
        for layer in reversed(self.layers):
            p = layer.to_inputs(p, layer.cotangents(p))
        return p

    def adjoints(self, r: Tensor, p: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """The derivatives of S = Σ r·y + Σ p·y' by the inputs x, and by the `weights`.

        Without p, S = Σ r·y, and no `tangents` are needed.
        """
        gradients: list[Tensor] = []
        for layer in reversed(self.layers):
            by_z = layer.cotangents(r)
            products, by_step = [(layer.x, by_z)], None if layer.idt is None else r * layer.act
            below = None
            if p is not None:
                q = layer.cotangents(p)
                layer.add_bend(by_z, p)
                products.append((layer.x_tangent, q))
                if by_step is not None:
                    by_step.addcmul_(p, layer.act_tangent)
                if layer is not self.layers[0]:
                    below = layer.to_inputs(p, q)
            found = [layer.rows.outer(*products), layer.rows.sum(by_z)]
            if by_step is not None:
                found.append(layer.rows.sum(by_step))
            gradients = found + gradients
            r, p = layer.to_inputs(r, by_z), below
        return r, gradients


def _derivatives(activation: Activation, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """act(z), act'(z), and act''(z), or again act(z) for tanh; z may be overwritten."""
    if activation is torch.tanh:
        act = z.tanh_()
        return act, torch.addcmul(act.new_ones(()), act, act, value=-1), act
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        act = activation(z)
        (slope,) = torch.autograd.grad(act.sum(), z, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), z)
    return act.detach(), slope.detach(), bend
