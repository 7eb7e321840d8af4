"""Training: epochs of steps, validation, early stopping, files to resume from."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alpw.errors import AlpwError, InputError
from alpw.potential.covariance import Covariance
from alpw.potential.dataset import Batch, join, prepare
from alpw.potential.evaluation import Errors, errors
from alpw.potential.model import DeepPotential
from alpw.potential.statistics import fit_normalisation, shift_energy_bias
from alpw.potential.training.batches import epoch_batches
from alpw.potential.training.curve import EpochRecord, append_curve, write_curve
from alpw.potential.training.judging import judge, prefer_last, some
from alpw.potential.training.options import TrainingOptions
from alpw.potential.training.state import STATE_FILE, Best, Progress, data_digest
from alpw.potential.training.steps import AdamSteps, KalmanSteps, Steps
from alpw.potential.weights import fingerprint
from alpw.structures.frame import LabelledFrame

logger = logging.getLogger(__name__)

CURVE_FILE = "learning_curve.csv"
# Steps between looks at the results: each look waits for the device.
STEPS_PER_LOOK = 100
# A model whose force error is so many times the labels' own size knows nothing any more.
DIVERGED = 100.0

OnEpoch = Callable[[EpochRecord], None]


@dataclass(frozen=True)
class TrainingReport:
    """What training did.

    Attributes:
        epochs: one record each.
        best_epoch: whose weights the model holds: the best in validation; without, the last, or the best if
            the last was spoiled.
        train, valid: errors of these weights; ``valid`` is None without validation frames.
        seconds: wall time.
        covariance: of these weights, after ``lkf`` and ``gkf``; None after Adam, and where the last epoch
            was spoiled.
        stopped_early: whether `patience` ended the training.
    """

    epochs: tuple[EpochRecord, ...]
    best_epoch: int
    train: Errors
    valid: Errors | None
    seconds: float
    covariance: Covariance | None = None
    stopped_early: bool = False


def train(
    model: DeepPotential,
    frames: Sequence[LabelledFrame],
    valid: Sequence[LabelledFrame] = (),
    *,
    options: TrainingOptions | None = None,
    on_epoch: OnEpoch | None = None,
    directory: str | Path | None = None,
    resume: bool = False,
) -> TrainingReport:
    """Fit ``model`` in place. On a CPU, the same input gives the same weights, bit by bit.

    With validation frames the model ends with the weights of the best epoch, judged by the loss with the
    limit prefactors on these frames; without, with those of the last epoch. A Kalman filter that still
    forgets fast can be thrown by its last frames: where this loss, on training frames, ends at more than
    four times that of the best epoch, the best epoch's weights are taken instead, with a warning.

    Args:
        model: to be trained; it returns to the device that it came from.
        frames: the training set.
        valid: held-out frames.
        options: how to train.
        on_epoch: called after each epoch.
        directory: for ``learning_curve.csv`` and ``training.pt``, the file to resume from; None writes none.
        resume: go on from the files in ``directory`` if there are any. The result is that of a training that
            was never interrupted, bit by bit on a CPU.

    Raises:
        InputError: an empty training set; a frame that cannot be used, as ``frames[index]`` or
            ``valid[index]``; files of a training in ``directory`` that are not to be resumed, or do not
            belong to this one. No file has been touched then.
        AlpwError: training diverged. The model then holds its last good weights.
    """
    options = options or TrainingOptions()
    folder = Path(directory) if directory is not None else None
    check_call(frames, valid, options, folder, resume)
    home = model.device
    model.to(device_of(options))
    try:
        with cpu_threads(options.threads):
            training, validation = prepare(model, frames), prepare(model, valid, name="valid")
            steps = training_steps(model, training, validation, options, on_epoch, folder)
            return _take_steps(steps, training)
    finally:
        model.to(home)


def _take_steps(steps: TrainingSteps, training: list[Batch]) -> TrainingReport:
    try:
        request = next(steps)
        while True:
            batch = join([training[index] for index in request.chosen])
            request = steps.send(request.optimizer.step(batch, request.rng, request.has_virial))
    except StopIteration as end:
        report: TrainingReport = end.value
        return report


class StepRequest(NamedTuple):
    """A step that a training wants to be taken.

    Attributes:
        optimizer: of the training.
        chosen: indices of the batch's frames.
        rng: for choices within the step.
        has_virial: whether any of these frames has a virial.
        step: number of steps before this one.
        ends_epoch: whether model and optimizer will be looked at after the step.
    """

    optimizer: Steps
    chosen: NDArray[np.int64]
    rng: np.random.Generator
    has_virial: bool
    step: int
    ends_epoch: bool


TrainingSteps = Generator[StepRequest, Tensor, TrainingReport]


def training_steps(
    model: DeepPotential,
    training: list[Batch],
    validation: list[Batch],
    options: TrainingOptions,
    on_epoch: OnEpoch | None,
    folder: Path | None,
) -> TrainingSteps:
    """A training that leaves its steps to the caller, who sends what `Steps.step` returns.

    So several trainings can take their steps together. However it ends, the model then holds its last good
    weights.
    """
    with_virial = np.array([bool(batch.virial.isfinite().all()) for batch in training])
    if options.train_virial and not with_virial.any():
        raise InputError("the virial is to be trained, but no frame has one", key="train_virial")
    steps_per_epoch = math.ceil(len(training) / options.batch_size)
    n_steps = options.steps or options.epochs * steps_per_epoch
    progress = begin(model, training, validation, options, n_steps, folder)
    began = time.perf_counter() - progress.seconds

    n_epochs = math.ceil(n_steps / steps_per_epoch)
    sizes = np.array([batch.graph.n_atoms for batch in training])
    tolerated = _tolerated(training)
    judges = validation or (some(training) if options.is_kalman else [])
    try:
        while progress.epoch < n_epochs and not _exhausted(progress, options):
            epoch, step = progress.epoch + 1, progress.step
            rng = np.random.default_rng((options.seed, epoch))
            looks = Looks(progress, epoch, tolerated)
            batches = epoch_batches(sizes, options.batch_size, rng)[: n_steps - step]
            for chosen in batches:
                has_virial, last = bool(with_virial[chosen].any()), chosen is batches[-1]
                result = yield StepRequest(progress.optimizer, chosen, rng, has_virial, step, last)
                looks.add(result)
                step += 1
            loss, force, energy = looks.mean()
            judged, score = None, math.inf
            if judges and (epoch % options.validate_every == 0 or epoch == n_epochs):
                judged, score = judge(model, judges, options.limit)
            held_out = judged if validation else None
            record = EpochRecord(
                epoch=epoch,
                step=step,
                learning_rate=progress.optimizer.learning_rate,
                kalman_lambda=progress.optimizer.kalman_lambda,
                loss=loss,
                train_force_rmse=math.sqrt(force),
                train_energy_rmse=math.sqrt(energy),
                valid_force_rmse=held_out.force_rmse if held_out else None,
                valid_energy_rmse=held_out.energy_rmse if held_out else None,
                seconds=time.perf_counter() - began,
            )
            progress.records.append(record)
            if score < progress.best.score or not judges:
                # Without validation the covariance, up to a gigabyte, is the optimizer's own at the end.
                progress.best.keep(epoch, score, model, progress.optimizer.factors if validation else ())
            finished = epoch == n_epochs or _exhausted(progress, options)
            if folder:
                append_curve(folder / CURVE_FILE, record)
                if finished or epoch % options.checkpoint_every == 0:
                    progress.save(folder / STATE_FILE, options)
            logger.debug("%s", record)
            if on_epoch:
                on_epoch(record)
        if judges and not validation:
            prefer_last(progress, judges, options.limit)
    finally:
        model.load_state_dict(progress.best.weights)

    return TrainingReport(
        epochs=tuple(progress.records),
        best_epoch=progress.best.epoch,
        train=errors(model, training),
        valid=errors(model, validation) if validation else None,
        seconds=time.perf_counter() - began,
        covariance=_covariance(progress, options),
        stopped_early=progress.epoch < n_epochs,
    )


def begin(
    model: DeepPotential,
    training: list[Batch],
    validation: list[Batch],
    options: TrainingOptions,
    n_steps: int,
    folder: Path | None,
) -> Progress:
    """The state before the first step, or that of the training in ``folder``."""
    optimizer: Steps
    optimizer = KalmanSteps(model, options) if options.is_kalman else AdamSteps(model, options, n_steps)
    progress = Progress(model, optimizer, Best(), [], data_digest(training, validation))
    if folder and (folder / STATE_FILE).exists():
        progress.load(folder / STATE_FILE, options)
    else:
        if not options.warm_start:
            fit_normalisation(model, training)
        shift_energy_bias(model, training)
        progress.best.keep(0, math.inf, model)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        write_curve(folder / CURVE_FILE, progress.records)
    return progress


class Looks:
    """Collects the results of an epoch's steps on the device, and looks at them now and then.

    Args:
        progress: the training.
        epoch: under way.
        tolerated: mean square force error in (eV/Å)^2 above which training has diverged.
    """

    def __init__(self, progress: Progress, epoch: int, tolerated: float) -> None:
        self.progress, self.epoch, self.tolerated = progress, epoch, tolerated
        self.unseen: list[Tensor] = []
        self.seen: list[list[float]] = []

    def add(self, result: Tensor) -> None:
        """The `measured` of a step."""
        self.unseen.append(result)
        if len(self.unseen) == STEPS_PER_LOOK:
            self._look()

    def mean(self) -> list[float]:
        """Over the epoch's steps.

        Raises:
            AlpwError: training diverged.
        """
        self._look()
        finite = torch.stack([weight.isfinite().all() for weight in self.progress.model.parameters()])
        if not bool(finite.all()):
            self._fail("a weight is not finite")
        return [float(value) for value in np.mean(self.seen, axis=0)]

    def _look(self) -> None:
        if not self.unseen:
            return
        found = torch.stack(self.unseen).tolist()
        for loss, force, energy in found:
            if not all(map(math.isfinite, (loss, force, energy))):
                self._fail("the loss is not finite")
            if force > self.tolerated:
                self._fail(f"the force error is {math.sqrt(force):.3g} eV/Å")
        self.seen += found
        self.unseen = []

    def _fail(self, why: str) -> None:
        best, optimizer = self.progress.best, self.progress.optimizer
        weights = f"those after epoch {best.epoch}" if best.epoch else "the initial ones"
        if optimizer.learning_rate is None:
            setting, cure = f"λ {optimizer.kalman_lambda:.6g}", "Lower p0_weight, or raise kalman_lambda"
        else:
            setting, cure = f"learning rate {optimizer.learning_rate:.3g}", "Lower learning_rate"
        raise AlpwError(
            f"training diverged in epoch {self.epoch} ({setting}): {why}. The model holds its last good "
            f"weights, {weights}. {cure}, or look for frames whose atoms nearly coincide"
        )


def _tolerated(training: Sequence[Batch]) -> float:
    """Largest mean square force error that training may show before it counts as diverged."""
    label = torch.cat([batch.forces for batch in training]).square().mean()
    return float(DIVERGED**2 * torch.clamp(label, min=1.0))


def _exhausted(progress: Progress, options: TrainingOptions) -> bool:
    return options.patience is not None and progress.epoch - progress.best.epoch >= options.patience


def _covariance(progress: Progress, options: TrainingOptions) -> Covariance | None:
    if not options.is_kalman:
        return None
    keys = ("kalman_lambda", "kalman_nue", "block_size", "p_precision", "scale_by_atoms")
    settings = {key: getattr(options, key) for key in (*keys, "pref_energy", "pref_force", "pref_virial")}
    settings |= {"p0_weight": options.initial_variance, "epoch": progress.best.epoch}
    factors: Sequence[Tensor] = progress.best.factors
    if not factors:
        if progress.best.epoch != progress.epoch:
            return None
        factors = progress.optimizer.factors
    return Covariance(
        factors=tuple(factors),
        fingerprint=fingerprint(progress.model),
        kind=options.optimizer,
        settings=settings,
    )


def check_call(
    frames: Sequence[LabelledFrame],
    valid: Sequence[LabelledFrame],
    options: TrainingOptions,
    folder: Path | None,
    resume: bool,
) -> None:
    """Raise what can be said of the arguments of `train` before any work."""
    if not frames:
        raise InputError("the training set is empty", key="frames")
    if options.patience and not valid:
        raise InputError("early stopping needs held-out frames to judge by", key="patience")
    if folder and not resume:
        for name in (STATE_FILE, CURVE_FILE):
            if (folder / name).exists():
                raise InputError(
                    "there is a training here already; resume it, or give another directory", folder / name
                )


def device_of(options: TrainingOptions) -> str:
    """Where to train."""
    return options.device or ("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def cpu_threads(number: int | None) -> Iterator[None]:
    """Set their number for a while; None leaves it."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
