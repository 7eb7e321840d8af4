"""The Kalman filter of the weights: RLEKF, its minibatch form FEKF, and with one dense block GKF.

One measurement, with the scalar error e = label - prediction and the prediction's gradient h by the weights,
changes weights w and covariance P, block b of L (Hu et al., AAAI 2023, arXiv:2212.06989, algorithm 1):

    s   = Σ_b h_b^T P_b h_b
    A   = 1 / (L λ + s)
    w_b <- w_b + A e P_b h_b
    P_b <- (P_b - A P_b h_b h_b^T P_b) / λ
    λ   <- ν λ + 1 - ν

The downdate of P is a difference of matrices that nearly cancel in the directions that data determine; in
float32 it loses its positive eigenvalues within a thousand updates. So the filter keeps a square root,
P_b = S_b S_b^T, and updates that (J. E. Potter 1963; G. J. Bierman, Factorization Methods for Discrete
Sequential Estimation (1977), section II.3):

    f_b = S_b^T h_b,   s_b = |f_b|^2,   P_b h_b = S_b f_b
    S_b <- (S_b - a_b (S_b f_b) f_b^T) / sqrt(λ),   a_b = A / (1 + sqrt(1 - A s_b))

The factor (1 - a_b f_b f_b^T) has eigenvalues 1 and sqrt(1 - A s_b) > 0, so S_b stays regular, and S_b S_b^T
is symmetric and not negative whatever the rounding.

The time of an update is that of reading and writing S from memory. So the few updates of a training step are
collected, S_b = c (S0_b - V_b^T Y_b), and multiplied in together: two passes over S0 for an update, and two
more for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Updates that are collected at most.
MOST_PENDING = 8


def forgetting_factor(first: float, nu: float, n_updates: int) -> float:
    """λ after ``n_updates`` times λ <- ν λ + 1 - ν."""
    return 1.0 - (1.0 - first) * nu**n_updates


class KalmanFilter:
    """The covariance of the weights, and how measurements change it. Nothing is read back from the device.

    Args:
        sizes: number of weights of each block.
        p0_weight: P_b = p0_weight * 1 at first.
        dtype, device: of the covariance.
    """

    def __init__(
        self, sizes: Sequence[int], p0_weight: float, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        self.sizes = list(sizes)
        self._roots = [
            torch.eye(size, dtype=dtype, device=device).mul_(math.sqrt(p0_weight)) for size in sizes
        ]
        self._left = [root.new_empty(MOST_PENDING, len(root)) for root in self._roots]
        self._right = [root.new_empty(MOST_PENDING, len(root)) for root in self._roots]
        self._n_pending, self._scale = 0, 1.0

    @property
    def factors(self) -> list[Tensor]:
        """S_b, ``(n_b, n_b)``, with P_b = S_b S_b^T; the next update changes them."""
        self.settle()
        return self._roots

    @torch.no_grad()
    def update(self, gradient: Tensor, error: Tensor, forgetting: float) -> Tensor:
        """Take in one measurement, and return the change of the weights.

        Args:
            gradient: h, ``(n_weights,)``, in the order of `alpw.potential.weights`.
            error: e, a scalar.
            forgetting: λ of this update.

        Returns:
            ``(n_weights,)``, in the gradient's precision.
        """
        if self._n_pending == MOST_PENDING:
            self.settle()
        pending, scale = self._n_pending, self._scale
        parts = gradient.to(self._roots[0].dtype).split(self.sizes)
        blocks = [
            (root, left[:pending], right[:pending])
            for root, left, right in zip(self._roots, self._left, self._right, strict=True)
        ]
        projected = [
            scale * (h @ root - (left @ h) @ right)
            for h, (root, left, right) in zip(parts, blocks, strict=True)
        ]
        gains = [
            scale * (torch.mv(root, f) - (right @ f) @ left)
            for f, (root, left, right) in zip(projected, blocks, strict=True)
        ]
        # Scalars in float64, as is the sum over blocks: s may exceed L λ by more digits than float32 has.
        variances = torch.stack([f.double().square().sum() for f in projected])
        noise = len(self.sizes) * forgetting
        total = noise + variances.sum()
        # a_b, with 1 - A s_b written so that it cannot cancel.
        others = (noise + variances.sum() - variances).clamp(min=noise)
        damping = (1 / (scale * (total + (total * others).sqrt()))).to(gains[0].dtype)
        for index, (gain, f) in enumerate(zip(gains, projected, strict=True)):
            self._left[index][pending] = damping[index] * gain
            self._right[index][pending] = f
        self._n_pending, self._scale = pending + 1, scale / math.sqrt(forgetting)
        return torch.cat(gains).to(gradient.dtype) * (error / total).to(gradient.dtype)

    @torch.no_grad()
    def settle(self) -> None:
        """Multiply the collected updates in.

        To be called at fixed points of a training, such as the end of each step: where it is done decides
        the last digits of what follows.
        """
        if not self._n_pending:
            return
        for root, left, right in zip(self._roots, self._left, self._right, strict=True):
            root.addmm_(
                left[: self._n_pending].T, right[: self._n_pending], beta=self._scale, alpha=-self._scale
            )
        self._n_pending, self._scale = 0, 1.0

    def load(self, factors: Sequence[Tensor]) -> None:
        """Go on with other factors of the same sizes."""
        self._n_pending, self._scale = 0, 1.0
        for root, factor in zip(self._roots, factors, strict=True):
            root.copy_(factor)
