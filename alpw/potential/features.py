"""One vector per structure, from the model's own descriptor: whose distances say how different two are.

    x = ( <D>_1, σ_1, <D>_2, σ_2, ... )

| symbol | meaning |
| --- | --- |
| D | descriptor of an atom, ``(width,)`` (`alpw.potential.descriptor`) |
| <D>_t, σ_t | its mean and standard deviation over the atoms of element t |

The vector has the symmetries of the descriptor, and does not change when a cell is repeated. The mean tells
phases, densities and temperatures apart; the deviation tells a few odd atoms among many from a slight change
of all, which a mean alone would confuse.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from alpw.errors import InputError
from alpw.potential.config import DeepPotentialConfig
from alpw.potential.dataset import SHORTEST_DISTANCE
from alpw.potential.environment import Environment, join_environments
from alpw.potential.evaluation import PAIRS_PER_BATCH
from alpw.potential.model import DeepPotential


def reference_model(elements: Sequence[str], seed: int = 0) -> DeepPotential:
    """An untrained Deep Potential of default size, as a feature map for `frame_features`.

    Its embedding nets are random functions of the distance, drawn from the seed, and the descriptor contracts
    the neighbours' directions, weighted by them, to invariants of pairs and triples. Features need not be
    trained to compare points: products of sufficiently many random ones approach a kernel that depends on
    their distribution alone (Rahimi and Recht, "Random features for large-scale kernel machines", NIPS 20
    (2007)). Structures whose neighbour shells differ get different vectors, smoothly, without any data, and
    alike for everybody with the same seed.

    It is no potential, since its energies mean nothing, and no measure of what a trained model finds
    difficult, since every correlation weighs as the draw has it. Take a trained model where there is one.

    Args:
        elements: chemical symbols of every structure to be compared; their order is that of the features.
        seed: of the weights; features of different seeds cannot be compared.

    Raises:
        InputError: an unknown or repeated element.
    """
    return DeepPotential(DeepPotentialConfig(elements=tuple(elements), seed=seed)).requires_grad_(False)


@torch.no_grad()
def frame_features(
    model: DeepPotential, frames: Iterable[Atoms], batch: int = PAIRS_PER_BATCH
) -> NDArray[np.float64]:
    """Mean and standard deviation of the descriptor over the atoms of each element, structure by structure.

    Computed in float64 on the model's device whatever the model's precision, and with the networks of a
    compressed model instead of its tables. Columns differ in scale: see `alpw.sampling.farthest.standardise`.

    Args:
        model: trained, or a `reference_model`.
        frames: structures of the model's elements; they may differ in size and composition.
        batch: number of pairs to compute at a time; a larger frame is computed alone.

    Returns:
        ``(n_frames, n_features)``: for each element, in the model's order, ``width`` means and ``width``
        standard deviations (divisor: number of atoms); zeros for an element that a frame does not have.

    Raises:
        InputError: a frame with an unknown element or without a meaning, as ``frames[index]``.
    """
    precise = copy.deepcopy(model.parent()).double()
    groups = _grouped(_environments(precise, frames), batch)
    parts = [_statistics(precise, join_environments(group)).cpu().numpy() for group in groups]
    n_features = 2 * precise.descriptor.width * len(precise.config.elements)
    return np.concatenate([np.empty((0, n_features)), *parts])


def _environments(model: DeepPotential, frames: Iterable[Atoms]) -> Iterator[Environment]:
    for index, atoms in enumerate(frames):
        try:
            graph = model.neighbors(atoms).graph()
            if graph.closest < SHORTEST_DISTANCE:
                raise InputError(
                    f"two atoms are {graph.closest:.3g} Å apart; allowed: {SHORTEST_DISTANCE} Å or more"
                )
            yield model.environment(graph)
        except InputError as error:
            raise InputError(error.message, key=f"frames[{index}]") from error


def _grouped(environments: Iterable[Environment], n_pairs: int) -> Iterator[list[Environment]]:
    """Consecutive environments with up to ``n_pairs`` pairs together."""
    group: list[Environment] = []
    for environment in environments:
        if group and sum(len(other.graph.i) for other in [*group, environment]) > n_pairs:
            yield group
            group = []
        group.append(environment)
    if group:
        yield group


def _statistics(model: DeepPotential, environment: Environment) -> Tensor:
    """The features of the frames of an environment, ``(n_frames, n_features)``."""
    descriptors = model.descriptor(environment, model.scaled(environment))
    n_frames, n_types = environment.graph.n_frames, len(model.config.elements)
    atoms_of = environment.graph.frame * n_types + environment.types
    counts = torch.bincount(atoms_of, minlength=n_frames * n_types).clamp(min=1)[:, None]

    def mean(values: Tensor) -> Tensor:
        """Over the atoms of each frame and element, ``(n_frames * n_types, width)``."""
        return values.new_zeros(len(counts), values.shape[1]).index_add(0, atoms_of, values) / counts

    means = mean(descriptors)
    # Not as <D^2> - <D>^2, which loses the deviation of nearly equal atoms to rounding.
    deviations = mean((descriptors - means[atoms_of]) ** 2).sqrt()
    return torch.cat((means, deviations), dim=1).view(n_frames, -1)
