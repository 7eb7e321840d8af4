"""One training step, with either kind of optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from alpw.potential.config import PRECISIONS
from alpw.potential.dataset import Batch
from alpw.potential.model import DeepPotential
from alpw.potential.training.kalman import KalmanFilter, forgetting_factor
from alpw.potential.training.loss import FrameErrors, Schedule, frame_errors, mixed
from alpw.potential.training.measurements import (
    Measurement,
    energy_measurement,
    force_measurement,
    select_atoms,
    virial_measurement,
)
from alpw.potential.training.options import TrainingOptions
from alpw.potential.weights import block_sizes, from_vector, to_vector


class Steps(Protocol):
    """An optimizer at work on a model."""

    @property
    def learning_rate(self) -> float | None:
        """Of the last step; None for a Kalman filter."""

    @property
    def kalman_lambda(self) -> float | None:
        """Forgetting factor of the next update; None for Adam."""

    @property
    def factors(self) -> Sequence[Tensor]:
        """Square roots of the covariance of the weights; empty for Adam."""

    def step(self, batch: Batch, rng: np.random.Generator, has_virial: bool) -> Tensor:
        """Change the weights; nothing is read back from the device.

        Args:
            batch: what to learn from.
            rng: for choices within the step.
            has_virial: whether any frame of the batch has a virial.

        Returns:
            `measured` before the step, or while it went on.
        """

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to go on as if nothing had happened."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was called."""


def measured(squares: FrameErrors, loss: Tensor) -> Tensor:
    """Loss, mean square force error in (eV/Å)^2, mean square energy error in (eV/atom)^2: ``(3,)``."""
    force = (squares.force * squares.n_atoms).sum() / squares.n_atoms.sum()
    energy = (squares.energy / squares.n_atoms**2).mean()
    return torch.stack((loss, force, energy)).detach()


class AdamSteps:
    """Adam and AdamW on DeePMD-kit's loss.

    Args:
        model: to be trained.
        options: how.
        n_steps: in all, which sets the schedule of the learning rate.
    """

    kalman_lambda: float | None = None
    factors: Sequence[Tensor] = ()

    def __init__(self, model: DeepPotential, options: TrainingOptions, n_steps: int) -> None:
        self.model, self.options = model, options
        self.schedule = Schedule(options.learning_rate, options.stop_lr, n_steps, options.decay_steps)
        decay = options.weight_decay if options.optimizer == "adamw" else 0.0
        kind = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = kind(model.parameters(), lr=options.learning_rate, weight_decay=decay, fused=True)
        self.n_done = 0

    @property
    def learning_rate(self) -> float | None:
        return self.schedule(max(self.n_done - 1, 0))

    def step(self, batch: Batch, rng: np.random.Generator, has_virial: bool) -> Tensor:
        rate = self.schedule(self.n_done)
        prefactors = mixed(self.options.start, self.options.limit, rate / self.options.learning_rate)
        squares = frame_errors(self.model.evaluate(batch.environment, create_graph=True), batch)
        loss = squares.loss(prefactors)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.n_done += 1
        return measured(squares, loss)

    def state_dict(self) -> dict[str, Any]:
        return {"n_done": self.n_done, "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.n_done = state["n_done"]
        self.optimizer.load_state_dict(state["optimizer"])


class KalmanSteps:
    """The Kalman filter: a virial, an energy, and several force measurements per step.

    Each measurement sees the weights that the one before it left, and so evaluates the model anew.

    Args:
        model: to be trained.
        options: how.
    """

    learning_rate: float | None = None

    def __init__(self, model: DeepPotential, options: TrainingOptions) -> None:
        self.model, self.options = model, options
        self.weights = list(model.parameters())
        counts = [weight.numel() for weight in self.weights]
        sizes = [sum(counts)] if options.optimizer == "gkf" else block_sizes(counts, options.block_size)
        dtype = PRECISIONS[options.p_precision]
        self.filter = KalmanFilter(sizes, options.initial_variance, dtype, model.device)
        self.n_updates = 0

    @property
    def kalman_lambda(self) -> float:
        return forgetting_factor(self.options.kalman_lambda, self.options.kalman_nue, self.n_updates)

    @property
    def factors(self) -> Sequence[Tensor]:
        return self.filter.factors

    def step(self, batch: Batch, rng: np.random.Generator, has_virial: bool) -> Tensor:
        options, environment = self.options, batch.environment
        if options.train_virial and options.pref_virial and has_virial:
            result = self.model.evaluate(environment, create_graph=True)
            self._learn(virial_measurement(result.virial, batch, options.pref_virial))
        if options.train_energy and options.pref_energy:
            with torch.enable_grad():
                atomic = self.model(environment, self.model.scaled(environment))
                energy = torch.zeros_like(batch.energy).index_add(0, batch.graph.frame, atomic)
            self._learn(energy_measurement(energy, batch, options.pref_energy))
        found = None
        if options.train_force and options.pref_force:
            n_groups = options.atoms_selected // options.atoms_per_group
            draws = torch.from_numpy(rng.random((n_groups, options.atoms_per_group)))
            for atoms in select_atoms(batch, draws.to(batch.n_atoms.device, non_blocking=True)):
                result = self.model.evaluate(environment, create_graph=True)
                found = frame_errors(result, batch) if found is None else found
                measurement = force_measurement(
                    result.forces, batch, atoms, options.pref_force, options.scale_by_atoms
                )
                self._learn(measurement)
        self.filter.settle()
        if found is None:
            found = frame_errors(self.model.evaluate(environment), batch)
        return measured(found, found.loss(options.limit))

    def _learn(self, measurement: Measurement) -> None:
        gradients = torch.autograd.grad(measurement.value, self.weights, allow_unused=True)
        self.assimilate(gradients, measurement.error)

    def assimilate(self, gradients: Sequence[Tensor | None], error: Tensor) -> None:
        """Update weights and covariance with one measurement.

        Args:
            gradients: of its value, for each tensor of weights; None where it has none.
            error: of the measurement, a scalar.
        """
        change = self.filter.update(to_vector(gradients, like=self.weights), error, self.kalman_lambda)
        with torch.no_grad():
            for weight, part in zip(self.weights, from_vector(change, self.weights), strict=True):
                weight.add_(part)
        self.n_updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"n_updates": self.n_updates, "factors": list(self.factors)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.n_updates = state["n_updates"]
        self.filter.load(state["factors"])
