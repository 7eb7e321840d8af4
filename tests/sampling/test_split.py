"""A split that neither the order of the frames nor the other frames can change."""

import hashlib
import math
from itertools import pairwise

import numpy as np
import pytest
from ase.build import bulk

from alpw.errors import InputError
from alpw.sampling.split import is_training, shuffled
from alpw.structures.hash import structure_hash

HASHES = [hashlib.sha256(str(index).encode()).hexdigest() for index in range(20_000)]


def training(hashes, ratio, seed=1):
    return {name for name in hashes if is_training(name, ratio, seed)}


@pytest.mark.parametrize("ratio", [0.05, 0.5, 0.8, 0.95])
def test_the_share_of_training_frames_is_the_ratio(ratio):
    share = len(training(HASHES, ratio)) / len(HASHES)
    # Four standard deviations of a binomial share.
    assert abs(share - ratio) < 4 * math.sqrt(ratio * (1 - ratio) / len(HASHES))


def test_membership_is_uniform_between_the_ratios():
    ratios = np.linspace(0, 1, 21)
    counts = np.diff([len(training(HASHES, ratio)) for ratio in ratios])
    # χ^2 of 20 equal bins has mean 19 and standard deviation sqrt(38); five of them.
    assert ((counts - 1000) ** 2 / 1000).sum() < 19 + 5 * math.sqrt(38)


def test_a_larger_ratio_only_moves_validation_to_training():
    sets = [training(HASHES[:2000], ratio) for ratio in (0.0, 0.2, 0.5, 0.8, 1.0)]
    assert all(smaller < larger for smaller, larger in pairwise(sets))
    assert sets[0] == set() and sets[-1] == set(HASHES[:2000])


def test_other_frames_and_their_order_move_nobody():
    few = HASHES[:100]
    assert training(few, 0.8) == training(reversed(HASHES), 0.8) & set(few)


def test_another_seed_is_an_independent_split():
    first, second = training(HASHES, 0.5, seed=1), training(HASHES, 0.5, seed=2)
    # A quarter is in both; four standard deviations of a binomial share.
    assert abs(len(first & second) / len(HASHES) - 0.25) < 4 * math.sqrt(0.25 * 0.75 / len(HASHES))


def test_the_split_is_that_of_earlier_versions():
    """A campaign is continued for months: ``printf 7/abc | sha256sum`` begins with 7ea818fb51e75."""
    fraction = 0x7EA818FB51E75 / 16**13
    assert is_training("abc", fraction + 1e-12, 7) and not is_training("abc", fraction - 1e-12, 7)


def test_copies_of_a_structure_stay_together():
    crystal = bulk("Si", cubic=True)
    crystal.rattle(0.1, seed=1)
    copy = crystal[[3, 1, 0, 2, 7, 6, 5, 4]]
    copy.positions[2] += copy.cell[0]
    for seed in range(20):
        assert is_training(structure_hash(crystal), 0.5, seed) == is_training(structure_hash(copy), 0.5, seed)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, math.nan])
def test_a_ratio_that_is_none_is_refused(ratio):
    with pytest.raises(InputError, match="from 0 to 1"):
        is_training("abc", ratio, 1)


def test_a_shuffled_order_does_not_depend_on_the_order_before():
    hashes = HASHES[:200]
    order = shuffled(hashes, 3)
    assert sorted(order) == sorted(hashes) and order not in (hashes, sorted(hashes))
    assert shuffled(reversed(hashes), 3) == order
    assert shuffled(hashes, 4) != order


def test_one_frame_more_leaves_the_order_of_the_others():
    longer = shuffled(HASHES[:201], 3)
    assert [name for name in longer if name != HASHES[200]] == shuffled(HASHES[:200], 3)


def test_a_shuffled_order_is_uncorrelated_with_the_order_before():
    rank = {name: position for position, name in enumerate(shuffled(HASHES, 3))}
    correlation = np.corrcoef(np.arange(len(HASHES)), [rank[name] for name in HASHES])[0, 1]
    # The correlation of random ranks has variance 1 / (n - 1).
    assert abs(correlation) < 4 / math.sqrt(len(HASHES))


def test_training_frames_come_first_in_the_shuffled_order():
    order = shuffled(HASHES[:300], 1)
    n_training = len(training(order, 0.7))
    assert set(order[:n_training]) == training(order, 0.7)
