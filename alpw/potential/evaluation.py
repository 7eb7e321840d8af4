"""Errors of a model on labelled frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.potential.dataset import Batch, join, prepare
from alpw.potential.model import DeepPotential
from alpw.structures.frame import LabelledFrame

Floats = NDArray[np.float64]

# Large enough to amortise the overhead of a call, small enough to stay in memory.
PAIRS_PER_BATCH = 20_000


@dataclass(frozen=True)
class ElementErrors:
    """Force errors on the atoms of one element.

    Attributes:
        n_atoms: in all frames together.
        force_rmse, force_mae: eV/Å, over all components.
    """

    n_atoms: int
    force_rmse: float
    force_mae: float


@dataclass(frozen=True)
class Errors:
    """Errors over a set of frames.

    Attributes:
        force_rmse, force_mae: eV/Å, over all components of all atoms.
        energy_rmse, energy_mae: eV/atom, over frames.
        virial_rmse, virial_mae: eV/atom, over all components of the frames that have a virial; None if none
            has.
        elements: force errors by chemical symbol, in the order of the model's types; elements without atoms
            are left out.
    """

    force_rmse: float
    force_mae: float
    energy_rmse: float
    energy_mae: float
    virial_rmse: float | None
    virial_mae: float | None = None
    elements: dict[str, ElementErrors] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """What a model says about labelled frames, next to the labels; float64.

    Attributes:
        numbers: ``(n_atoms,)``, atomic numbers of all frames, one after the other.
        frame: ``(n_atoms,)``, the frame of each atom.
        n_atoms: ``(n_frames,)``.
        energies, energy_labels: ``(n_frames,)`` in eV.
        forces, force_labels: ``(n_atoms, 3)`` in eV/Å.
        virials, virial_labels: ``(n_frames, 3, 3)`` in eV; the label is NaN for a frame without one.
    """

    numbers: NDArray[np.int64]
    frame: NDArray[np.int64]
    n_atoms: NDArray[np.int64]
    energies: Floats
    energy_labels: Floats
    forces: Floats
    force_labels: Floats
    virials: Floats
    virial_labels: Floats

    def errors(self, order: Sequence[str] = ()) -> Errors:
        """Root mean square and mean absolute errors; elements of ``order`` come first."""
        force = self.forces - self.force_labels
        energy = (self.energies - self.energy_labels) / self.n_atoms
        labelled = ~np.isnan(self.virial_labels[:, 0, 0])
        virial = ((self.virials - self.virial_labels) / self.n_atoms[:, None, None])[labelled]
        present = [chemical_symbols[number] for number in np.unique(self.numbers)]
        symbols = [symbol for symbol in order if symbol in present]
        symbols += [symbol for symbol in present if symbol not in symbols]
        by_element = {symbol: force[self.numbers == chemical_symbols.index(symbol)] for symbol in symbols}
        return Errors(
            force_rmse=_rms(force),
            force_mae=float(abs(force).mean()),
            energy_rmse=_rms(energy),
            energy_mae=float(abs(energy).mean()),
            virial_rmse=_rms(virial) if len(virial) else None,
            virial_mae=float(abs(virial).mean()) if len(virial) else None,
            elements={
                symbol: ElementErrors(len(part), _rms(part), float(abs(part).mean()))
                for symbol, part in by_element.items()
            },
        )


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
    return compare(model, batches).errors(model.config.elements)


def compare(model: DeepPotential, batches: Sequence[Batch]) -> Comparison:
    """The model's energies, forces and virials of prepared frames, and their labels."""
    groups = list(_grouped(batches))
    results = [model.evaluate(group.environment) for group in groups]
    n_atoms = _numpy([group.n_atoms for group in groups]).astype(np.int64)
    return Comparison(
        numbers=_numpy([group.graph.numbers for group in groups]),
        frame=np.repeat(np.arange(len(n_atoms)), n_atoms),
        n_atoms=n_atoms,
        energies=_numpy([result.energy for result in results]),
        energy_labels=_numpy([group.energy for group in groups]),
        forces=_numpy([result.forces for result in results]),
        force_labels=_numpy([group.forces for group in groups]),
        virials=_numpy([result.virial for result in results]),
        virial_labels=_numpy([group.virial for group in groups]),
    )


def _numpy(parts: Sequence[torch.Tensor]) -> NDArray:
    return torch.cat([part.detach() for part in parts]).cpu().numpy()


def _rms(values: Floats) -> float:
    return math.sqrt(float((values**2).mean()))


def _grouped(batches: Sequence[Batch]) -> Iterator[Batch]:
    group: list[Batch] = []
    for batch in batches:
        if group and sum(len(other.graph.i) for other in group) + len(batch.graph.i) > PAIRS_PER_BATCH:
            yield join(group)
            group = []
        group.append(batch)
    yield join(group)
