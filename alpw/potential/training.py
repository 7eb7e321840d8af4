"""Training with Adam, the way DeePMD-kit does it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch

from alpw.errors import AlpwError, InputError
from alpw.potential.dataset import Batch, join, prepare
from alpw.potential.evaluation import Errors, errors
from alpw.potential.loss import Prefactors, Schedule, frame_errors, mixed
from alpw.potential.model import DeepPotential
from alpw.potential.statistics import fit_normalisation, shift_energy_bias
from alpw.structures.frame import LabelledFrame

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; names and defaults follow DeePMD-kit.

    Attributes:
        epochs: passes over the training set.
        steps: number of steps instead; the last epoch may then be a part of one.
        batch_size: frames per step.
        learning_rate, stop_lr: at the first step and after the last.
        decay_steps: keep the rate constant for so many steps; None lets it fall at every step.
        start_pref_energy, limit_pref_energy, start_pref_force, limit_pref_force, start_pref_virial,
            limit_pref_virial: weights of the loss at the first step and for a vanishing learning rate.
        seed: of the order of the frames.
        device: ``cuda``, ``cpu``, ...; None takes CUDA where there is one.
        threads: of the CPU; None leaves torch's setting.
        warm_start: keep the model's normalisation, because its weights are already fitted to it. The
            energy bias is shifted to the training set in any case.
        validate_every: epochs between validations; the last epoch is always validated.
    """

    epochs: int = 30
    steps: int | None = None
    batch_size: int = 1
    learning_rate: float = 1e-3
    stop_lr: float = 3.51e-8
    decay_steps: int | None = None
    start_pref_energy: float = 0.02
    limit_pref_energy: float = 1.0
    start_pref_force: float = 1000.0
    limit_pref_force: float = 1.0
    start_pref_virial: float = 0.0
    limit_pref_virial: float = 0.0
    seed: int = 1
    device: str | None = None
    threads: int | None = None
    warm_start: bool = False
    validate_every: int = 1

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "validate_every", "learning_rate", "stop_lr")
        optional = ("steps", "decay_steps", "threads")
        for key in (*positive, *(key for key in optional if getattr(self, key) is not None)):
            if not getattr(self, key) > 0:
                raise InputError(f"found {getattr(self, key)!r}; allowed: a positive number", key=key)
        if self.stop_lr > self.learning_rate:
            raise InputError(f"{self.stop_lr} is above learning_rate {self.learning_rate}", key="stop_lr")
        for key, value in vars(self).items():
            if "_pref_" in key and not (math.isfinite(value) and value >= 0):
                raise InputError(f"found {value!r}; allowed: zero or a positive number", key=key)

    @property
    def start(self) -> Prefactors:
        return Prefactors(self.start_pref_energy, self.start_pref_force, self.start_pref_virial)

    @property
    def limit(self) -> Prefactors:
        return Prefactors(self.limit_pref_energy, self.limit_pref_force, self.limit_pref_virial)


@dataclass(frozen=True)
class EpochRecord:
    """What an epoch did.

    Attributes:
        epoch, step: counted from 1; the step is the epoch's last.
        learning_rate: of that step.
        loss: mean over the epoch's steps.
        train_force_rmse, train_energy_rmse: eV/Å and eV/atom, over the epoch's steps while the weights moved.
        valid_force_rmse, valid_energy_rmse: at the end of the epoch; None if it was not validated.
        seconds: wall time since training began.
    """

    epoch: int
    step: int
    learning_rate: float
    loss: float
    train_force_rmse: float
    train_energy_rmse: float
    valid_force_rmse: float | None
    valid_energy_rmse: float | None
    seconds: float


@dataclass(frozen=True)
class TrainingReport:
    """What training did.

    Attributes:
        epochs: one record each.
        best_epoch: whose weights the model holds: the best in validation, or the last without validation.
        train, valid: errors of these weights; ``valid`` is None without validation frames.
        seconds: wall time.
    """

    epochs: tuple[EpochRecord, ...]
    best_epoch: int
    train: Errors
    valid: Errors | None
    seconds: float


@dataclass
class _Best:
    """The weights to return, and those to fall back on."""

    model: DeepPotential
    epoch: int = 0
    score: float = math.inf
    state: dict[str, torch.Tensor] = field(default_factory=dict)

    def keep(self, epoch: int, score: float) -> None:
        self.epoch, self.score = epoch, score
        self.state = deepcopy(self.model.state_dict())

    def restore(self) -> None:
        self.model.load_state_dict(self.state)


def train(
    model: DeepPotential,
    frames: Sequence[LabelledFrame],
    valid: Sequence[LabelledFrame] = (),
    options: TrainingOptions | None = None,
    *,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> TrainingReport:
    """Fit ``model`` in place. On a CPU, the same input gives the same weights.

    With validation frames the model ends with the weights of the best epoch, judged by the loss with the
    limit prefactors on these frames; without, with those of the last epoch.

    Args:
        model: to be trained; it returns to the device that it came from.
        frames: the training set.
        valid: held-out frames.
        options: how to train.
        on_epoch: called after each epoch.

    Raises:
        InputError: an empty training set, or a frame that cannot be used, as ``frames[index]`` or
            ``valid[index]``.
        AlpwError: the loss is not finite any more. The model then holds its last good weights.
    """
    options = options or TrainingOptions()
    if not frames:
        raise InputError("the training set is empty", key="frames")
    home = model.device
    model.to(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        with _threads(options.threads):
            training, validation = prepare(model, frames), prepare(model, valid, name="valid")
            return _train(model, training, validation, options, on_epoch)
    finally:
        model.to(home)


def _train(
    model: DeepPotential,
    training: list[Batch],
    validation: list[Batch],
    options: TrainingOptions,
    on_epoch: Callable[[EpochRecord], None] | None,
) -> TrainingReport:
    began = time.perf_counter()
    wants_virial = max(options.start.virial, options.limit.virial) > 0
    if wants_virial and not any(batch.virial.isfinite().all() for batch in training):
        raise InputError("the virial is to be trained, but no frame has one", key="start_pref_virial")
    if not options.warm_start:
        fit_normalisation(model, training)
    shift_energy_bias(model, training)

    steps_per_epoch = math.ceil(len(training) / options.batch_size)
    n_steps = options.steps or options.epochs * steps_per_epoch
    n_epochs = math.ceil(n_steps / steps_per_epoch)
    schedule = Schedule(options.learning_rate, options.stop_lr, n_steps, options.decay_steps)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate, fused=True)
    rng = np.random.default_rng(options.seed)
    best, records, step = _Best(model), [], 0
    best.keep(0, math.inf)

    for epoch in range(1, n_epochs + 1):
        order = rng.permutation(len(training))[: (n_steps - step) * options.batch_size]
        measured = []
        for first in range(0, len(order), options.batch_size):
            batch = join([training[index] for index in order[first : first + options.batch_size]])
            rate = schedule(step)
            measured.append(_step(model, optimizer, batch, options, rate))
            step += 1
            if not np.isfinite(measured[-1]).all():
                best.restore()
                raise AlpwError(_diagnosis(step, epoch, rate, best.epoch))
        held_out = None
        if validation and (epoch % options.validate_every == 0 or epoch == n_epochs):
            held_out = errors(model, validation)
        score = _score(held_out, validation, options.limit) if held_out else math.inf
        if not validation or score < best.score:
            best.keep(epoch, score)
        loss, force, energy = np.mean(measured, axis=0)
        record = EpochRecord(
            epoch=epoch,
            step=step,
            learning_rate=rate,
            loss=float(loss),
            train_force_rmse=math.sqrt(force),
            train_energy_rmse=math.sqrt(energy),
            valid_force_rmse=held_out.force_rmse if held_out else None,
            valid_energy_rmse=held_out.energy_rmse if held_out else None,
            seconds=time.perf_counter() - began,
        )
        records.append(record)
        logger.debug("%s", record)
        if on_epoch:
            on_epoch(record)

    best.restore()
    return TrainingReport(
        epochs=tuple(records),
        best_epoch=best.epoch,
        train=errors(model, training),
        valid=errors(model, validation) if validation else None,
        seconds=time.perf_counter() - began,
    )


def _step(
    model: DeepPotential, optimizer: torch.optim.Adam, batch: Batch, options: TrainingOptions, rate: float
) -> tuple[float, float, float]:
    """One update; returns loss, mean square force error, mean square energy error per atom, before it."""
    prefactors = mixed(options.start, options.limit, rate / options.learning_rate)
    squares = frame_errors(model.evaluate(batch.graph, create_graph=True), batch)
    loss = squares.loss(prefactors)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    force = (squares.force * batch.n_atoms).sum() / batch.n_atoms.sum()
    energy = (squares.energy / batch.n_atoms**2).mean()
    measured = torch.stack((loss, force, energy)).tolist()
    return measured[0], measured[1], measured[2]


def _score(found: Errors, batches: Sequence[Batch], limit: Prefactors) -> float:
    """The loss with the limit prefactors, which is where training is heading."""
    n_atoms = float(torch.cat([batch.n_atoms for batch in batches]).mean())
    return (
        limit.energy * n_atoms * found.energy_rmse**2
        + limit.force * found.force_rmse**2
        + limit.virial * n_atoms * (found.virial_rmse or 0.0) ** 2
    )


def _diagnosis(step: int, epoch: int, rate: float, kept: int) -> str:
    weights = f"those after epoch {kept}" if kept else "the initial ones"
    return (
        f"training diverged: the loss of step {step} (epoch {epoch}, learning rate {rate:.3g}) is not "
        f"finite. The model holds its last good weights, {weights}. Lower learning_rate, or look for "
        "frames whose atoms nearly coincide"
    )


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
