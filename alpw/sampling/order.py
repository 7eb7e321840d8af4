"""In which order frames are labelled: what tells most goes first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def by_information(uncertainties: Sequence[Mapping[str, float]], measures: Iterable[str]) -> list[int]:
    """Order frames by their uncertainty, the most uncertain first.

    A committee's deviation and KPU have different scales. Where there are several measures, each frame's rank
    among the others counts, on the average over the measures that it has.

    Args:
        uncertainties: of each frame, by name, such as ``max_force_deviation`` in eV/Å.
        measures: names of those that count.

    Returns:
        Positions of the frames in the new order; frames that are equal, or without uncertainty, stay in
        theirs, the latter behind all others.
    """
    ranks = np.array([_ranks([found.get(name, np.nan) for found in uncertainties]) for name in measures])
    known = ~np.isnan(ranks)
    mean = np.where(known, ranks, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return [int(place) for place in np.argsort(-mean, kind="stable")]


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Ranks between 0 and 1 of those values that are there, the largest highest."""
    found = np.array(values, dtype=np.float64)
    known = np.isfinite(found)
    ranks = np.full(len(found), np.nan)
    ranks[known] = rankdata(found[known]) / max(known.sum(), 1)
    return ranks
