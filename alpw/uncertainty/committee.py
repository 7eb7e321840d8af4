"""Committee disagreement: models that differ only by their initial weights, compared on one structure.

For the force on each atom there are two definitions, with <.> the mean over M models and |.| the norm over
x, y, z:

    dpgen    ε_i = sqrt( <|F_i - <F_i>|^2> )
    legacy   ε_i = max over models of |F_i - <F_i>|        dpgen <= legacy <= sqrt(M - 1) dpgen

The first is DP-GEN's (Zhang et al., Phys. Rev. Materials 3, 023804 (2019); Zhang et al., Comput. Phys.
Commun. 253, 107206 (2020)), the second that of PWMLFF's LAMMPS interface, whose thresholds mean larger
numbers. Energy and virial have one definition each, that of DeePMD-kit (`calc_model_devi`; Zeng et al., J.
Chem. Phys. 159, 054801 (2023)): the standard deviation over models, divided by the number of atoms,

    ε_E = std(E) / N        ε_V,ab = std(W_ab) / N

A committee whose members have become the same model reports certainty everywhere, so `check_committee`
compares their weights.
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
from alpw.uncertainty.definition import DEFINITIONS, Definition

Floats = NDArray[np.float64]

# Independent members stay 1.4 apart. Members that Adam has trained from one start are 0.03 apart, copies 1e-6
# and less; a Kalman filter moves them 0.4 apart in 4 epochs, and in 16 as far as independent ones.
COLLAPSED = 0.3

# The force errors in training of members that differ by their seeds alone lie within some ten percent.
STRAGGLES = 3.0


@dataclass(frozen=True)
class Deviation:
    """Disagreement of a committee on one structure.

    Attributes:
        definition: of the force deviation, ``dpgen`` or ``legacy``.
        max_f, mean_f, min_f: over atoms, of the force deviation, in eV/Å.
        worst_atom: the atom of ``max_f``.
        energy: in eV/atom.
        max_v, mean_v, min_v: over the nine components of the virial deviation, in eV/atom; the mean is the
            root mean square, as in DeePMD-kit.
    """

    definition: Definition
    max_f: float
    mean_f: float
    min_f: float
    worst_atom: int
    energy: float
    max_v: float
    mean_v: float
    min_v: float


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

    def deviation(self, definition: Definition = "dpgen") -> Deviation:
        """Their disagreement; raises what `committee_deviation` raises."""
        return committee_deviation(self.energies, self.forces, self.virials, definition)


def force_deviation(forces: ArrayLike, definition: Definition = "dpgen") -> Floats:
    """Deviation of the force on each atom.

    Args:
        forces: ``(n_models, n_atoms, 3)`` in eV/Å.
        definition: ``dpgen``, the root mean square distance of the models from their mean, or ``legacy``, the
            distance of the model farthest from it.

    Returns:
        ``(n_atoms,)`` in eV/Å.

    Raises:
        InputError: another shape, fewer than two models, no atoms, forces that are not finite, or an unknown
            definition.
    """
    array = np.asarray(forces, dtype=float)
    if array.ndim != 3 or array.shape[0] < 2 or array.shape[1] < 1 or array.shape[2] != 3:
        raise InputError(f"forces have shape {array.shape}; allowed: (n_models >= 2, n_atoms >= 1, 3)")
    _require_finite("forces", array)
    distances = np.linalg.norm(array - array.mean(axis=0), axis=2)
    match definition:
        case "dpgen":
            return np.asarray(np.sqrt((distances**2).mean(axis=0)), dtype=float)
        case "legacy":
            return np.asarray(distances.max(axis=0), dtype=float)
    raise InputError(f"found {definition!r}; allowed: {', '.join(DEFINITIONS)}", key="deviation")


def energy_deviation(energies: ArrayLike, n_atoms: int) -> float:
    """Standard deviation of the energy over models, per atom, in eV/atom.

    Args:
        energies: ``(n_models,)`` in eV.
        n_atoms: of the structure.

    Raises:
        InputError: another shape, fewer than two models, or energies that are not finite.
    """
    array = np.asarray(energies, dtype=float)
    if array.ndim != 1 or len(array) < 2:
        raise InputError(f"energies have shape {array.shape}; allowed: (n_models >= 2,)")
    _require_finite("energies", array)
    return float(array.std() / n_atoms)


def virial_deviation(virials: ArrayLike, n_atoms: int) -> Floats:
    """Standard deviation of each component of the virial over models, per atom.

    Args:
        virials: ``(n_models, 3, 3)`` in eV.
        n_atoms: of the structure.

    Returns:
        ``(3, 3)`` in eV/atom.

    Raises:
        InputError: another shape, fewer than two models, or virials that are not finite.
    """
    array = np.asarray(virials, dtype=float)
    if array.ndim != 3 or len(array) < 2 or array.shape[1:] != (3, 3):
        raise InputError(f"virials have shape {array.shape}; allowed: (n_models >= 2, 3, 3)")
    _require_finite("virials", array)
    return np.asarray(array.std(axis=0) / n_atoms, dtype=float)


def _require_finite(what: str, array: Floats) -> None:
    if not np.isfinite(array).all():
        models = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1)).tolist()
        raise InputError(f"the {what} of models {models} are not finite")


def committee_deviation(
    energies: ArrayLike, forces: ArrayLike, virials: ArrayLike, definition: Definition = "dpgen"
) -> Deviation:
    """Disagreement of a committee on one structure.

    Args:
        energies: ``(n_models,)`` in eV.
        forces: ``(n_models, n_atoms, 3)`` in eV/Å.
        virials: ``(n_models, 3, 3)`` in eV.
        definition: of the force deviation.

    Raises:
        InputError: shapes that do not fit, fewer than two models, numbers that are not finite, or an unknown
            definition.
    """
    per_atom = force_deviation(forces, definition)
    n_models, n_atoms = np.shape(forces)[:2]
    found = {np.shape(energies)[:1], np.shape(virials)[:1]}
    if found != {(n_models,)}:
        raise InputError(
            f"found energies {np.shape(energies)} and virials {np.shape(virials)}; "
            f"allowed: {n_models}, as many as forces"
        )
    components = virial_deviation(virials, n_atoms)
    return Deviation(
        definition=definition,
        max_f=float(per_atom.max()),
        mean_f=float(per_atom.mean()),
        min_f=float(per_atom.min()),
        worst_atom=int(per_atom.argmax()),
        energy=energy_deviation(energies, n_atoms),
        max_v=float(components.max()),
        mean_v=float(np.sqrt((components**2).mean())),
        min_v=float(components.min()),
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
    """Distance of each pair of models in the space of their weight matrices, relative to their size.

        d_ab = |w_a - w_b| / sqrt( (|w_a|^2 + |w_b|^2) / 2 )

    Biases and time steps do not count: they share a mean, which in models that keep the energy of the atoms
    in the last bias is all that would be seen.

    Returns:
        ``(n_models, n_models)``; 0 for identical weights, about sqrt(2) for independent ones of zero mean.

    Raises:
        InputError: models whose weights differ in number.
    """
    weights = [
        torch.cat(
            [matrix.detach().cpu().double().flatten() for matrix in model.parameters() if matrix.ndim > 1]
        )
        for model in models
    ]
    if len({len(vector) for vector in weights}) > 1:
        raise InputError(
            f"the members have {[len(vector) for vector in weights]} weights; allowed: the same number"
        )
    stacked = torch.stack(weights)
    squares = (stacked**2).sum(dim=1)
    differences = torch.stack([(stacked - vector).norm(dim=1) for vector in stacked])
    return (differences / ((squares[:, None] + squares) / 2).sqrt()).numpy()


class Health(NamedTuple):
    """How different the members of a committee are.

    Attributes:
        min_distance: that of the closest pair, as of `weight_distances`.
        pair: the members that it is between.
        limit: below which their agreement means nothing.
    """

    min_distance: float
    pair: tuple[int, int]
    limit: float = COLLAPSED

    @property
    def collapsed(self) -> bool:
        """Whether the committee is none any more."""
        return self.min_distance < self.limit


def stragglers(force_errors: Sequence[float]) -> list[int]:
    """Members that have learnt far less than the others: over `STRAGGLES` times the median error in training.

    Args:
        force_errors: RMSE of each member on its training set in eV/Å.
    """
    limit = STRAGGLES * float(np.nanmedian(force_errors))
    return [member for member, error in enumerate(force_errors) if not error <= limit]


def committee_health(models: Sequence[DeepPotential]) -> Health:
    """How different the members are.

    Raises:
        InputError: fewer than two members, or members whose weights differ in number.
    """
    if len(models) < 2:
        raise InputError(f"a committee needs two members or more, found {len(models)}")
    distances = weight_distances(models)
    rows, columns = np.triu_indices(len(models), k=1)
    closest = int(distances[rows, columns].argmin())
    pair = (int(rows[closest]), int(columns[closest]))
    return Health(float(distances[pair]), pair)


def check_committee(models: Sequence[DeepPotential], names: Sequence[str] | None = None) -> None:
    """Make sure that the members are different models.

    Args:
        models: the members.
        names: what an error calls them, such as their files; their indices if None.

    Raises:
        InputError: fewer than two members, or members of different architecture or elements.
        AlpwError: members so alike, as after training from one start, that their agreement means nothing.
    """
    if len(models) < 2:
        raise InputError(f"a committee needs two members or more, found {len(models)}")
    if len({model.config.elements for model in models}) > 1:
        raise InputError(
            f"the members know different elements: {[model.config.elements for model in models]}"
        )
    distances = weight_distances(models)
    labels = [str(index) for index in range(len(models))] if names is None else names
    alike = [
        f"{labels[a]} and {labels[b]} ({distances[a, b]:.2g})"
        for a, b in np.argwhere(np.triu(distances < COLLAPSED, k=1))
    ]
    if alike:
        raise AlpwError(
            f"the committee has collapsed: members {', '.join(alike)} are less than {COLLAPSED} apart, "
            "independent ones 1.4; their agreement says nothing about the error. Train them from different "
            "seeds"
        )
