"""Training the members of a committee together, in one pass over tensors that hold the weights of all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from alpw.errors import AlpwError, InputError
from alpw.potential.dataset import prepare
from alpw.potential.model import DeepPotential
from alpw.potential.training.curve import EpochRecord
from alpw.potential.training.loop import (
    StepRequest,
    TrainingReport,
    TrainingSteps,
    check_call,
    cpu_threads,
    device_of,
    training_steps,
)
from alpw.potential.training.options import TrainingOptions
from alpw.potential.training.shared_rows import shared_rows
from alpw.potential.training.stacked import Frame, check_architecture
from alpw.potential.training.stacked_steps import StackedAdam, StackedKalman, StackedSteps
from alpw.potential.training.steps import AdamSteps, KalmanSteps
from alpw.structures.frame import LabelledFrame

logger = logging.getLogger(__name__)

OnMemberEpoch = Callable[[int, EpochRecord], None]


def train_committee(
    models: Sequence[DeepPotential],
    frames: Sequence[LabelledFrame],
    valid: Sequence[LabelledFrame] = (),
    *,
    options: TrainingOptions | Sequence[TrainingOptions] | None = None,
    on_epoch: OnMemberEpoch | None = None,
    directory: str | Path | None = None,
    resume: bool = False,
) -> list[TrainingReport]:
    """Fit ``models`` in place, each as `train` alone would, to rounding.

    Every member has its own weights, order of frames, best epoch and early stopping; one that stops early
    leaves the others to go on without it.

    Args:
        models: of one architecture; at least one.
        frames: the training set, of all members.
        valid: held-out frames, of all members.
        options: of each member, alike but for the seed; or one for all, then member ``m`` adds ``m`` to the
            seed.
        on_epoch: called with the member's index and record after each of its epochs.
        directory: member ``m`` keeps what `train` writes in ``directory/member_m``; None writes nothing.
        resume: go on from there. A member that is behind the others catches up first.

    Raises:
        InputError: what `train` raises; members of different architecture; members with the same weights
            and the same seed, which would end as one and the same model.
        AlpwError: training of a member diverged; the message names it. All models then hold their last
            good weights.
    """
    each = _options_of_members(options, len(models))
    check_architecture(models)
    _check_starts(models, each)
    folders = [
        Path(directory) / f"member_{index}" if directory is not None else None for index in range(len(models))
    ]
    for folder in folders:
        check_call(frames, valid, each[0], folder, resume)
    homes = [model.device for model in models]
    for model in models:
        model.to(device_of(each[0]))
    try:
        with cpu_threads(each[0].threads):
            training, validation = prepare(models[0], frames), prepare(models[0], valid, name="valid")
            trainings = [
                training_steps(
                    model,
                    training,
                    validation,
                    settings,
                    partial(on_epoch, index) if on_epoch else None,
                    folder,
                )
                for index, (model, settings, folder) in enumerate(zip(models, each, folders, strict=True))
            ]
            n_nets = len(models[0].descriptor.embeddings)
            prepared = [Frame(batch, shared_rows(batch.environment, n_nets)) for batch in training]
            return _Together(trainings, prepared).run()
    finally:
        for model, home in zip(models, homes, strict=True):
            model.to(home)


class _Together:
    """Trainings that take their steps together.

    Args:
        trainings: of the members.
        frames: that they choose from.
    """

    def __init__(self, trainings: Sequence[TrainingSteps], frames: Sequence[Frame]) -> None:
        self.trainings, self.frames = trainings, frames
        self.requests: dict[int, StepRequest] = {}
        self.reports: dict[int, TrainingReport] = {}

    def run(self) -> list[TrainingReport]:
        """Until all are done."""
        stacked: StackedSteps | None = None
        stacked_members: list[int] = []
        try:
            for member in range(len(self.trainings)):
                self._advance(member, None)
            while self.requests:
                # Members drift apart when one stops early, or when they resume from different epochs; that
                # is at the end of an epoch, where the stacked state has been written to its members.
                behind = min(request.step for request in self.requests.values())
                members = [member for member, request in self.requests.items() if request.step == behind]
                requests = [self.requests[member] for member in members]
                if stacked is None or members != stacked_members:
                    stacked, stacked_members = _stacked(requests), members
                chosen = [[self.frames[index] for index in request.chosen] for request in requests]
                results = stacked.step(chosen, requests)
                if any(request.ends_epoch for request in requests):
                    stacked.write()
                for member, result in zip(members, results, strict=True):
                    self._advance(member, result)
        finally:
            for training in self.trainings:
                training.close()
        return [self.reports[member] for member in range(len(self.trainings))]

    def _advance(self, member: int, result: Tensor | None) -> None:
        """Let a member look at its step's result, and say which step is next."""
        training = self.trainings[member]
        try:
            self.requests[member] = next(training) if result is None else training.send(result)
        except StopIteration as end:
            self.reports[member] = end.value
            self.requests.pop(member, None)
        except InputError:
            raise
        except AlpwError as error:
            raise AlpwError(f"member {member}: {error}") from error


def _stacked(requests: Sequence[StepRequest]) -> StackedSteps:
    optimizers = [request.optimizer for request in requests]
    adam = [optimizer for optimizer in optimizers if isinstance(optimizer, AdamSteps)]
    kalman = [optimizer for optimizer in optimizers if isinstance(optimizer, KalmanSteps)]
    return StackedAdam(adam) if adam else StackedKalman(kalman)


def _options_of_members(
    options: TrainingOptions | Sequence[TrainingOptions] | None, n_members: int
) -> list[TrainingOptions]:
    if n_members == 0:
        raise InputError("a committee needs at least one model", key="models")
    if options is None or isinstance(options, TrainingOptions):
        common = options or TrainingOptions()
        return [replace(common, seed=common.seed + index) for index in range(n_members)]
    each = list(options)
    if len(each) != n_members:
        raise InputError(f"found options of {len(each)} members; there are {n_members} models", key="options")
    for index, settings in enumerate(each):
        for key, value in asdict(settings).items():
            if key != "seed" and value != getattr(each[0], key):
                raise InputError(
                    f"member {index} has {value!r}, member 0 has {getattr(each[0], key)!r}; the options of "
                    "members differ in their seed only",
                    key=key,
                )
    return each


def _check_starts(models: Sequence[DeepPotential], options: Sequence[TrainingOptions]) -> None:
    for (a, first), (b, second) in combinations(enumerate(models), 2):
        pairs = zip(first.parameters(), second.parameters(), strict=True)
        if not all(torch.equal(weight, other.to(weight.device)) for weight, other in pairs):
            continue
        if options[a].seed == options[b].seed:
            raise InputError(
                f"members {a} and {b} have the same weights and the seed {options[a].seed}; give each model "
                "its own seed, or they end as one and the same",
                key="seed",
            )
        logger.warning(
            "members %d and %d start from the same weights; only the order of frames differs", a, b
        )
