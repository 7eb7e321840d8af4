"""The choice of frames to label from everything that one iteration explored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from alpw.sampling.classify import Classes

#: A frame of an iteration: (index of its trajectory, index of the frame in the trajectory).
FrameId = tuple[int, int]


@dataclass(frozen=True)
class Selection:
    """Frames chosen for labelling, and why the others were left.

    Attributes:
        train: candidates that will be labelled and trained on.
        validation: frames drawn at random from all frames that have not failed; labelled, never trained on.
        left_out: frames passed over, with the reason: ``over the cap``, a physical reason, or ``duplicate``.
    """

    train: list[FrameId]
    validation: list[FrameId]
    left_out: dict[FrameId, str]


def select_frames(
    classes: Sequence[Classes],
    groups: Sequence[str],
    caps: dict[str, int],
    n_validation: int,
    reject: Callable[[FrameId], str | None],
    rng: np.random.Generator,
) -> Selection:
    """Choose frames at random under a cap per group, and a random validation sample.

    The validation sample is drawn first and from accurate and candidate frames alike: it measures the
    true error where the model is used, which a sample of doubtful frames alone would overstate. Frame 0 is a
    start structure, which nothing explored, and is left out of that sample.

    Args:
        classes: classification of each trajectory's frames, ``(n_trajectories,)``.
        groups: the cap group of each trajectory, ``(n_trajectories,)``.
        caps: largest number of training frames of each group.
        n_validation: number of validation frames of this iteration.
        reject: gives the reason why a frame must not be labelled (unphysical, known already), or None.
        rng: source of every random choice.
    """
    left_out: dict[FrameId, str] = {}

    def draw(pool: Iterable[FrameId], count: int) -> list[FrameId]:
        """The first acceptable frames of a random permutation of the pool."""
        ordered = sorted(pool)
        taken: list[FrameId] = []
        for position in rng.permutation(len(ordered)):
            frame = ordered[position]
            if len(taken) == count:
                left_out.setdefault(frame, "over the cap")
            elif reason := reject(frame):
                left_out[frame] = reason
            else:
                taken.append(frame)
        return taken

    usable = [
        (trajectory, int(frame))
        for trajectory, members in enumerate(classes)
        for frame in np.concatenate([members.accurate, members.candidate])
        if frame > 0
    ]
    validation = draw(usable, n_validation)
    left_out.clear()  # what the validation draw passed over may still be trained on
    held = set(validation)
    train: list[FrameId] = []
    for group in dict.fromkeys(groups):
        pool = [
            (trajectory, int(frame))
            for trajectory, members in enumerate(classes)
            if groups[trajectory] == group
            for frame in members.candidate
            if (trajectory, int(frame)) not in held
        ]
        train += draw(pool, caps[group])
    return Selection(train, validation, left_out)
