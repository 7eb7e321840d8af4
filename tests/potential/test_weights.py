"""The order of the weights is DeePMD-kit's, so that covariances and gradients mean the same in both."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from alpw.potential import DeepPotential
from alpw.potential.weights import batch_to_vectors, block_sizes, fingerprint, from_vector, to_vector

MakeModel = Callable[..., DeepPotential]


def test_matrices_are_flattened_column_by_column(make_model: MakeModel) -> None:
    weights = list(make_model(type_embedding="learned").parameters())
    expected = np.concatenate([weight.detach().numpy().ravel(order="F") for weight in weights])
    assert np.array_equal(to_vector(weights).detach().numpy(), expected)


def test_a_vector_becomes_the_weights_it_was_made_of(make_model: MakeModel) -> None:
    weights = list(make_model().parameters())
    assert all(
        torch.equal(back, weight)
        for back, weight in zip(from_vector(to_vector(weights), weights), weights, strict=True)
    )


def test_a_weight_that_took_no_part_has_a_zero_gradient() -> None:
    like = [torch.ones(2, 3), torch.ones(2)]
    assert to_vector([None, torch.tensor([5.0, 6.0])], like).tolist() == [0, 0, 0, 0, 0, 0, 5, 6]


def test_many_gradients_are_flattened_like_one(make_model: MakeModel) -> None:
    rng = torch.Generator().manual_seed(0)
    many = [torch.randn(3, *weight.shape, generator=rng) for weight in make_model().parameters()]
    rows = [to_vector([tensor[index] for tensor in many]) for index in range(3)]
    assert torch.equal(batch_to_vectors(many), torch.stack(rows))


@pytest.mark.parametrize(
    ("counts", "block_size", "expected"),
    [
        # The default network of one element in deepmd-kit 3.2.0.
        (
            [25, 25, 625, 25, 625, 25, 20000, 50, 2500, 50, 50, 2500, 50, 50, 50, 1],
            5120,
            [1350, 5120, 5120, 5120, 4640, 2650, 2651],
        ),
        ([10, 3], 4, [4, 4, 2, 3]),  # a first tensor that is larger than a block
        ([4, 4], 4, [4, 4]),
        ([2, 2, 1], 4, [4, 1]),
        ([1, 8], 4, [1, 4, 4]),
        ([3, 3, 3], 100, [9]),
    ],
)
def test_blocks_are_packed_and_cut_like_deepmd(
    counts: list[int], block_size: int, expected: list[int]
) -> None:
    assert block_sizes(counts, block_size) == expected


def test_a_fingerprint_survives_storage_and_sees_every_weight_and_statistic(make_model: MakeModel) -> None:
    model = make_model()
    print_of = fingerprint(model)
    assert fingerprint(DeepPotential.from_bytes(model.to_bytes())) == print_of
    assert fingerprint(make_model(seed=8)) != print_of
    assert fingerprint(make_model(activation="gelu")) != print_of
    for tensor in (list(model.parameters())[-1], model.descriptor.dstd, model.energy_bias):
        with torch.no_grad():
            tensor.view(-1)[0] += 1e-12
        assert fingerprint(model) != print_of
        print_of = fingerprint(model)
