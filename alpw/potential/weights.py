"""The weights of a model as one vector, in the order of DeePMD-kit's and MatPL's Kalman filters.

Tensors follow `model.parameters()`: type vectors, embedding nets, fitting nets, layer by layer w, b, idt.
Matrices are flattened column by column.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from alpw.potential.model import DeepPotential


def to_vector(tensors: Sequence[Tensor | None], like: Sequence[Tensor] | None = None) -> Tensor:
    """Weights, or their gradients, as a vector ``(n_weights,)``.

    Args:
        tensors: in the order of `model.parameters()`; None, the gradient of a weight that took no part,
            becomes zeros.
        like: the parameters; needed where there is a None.
    """
    filled = [
        torch.zeros_like(like[index]) if tensor is None and like is not None else tensor
        for index, tensor in enumerate(tensors)
    ]
    return torch.cat([tensor.t().reshape(-1) for tensor in filled if tensor is not None])


def batch_to_vectors(tensors: Sequence[Tensor]) -> Tensor:
    """`to_vector` for tensors with one more leading dimension: ``(n, ...)`` each to ``(n, n_weights)``."""
    columns = [tensor.transpose(1, 2) if tensor.ndim == 3 else tensor for tensor in tensors]
    return torch.cat([tensor.reshape(len(tensor), -1) for tensor in columns], dim=1)


def from_vector(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The tensors of shapes ``like`` that `to_vector` made ``vector`` of."""
    parts = vector.split([tensor.numel() for tensor in like])
    return [part.view(tensor.t().shape).t() for part, tensor in zip(parts, like, strict=True)]


def block_sizes(counts: Iterable[int], block_size: int) -> list[int]:
    """How the vector of weights is cut into blocks of at most ``block_size``.

    Whole tensors are packed as long as they fit together; a tensor that is larger than a block is cut, and
    its last piece may be shorter (DeePMD-kit's `LKFOptimizer`).

    Args:
        counts: number of elements of each tensor, in order.
        block_size: largest number of weights in a block.
    """
    packed = [0]
    for count in counts:
        if packed[-1] and packed[-1] + count > block_size:
            packed.append(0)
        packed[-1] += count
    cuts = ((count, math.ceil(count / block_size)) for count in packed)
    return [min(block_size, count - piece * block_size) for count, pieces in cuts for piece in range(pieces)]


def fingerprint(model: DeepPotential) -> str:
    """Sha256 of what the model computes with: settings, weights and statistics.

    What the weights came from (`seed`) and how many neighbours were expected (`sel`) do not count.
    """
    settings = {key: value for key, value in asdict(model.config).items() if key not in ("seed", "sel")}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if name != "descriptor.sel":
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
