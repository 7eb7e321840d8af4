"""What a Kalman filter measures: many labels made into one scalar (Hu et al., PPoPP 2024, "FEKF").

A filter update costs the same for one label as for a thousand. So the labels of a kind are averaged first,
each with the sign σ of its error, which makes all errors add up instead of cancelling:

    e = sqrt(B) mean |p (y* - y)|,    h = ∂/∂w Σ_frames mean σ p y,    σ = sign(y* - y)

over the B frames of a batch and the components of each. Energies and virials are per atom.

The functions are pure, and read nothing back from the device, so that `torch.func.vmap` maps them over the
members of a committee.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from alpw.potential.dataset import Batch


class Measurement(NamedTuple):
    """A scalar measurement.

    Attributes:
        value: its gradient by the weights is h.
        error: e, without gradient.
    """

    value: Tensor
    error: Tensor


def energy_measurement(energy: Tensor, batch: Batch, prefactor: float) -> Measurement:
    """Energy per atom of the frames, from predictions ``(n_frames,)`` in eV."""
    per_atom = prefactor / batch.n_atoms
    return _reduced(energy * per_atom, batch.energy * per_atom)


def force_measurement(
    forces: Tensor, batch: Batch, atoms: Tensor, prefactor: float, scale_by_atoms: bool
) -> Measurement:
    """Force components of a group of atoms, from predictions ``(n_atoms, 3)`` in eV/Å.

    Args:
        forces: of all atoms of the batch.
        batch: the labels.
        atoms: indices of the atoms in each frame's group, ``(n_frames, n_group)``, from `select_atoms`.
        prefactor: p.
        scale_by_atoms: divide by the number of atoms of the frame.
    """
    weight = prefactor / batch.n_atoms if scale_by_atoms else torch.full_like(batch.n_atoms, prefactor)
    weight = weight[:, None, None]
    return _reduced(forces[atoms] * weight, batch.forces[atoms] * weight)


def virial_measurement(virial: Tensor, batch: Batch, prefactor: float) -> Measurement:
    """The six components of the virial per atom, from predictions ``(n_frames, 3, 3)`` in eV.

    Frames without a virial do not count.
    """
    row, column = torch.triu_indices(3, 3, device=virial.device)
    per_atom = (prefactor / batch.n_atoms)[:, None]
    return _reduced(virial[:, row, column] * per_atom, batch.virial[:, row, column] * per_atom)


def select_atoms(batch: Batch, draws: Tensor) -> Tensor:
    """The atoms of each force measurement, ``(n_groups, n_frames, n_group)``, as indices in the batch.

    Args:
        batch: its frames may differ in size.
        draws: uniform in [0, 1), ``(n_groups, n_group)``: drawn with replacement, and the same atoms in all
            frames of a size.
    """
    counts = batch.n_atoms
    first = counts.cumsum(0) - counts
    # A draw just below 1 can be rounded up to the number of atoms.
    within = torch.minimum((draws[:, :, None] * counts).floor(), counts - 1)
    return (first + within).long().transpose(1, 2)


def _reduced(values: Tensor, labels: Tensor) -> Measurement:
    """Sign trick and early reduction; the first dimension is frames, NaN labels take no part."""
    values, labels = (tensor.reshape(len(tensor), -1) for tensor in (values, labels))
    labelled = ~torch.isnan(labels)
    difference = torch.where(labelled, labels - values.detach(), 0.0)
    signs = torch.where(difference < 0, -1.0, 1.0) * labelled
    n_components = values.shape[1]
    n_frames = labelled.any(dim=1).to(values.dtype).sum().clamp(min=1)
    return Measurement(
        value=(signs * values).sum() / n_components,
        error=difference.abs().sum() / (n_components * n_frames.sqrt()),
    )
