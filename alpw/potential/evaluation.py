"""Errors of a model on labelled frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from alpw.errors import InputError
from alpw.potential.dataset import Batch, join, prepare
from alpw.potential.model import DeepPotential
from alpw.structures.frame import LabelledFrame

# Large enough to amortise the overhead of a call, small enough to stay in memory.
PAIRS_PER_BATCH = 20_000


@dataclass(frozen=True)
class Errors:
    """Errors over a set of frames.

    Attributes:
        force_rmse, force_mae: eV/Å, over all components of all atoms.
        energy_rmse, energy_mae: eV/atom, over frames.
        virial_rmse: eV/atom, over all components of the frames that have a virial; None if none has.
    """

    force_rmse: float
    force_mae: float
    energy_rmse: float
    energy_mae: float
    virial_rmse: float | None


def test(model: DeepPotential, frames: Sequence[LabelledFrame]) -> Errors:
    """Compare the model with the labels of ``frames``.

    Raises:
        InputError: no frames, or one that cannot be used, named by its index.
    """
    if not frames:
        raise InputError("no frames to test on")
    return errors(model, prepare(model, frames))


# The name is the field's; pytest must not take it for a test case.
test.__test__ = False  # type: ignore[attr-defined]


def errors(model: DeepPotential, batches: Sequence[Batch]) -> Errors:
    """`test` for frames that are already prepared."""
    force, energy, virial = [], [], []
    for batch in _grouped(batches):
        result = model.evaluate(batch.graph)
        force.append((result.forces - batch.forces).detach())
        energy.append((result.energy - batch.energy).detach() / batch.n_atoms)
        labelled = ~torch.isnan(batch.virial[:, 0, 0])
        difference = (result.virial - batch.virial).detach() / batch.n_atoms[:, None, None]
        virial.append(difference[labelled])
    df, de, dw = (torch.cat(parts) for parts in (force, energy, virial))
    return Errors(
        force_rmse=math.sqrt(float((df**2).mean())),
        force_mae=float(df.abs().mean()),
        energy_rmse=math.sqrt(float((de**2).mean())),
        energy_mae=float(de.abs().mean()),
        virial_rmse=math.sqrt(float((dw**2).mean())) if len(dw) else None,
    )


def _grouped(batches: Sequence[Batch]) -> Iterator[Batch]:
    group: list[Batch] = []
    for batch in batches:
        if group and sum(len(other.graph.i) for other in group) + len(batch.graph.i) > PAIRS_PER_BATCH:
            yield join(group)
            group = []
        group.append(batch)
    yield join(group)
