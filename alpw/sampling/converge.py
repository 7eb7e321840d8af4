"""When the campaign is done, and what that claim rests on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(str, Enum):
    """How an iteration, and with it perhaps the campaign, ended."""

    CONTINUE = "continue"
    CONVERGED = "converged"
    EXHAUSTED = "exhausted"
    STALLED = "stalled"


@dataclass(frozen=True)
class IterationOutcome:
    """What one iteration found and what became of its labels."""

    index: int
    frames: int
    accurate: int
    candidate: int
    selected: int
    labelled: int


def judge(
    outcome: IterationOutcome,
    *,
    n_stages: int,
    max_iterations: int,
    accurate_ratio: float,
    max_failed_ratio: float,
) -> tuple[Verdict, str]:
    """Decide what follows an iteration, and say why in one sentence.

    The campaign converges only on its last exploration stage: an easy first stage proves nothing about a
    later, hotter one. Labels are judged by quorum; an iteration that explored nothing, or whose labels
    mostly failed, stalls the campaign instead of going on without data.

    Args:
        outcome: counts of the iteration.
        n_stages: number of entries of ``explore.md_jobs``; the last one is repeated when iterations remain.
        max_iterations: number of iterations allowed in all.
        accurate_ratio: share of accurate frames at which the last stage counts as converged.
        max_failed_ratio: share of the selected frames whose labels may have failed.
    """
    if outcome.frames == 0:
        return Verdict.STALLED, "exploration gave no frame"
    if outcome.selected - outcome.labelled > max_failed_ratio * outcome.selected:
        return (
            Verdict.STALLED,
            f"{outcome.labelled} of {outcome.selected} frames were labelled, "
            f"more failed than strategy.max_failed_ratio = {max_failed_ratio:g} allows",
        )
    share = outcome.accurate / outcome.frames
    last_stage = outcome.index >= n_stages - 1
    if last_stage and share >= accurate_ratio:
        return (
            Verdict.CONVERGED,
            f"{share:.1%} of the last stage's frames are accurate "
            f"(strategy.accurate_ratio = {accurate_ratio:g})",
        )
    if outcome.index + 1 >= max_iterations:
        return (
            Verdict.EXHAUSTED,
            f"all {max_iterations} iterations are done and {share:.1%} of the last frames are accurate "
            f"(strategy.accurate_ratio = {accurate_ratio:g})",
        )
    if outcome.candidate and not outcome.selected and last_stage:
        return Verdict.STALLED, "no candidate passed the physical checks, so repeating adds nothing"
    return Verdict.CONTINUE, f"{share:.1%} of the frames are accurate"
