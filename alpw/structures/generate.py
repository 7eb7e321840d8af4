"""The first structures of a data set: scaled and perturbed copies of the start structures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from alpw.structures.perturb import perturb, scale
from alpw.structures.seeds import derive_seed


class GeneratedStructure(NamedTuple):
    """A structure and the operations that made it, with their numbers and seeds."""

    atoms: Atoms
    operations: dict[str, Any]


def generate_initial(
    atoms: Atoms,
    *,
    copies: int,
    scales: Sequence[float],
    cell_fraction: float,
    distance: float,
    seed: int,
    name: str,
) -> Iterator[GeneratedStructure]:
    """Perturbed copies of a structure at each scale.

    Args:
        atoms: the parent structure.
        copies: perturbed copies per scale.
        scales: factors of the cell's lengths.
        cell_fraction: largest strain component of the perturbation.
        distance: root-mean-square displacement of an atom in Å.
        seed: the campaign's seed.
        name: identifies the parent among the start structures.
    """
    for factor in scales:
        for copy in range(copies):
            own_seed = derive_seed(seed, "perturb", name, f"{factor:g}", copy)
            rng = np.random.default_rng(own_seed)
            perturbed = perturb(
                scale(atoms, factor), rng, cell_pert_fraction=cell_fraction, atom_pert_distance=distance
            )
            yield GeneratedStructure(
                perturbed,
                {
                    "scale": factor,
                    "perturb": copy,
                    "cell_pert_fraction": cell_fraction,
                    "atom_pert_distance": distance,
                    "seed": own_seed,
                },
            )
