"""DeePMD-kit's loss, learning rate and prefactors.

For a frame of N atoms, with label values marked by *:

    L   = p_e (E - E*)^2 / N  +  p_f Σ_i |F_i - F_i*|^2 / (3 N)  +  p_v Σ_ab (W_ab - W_ab*)^2 / (9 N)
    p(t) = p_limit + (p_start - p_limit) α(t) / α(0)
    α(t) = α(0) (α_stop / α(0))^(t / t_stop)

(section "Loss" of Zeng et al., J. Chem. Phys. 159, 054801 (2023); the form with the error per atom,
p_e (ΔE/N)^2 without the factor N, is that of Wang et al., Comput. Phys. Commun. 228, 178 (2018), and is
not what DeePMD-kit computes). A batch takes the mean over its frames, whatever their sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from alpw.potential.dataset import Batch
from alpw.potential.model import Evaluation


@dataclass(frozen=True)
class Schedule:
    """Exponential decay of the learning rate.

    Attributes:
        start, stop: learning rates at the first step and after the last.
        n_steps: number of steps in all.
        decay_steps: keep the rate constant for so many steps; None changes it at each.
    """

    start: float
    stop: float
    n_steps: int
    decay_steps: int | None = None

    def __call__(self, step: int) -> float:
        """Learning rate of ``step`` (from 0)."""
        if self.decay_steps:
            step -= step % self.decay_steps
        return float(self.start * (self.stop / self.start) ** (step / self.n_steps))


class Prefactors(NamedTuple):
    """Weights of energy, force and virial in the loss."""

    energy: float
    force: float
    virial: float


def mixed(start: Prefactors, limit: Prefactors, fraction: float) -> Prefactors:
    """Prefactors at a learning rate of ``fraction`` times the first: 1 gives ``start``, 0 gives ``limit``."""
    return Prefactors(
        *(first * fraction + last * (1 - fraction) for first, last in zip(start, limit, strict=True))
    )


@dataclass(frozen=True)
class FrameErrors:
    """Squared errors of each frame, ``(n_frames,)``.

    Attributes:
        energy: (ΔE)^2 in eV^2.
        force: mean of (ΔF)^2 over components, in (eV/Å)^2.
        virial: mean of (ΔW)^2 over components, in eV^2; NaN for a frame without a virial.
        n_atoms: of the frame.
    """

    energy: Tensor
    force: Tensor
    virial: Tensor
    n_atoms: Tensor

    def of_frames(self, prefactors: Prefactors) -> Tensor:
        """The loss of each frame, ``(n_frames,)``."""
        loss = prefactors.energy * self.energy / self.n_atoms + prefactors.force * self.force
        if prefactors.virial:
            loss = loss + prefactors.virial * torch.nan_to_num(self.virial) / self.n_atoms
        return loss

    def loss(self, prefactors: Prefactors) -> Tensor:
        """The loss of the batch, a scalar."""
        return self.of_frames(prefactors).mean()


def frame_errors(result: Evaluation, batch: Batch) -> FrameErrors:
    """Squared differences between a model's results and the labels, per frame."""
    force = torch.zeros_like(batch.energy).index_add(
        0, batch.graph.frame, ((result.forces - batch.forces) ** 2).mean(dim=1)
    )
    # A frame without a virial must not send NaN into the gradient: put the model's own value in its place.
    label = torch.where(torch.isnan(batch.virial), result.virial.detach(), batch.virial)
    virial = ((result.virial - label) ** 2).mean(dim=(1, 2))
    return FrameErrors(
        energy=(result.energy - batch.energy) ** 2,
        force=force / batch.n_atoms,
        virial=torch.where(torch.isnan(batch.virial[:, 0, 0]), torch.nan, virial),
        n_atoms=batch.n_atoms,
    )
