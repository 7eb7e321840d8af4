"""KPU is the standard deviation of energy and forces that the covariance of the weights implies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from scipy.stats import mannwhitneyu
from torch import Tensor

from alpw.errors import AlpwError, InputError
from alpw.potential import DeepPotential, collate
from alpw.potential.covariance import Covariance
from alpw.potential.tables import TableOptions
from alpw.structures.frame import LabelledFrame
from alpw.uncertainty.kpu import KPU, SampledKPU, Samples, exact_kpu, sampled_kpu

MakeModel = Callable[..., DeepPotential]
MakeCovariance = Callable[..., Covariance]
BruteForce = Callable[[DeepPotential, Atoms], tuple[Tensor, Tensor]]
Trained = tuple[DeepPotential, list[LabelledFrame], Covariance]


@pytest.mark.parametrize("settings", [{}, {"type_embedding": "learned"}, {"type_one_side": True}])
def test_exact_is_the_quadratic_form_of_each_gradient(
    make_model: MakeModel,
    make_covariance: MakeCovariance,
    brute_force: BruteForce,
    structure: Atoms,
    settings: dict[str, object],
) -> None:
    model = make_model(**settings)
    covariance = make_covariance(model)
    dense = torch.block_diag(*covariance.blocks).numpy()
    by_energy, by_forces = (gradient.numpy() for gradient in brute_force(model, structure))
    found = exact_kpu(model, covariance, structure)

    expected = [[gradient @ dense @ gradient for gradient in atom] for atom in by_forces]
    np.testing.assert_allclose(found.variances, expected, rtol=1e-8)
    np.testing.assert_allclose(found.u_force, np.sqrt(np.mean(expected, axis=1)), rtol=1e-8)
    per_atom = by_energy / len(structure)
    assert found.u_energy == pytest.approx(np.sqrt(per_atom @ dense @ per_atom), rel=1e-8)


def test_scores_of_a_frame() -> None:
    kpu = KPU(u_energy=1.0, variances=np.array([[4.0, 4.0, 4.0], [0.0, 3.0, 0.0], [27.0, 0.0, 0.0]]))
    np.testing.assert_allclose(kpu.u_force, [2.0, 1.0, 3.0])
    assert (kpu.max, kpu.mean, kpu.min) == pytest.approx((3.0, 2.0, 1.0))
    assert kpu.quantile(0.75) == pytest.approx(2.5)


def test_float32_differs_by_its_rounding(
    make_model: MakeModel, make_covariance: MakeCovariance, alloy: Atoms
) -> None:
    model = make_model()
    covariance = make_covariance(model)
    precise = exact_kpu(model, covariance, alloy)
    rough = exact_kpu(model, covariance.to(dtype=torch.float32), alloy)
    np.testing.assert_allclose(rough.u_force, precise.u_force, rtol=1e-4)
    np.testing.assert_allclose(rough.u_energy, precise.u_energy, rtol=1e-4)

    precise, rough = (
        sampled_kpu(model, Samples.draw(covariance, 8, precision=precision), alloy)
        for precision in ("float64", "float32")
    )
    np.testing.assert_allclose(rough.u_force, precise.u_force, rtol=1e-4)
    np.testing.assert_allclose(rough.u_energy, precise.u_energy, rtol=1e-4)


def test_sampled_converges_to_exact_as_its_standard_error_says(
    make_model: MakeModel, make_covariance: MakeCovariance, alloy: Atoms
) -> None:
    model = make_model()
    covariance = make_covariance(model)
    exact = exact_kpu(model, covariance, alloy)
    sampled = sampled_kpu(model, Samples.draw(covariance, 4000, seed=5, precision="float64"), alloy)
    assert sampled.stderr_force is not None and sampled.stderr_mean and sampled.stderr_energy
    # Between total correlation of the components of an atom and none.
    relative = sampled.stderr_force / sampled.u_force
    assert (relative < 1.2 * np.sqrt(0.5 / 4000)).all() and (relative > 0.8 * np.sqrt(0.5 / 12000)).all()
    assert np.max(abs(sampled.u_force - exact.u_force) / sampled.stderr_force) < 4
    assert abs(sampled.mean - exact.mean) < 4 * sampled.stderr_mean
    assert abs(sampled.u_energy - exact.u_energy) < 4 * sampled.stderr_energy


def test_standard_error_covers_the_truth_with_few_draws(
    make_model: MakeModel, make_covariance: MakeCovariance, alloy: Atoms
) -> None:
    model = make_model()
    covariance = make_covariance(model)
    exact = exact_kpu(model, covariance, alloy)
    force, mean, energy = [], [], []
    for seed in range(60):
        found = sampled_kpu(model, Samples.draw(covariance, 32, seed=seed), alloy)
        assert found.stderr_force is not None and found.stderr_mean and found.stderr_energy
        force.append((found.u_force - exact.u_force) / found.stderr_force)
        mean.append((found.mean - exact.mean) / found.stderr_mean)
        energy.append((found.u_energy - exact.u_energy) / found.stderr_energy)
    # 95 % of a normal distribution; the error of 32 draws is estimated from these, and is a little skewed.
    for deviations in (force, mean, energy):
        assert 0.86 < np.mean(np.abs(deviations) < 1.96) < 0.99
        assert abs(np.mean(deviations)) < 0.5


def test_one_sampler_takes_atoms_graphs_and_environments(
    make_model: MakeModel, make_covariance: MakeCovariance, alloy: Atoms
) -> None:
    model = make_model()
    sampler = SampledKPU(model, Samples.draw(make_covariance(model), 8))
    graph = model.neighbors(alloy).graph()
    for structure in (graph, model.environment(graph)):
        np.testing.assert_array_equal(
            sampler.uncertainty(structure).u_force, sampler.uncertainty(alloy).u_force
        )


def test_a_compressed_model_has_the_uncertainty_of_its_parent(
    make_model: MakeModel, make_covariance: MakeCovariance, alloy: Atoms
) -> None:
    model = make_model()
    covariance = make_covariance(model)
    compressed = model.tabulated(TableOptions(spacing=0.2, shortest=1.5))
    expected = exact_kpu(model, covariance, alloy)
    np.testing.assert_array_equal(exact_kpu(compressed, covariance, alloy).variances, expected.variances)
    samples = Samples.draw(covariance, 8)
    np.testing.assert_array_equal(
        sampled_kpu(compressed, samples, alloy).variances, sampled_kpu(model, samples, alloy).variances
    )


def test_far_from_the_training_set_it_is_larger(
    trained: Trained, make_copper: Callable[..., LabelledFrame]
) -> None:
    model, _, covariance = trained
    sampler = SampledKPU(model, Samples.draw(covariance, 16))
    inside = [make_copper(100 + seed, 0.06).atoms for seed in range(12)]
    hot = [make_copper(200 + seed, 0.2).atoms for seed in range(12)]
    strained = [make_copper(300 + seed, 0.06, strain=-0.05).atoms for seed in range(12)]
    for measure in (lambda atoms: exact_kpu(model, covariance, atoms), sampler.uncertainty):
        scores = [[measure(atoms).max for atoms in frames] for frames in (inside, hot, strained)]
        assert mannwhitneyu(scores[1], scores[0], alternative="greater").pvalue < 1e-4
        assert mannwhitneyu(scores[2], scores[0], alternative="greater").pvalue < 1e-4


def test_samples_are_read_back_as_they_were(
    make_model: MakeModel, make_covariance: MakeCovariance, tmp_path: Path
) -> None:
    samples = Samples.draw(make_covariance(make_model()), 4, seed=9)
    samples.save(tmp_path / "draws.pt")
    found = Samples.load(tmp_path / "draws.pt")
    assert torch.equal(found.draws, samples.draws)
    assert (found.fingerprint, found.kind, found.seed) == (samples.fingerprint, "lkf", 9)


def test_a_truncated_or_foreign_file_of_draws_is_refused(
    make_model: MakeModel, make_covariance: MakeCovariance, tmp_path: Path
) -> None:
    covariance, path = make_covariance(make_model()), tmp_path / "draws.pt"
    Samples.draw(covariance, 4).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="not a readable weight draws"):
        Samples.load(path)
    covariance.save(path)
    with pytest.raises(InputError, match="not a weight draws"):
        Samples.load(path)
    with pytest.raises(InputError, match="no such"):
        Samples.load(tmp_path / "missing.pt")


def test_covariance_and_draws_of_other_weights_are_refused(
    make_model: MakeModel, make_covariance: MakeCovariance, alloy: Atoms
) -> None:
    covariance = make_covariance(make_model(seed=8))
    with pytest.raises(InputError, match="belongs to other weights"):
        exact_kpu(make_model(), covariance, alloy)
    with pytest.raises(InputError, match="belong to other weights"):
        SampledKPU(make_model(), Samples.draw(covariance, 4))


@pytest.mark.parametrize("settings", [{"n": 1}, {"precision": "float16"}])
def test_impossible_draws_are_refused(
    make_model: MakeModel, make_covariance: MakeCovariance, settings: dict[str, object]
) -> None:
    with pytest.raises(InputError, match="allowed"):
        Samples.draw(make_covariance(make_model()), **settings)  # type: ignore[arg-type]


def test_structures_without_an_uncertainty_are_refused(
    make_model: MakeModel, make_covariance: MakeCovariance, alloy: Atoms
) -> None:
    model = make_model()
    covariance = make_covariance(model)
    with pytest.raises(InputError, match="element Ag"):
        exact_kpu(model, covariance, bulk("Ag"))
    graph = model.neighbors(alloy).graph()
    with pytest.raises(InputError, match="found 2 frames"):
        exact_kpu(model, covariance, collate([graph, graph]))
    alloy.positions[1] = alloy.positions[0]
    with pytest.raises(AlpwError, match="closest atoms are 0 Å apart"):
        exact_kpu(model, covariance, alloy)
