"""Which entry of ``explore.md_jobs`` an iteration runs: a function of what became of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from alpw.config.param import Param


class Stage(NamedTuple):
    """The stage of an iteration.

    Attributes:
        entry: index in ``md_jobs``.
        times: iterations that it has had, this one among them.
    """

    entry: int
    times: int


FIRST = Stage(0, 1)


def stage_limits(param: Param) -> list[int | None]:
    """How many iterations each stage may have; None leaves it to ``strategy.max_iterations``.

    Without ``explore.stage_iterations`` there is one iteration per entry, and the last one is repeated.
    """
    stages, limits = len(param.explore.md_jobs), param.explore.stage_iterations
    if not limits:
        return [*[1] * (stages - 1), None]
    return [*limits] if len(limits) > 1 else [*limits * stages]


def allowed_iterations(param: Param) -> int:
    """Largest number of iterations of a campaign."""
    limits = stage_limits(param)
    return param.strategy.max_iterations or sum(limit or 1 for limit in limits)


def next_stage(stage: int, times: int, converged: bool, limits: Sequence[int | None]) -> Stage | None:
    """The stage that follows an iteration: the same until it has converged or its iterations are used up.

    Args:
        stage: index of the iteration's stage.
        times: iterations that the stage has had, this one among them.
        converged: whether the stage has converged with it.
        limits: for each stage, how many iterations it may have; None is any number.

    Returns:
        None after the last stage.
    """
    stage = min(stage, len(limits) - 1)
    limit = limits[stage]
    if not converged and (limit is None or times < limit):
        return Stage(stage, times + 1)
    return Stage(stage + 1, 1) if stage + 1 < len(limits) else None
