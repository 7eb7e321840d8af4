"""Which epoch's weights a training returns."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
import torch

from alpw.potential.dataset import Batch
from alpw.potential.evaluation import Errors, errors
from alpw.potential.model import DeepPotential
from alpw.potential.training.loss import Prefactors
from alpw.potential.training.state import Progress

logger = logging.getLogger(__name__)

JUDGES = 32
"""Training frames that judge an epoch of a Kalman filter where there are none for validation."""

SPOILED = 4.0
"""Times the best epoch's loss that the last weights may have to be returned, without validation."""


def some(training: Sequence[Batch]) -> list[Batch]:
    """Frames of the training set that judge in place of held-out ones, spread over all of it."""
    return list(training[:: math.ceil(len(training) / JUDGES)])


def judge(model: DeepPotential, frames: Sequence[Batch], limit: Prefactors) -> tuple[Errors, float]:
    """Errors on some frames, and their loss with the limit prefactors, which is where training is heading."""
    # Weights on their way to nowhere make numbers that overflow; the loss is infinite then.
    with np.errstate(over="ignore"):
        found = errors(model, frames)
    n_atoms = float(torch.cat([batch.n_atoms for batch in frames]).mean())
    squares = (found.energy_rmse, found.force_rmse, found.virial_rmse or 0.0)
    prefactors = (limit.energy * n_atoms, limit.force, limit.virial * n_atoms)
    return found, sum(p * value * value for p, value in zip(prefactors, squares, strict=True))


def prefer_last(progress: Progress, frames: Sequence[Batch], limit: Prefactors) -> None:
    """Make the last weights the ones to return, unless they were spoiled."""
    if progress.best.epoch == progress.epoch:
        return
    (_, last), best = judge(progress.model, frames, limit), progress.best
    if last <= SPOILED * best.score:
        best.keep(progress.epoch, last, progress.model)
        return
    logger.warning(
        "training ended spoiled: on training frames the loss is %.3g, after epoch %d it was %.3g. The model "
        "holds the weights of that epoch. Train for longer, or with held-out frames",
        *(last, best.epoch, best.score),
    )
