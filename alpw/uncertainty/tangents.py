"""Residual networks to second order: how their gradients by weights and input change along a direction.

For a layer y = skip(x) + τ act(z), z = x W + b (see `alpw.potential.networks`), with x̄ the derivative of a
scalar by x, δ the one by z, and d the change along a direction:

    δ     = τ act'(z) ȳ                                x̄    = skip^T(ȳ) + δ W^T
    dz    = dx W + x dW + db                           dy   = skip(dx) + τ act'(z) dz + act(z) dτ
    dδ    = τ act'(z) dȳ + τ act''(z) dz ȳ + act'(z) ȳ dτ
    dx̄   = skip^T(dȳ) + dδ W^T + δ dW^T

The gradient by W is x^T δ, and it changes by x^T dδ + dx^T δ: sums of outer products, hence matrix products
over whichever rows belong together. (Pearlmutter, Neural Comput. 6, 147 (1994).)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from alpw.potential.networks import ResidualLayer


class Weights(NamedTuple):
    """Weights of a layer, or K changes of them with a leading dimension: ``w``, ``b``, ``idt``."""

    w: Tensor
    b: Tensor
    idt: Tensor | None


@dataclass(frozen=True)
class LayerValues:
    """A layer at n inputs.

    Attributes:
        weights: in the precision of the calculation.
        copies: how often the input enters the skip connection.
        x: input, ``(n, n_in)``.
        value, rate: act(z) and act'(z), ``(n, n_out)``; of a linear layer, z and 1.
        slope, curvature: τ act'(z) and τ act''(z), ``(n, n_out)``.
    """

    weights: Weights
    copies: int
    x: Tensor
    value: Tensor
    rate: Tensor
    slope: Tensor
    curvature: Tensor

    def take(self, index: Tensor | slice) -> LayerValues:
        """The rows ``index``."""
        x, value, rate, slope, curvature = (
            tensor[index] for tensor in (self.x, self.value, self.rate, self.slope, self.curvature)
        )
        return LayerValues(self.weights, self.copies, x, value, rate, slope, curvature)

    def skip(self, dx: Tensor) -> Tensor:
        return torch.cat((dx, dx), dim=-1) if self.copies == 2 else dx

    def unskip(self, y_bar: Tensor) -> Tensor:
        n_in = self.weights.w.shape[0]
        return y_bar[..., :n_in] + y_bar[..., n_in:] if self.copies == 2 else y_bar


class Pushed(NamedTuple):
    """Changes of a layer's input and of z along d directions, ``(n, d, n_in)`` and ``(n, d, n_out)``."""

    dx: Tensor | None
    dz: Tensor


class Pulled(NamedTuple):
    """Derivatives by a layer's z and output, ``(n, n_out)``; their changes have ``(n, d, n_out)``."""

    z_bar: Tensor
    y_bar: Tensor


class Term(NamedTuple):
    """A part of a gradient by weights: for each row and direction, x ⊗ right + dx ⊗ left.

    Attributes:
        offset: of the first weight within the network.
        x: ``(n, n_in)``, or None for ones, ``n_in`` = 1.
        right: ``(n, d, n_out)``.
        dx, left: ``(n, d, n_in)`` and ``(n, n_out)``, or None.
    """

    offset: int
    x: Tensor | None
    right: Tensor
    dx: Tensor | None = None
    left: Tensor | None = None


class Tape:
    """A network at n inputs.

    Args:
        network: of `ResidualLayer`.
        x: ``(n, n_in)``; its precision is the one of the calculation.
    """

    def __init__(self, network: nn.Module, x: Tensor) -> None:
        self.layers: list[LayerValues] = []
        for layer in network.children():
            assert isinstance(layer, ResidualLayer)
            w, b = (tensor.detach().to(x.dtype) for tensor in (layer.w, layer.b))
            idt = None if layer.idt is None else layer.idt.detach().to(x.dtype)
            value, rate, curvature = _derivatives(layer, torch.addmm(b, x, w))
            slope, y = rate, value
            if idt is not None:
                slope, curvature, y = rate * idt, curvature * idt, value * idt
            values = LayerValues(Weights(w, b, idt), layer.copies, x, value, rate, slope, curvature)
            self.layers.append(values)
            x = values.skip(x) + y if layer.copies else y
        self.output = x

    def take(self, index: Tensor | slice) -> Tape:
        """The network at the inputs ``index``."""
        tape = Tape.__new__(Tape)
        tape.layers = [layer.take(index) for layer in self.layers]
        tape.output = self.output[index]
        return tape

    def pull(self, seed: Tensor) -> tuple[list[Pulled], Tensor]:
        """Derivatives of Σ seed · output, by layer, and by the input, ``(n, n_in)``.

        Args:
            seed: ``(n, n_out)``.
        """
        pulled, y_bar = [], seed
        for layer in reversed(self.layers):
            z_bar = layer.slope * y_bar
            pulled.append(Pulled(z_bar, y_bar))
            y_bar = _back(layer, z_bar, y_bar)
        return pulled[::-1], y_bar

    def push(
        self, dx: Tensor | None, changes: Sequence[Weights] | None = None
    ) -> tuple[list[Pushed], Tensor]:
        """How the layers and the output, ``(n, d, n_out)``, change.

        Args:
            dx: change of the input, ``(n, d, n_in)``, or None.
            changes: of each layer's weights, one for each direction, or None.
        """
        pushed = []
        for index, layer in enumerate(self.layers):
            dz = None if dx is None else dx @ layer.weights.w
            if changes is not None:
                dw = changes[index].w
                by_weights = (layer.x @ dw.transpose(0, 1).flatten(1)).view(len(layer.x), *dw[:, 0].shape)
                by_weights += changes[index].b
                dz = by_weights if dz is None else dz.add_(by_weights)
            assert dz is not None
            pushed.append(Pushed(dx, dz))
            dy = layer.slope[:, None] * dz
            if changes is not None and (dt := changes[index].idt) is not None:
                dy += layer.value[:, None] * dt
            dx = dy if dx is None or not layer.copies else dy.add_(layer.skip(dx))
        assert dx is not None
        return pushed, dx

    def pull_change(
        self,
        dseed: Tensor | None,
        pulled: Sequence[Pulled] | None = None,
        pushed: Sequence[Pushed] | None = None,
        changes: Sequence[Weights] | None = None,
    ) -> tuple[list[Pulled], Tensor]:
        """How the derivatives of `pull` change, by layer, and by the input, ``(n, d, n_in)``.

        Args:
            dseed: change of the seed, ``(n, d, n_out)``, or None.
            pulled: what `pull` gave; None if the inputs and weights do not change.
            pushed: what `push` gave, or None likewise.
            changes: of the weights, as given to `push`.
        """
        result = []
        dy = dseed
        for index in reversed(range(len(self.layers))):
            layer = self.layers[index]
            dz = None if dy is None else layer.slope[:, None] * dy
            if pulled is not None and pushed is not None:
                bent = (layer.curvature * pulled[index].y_bar)[:, None] * pushed[index].dz
                dz = bent if dz is None else dz.add_(bent)
                if changes is not None and (dt := changes[index].idt) is not None:
                    dz += (layer.rate * pulled[index].y_bar)[:, None] * dt
            assert dz is not None
            result.append(Pulled(dz, torch.zeros_like(dz) if dy is None else dy))
            dy = _back(layer, dz, dy)
            if changes is not None and pulled is not None:
                dw = changes[index].w
                turned = dw.permute(2, 0, 1).flatten(1)
                dy += (pulled[index].z_bar @ turned).view(len(layer.x), *dw[:, :, 0].shape)
        assert dy is not None
        return result[::-1], dy

    def terms(
        self,
        changed: Sequence[Pulled],
        pulled: Sequence[Pulled] | None = None,
        pushed: Sequence[Pushed] | None = None,
    ) -> Iterator[Term]:
        """The gradient by the weights, in their flat order, of a scalar with derivatives ``changed``.

        Args:
            changed: what `pull_change` gave.
            pulled: what `pull` gave, if the input changes as well.
            pushed: what `push` gave, likewise.
        """
        offset = 0
        for index, layer in enumerate(self.layers):
            n_in, n_out = layer.weights.w.shape
            cross = pulled is not None and pushed is not None
            yield Term(
                offset,
                layer.x,
                changed[index].z_bar,
                pushed[index].dx if cross and pushed else None,
                pulled[index].z_bar if cross and pulled else None,
            )
            yield Term(offset + n_in * n_out, None, changed[index].z_bar)
            offset += (n_in + 1) * n_out
            if layer.weights.idt is not None:
                by_idt = layer.value[:, None] * changed[index].y_bar
                if pulled is not None and pushed is not None:
                    by_idt += (layer.rate * pulled[index].y_bar)[:, None] * pushed[index].dz
                yield Term(offset, None, by_idt)
                offset += n_out


def _back(layer: LayerValues, z_bar: Tensor, y_bar: Tensor | None) -> Tensor:
    x_bar = z_bar @ layer.weights.w.T
    return x_bar if y_bar is None or not layer.copies else x_bar.add_(layer.unskip(y_bar))


def _derivatives(layer: ResidualLayer, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """act(z), act'(z) and act''(z)."""
    if layer.activation is None:
        return z, torch.ones_like(z), torch.zeros_like(z)
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = layer.activation(z)
        (rate,) = torch.autograd.grad(value.sum(), z, create_graph=True)
        (curvature,) = torch.autograd.grad(rate.sum(), z)
    return value.detach(), rate.detach(), curvature
