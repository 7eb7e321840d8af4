"""The loss of Adam, its prefactors and its learning rate are DeePMD-kit's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from alpw.potential import DeepPotential
from alpw.potential.dataset import join, prepare
from alpw.potential.statistics import fit_normalisation, shift_energy_bias
from alpw.potential.training.loss import Prefactors, Schedule, frame_errors, mixed
from alpw.structures.frame import Label, LabelledFrame

MakeModel = Callable[..., DeepPotential]
Frames = Callable[..., list[LabelledFrame]]


def test_the_loss_is_that_of_deepmd(copper_model: MakeModel, emt_frames: Frames) -> None:
    model, frames = copper_model(), emt_frames(3, seed=4)
    (big,) = emt_frames(1, seed=5, formulas=("Cu8",))
    frames.append(LabelledFrame(big.atoms, Label(big.label.energy, big.label.forces)))
    batches = prepare(model, frames)
    fit_normalisation(model, batches)
    p = Prefactors(energy=0.3, force=7.0, virial=0.9)
    batch = join(batches)
    found = frame_errors(model.evaluate(batch.graph, create_graph=True), batch).loss(p)
    expected = []
    for atoms, label in frames:
        prediction, n = model.predict(atoms), len(atoms)
        loss = p.energy * (prediction.energy - label.energy) ** 2 / n
        loss += p.force * ((prediction.forces - label.forces) ** 2).sum() / (3 * n)
        if label.virial is not None:
            loss += p.virial * ((prediction.virial - label.virial) ** 2).sum() / (9 * n)
        expected.append(loss)
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-12)
    found.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_gradient_of_the_loss_matches_finite_differences(
    copper_model: MakeModel, emt_frames: Frames
) -> None:
    model, frames = copper_model(), emt_frames(2, seed=4)
    batches = prepare(model, frames)
    fit_normalisation(model, batches)
    shift_energy_bias(model, batches)
    batch = join(batches)

    def loss() -> torch.Tensor:
        return frame_errors(model.evaluate(batch.graph, create_graph=True), batch).loss(
            Prefactors(0.1, 10.0, 0.2)
        )

    loss().backward()
    for parameter in model.parameters():
        index = int(parameter.grad.abs().argmax())
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.view(-1)[index] += step
            values.append(loss().item())
            with torch.no_grad():
                parameter.view(-1)[index] -= step
        expected = (values[0] - values[1]) / 2e-5
        # Central differences of a loss of order 100 are good to about 1e-6.
        assert parameter.grad.view(-1)[index].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_learning_rate_falls_from_start_to_stop() -> None:
    smooth = Schedule(1e-3, 1e-7, n_steps=400)
    assert smooth(0) == 1e-3
    assert smooth(100) == pytest.approx(1e-4)
    assert smooth(400) == pytest.approx(1e-7)
    stairs = Schedule(1e-3, 1e-7, n_steps=400, decay_steps=100)
    assert [stairs(step) for step in (99, 100, 199)] == pytest.approx([1e-3, 1e-4, 1e-4])


def test_prefactors_go_from_start_to_limit_with_the_learning_rate() -> None:
    start, limit = Prefactors(0.02, 1000, 0), Prefactors(1, 1, 2)
    assert mixed(start, limit, 1.0) == start
    assert mixed(start, limit, 0.0) == limit
    assert mixed(start, limit, 0.25) == pytest.approx((0.755, 250.75, 1.5))
