"""What is measured on a training set before the first step: scale of the descriptor, energy of the atoms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from alpw.errors import InputError
from alpw.potential.dataset import Batch
from alpw.potential.model import DeepPotential

# DeePMD-kit's floor of the standard deviation, and its margin for `sel: auto`.
SMALLEST_DSTD = 1e-2
SEL_MARGIN = 1.1


@torch.no_grad()
def fit_normalisation(model: DeepPotential, batches: Sequence[Batch]) -> None:
    """Set the descriptor's scale from the neighbours that really occur.

    For each centre type, ``dstd`` is the root mean square of s, and one of the three directions together,
    about zero (no mean is subtracted) and over real neighbours (empty slots do not count, so that the
    scale does not depend on their number). A type without neighbours takes the value of all types.
    Without `config.sel`, ``sel`` is DeePMD-kit's automatic choice: 1.1 times the largest number of
    neighbours of each element (of all elements, with type vectors), rounded up to a multiple of four.
    """
    if not model.config.set_davg_zero:
        raise InputError(
            "an imported model with a mean (davg) keeps its statistics; train it with warm_start",
            key="warm_start",
        )
    descriptor, n_types = model.descriptor, len(model.config.elements)
    squares = torch.zeros(n_types, 4, dtype=torch.float64, device=model.device)
    n_pairs = torch.zeros(n_types, dtype=torch.float64, device=model.device)
    most = torch.zeros_like(descriptor.sel)
    for batch in batches:
        environment = batch.environment
        centre = environment.types[environment.graph.i]
        squares.index_add_(0, centre, environment.rows**2)
        n_pairs += torch.bincount(centre, minlength=n_types)
        counts = environment.neighbor_counts(n_types)
        most = torch.maximum(most, (counts.sum(1, keepdim=True) if len(most) == 1 else counts).amax(0))
    if n_pairs.sum() > 0:
        seen = n_pairs > 0
        squares[~seen], n_pairs[~seen] = squares.sum(0), n_pairs.sum()
        mean = squares / n_pairs[:, None]
        mean[:, 1:] = mean[:, 1:].mean(dim=1, keepdim=True)
        descriptor.dstd.copy_(mean.sqrt().clamp(min=SMALLEST_DSTD))
    if model.config.sel is None:
        descriptor.sel.copy_((4 * torch.ceil(SEL_MARGIN * most / 4)).clamp(min=4))
        descriptor.normaliser.copy_(descriptor.sel.sum())


@torch.no_grad()
def shift_energy_bias(model: DeepPotential, batches: Sequence[Batch]) -> None:
    """Shift the energy per element so that the model's energies fit the labels best.

    Minimum-norm least squares of (label - model) per atom on the composition of the frames. The networks,
    and so the forces, stay as they are.
    """
    n_types = len(model.config.elements)
    counts = [torch.bincount(batch.environment.types, minlength=n_types) for batch in batches]
    composition = np.array([count.tolist() for count in counts], dtype=float)
    residual = np.array([float(batch.energy.sum() - _energies(model, batch).sum()) for batch in batches])
    n_atoms = composition.sum(axis=1)
    shift, *_ = np.linalg.lstsq(composition / n_atoms[:, None], residual / n_atoms, rcond=None)
    model.energy_bias += torch.from_numpy(shift).to(model.device)


def _energies(model: DeepPotential, batch: Batch) -> torch.Tensor:
    return model(batch.environment, model.scaled(batch.environment))
