"""Labelled frames as tensors: checked once, neighbours found once, joined into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alpw.errors import InputError
from alpw.potential.config import DeepPotentialConfig
from alpw.potential.environment import Environment, join_environments
from alpw.potential.model import DeepPotential
from alpw.potential.neighbors import Graph
from alpw.structures.frame import LabelledFrame

# Beyond any physics; what crosses them are broken files, which would spoil a training without an error.
LARGEST_FORCE = 1e5  # eV/Å
SHORTEST_DISTANCE = 0.1  # Å


@dataclass(frozen=True)
class Batch:
    """One or more labelled frames.

    Attributes:
        environment: their atoms and pairs, as the model reads them.
        energy: ``(n_frames,)`` in eV.
        forces: ``(n_atoms, 3)`` in eV/Å.
        virial: ``(n_frames, 3, 3)`` in eV; NaN for a frame without one.
        n_atoms: per frame, ``(n_frames,)``, float64.
    """

    environment: Environment
    energy: Tensor
    forces: Tensor
    virial: Tensor
    n_atoms: Tensor

    @property
    def graph(self) -> Graph:
        return self.environment.graph

    def to(self, device: torch.device | str | None) -> Batch:
        """The same batch on another device."""
        labels = (self.energy, self.forces, self.virial, self.n_atoms)
        return Batch(self.environment.to(device), *(tensor.to(device) for tensor in labels))


def join(batches: Sequence[Batch]) -> Batch:
    """One batch of all frames, in order; they may differ in size."""
    if len(batches) == 1:
        return batches[0]
    return Batch(
        environment=join_environments([batch.environment for batch in batches]),
        energy=torch.cat([batch.energy for batch in batches]),
        forces=torch.cat([batch.forces for batch in batches]),
        virial=torch.cat([batch.virial for batch in batches]),
        n_atoms=torch.cat([batch.n_atoms for batch in batches]),
    )


def prepare(model: DeepPotential, frames: Sequence[LabelledFrame], *, name: str = "frames") -> list[Batch]:
    """Check the frames, find their neighbours, and put them on the model's device, one batch each.

    Raises:
        InputError: a frame that cannot be trained on, as ``name[index]``: an unknown element, a missing
            label, a wrong shape, a number that is not finite, an absurd force, atoms that coincide, more
            neighbours than a given `sel`.
    """
    batches = [_prepare(model, frame, key=f"{name}[{index}]") for index, frame in enumerate(frames)]
    if model.config.sel is not None:
        _check_capacity(model.config, batches, name)
    return batches


def _prepare(model: DeepPotential, frame: LabelledFrame, key: str) -> Batch:
    atoms, label = frame
    virial = np.full((3, 3), np.nan)
    if label.virial is not None:
        virial = _checked(label.virial, (3, 3), "virial", key)
    energy = _checked(label.energy, (), "energy", key)
    forces = _checked(label.forces, (len(atoms), 3), "forces", key)
    if forces.size and np.abs(forces).max() > LARGEST_FORCE:
        raise InputError(
            f"atom {np.abs(forces).max(axis=1).argmax()} has a force of {np.abs(forces).max():.3g} eV/Å; "
            f"allowed: up to {LARGEST_FORCE:g}. Leave the frame out, or look at its calculation",
            key=key,
        )
    try:
        graph = model.neighbors(atoms).graph()
        _check_distances(graph)
        environment = model.environment(graph)
    except InputError as error:
        raise InputError(error.message, key=key) from error
    return Batch(
        environment=environment,
        energy=torch.from_numpy(energy.reshape(1)),
        forces=torch.from_numpy(forces),
        virial=torch.from_numpy(virial.reshape(1, 3, 3)),
        n_atoms=torch.tensor([float(len(atoms))], dtype=torch.float64),
    ).to(model.device)


def _check_distances(graph: Graph) -> None:
    """No label means anything for atoms that coincide, and s(r) is infinite there."""
    if graph.closest >= SHORTEST_DISTANCE or not len(graph.i):
        return
    distances = graph.vectors.norm(dim=1)
    pair = int(distances.argmin())
    i, j, distance = int(graph.i[pair]), int(graph.j[pair]), float(distances[pair])
    raise InputError(f"atoms {i} and {j} are {distance:.3g} Å apart; allowed: {SHORTEST_DISTANCE} Å or more")


def _check_capacity(config: DeepPotentialConfig, batches: Sequence[Batch], name: str) -> None:
    """Hold a `sel` that was asked for against the neighbours that there are; the worst frame is named."""
    per_element = isinstance(config.sel, tuple)
    allowed = torch.tensor(config.sel if isinstance(config.sel, tuple) else [config.sel])
    worst, key, message = 0, "", ""
    for index, batch in enumerate(batches):
        counts = batch.environment.neighbor_counts(len(config.elements)).cpu()
        counts = counts if per_element else counts.sum(dim=1, keepdim=True)
        excess = counts - allowed
        if int(excess.max()) > worst:
            worst = int(excess.max())
            atom, column = divmod(int(excess.argmax()), excess.shape[1])
            what = f"{config.elements[column]} neighbours" if per_element else "neighbours"
            key = f"{name}[{index}]"
            message = (
                f"atom {atom} has {int(counts[atom, column])} {what} within {config.rcut} Å, "
                f"more than in any other frame, and sel (max_neigh_num) allows {int(allowed[column])}; "
                f'give {int(counts[atom, column])} or more, or sel: "auto"'
            )
    if message:
        raise InputError(message, key=key)


def _checked(value: object, shape: tuple[int, ...], what: str, key: str) -> np.ndarray:
    if value is None:
        raise InputError(f"the frame has no {what}", key=key)
    try:
        array = np.array(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} is not an array of numbers: {error}", key=key) from error
    if array.shape != shape:
        raise InputError(f"{what} has shape {array.shape}; expected {shape}", key=key)
    if not np.isfinite(array).all():
        raise InputError(f"{what} has {np.count_nonzero(~np.isfinite(array))} non-finite values", key=key)
    return array
