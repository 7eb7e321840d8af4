"""The Kalman filter is the published one, to rounding, and its covariance stays one in float32."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from numpy.typing import NDArray

from alpw.potential import DeepPotential, DeepPotentialConfig, TrainingOptions
from alpw.potential.dataset import Batch, join, prepare
from alpw.potential.training.kalman import MOST_PENDING, KalmanFilter, forgetting_factor
from alpw.potential.training.steps import KalmanSteps
from alpw.structures.frame import Label, LabelledFrame


class NumpyFilter:
    """The equations, word by word, with a covariance that is stored as it stands; all in float64.

    Args:
        model: its weights are flattened, changed and put back.
        sizes: of the blocks, cut by hand.
        options: of the filter.
    """

    def __init__(self, model: DeepPotential, sizes: list[int], options: TrainingOptions) -> None:
        self.model, self.options = model, options
        self.covariance = [0.01 * np.eye(size) for size in sizes]
        self.cuts = np.cumsum(sizes)[:-1]
        self.forgetting = options.kalman_lambda

    def gradient(self, value: torch.Tensor) -> NDArray[np.float64]:
        self.model.zero_grad()
        value.backward()
        found = [
            np.zeros(weight.shape) if weight.grad is None else weight.grad.numpy()
            for weight in self.model.parameters()
        ]
        return np.concatenate([matrix.ravel(order="F") for matrix in found])

    def update(self, h: NDArray[np.float64], error: float) -> None:
        weights = list(self.model.parameters())
        w = np.concatenate([weight.detach().numpy().ravel(order="F") for weight in weights])
        parts = np.split(h, self.cuts)
        gains = [p @ part for p, part in zip(self.covariance, parts, strict=True)]
        total = sum(self.forgetting + part @ gain for part, gain in zip(parts, gains, strict=True))
        w = w + error / total * np.concatenate(gains)
        self.covariance = [
            (p - np.outer(gain, gain) / total) / self.forgetting
            for p, gain in zip(self.covariance, gains, strict=True)
        ]
        self.forgetting = self.options.kalman_nue * self.forgetting + 1 - self.options.kalman_nue
        first = 0
        for weight in weights:
            part = w[first : first + weight.numel()]
            with torch.no_grad():
                weight.copy_(torch.from_numpy(part.reshape(tuple(weight.shape), order="F").copy()))
            first += weight.numel()

    def step(self, frames: list[Batch], draws: NDArray[np.float64]) -> None:
        n_frames = len(frames)
        with_virial = [frame for frame in frames if not torch.isnan(frame.virial).any()]
        if self.options.train_virial and with_virial:
            value, error = torch.tensor(0.0, dtype=torch.float64), 0.0
            for frame in with_virial:
                n = int(frame.n_atoms)
                virial = self.model.evaluate(frame.environment, create_graph=True).virial[0]
                for a, b in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)):
                    difference = float(frame.virial[0, a, b] - virial[a, b].detach()) / n
                    p = self.options.pref_virial
                    value = value + math.copysign(p, difference) * virial[a, b] / (6 * n)
                    error += p * abs(difference) / (6 * len(with_virial))
            self.update(self.gradient(value), error * math.sqrt(len(with_virial)))
        value, error = torch.tensor(0.0, dtype=torch.float64), 0.0
        for frame in frames:
            n = int(frame.n_atoms)
            energy = self.model.evaluate(frame.environment, create_graph=True).energy[0]
            difference = float(frame.energy[0] - energy.detach()) / n
            value = value + math.copysign(self.options.pref_energy, difference) * energy / n
            error += self.options.pref_energy * abs(difference) / n_frames
        self.update(self.gradient(value), error * math.sqrt(n_frames))
        for group in draws:
            value, error = torch.tensor(0.0, dtype=torch.float64), 0.0
            for frame in frames:
                n = int(frame.n_atoms)
                scale = self.options.pref_force / (n if self.options.scale_by_atoms else 1)
                forces = self.model.evaluate(frame.environment, create_graph=True).forces
                for atom in (group * n).astype(int):
                    for a in range(3):
                        difference = scale * float(frame.forces[atom, a] - forces[atom, a].detach())
                        value = value + math.copysign(scale, difference) * forces[atom, a] / (3 * len(group))
                        error += abs(difference) / (3 * len(group) * n_frames)
            self.update(self.gradient(value), error * math.sqrt(n_frames))


def dimers_and_trimers() -> list[LabelledFrame]:
    """Two sizes, two elements, one frame without a virial; labels at random."""
    rng = np.random.default_rng(0)
    frames = []
    for index, formula in enumerate(("SiGe", "Si2Ge", "Ge2", "SiGe2", "Si2")):
        atoms = Atoms(
            formula, positions=2.2 * np.arange(len(Atoms(formula)))[:, None] + rng.uniform(-0.3, 0.3, 3)
        )
        atoms.positions += rng.uniform(-0.3, 0.3, atoms.positions.shape)
        virial = None if index == 1 else rng.normal(size=(3, 3))
        virial = virial if virial is None else virial + virial.T
        frames.append(LabelledFrame(atoms, Label(rng.normal(), rng.normal(size=(len(atoms), 3)), virial)))
    return frames


def small_model() -> DeepPotential:
    config = DeepPotentialConfig(
        elements=("Si", "Ge"),
        rcut=5.0,
        rcut_smth=1.0,
        neuron=(4, 8),
        axis_neuron=3,
        fitting_neuron=(6, 6),
        type_one_side=True,
        sel=4,
        seed=3,
    )
    return DeepPotential(config)


@pytest.mark.parametrize(("optimizer", "scale_by_atoms"), [("lkf", False), ("lkf", True), ("gkf", False)])
def test_weights_and_covariance_are_those_of_a_numpy_reference(optimizer: str, scale_by_atoms: bool) -> None:
    """200 updates of weights and covariance, in batches of frames that differ in size and composition."""
    options = TrainingOptions(
        optimizer=optimizer,
        block_size=100,
        p0_weight=0.01,
        train_virial=True,
        pref_energy=7.0,
        pref_force=3.0,
        pref_virial=0.6,
        scale_by_atoms=scale_by_atoms,
        atoms_selected=6,
        atoms_per_group=2,
    )
    model, other = small_model(), small_model()
    steps = KalmanSteps(model, options)
    sizes = [len(factor) for factor in steps.factors]
    n_weights = sum(weight.numel() for weight in model.parameters())
    # Embeddings 48 + 48, fitting nets (24*6 + 6) + (36 + 6 + 6) + (6 + 1), the first tensor of each cut.
    expected_sizes = [n_weights] if optimizer == "gkf" else [96, 100, 44, 61, 100, 44, 61]
    assert sizes == expected_sizes
    reference = NumpyFilter(other, expected_sizes, options)
    prepared = prepare(model, dimers_and_trimers())
    rng, same = np.random.default_rng(1), np.random.default_rng(1)
    for step in range(40):
        chosen = [prepared[step % 5], prepared[(step * 2 + 1) % 5]]
        steps.step(join(chosen), rng, has_virial=True)
        reference.step(chosen, same.random((3, 2)))
    assert steps.n_updates == 200
    assert steps.kalman_lambda == pytest.approx(reference.forgetting, abs=1e-14)
    for weight, expected in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.allclose(weight, expected, rtol=1e-10, atol=1e-10)
    for factor, expected in zip(steps.factors, reference.covariance, strict=True):
        assert np.allclose((factor @ factor.T).numpy(), expected, rtol=0, atol=1e-10 * abs(expected).max())


def exact_filter(n: int, gradients: NDArray[np.float64]) -> NDArray[np.float64]:
    """P in information form, P^-1 <- λ P^-1 + h h^T for one block: no difference to lose digits in."""
    information = np.eye(n) / 0.01
    for index, h in enumerate(gradients):
        forgetting = 1 - 0.02 * 0.9987**index
        information = forgetting * information + np.outer(h, h)
    return np.linalg.inv(information)


@pytest.mark.parametrize("seen", [20, 90])
def test_a_float32_covariance_stays_positive_definite(seen: int) -> None:
    """Thousands of updates, most directions never seen or hardly: the case in which P itself fails."""
    n, n_updates = 100, 3000
    rng = np.random.default_rng(seen)
    directions = rng.normal(size=(seen, n)) * np.logspace(1, -2, seen)[:, None]
    gradients = rng.normal(size=(n_updates, seen)) @ directions
    kalman = KalmanFilter([n], 0.01, torch.float32, "cpu")
    plain = 0.01 * torch.eye(n)
    for index, h in enumerate(torch.from_numpy(gradients)):
        forgetting = forgetting_factor(0.98, 0.9987, index)
        kalman.update(h, torch.tensor(0.0), forgetting)
        gain = plain @ h.float()
        plain = (plain - torch.outer(gain, gain) / (forgetting + h.float() @ gain)) / forgetting
    factor = kalman.factors[0].double()
    found = (factor @ factor.T).numpy()
    exact = exact_filter(n, gradients)
    # In the inverse, small variances count: those of what the data determine.
    assert np.linalg.eigvalsh(found).min() > 0
    assert np.linalg.norm(found - exact) < 0.1 * np.linalg.norm(exact)
    probe = rng.normal(size=(50, seen)) @ directions
    variances, expected = (np.einsum("ni,ij,nj->n", probe, p, probe) for p in (found, exact))
    assert np.allclose(variances, expected, rtol=0.5)
    assert np.linalg.eigvalsh(plain.double().numpy()).min() < 0


def test_a_huge_gradient_does_not_break_the_filter() -> None:
    kalman = KalmanFilter([3, 2], 1.0, torch.float32, "cpu")
    change = kalman.update(torch.full((5,), 1e15), torch.tensor(1.0), 0.98)
    assert change.isfinite().all()
    for factor in kalman.factors:
        assert factor.isfinite().all()
        assert np.linalg.matrix_rank(factor.double().numpy()) == len(factor)


def test_what_is_not_measured_only_becomes_less_certain() -> None:
    kalman = KalmanFilter([3], 0.5, torch.float64, "cpu")
    change = kalman.update(torch.zeros(3, dtype=torch.float64), torch.tensor(1.0), 0.9)
    assert torch.equal(change, torch.zeros(3, dtype=torch.float64))
    (factor,) = kalman.factors
    assert torch.allclose(factor @ factor.T, torch.eye(3, dtype=torch.float64) * 0.5 / 0.9)


def test_collected_updates_are_those_of_single_ones() -> None:
    """More than are ever collected, from a covariance that is full from the start."""
    n, n_updates = 30, 2 * MOST_PENDING + 3
    rng = torch.Generator().manual_seed(0)
    start = torch.randn(n, n, generator=rng, dtype=torch.float64)
    kalman = KalmanFilter([n], 1.0, torch.float64, "cpu")
    kalman.load([start])
    p, change, expected = start @ start.T, torch.zeros(n).double(), torch.zeros(n).double()
    for h in torch.randn(n_updates, n, generator=rng, dtype=torch.float64):
        change += kalman.update(h, torch.tensor(2.0, dtype=torch.float64), 0.97)
        total = 0.97 + h @ p @ h
        expected += 2.0 * p @ h / total
        p = (p - torch.outer(p @ h, p @ h) / total) / 0.97
    assert torch.allclose(change, expected, rtol=1e-9, atol=1e-9)
    (factor,) = kalman.factors
    assert torch.allclose(factor @ factor.T, p, rtol=0, atol=1e-10 * float(p.abs().max()))
