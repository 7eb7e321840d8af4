"""The choice of frames to label from everything that one iteration explored."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alpw.sampling.classify import CANDIDATE, CLASSES, Classes
from alpw.sampling.farthest import farthest_points

Floats = NDArray[np.float64]

#: A frame of an iteration: (index of its trajectory, index of the frame in the trajectory).
FrameId = tuple[int, int]

SELECTED, VALIDATION = "selected", "validation"
OVER_CAP, OVER_TOTAL = "over the cap of its structure", "over the cap of the iteration"
DUPLICATE, ALIKE = "duplicate", "too like a known one"
UNPHYSICAL, CLOSE, VOLUME, FORCE = "unphysical", "atoms too close", "volume out of range", "force too large"

DECISIONS = (
    *CLASSES,
    SELECTED,
    VALIDATION,
    OVER_CAP,
    OVER_TOTAL,
    DUPLICATE,
    ALIKE,
    UNPHYSICAL,
    CLOSE,
    VOLUME,
    FORCE,
)
"""What may become of a frame; the index is the code that is stored. Only the end may be added to."""


class Features(Protocol):
    """Gives vectors whose distances say how different structures are."""

    def __call__(self, frames: Sequence[FrameId]) -> tuple[Floats, Floats]:
        """Vectors of frames ``(n_frames, n_features)`` and of the training set ``(n_known, n_features)``."""
        ...


@dataclass(frozen=True)
class Rules:
    """How candidates are chosen.

    Attributes:
        caps: largest number of training frames of each group.
        total: largest number of training frames in all; None is no limit.
        n_validation: number of validation frames.
        method: ``random``; ``highest``, by score; ``diverse``, farthest points.
        strata: equal parts of the scores' interval, which take turns.
        min_distance: frames nearer than this to a known one, in the space of features, are left out.
    """

    caps: Mapping[str, int]
    total: int | None = None
    n_validation: int = 0
    method: str = "random"
    strata: int = 1
    min_distance: float = 0.0

    @property
    def need_features(self) -> bool:
        """Whether frames are compared by more than their hash."""
        return self.method == "diverse" or self.min_distance > 0


@dataclass(frozen=True)
class Selection:
    """Frames chosen for labelling, and what became of all others.

    Attributes:
        train: candidates that will be labelled and trained on.
        validation: frames drawn at random from all frames that have not failed; labelled, never trained on.
        left_out: candidates that are not labelled, with the reason, one of `DECISIONS`.
    """

    train: list[FrameId]
    validation: list[FrameId]
    left_out: dict[FrameId, str]

    def decisions(self, classes: Sequence[Classes]) -> list[NDArray[np.int8]]:
        """For each trajectory, the index into `DECISIONS` of every frame, ``(n_frames,)``."""
        codes = [each.codes.copy() for each in classes]
        taken = dict.fromkeys(self.train, SELECTED) | dict.fromkeys(self.validation, VALIDATION)
        for (trajectory, frame), decision in (self.left_out | taken).items():
            codes[trajectory][frame] = DECISIONS.index(decision)
        return codes

    @property
    def reasons(self) -> dict[str, int]:
        """Number of candidates left out for each reason."""
        return dict(Counter(self.left_out.values()))


def select_frames(
    classes: Sequence[Classes],
    groups: Sequence[str],
    rules: Rules,
    reject: Callable[[FrameId], str | None],
    identity: Callable[[FrameId], str],
    features: Features,
    rng: np.random.Generator,
) -> Selection:
    """Choose candidates under the caps, and a random validation sample.

    The validation sample is drawn first and from accurate and candidate frames alike: it measures the
    true error where the model is used, which a sample of doubtful frames alone would overstate. Frame 0 is a
    start structure, which nothing explored, and is left out of that sample.

    Args:
        classes: classification of each trajectory's frames, ``(n_trajectories,)``.
        groups: the cap group of each trajectory, ``(n_trajectories,)``.
        rules: how many are chosen, and how.
        reject: gives the reason why a frame must not be labelled (unphysical, known already), or None.
        identity: a hash of the structure; of several frames with the same one, the first is taken.
        features: compares frames; called only by rules that need it.
        rng: source of every random choice.
    """
    usable = [
        (trajectory, int(frame))
        for trajectory, members in enumerate(classes)
        for frame in np.flatnonzero(members.codes <= CANDIDATE)
        if frame > 0
    ]
    choice = _Choice(classes, rules, reject, identity, features, rng)
    validation = choice.draw(usable, rules.n_validation)
    choice.left_out.clear()  # what the validation draw passed over may still be trained on
    held = set(validation)
    pools: dict[str, list[FrameId]] = defaultdict(list)
    for trajectory, members in enumerate(classes):
        frames = [(trajectory, int(frame)) for frame in members.of(CANDIDATE)]
        pools[groups[trajectory]] += [frame for frame in frames if frame not in held]
    taken = {group: choice.candidates(pool, rules.caps[group]) for group, pool in pools.items()}
    train = []
    for group, share in _shares({group: len(t) for group, t in taken.items()}, rules.total).items():
        train += taken[group][:share]
        choice.left_out |= dict.fromkeys(taken[group][share:], OVER_TOTAL)
    return Selection(train, validation, choice.left_out)


@dataclass
class _Choice:
    """One selection under way: what has been taken, and why others were not."""

    classes: Sequence[Classes]
    rules: Rules
    reject: Callable[[FrameId], str | None]
    identity: Callable[[FrameId], str]
    features: Features
    rng: np.random.Generator
    taken: list[FrameId] = field(default_factory=list)
    digests: set[str] = field(default_factory=set)
    left_out: dict[FrameId, str] = field(default_factory=dict)

    def draw(self, pool: list[FrameId], count: int) -> list[FrameId]:
        """The first acceptable frames of a random permutation."""
        order = [pool[position] for position in self.rng.permutation(len(pool))]
        return self.take(order, count, self.reject)

    def candidates(self, pool: list[FrameId], cap: int) -> list[FrameId]:
        """Candidates of a group that are to be trained on, in an order of which every beginning will do."""
        if self.rules.need_features:
            return self._unlike(pool, cap)
        score = np.array([self.classes[trajectory].score[frame] for trajectory, frame in pool])
        order = _ordered(score, self.rules, self.rng)
        return self.take([pool[position] for position in order], cap, self.reject)

    def _unlike(self, pool: list[FrameId], cap: int) -> list[FrameId]:
        """As `candidates`, with frames compared by their features; those need physical structures."""
        sound = []
        for frame in pool:
            if reason := self.reject(frame):
                self.left_out[frame] = reason
            else:
                sound.append(frame)
        chosen: list[FrameId] = []
        if not sound:
            return chosen
        points, known = self.features([*sound, *self.taken])
        # What other groups, and the validation, have taken counts as known.
        points, known = points[: len(sound)], np.concatenate([known, points[len(sound) :]])
        score = np.array([self.classes[trajectory].score[frame] for trajectory, frame in sound])
        for position in _ordered(score, self.rules, self.rng, points, known):
            distance = np.linalg.norm(known - points[position], axis=1).min(initial=np.inf)
            if len(chosen) < cap and distance < self.rules.min_distance:
                self.left_out[sound[position]] = ALIKE
            elif self.take([sound[position]], cap - len(chosen), lambda frame: None):
                chosen.append(sound[position])
                known = np.concatenate([known, points[position : position + 1]])
        return chosen

    def take(
        self, order: Sequence[FrameId], count: int, reject: Callable[[FrameId], str | None]
    ) -> list[FrameId]:
        """Go through frames in order and take those that are acceptable, up to a number."""
        mine: list[FrameId] = []
        for frame in order:
            if len(mine) >= count:
                self.left_out.setdefault(frame, OVER_CAP)
            elif reason := reject(frame):
                self.left_out[frame] = reason
            elif (digest := self.identity(frame)) in self.digests:
                self.left_out[frame] = DUPLICATE
            else:
                self.digests.add(digest)
                self.taken.append(frame)
                mine.append(frame)
        return mine


def _ordered(
    score: Floats,
    rules: Rules,
    rng: np.random.Generator,
    points: Floats | None = None,
    known: Floats | None = None,
) -> list[int]:
    """Candidates of a group in the order in which they are wanted: strata take turns."""
    if not len(score):
        return []
    width = max(float(np.max(score)), np.finfo(float).tiny)
    stratum = np.minimum((score / width * rules.strata).astype(int), rules.strata - 1)
    queues = []
    # The most uncertain stratum has the first turn.
    for index in range(rules.strata - 1, -1, -1):
        members = np.flatnonzero(stratum == index)
        if rules.method == "random":
            order = rng.permutation(len(members))
        elif rules.method == "highest":
            order = np.argsort(-score[members], kind="stable")
        else:
            assert points is not None
            order = farthest_points(points[members], len(members), known=known).order
        queues.append([int(member) for member in members[order]])
    return list(_in_turn(queues))


def _in_turn(queues: list[list[int]]) -> Iterator[int]:
    for turn in range(max(map(len, queues), default=0)):
        yield from (queue[turn] for queue in queues if turn < len(queue))


def _shares(wanted: dict[str, int], total: int | None) -> dict[str, int]:
    """Numbers in proportion to those wanted that add up to ``total`` at most (largest remainders)."""
    everything = sum(wanted.values())
    if total is None or everything <= total:
        return wanted
    exact = {group: count * total / everything for group, count in wanted.items()}
    shares = {group: int(value) for group, value in exact.items()}
    by_remainder = sorted(exact, key=lambda group: (shares[group] - exact[group], group))
    for group in by_remainder[: total - sum(shares.values())]:
        shares[group] += 1
    return shares
