"""Whether a data set can be trusted: a table of checks, one file per kind."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from alpw.dataset.dataset import Dataset
from alpw.dataset.health import arrays, duplicates, files, levels, near, outliers, physics
from alpw.dataset.health.problem import Problem
from alpw.dataset.health.survey import FrameCheck, Survey, survey
from alpw.errors import InputError

__all__ = ["CHECKS", "Problem", "examine"]


class Check(NamedTuple):
    """A kind of problem.

    Attributes:
        problems: what it has to say of a survey.
        of_all: looked at in every configuration that can be read.
        of_labels: looked at in every labelled one.
        of_database: whether it is about the database and not about what a query selects.
    """

    problems: Callable[[Survey], Iterator[Problem]]
    of_all: FrameCheck | None = None
    of_labels: FrameCheck | None = None
    of_database: bool = False


CHECKS: dict[str, Check] = {
    "arrays": Check(arrays.array_problems),
    "references": Check(arrays.reference_problems),
    "altered": Check(arrays.altered_problems, of_all=arrays.altered),
    "schema": Check(arrays.schema_problems, of_all=arrays.older),
    "contradictions": Check(duplicates.contradiction_problems),
    "levels": Check(levels.level_problems),
    "settings": Check(levels.settings_problems),
    "net-force": Check(physics.net_force_problems, of_labels=physics.net_force),
    "distances": Check(physics.distance_problems, of_labels=physics.unphysical),
    "outliers": Check(outliers.outlier_problems),
    "duplicates": Check(duplicates.duplicate_problems),
    "near-duplicates": Check(near.near_problems),
    "blobs": Check(files.blob_problems, of_database=True),
    "folders": Check(files.folder_problems, of_database=True),
    "directories": Check(files.directory_problems),
}
"""In the order in which they are told; names are those of `Problem.subject`."""


def examine(
    dataset: Dataset,
    only: Collection[str] = (),
    words: Sequence[str] = (),
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[int, list[Problem]]:
    """Look for what is wrong with a data set, without changing it.

    The arrays of every frame are read once; half a kB per frame is kept.

    Args:
        dataset: to look at.
        only: names of `CHECKS`; all if there are none, and then those of the database if `words` is empty.
        words: the query as it was written, for the commands that are proposed.
        progress: told how many frames have been seen to, several times over.

    Returns:
        How many configurations were looked at, and what is wrong with them.

    Raises:
        InputError: there is no such check.
    """
    for name in only:
        if name not in CHECKS:
            raise InputError(f"there is no check {name!r}; there are {', '.join(CHECKS)}", key="--only")
    wanted = {
        name: check
        for name, check in CHECKS.items()
        if (name in only if only else not (check.of_database and words))
    }
    found = survey(
        dataset,
        arrays.unreadable,
        {name: check.of_all for name, check in wanted.items() if check.of_all},
        {name: check.of_labels for name, check in wanted.items() if check.of_labels},
        words,
        progress,
    )
    return found.n + len(found.orphans), [
        problem for check in wanted.values() for problem in check.problems(found)
    ]
