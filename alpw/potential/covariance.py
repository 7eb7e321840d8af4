"""The covariance P of a model's weights: what a Kalman filter, or a Gauss-Newton matrix, knows of them.

P is block diagonal over the weights in the order of `alpw.potential.weights`. Each block is kept as a
square root, P_b = S_b S_b^T: such a product is symmetric and has no negative eigenvalue whatever rounding
did to S_b, in float32 too; a variance is a sum of squares, g^T P_b g = |S_b^T g|^2; and a draw from
N(0, P_b) is S_b ξ with ξ ~ N(0, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from alpw.errors import InputError
from alpw.potential.tensor_file import load_tensors, save_tensors
from alpw.potential.weights import fingerprint

if TYPE_CHECKING:
    from alpw.potential.model import DeepPotential

FORMAT, VERSION = "alpw-weight-covariance", 1


@dataclass(frozen=True)
class Covariance:
    """Covariance of the weights of one model.

    Attributes:
        factors: S_b of each block, ``(n_b, n_b)``; the n_b add up to the number of weights.
        fingerprint: of the model that it belongs to (`alpw.potential.weights.fingerprint`).
        kind: what made it: ``lkf``, ``gkf`` or ``gauss-newton``.
        settings: of what made it, for the record.
    """

    factors: tuple[Tensor, ...]
    fingerprint: str
    kind: str
    settings: dict[str, float | int | str] = field(default_factory=dict)

    @classmethod
    def from_blocks(
        cls,
        blocks: Sequence[Tensor],
        fingerprint: str,
        kind: str,
        settings: dict[str, float | int | str] | None = None,
    ) -> Covariance:
        """From the blocks of P themselves, symmetric and positive definite.

        Raises:
            InputError: a block that is not positive definite.
        """
        factors = []
        for index, block in enumerate(blocks):
            factor, failed = torch.linalg.cholesky_ex(block)
            if bool(failed):
                raise InputError(f"block {index} of the covariance is not positive definite")
            factors.append(factor)
        return cls(tuple(factors), fingerprint, kind, settings or {})

    @property
    def sizes(self) -> list[int]:
        """Number of weights of each block."""
        return [len(factor) for factor in self.factors]

    @property
    def n_weights(self) -> int:
        return sum(self.sizes)

    @property
    def blocks(self) -> tuple[Tensor, ...]:
        """P_b of each block, multiplied out: as costly as a matrix product, and seldom needed."""
        products = (factor @ factor.T for factor in self.factors)
        # The product is symmetric up to the order of a sum.
        return tuple((product + product.T) / 2 for product in products)

    def quadratic(self, vectors: Tensor) -> Tensor:
        """Variance of linear functions of the weights, Σ_b g_b^T P_b g_b, float64, ``(n,)``.

        Args:
            vectors: g, derivatives by the weights, ``(n, n_weights)``.

        Raises:
            InputError: vectors of another length.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.n_weights:
            raise InputError(f"vectors of shape {tuple(vectors.shape)}; expected (n, {self.n_weights})")
        total = torch.zeros(len(vectors), dtype=torch.float64, device=vectors.device)
        for part, factor in zip(vectors.split(self.sizes, dim=1), self.factors, strict=True):
            total += (part.to(factor.dtype) @ factor).square().sum(dim=1, dtype=torch.float64)
        return total

    def sample(self, n: int, seed: int) -> Tensor:
        """Draws from N(0, P), float64, ``(n, n_weights)``; a seed always gives the same."""
        rng = torch.Generator().manual_seed(seed)
        parts = []
        for factor in self.factors:
            # Drawn on the CPU, so that every device and precision sees the same numbers.
            noise = torch.randn(n, len(factor), generator=rng, dtype=torch.float64)
            parts.append((noise.to(factor) @ factor.T).double())
        return torch.cat(parts, dim=1)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Covariance:
        """The same covariance on another device or in another precision."""
        factors = tuple(factor.to(device=device, dtype=dtype) for factor in self.factors)
        return Covariance(factors, self.fingerprint, self.kind, self.settings)

    def check(self, model: DeepPotential) -> None:
        """Make sure that this is the covariance of the weights of ``model``.

        Raises:
            InputError: it is not.
        """
        if fingerprint(model) != self.fingerprint:
            raise InputError(
                f"this {self.kind} covariance of {self.n_weights} weights belongs to other weights than the "
                "model's; take the one that was stored with the model, or compute one from the training set "
                "(alpw kpu --posterior-from TRAINING_DATA)"
            )

    def save(self, path: str | Path) -> None:
        """Write to ``path``; a file there is replaced in one step."""
        content = {
            "factors": [factor.cpu() for factor in self.factors],
            "fingerprint": self.fingerprint,
            "kind": self.kind,
            "settings": self.settings,
        }
        save_tensors(path, FORMAT, VERSION, content)

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str | None = None) -> Covariance:
        """Read what `save` wrote; no code in it is executed.

        Raises:
            InputError: no such file, truncated or foreign data, another version of the format.
        """
        content = load_tensors(path, FORMAT, VERSION, device=device)
        return cls(tuple(content["factors"]), content["fingerprint"], content["kind"], content["settings"])


def covariance_path(model_path: str | Path) -> Path:
    """Where the covariance of a model file lies: ``model.pt`` has ``model.covariance.pt`` beside it."""
    path = Path(model_path)
    return path.with_name(f"{path.stem}.covariance{path.suffix}")
