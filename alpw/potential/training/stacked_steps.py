"""One training step of all members of a committee at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Protocol

import torch
from torch import Tensor

from alpw.potential.dataset import join
from alpw.potential.model import Evaluation
from alpw.potential.training.loop import StepRequest
from alpw.potential.training.loss import FrameErrors, frame_errors, mixed
from alpw.potential.training.measurements import (
    Measurement,
    energy_measurement,
    force_measurement,
    select_atoms,
    virial_measurement,
)
from alpw.potential.training.stacked import Frame, StackedBatch, StackedPotential
from alpw.potential.training.steps import AdamSteps, KalmanSteps, measured
from alpw.potential.training.sweep import Sweep


class StackedSteps(Protocol):
    """The optimizers of several members at work together.

    Members and their models stay as they were until `write`.
    """

    def step(self, frames: Sequence[Sequence[Frame]], requests: Sequence[StepRequest]) -> list[Tensor]:
        """Take the step that each member requests, with its frames; the `Steps.step` of each."""

    def write(self) -> None:
        """Bring members and models up to date."""


class StackedAdam:
    """`AdamSteps` of several members that have taken equally many steps."""

    def __init__(self, members: Sequence[AdamSteps]) -> None:
        self.members, self.options = members, members[0].options
        self.potential = StackedPotential([member.model for member in members])
        first = members[0].optimizer
        self.optimizer = type(first)(
            self.potential.weights,
            lr=self.options.learning_rate,
            weight_decay=first.defaults["weight_decay"],
            fused=True,
        )
        self.n_done = members[0].n_done
        if self.n_done:
            self._read()

    def _read(self) -> None:
        for key in ("step", "exp_avg", "exp_avg_sq"):
            stacked = [torch.zeros_like(weight) for weight in self.potential.weights]
            for index, member in enumerate(self.members):
                states = [member.optimizer.state[weight][key] for weight in member.model.parameters()]
                if key == "step":
                    stacked = [states[0].clone() for _ in stacked]
                    break
                for view, state in zip(self.potential.of_model(stacked, index), states, strict=True):
                    view.copy_(state)
            for weight, value in zip(self.potential.weights, stacked, strict=True):
                self.optimizer.state[weight][key] = value

    def write(self) -> None:
        weights, state = self.potential.weights, self.optimizer.state
        self.potential.write([member.model for member in self.members])
        averages = [[state[weight][key] for weight in weights] for key in ("exp_avg", "exp_avg_sq")]
        for index, member in enumerate(self.members):
            member.n_done = self.n_done
            views = (self.potential.of_model(average, index) for average in averages)
            for weight, first, second in zip(member.model.parameters(), *views, strict=True):
                member.optimizer.state[weight] = {
                    "step": state[weights[0]]["step"].clone(),
                    "exp_avg": first.clone(),
                    "exp_avg_sq": second.clone(),
                }

    def step(self, frames: Sequence[Sequence[Frame]], requests: Sequence[StepRequest]) -> list[Tensor]:
        rate = self.members[0].schedule(self.n_done)
        prefactors = mixed(self.options.start, self.options.limit, rate / self.options.learning_rate)
        stacked = self.potential.join(frames)
        sweep = Sweep(self.potential, stacked, virial=prefactors.virial > 0)
        leaves = [tensor.requires_grad_() for tensor in sweep.evaluation[:3]]
        squares = frame_errors(sweep.evaluation, stacked.batch)
        # The loss of a member is the mean over its own frames.
        share = torch.cat([torch.full((n,), 1 / n) for n in stacked.n_frames]).to(leaves[0])
        by_result = torch.autograd.grad(
            squares.of_frames(prefactors), leaves, grad_outputs=share, allow_unused=True
        )
        by_energy, by_forces, by_virial = by_result
        for weight, gradient in zip(
            self.potential.weights, sweep.gradient(by_energy, by_forces, by_virial), strict=True
        ):
            weight.grad = gradient
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.n_done += 1
        parts = (
            FrameErrors(*(tensor.detach()[first:last] for tensor in vars(squares).values()))
            for first, last in _ranges(stacked.n_frames)
        )
        return [measured(part, part.loss(prefactors)) for part in parts]


class StackedKalman:
    """`KalmanSteps` of several members: gradients together, then the covariance of each.

    Covariances are updated one after the other, because memory bandwidth alone limits them.
    """

    def __init__(self, members: Sequence[KalmanSteps]) -> None:
        self.members, self.options = members, members[0].options
        self.potential = StackedPotential([member.model for member in members])

    def write(self) -> None:
        """Nothing is left to do: `KalmanSteps.assimilate` works on the members themselves."""

    def step(self, frames: Sequence[Sequence[Frame]], requests: Sequence[StepRequest]) -> list[Tensor]:
        options, stacked = self.options, self.potential.join(frames)
        batches = [join([frame.batch for frame in of_member]) for of_member in frames]
        everyone = [True] * len(frames)
        has_virial = [request.has_virial for request in requests]
        if options.train_virial and options.pref_virial and any(has_virial):

            def virial(index: int, result: Evaluation) -> Measurement:
                return virial_measurement(result.virial, batches[index], options.pref_virial)

            self._learn(stacked, virial, has_virial)
        if options.train_energy and options.pref_energy:

            def energy(index: int, result: Evaluation) -> Measurement:
                return energy_measurement(result.energy, batches[index], options.pref_energy)

            self._learn(stacked, energy, everyone, forces=False)
        found: list[FrameErrors] = []
        if options.train_force and options.pref_force:
            shape = options.atoms_selected // options.atoms_per_group, options.atoms_per_group
            groups = [
                select_atoms(batch, torch.from_numpy(request.rng.random(shape)).to(batch.n_atoms.device))
                for batch, request in zip(batches, requests, strict=True)
            ]
            for atoms in zip(*groups, strict=True):

                def force(index: int, result: Evaluation, atoms: Sequence[Tensor] = atoms) -> Measurement:
                    return force_measurement(
                        result.forces,
                        batches[index],
                        atoms[index],
                        options.pref_force,
                        options.scale_by_atoms,
                    )

                results = self._learn(stacked, force, everyone)
                found = found or list(map(frame_errors, results, batches))
        for member in self.members:
            member.filter.settle()
        for member in self.members:
            member.filter.settle()
        if not found:
            found = list(
                map(frame_errors, _of_members(Sweep(self.potential, stacked).evaluation, stacked), batches)
            )
        return [measured(squares, squares.loss(options.limit)) for squares in found]

    def _learn(
        self,
        stacked: StackedBatch,
        measure: Callable[[int, Evaluation], Measurement],
        taking_part: Sequence[bool],
        *,
        forces: bool = True,
    ) -> list[Evaluation]:
        """One measurement of each member that takes part; returns the results that it was made of."""
        sweep = Sweep(self.potential, stacked, forces=forces)
        leaves = [tensor.requires_grad_() for tensor in sweep.evaluation[:3]]
        results = _of_members(sweep.evaluation, stacked)
        measurements = {
            index: measure(index, results[index]) for index, takes in enumerate(taking_part) if takes
        }
        value = torch.stack([measurement.value for measurement in measurements.values()]).sum()
        by_energy, by_forces, by_virial = torch.autograd.grad(value, leaves, allow_unused=True)
        if by_energy is None:
            by_energy = torch.zeros_like(leaves[0])
        gradients = sweep.gradient(by_energy, by_forces, by_virial)
        for index, measurement in measurements.items():
            member = self.members[index]
            member.assimilate(self.potential.of_model(gradients, index), measurement.error)
            mine = self.potential.of_model(self.potential.weights, index)
            for weight, value in zip(mine, member.weights, strict=True):
                weight.copy_(value.detach())
        return [Evaluation(*(tensor.detach() for tensor in result)) for result in results]


def _ranges(counts: Sequence[int]) -> list[tuple[int, int]]:
    return list(pairwise([0, *accumulate(counts)]))


def _of_members(result: Evaluation, stacked: StackedBatch) -> list[Evaluation]:
    """The results of each member's frames."""
    frames, atoms = _ranges(stacked.n_frames), _ranges(stacked.n_atoms)
    return [
        Evaluation(result.energy[a:b], result.forces[c:d], result.virial[a:b], result.atomic_energies[c:d])
        for (a, b), (c, d) in zip(frames, atoms, strict=True)
    ]
