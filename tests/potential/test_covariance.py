"""A covariance gives variances and draws of linear functions of the weights, and belongs to one model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from alpw.errors import InputError
from alpw.potential import DeepPotential
from alpw.potential.covariance import Covariance, covariance_path
from alpw.potential.weights import fingerprint

MakeModel = Callable[..., DeepPotential]


def random_blocks(sizes: tuple[int, ...] = (4, 7), seed: int = 0) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    squares = [rng.normal(size=(size, size)) for size in sizes]
    return [torch.from_numpy(a @ a.T + 0.1 * np.eye(len(a))) for a in squares]


def dense(blocks: list[torch.Tensor]) -> np.ndarray:
    return torch.block_diag(*blocks).numpy()


def make_covariance(blocks: list[torch.Tensor]) -> Covariance:
    return Covariance.from_blocks(blocks, "0" * 64, "gauss-newton", {"noise": 0.5})


def test_blocks_are_what_they_were_made_of_and_symmetric() -> None:
    blocks = random_blocks()
    for found, block in zip(make_covariance(blocks).blocks, blocks, strict=True):
        assert torch.equal(found, found.T)
        assert torch.allclose(found, block, rtol=1e-13, atol=1e-13)


def test_variance_of_a_linear_function_of_the_weights() -> None:
    blocks = random_blocks()
    vectors = np.random.default_rng(1).normal(size=(5, 11))
    expected = np.einsum("ni,ij,nj->n", vectors, dense(blocks), vectors)
    covariance = make_covariance(blocks)
    assert np.allclose(covariance.quadratic(torch.from_numpy(vectors)), expected, rtol=1e-12, atol=0)
    single = covariance.to(dtype=torch.float32)
    assert np.allclose(single.quadratic(torch.from_numpy(vectors)), expected, rtol=1e-5, atol=0)
    with pytest.raises(InputError, match=r"\(5, 10\); expected \(n, 11\)"):
        covariance.quadratic(torch.from_numpy(vectors[:, :10]))


def test_draws_have_the_covariance_and_repeat_with_the_seed() -> None:
    blocks = random_blocks()
    covariance = make_covariance(blocks)
    draws = covariance.sample(40_000, seed=3)
    found, expected = np.cov(draws.numpy(), rowvar=False), dense(blocks)
    # The standard error of an element is sqrt((P_ij^2 + P_ii P_jj) / n).
    scatter = np.sqrt((expected**2 + np.outer(np.diag(expected), np.diag(expected))) / len(draws))
    assert abs((found - expected) / scatter).max() < 4.5
    assert torch.equal(covariance.sample(5, seed=3), covariance.sample(5, seed=3))
    assert not torch.equal(covariance.sample(5, seed=3), covariance.sample(5, seed=4))


def test_a_block_that_is_not_positive_definite_is_refused() -> None:
    good, bad = random_blocks()
    bad[0, 0] = -1.0
    with pytest.raises(InputError, match="block 1 of the covariance is not positive definite"):
        make_covariance([good, bad])


def test_a_stored_covariance_is_the_same(tmp_path: Path) -> None:
    covariance, path = make_covariance(random_blocks()), tmp_path / "model.covariance.pt"
    covariance.save(path)
    read = Covariance.load(path)
    assert all(torch.equal(a, b) for a, b in zip(read.factors, covariance.factors, strict=True))
    assert (read.fingerprint, read.kind, read.settings) == ("0" * 64, "gauss-newton", {"noise": 0.5})
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("keep", [0, 10, 500, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "p.pt"
    make_covariance(random_blocks()).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"p\.pt: not a readable weight covariance"):
        Covariance.load(path)


def test_a_foreign_file_or_another_version_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    path = tmp_path / "p.pt"
    make_model().save(path)
    with pytest.raises(InputError, match=r"p\.pt: a torch file, but not a weight covariance"):
        Covariance.load(path)
    make_covariance(random_blocks()).save(path)
    torch.save({**torch.load(path, weights_only=True), "version": 999}, path)
    with pytest.raises(InputError, match="version: weight covariance format 999; this code reads 1"):
        Covariance.load(path)
    with pytest.raises(InputError, match="there is no such weight covariance file"):
        Covariance.load(tmp_path / "nowhere.pt")


def test_a_covariance_of_other_weights_is_refused(make_model: MakeModel) -> None:
    model = make_model()
    covariance = Covariance.from_blocks(random_blocks(), fingerprint(model), "lkf")
    covariance.check(model)
    with torch.no_grad():
        next(model.parameters()).add_(1e-9)
    with pytest.raises(InputError, match="belongs to other weights"):
        covariance.check(model)


def test_a_covariance_lies_beside_its_model() -> None:
    assert covariance_path("runs/model.pt") == Path("runs/model.covariance.pt")
