"""Committee disagreement: models that differ only by their initial weights, compared on one structure.

    ε_i = sqrt( <|F_i - <F_i>|^2> )       mean <.> over models, norm over x, y, z

(Zhang et al., Phys. Rev. Materials 3, 023804 (2019); Zhang et al., Comput. Phys. Commun. 253, 107206
(2020), DP-GEN.) A committee whose members have become the same model reports certainty everywhere, so
`check_committee` compares their weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from alpw.errors import AlpwError, InputError
from alpw.potential.model import DeepPotential
from alpw.potential.neighbors import Graph

Floats = NDArray[np.float64]

# Distances are relative to the weights' own size. Independent initial weights are of order 1 apart, and
# training moves them little; a copy, even after a float32 round trip, is below 1e-6.
COLLAPSED = 1e-4


@dataclass(frozen=True)
class Deviation:
    """Disagreement of a committee on one structure.

    Attributes:
        max_f, mean_f, min_f: over atoms, of the force deviation, in eV/Å.
        energy: standard deviation of the energy, in eV/atom.
    """

    max_f: float
    mean_f: float
    min_f: float
    energy: float


class CommitteePrediction(NamedTuple):
    """What M models say about one structure.

    Attributes:
        energies: ``(M,)`` in eV.
        forces: ``(M, n_atoms, 3)`` in eV/Å.
        virials: ``(M, 3, 3)`` in eV, positive under compression.
    """

    energies: Floats
    forces: Floats
    virials: Floats

    @property
    def deviation(self) -> Deviation:
        return committee_deviation(self.energies, self.forces)


def force_deviation(forces: ArrayLike) -> Floats:
    """DP-GEN's deviation of each atom: root mean square distance of the models from their mean.

    Args:
        forces: ``(n_models, n_atoms, 3)`` in eV/Å.

    Returns:
        ``(n_atoms,)`` in eV/Å.

    Raises:
        InputError: another shape, fewer than two models, no atoms, or forces that are not finite.
    """
    return np.asarray(np.sqrt((_distances(forces) ** 2).mean(axis=0)), dtype=float)


def largest_force_deviation(forces: ArrayLike) -> Floats:
    """The predecessor's deviation of each atom: distance from the mean of the model farthest from it.

    At least `force_deviation`, and at most sqrt(n_models) times it. Arguments, units and errors are those
    of `force_deviation`.
    """
    return np.asarray(_distances(forces).max(axis=0), dtype=float)


def _distances(forces: ArrayLike) -> Floats:
    """|F - <F>| of each model and atom, ``(n_models, n_atoms)``."""
    array = np.asarray(forces, dtype=float)
    if array.ndim != 3 or array.shape[0] < 2 or array.shape[1] < 1 or array.shape[2] != 3:
        raise InputError(f"forces have shape {array.shape}; allowed: (n_models >= 2, n_atoms >= 1, 3)")
    if not np.isfinite(array).all():
        models = np.flatnonzero(~np.isfinite(array).all(axis=(1, 2))).tolist()
        raise InputError(f"the forces of models {models} are not finite")
    return np.asarray(np.linalg.norm(array - array.mean(axis=0), axis=2), dtype=float)


def committee_deviation(energies: ArrayLike, forces: ArrayLike) -> Deviation:
    """DP-GEN's deviations of one structure.

    Args:
        energies: ``(n_models,)`` in eV.
        forces: ``(n_models, n_atoms, 3)`` in eV/Å.

    Raises:
        InputError: shapes that do not fit, fewer than two models, or numbers that are not finite.
    """
    per_atom = force_deviation(forces)
    energy = np.asarray(energies, dtype=float)
    n_models, n_atoms = np.shape(forces)[:2]
    if energy.shape != (n_models,) or not np.isfinite(energy).all():
        raise InputError(f"found energies {energy.tolist()}; allowed: {n_models} finite numbers")
    return Deviation(
        max_f=float(per_atom.max()),
        mean_f=float(per_atom.mean()),
        min_f=float(per_atom.min()),
        energy=float(energy.std() / n_atoms),
    )


def predict_committee(models: Sequence[DeepPotential], structure: Atoms | Graph) -> CommitteePrediction:
    """Evaluate one structure with all models; its neighbours are found once.

    Args:
        models: the members; their cutoffs may differ.
        structure: atoms, or their graph with a cutoff that is long enough for every model.

    Raises:
        InputError: no models, an unknown element, or a graph that is too short.
        AlpwError: a result that is not finite.
    """
    if not models:
        raise InputError("the committee has no members")
    if isinstance(structure, Atoms):
        widest = max(models, key=lambda model: model.config.rcut)
        structure = widest.neighbors(structure).graph()
    results = [model.predict_graph(structure) for model in models]
    return CommitteePrediction(
        energies=np.array([result.energy for result in results]),
        forces=np.stack([result.forces for result in results]),
        virials=np.stack([result.virial for result in results]),
    )


def weight_distances(models: Sequence[DeepPotential]) -> Floats:
    """Distance of each pair of models in weight space, relative to the size of the weights.

        d_ab = |w_a - w_b| / sqrt( (|w_a|^2 + |w_b|^2) / 2 )

    Returns:
        ``(n_models, n_models)``; 0 for identical weights, about sqrt(2) for independent ones of zero mean.

    Raises:
        InputError: models whose weights differ in number.
    """
    weights = [
        torch.nn.utils.parameters_to_vector(model.parameters()).detach().cpu().double() for model in models
    ]
    if len({len(vector) for vector in weights}) > 1:
        raise InputError(
            f"the members have {[len(vector) for vector in weights]} weights; allowed: the same number"
        )
    stacked = torch.stack(weights)
    squares = (stacked**2).sum(dim=1)
    differences = torch.stack([(stacked - vector).norm(dim=1) for vector in stacked])
    return (differences / ((squares[:, None] + squares) / 2).sqrt()).numpy()


def check_committee(models: Sequence[DeepPotential]) -> None:
    """Make sure that the members are different models.

    Raises:
        InputError: fewer than two members, or members of different architecture or elements.
        AlpwError: members with the same weights, whose agreement would mean nothing.
    """
    if len(models) < 2:
        raise InputError(f"a committee needs two members or more, found {len(models)}")
    if len({model.config.elements for model in models}) > 1:
        raise InputError(
            f"the members know different elements: {[model.config.elements for model in models]}"
        )
    distances = weight_distances(models)
    same = [(int(a), int(b)) for a, b in np.argwhere(np.triu(distances < COLLAPSED, k=1))]
    if same:
        raise AlpwError(
            f"the committee has collapsed: members {same} have the same weights, and their agreement says "
            "nothing about the error. Train them from different seeds"
        )
