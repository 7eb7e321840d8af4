"""Any model has a covariance of its weights, from the frames it was trained on, and models drawn from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.stats import mannwhitneyu
from torch import Tensor

from alpw.errors import InputError
from alpw.potential import DeepPotential, test
from alpw.potential.covariance import Covariance
from alpw.potential.tables import TableOptions
from alpw.potential.weights import to_vector
from alpw.structures.frame import LabelledFrame
from alpw.uncertainty.committee import force_deviation, predict_committee
from alpw.uncertainty.kpu import Samples, exact_kpu
from alpw.uncertainty.posterior import gauss_newton, linear_scale, posterior_models

MakeCopper = Callable[..., LabelledFrame]
BruteForce = Callable[[DeepPotential, Atoms], tuple[Tensor, Tensor]]
Trained = tuple[DeepPotential, list[LabelledFrame], Covariance]


def weights(model: DeepPotential) -> Tensor:
    return to_vector([parameter.detach() for parameter in model.parameters()])


def test_it_is_the_inverse_of_prior_and_squared_derivatives(
    trained: Trained, brute_force: BruteForce
) -> None:
    model, frames, _ = trained
    found = gauss_newton(
        model,
        frames[:3],
        sigma_energy=0.01,
        sigma_force=0.1,
        tau=4.0,
        atoms_per_frame=None,
        block_size=150,
    )
    information = 4.0 * np.eye(found.n_weights)
    for atoms, _label in frames[:3]:
        by_energy, by_forces = (gradient.numpy() for gradient in brute_force(model, atoms))
        for row in (by_energy / len(atoms) / 0.01, *(by_forces.reshape(-1, found.n_weights) / 0.1)):
            information += np.outer(row, row)
    assert max(found.sizes) <= 150 and len(found.sizes) > 2
    first = 0
    for block in found.blocks:
        here = slice(first, first + len(block))
        expected = np.linalg.inv(information[here, here])
        np.testing.assert_allclose(block, expected, atol=1e-9 * abs(expected).max())
        first = here.stop
    found.check(model)
    assert found.kind == "gauss-newton" and found.settings["tau"] == 4.0


def test_defaults_are_the_errors_on_the_frames_and_the_size_of_the_weights(trained: Trained) -> None:
    model, frames, _ = trained
    settings = gauss_newton(model, frames[:2], atoms_per_frame=1).settings
    errors = test(model, frames[:2])
    assert settings["sigma_force"] == pytest.approx(errors.force_rmse)
    assert settings["sigma_energy"] == pytest.approx(max(errors.energy_rmse, 1e-4))
    assert settings["tau"] == pytest.approx(1 / float(weights(model).square().mean()))


def test_a_sample_of_the_atoms_weighs_as_much_as_all(trained: Trained, alloy: Atoms) -> None:
    model, frames, _ = trained
    few, every = (gauss_newton(model, frames, atoms_per_frame=n, seed=3) for n in (4, None))
    atoms = frames[0].atoms
    ratio = exact_kpu(model, few, atoms).u_force / exact_kpu(model, every, atoms).u_force
    assert 0.8 < ratio.mean() < 1.3


def test_far_from_the_training_set_it_is_larger(trained: Trained, make_copper: MakeCopper) -> None:
    model, frames, _ = trained
    covariance = gauss_newton(model, frames)
    inside, hot, strained = (
        [
            exact_kpu(model, covariance, make_copper(first + seed, rattle, strain).atoms).max
            for seed in range(12)
        ]
        for first, rattle, strain in ((100, 0.06, 0.0), (200, 0.2, 0.0), (300, 0.06, -0.05))
    )
    assert mannwhitneyu(hot, inside, alternative="greater").pvalue < 1e-4
    assert mannwhitneyu(strained, inside, alternative="greater").pvalue < 1e-4


def test_more_frames_never_make_it_less_certain(trained: Trained) -> None:
    model, frames, _ = trained
    fixed = {"sigma_energy": 0.001, "sigma_force": 0.05, "tau": 5.0, "atoms_per_frame": None}
    few, more = (gauss_newton(model, frames[:n], **fixed) for n in (2, 6))  # type: ignore[arg-type]
    atoms = frames[8].atoms
    assert (exact_kpu(model, more, atoms).u_force < exact_kpu(model, few, atoms).u_force).all()


def test_a_compressed_model_has_the_covariance_of_its_parent(trained: Trained) -> None:
    model, frames, _ = trained
    compressed = model.tabulated(TableOptions(spacing=0.2, shortest=1.5))
    covariance = gauss_newton(compressed, frames[:2], atoms_per_frame=2)
    covariance.check(model)
    assert posterior_models(compressed, covariance, 1)[0].tables is None


@pytest.mark.parametrize(
    "settings",
    [{"sigma_force": 0.0}, {"sigma_energy": -1.0}, {"tau": float("nan")}, {"atoms_per_frame": 0}],
)
def test_impossible_settings_are_refused(trained: Trained, settings: dict[str, float]) -> None:
    model, frames, _ = trained
    with pytest.raises(InputError, match=next(iter(settings))):
        gauss_newton(model, frames, **settings)  # type: ignore[arg-type]


def test_frames_that_cannot_be_used_are_refused(trained: Trained) -> None:
    model, frames, _ = trained
    with pytest.raises(InputError, match="training set"):
        gauss_newton(model, [])
    broken = LabelledFrame(frames[0].atoms, replace(frames[0].label, forces=np.full((8, 3), np.nan)))
    with pytest.raises(InputError, match=r"frames\[1\]: forces has 24 non-finite"):
        gauss_newton(model, [frames[0], broken])


def test_posterior_models_are_shifted_by_draws_of_the_covariance(trained: Trained) -> None:
    model, _, covariance = trained
    samples = Samples.draw(covariance, 2, seed=4, precision="float64")
    for models in (
        posterior_models(model, samples, 2, scale=0.01),
        posterior_models(model, covariance, 2, seed=4, scale=0.01),
    ):
        for shifted, draw in zip(models, covariance.sample(2, 4), strict=True):
            torch.testing.assert_close(weights(shifted) - weights(model), 0.01 * draw, atol=1e-12, rtol=0)
            for name, buffer in model.named_buffers():
                assert torch.equal(shifted.get_buffer(name), buffer)


def test_by_default_the_weights_change_by_one_percent(trained: Trained) -> None:
    model, frames, covariance = trained
    for source in (covariance, gauss_newton(model, frames), Samples.draw(covariance, 32)):
        models = posterior_models(model, source, 8)
        changes = torch.stack([weights(shifted) - weights(model) for shifted in models]).norm(dim=1)
        assert float(changes.square().mean().sqrt() / weights(model).norm()) == pytest.approx(0.01, rel=0.3)


@pytest.mark.parametrize("with_mean", [True, False])
def test_their_deviation_is_proportional_to_the_uncertainty(
    trained: Trained, make_copper: MakeCopper, with_mean: bool
) -> None:
    model, _, covariance = trained
    atoms, n, scale = make_copper(7, 0.1).atoms, 3, linear_scale(model, covariance)
    exact = exact_kpu(model, covariance, atoms)
    squares = []
    for seed in range(60):
        models = posterior_models(model, covariance, n, seed=seed)
        committee = [model, *models] if with_mean else models
        squares.append(force_deviation(predict_committee(committee, atoms).forces) ** 2)
    factor = n**2 / (n + 1) ** 2 if with_mean else (n - 1) / n
    expected = 3 * factor * scale**2 * exact.u_force**2
    # 60 committees of few independent directions: a statistical error of about a tenth.
    assert np.mean(squares, axis=0) / expected == pytest.approx(1.0, abs=0.35)
    assert np.mean(squares) / expected.mean() == pytest.approx(1.0, abs=0.25)


def test_impossible_posterior_models_are_refused(trained: Trained) -> None:
    model, _, covariance = trained
    for n, scale in ((0, 1.0), (2, -1.0)):
        with pytest.raises(InputError, match="positive"):
            posterior_models(model, covariance, n, scale=scale)
    with pytest.raises(InputError, match="draw more"):
        posterior_models(model, Samples.draw(covariance, 2), 3)
    with pytest.raises(InputError, match="other weights"):
        posterior_models(posterior_models(model, covariance, 1)[0], covariance, 2)
