"""Frames as points whose distances say how alike they are, a few hundred in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

if TYPE_CHECKING:
    from alpw.potential.model import DeepPotential

MOST_SINGULAR = 200
"""values of a matrix; of more, only the leading ones are computed"""

CHUNK = 100
"""frames of which the whole features are held"""

Name = TypeVar("Name")
Floats = NDArray[np.float64]


def described(
    model: DeepPotential, frames: Iterable[tuple[Name, Atoms]], progress: Callable[[int], object]
) -> Iterator[tuple[list[Name], Floats]]:
    """Features of those structures that have any: of atoms in each other there are none.

    Args:
        model: `alpw.potential.features.reference_model`, or a trained one.
        frames: (name, structure).
        progress: told how many frames have been seen to.

    Yields:
        Names, and `alpw.potential.features.frame_features` of them, ``(n, n_features)``.
    """
    # Late: torch takes seconds to import.
    from alpw.potential.features import frame_features

    remaining, done = iter(frames), 0
    while chunk := list(islice(remaining, CHUNK)):
        kept = [(name, atoms) for name, atoms in chunk if _is_apart(atoms)]
        if kept:
            yield [name for name, _ in kept], frame_features(model, [atoms for _, atoms in kept])
        done += len(chunk)
        progress(done)


def _is_apart(atoms: Atoms) -> bool:
    from ase.neighborlist import neighbor_list

    from alpw.potential.dataset import SHORTEST_DISTANCE

    return len(neighbor_list("d", atoms, SHORTEST_DISTANCE)) == 0


def projection(n_features: int, n_kept: int, seed: int = 0) -> Floats:
    """A random matrix that keeps distances between points (Johnson and Lindenstrauss, 1984).

    Returns:
        ``(n_features, n_kept)``, from the seed.
    """
    return np.random.default_rng(seed).normal(0, n_kept**-0.5, (n_features, n_kept))


def principal(points: Floats, n_components: int) -> tuple[Floats, Floats]:
    """Principal components of points on their own scales.

    Args:
        points: ``(n_points, n_features)``.
        n_components: wanted; there may be fewer.

    Returns:
        Coordinates about the mean ``(n_points, n)``, and the share of the variance that each has ``(n,)``.
    """
    centred = points - points.mean(axis=0)
    if min(centred.shape) > MOST_SINGULAR:
        # Late: it brings SciPy, for which no command should wait.
        from scipy.sparse.linalg import svds

        u, s, _ = svds(centred, n_components, v0=np.ones(min(centred.shape)))
        u, s = u[:, ::-1], s[::-1]
    else:
        u, s, _ = np.linalg.svd(centred, full_matrices=False)
    kept, total = slice(0, n_components), float((centred**2).sum())
    return u[:, kept] * s[kept], s[kept] ** 2 / total if total else s[kept]


def elements_of(formulas: Sequence[str]) -> list[str]:
    """Elements of chemical formulas, in alphabetical order."""
    from ase.formula import Formula

    return sorted({element for formula in set(formulas) for element in Formula(formula).count()})
