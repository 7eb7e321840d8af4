"""Residual networks of the Deep Potential.

A layer computes y = act(x w + b), multiplied by its time step ``idt`` where it has one, and adds the
input when the width stays equal (x + y) or doubles ([x, x] + y). This is the rule of DeePMD-kit
(Zeng et al., J. Chem. Phys. 159, 054801 (2023), section on neural networks), and so are the names
``w``, ``b``, ``idt``, their shapes, and the distributions that initial values are drawn from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]


def _normal(mean: float, std: float, *shape: int, dtype: torch.dtype, rng: torch.Generator) -> nn.Parameter:
    # Drawn in float64, so that the float32 model of a seed is its float64 model, rounded.
    values = torch.randn(shape, generator=rng, dtype=torch.float64) * std + mean
    return nn.Parameter(values.to(dtype))


class ResidualLayer(nn.Module):
    """One layer: ``w (n_in, n_out)``, ``b (n_out,)`` and, with ``resnet_dt``, ``idt (n_out,)``."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        activation: Activation | None,
        resnet_dt: bool,
        dtype: torch.dtype,
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        self.activation = activation
        # How often the input is repeated in the skip connection; 0 where there is none.
        self.copies = n_out // n_in if activation and n_out in (n_in, 2 * n_in) else 0
        draw = partial(_normal, dtype=dtype, rng=rng)
        self.w = draw(0.0, (n_in + n_out) ** -0.5, n_in, n_out)
        self.b = draw(0.0, 1.0, n_out)
        self.idt = draw(0.1, 0.001, n_out) if resnet_dt and self.copies else None

    def forward(self, x: Tensor) -> Tensor:
        """``(n, n_in) -> (n, n_out)``."""
        y = torch.addmm(self.b, x, self.w)
        if self.activation:
            y = self.activation(y)
        if self.idt is not None:
            y = y * self.idt
        if self.copies == 1:
            return x + y
        return torch.cat((x, x), dim=1) + y if self.copies == 2 else y


def residual_network(
    widths: Sequence[int],
    *,
    activation: Activation,
    resnet_dt: bool,
    dtype: torch.dtype,
    rng: torch.Generator,
    n_out: int | None = None,
) -> nn.Sequential:
    """Hidden layers of ``widths`` (the first is the input's), then a linear one to ``n_out`` if given."""
    layer = partial(ResidualLayer, dtype=dtype, rng=rng)
    layers = [layer(a, b, activation=activation, resnet_dt=resnet_dt) for a, b in pairwise(widths)]
    if n_out is not None:
        layers.append(layer(widths[-1], n_out, activation=None, resnet_dt=False))
    return nn.Sequential(*layers)
