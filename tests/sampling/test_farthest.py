"""Farthest-point selection: the bound of Gonzalez, what is known, ties, and features on one scale."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from alpw.errors import InputError
from alpw.sampling import farthest
from alpw.sampling.farthest import farthest_points, standardise


def radius(points, centres):
    return cdist(points, centres).min(axis=1).max()


def cloud(n, n_features=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, n_features))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n_known", [0, 2])
def test_the_radius_is_at_most_twice_the_best_of_all_choices(seed, n_known):
    points, known = cloud(11, 2, seed), cloud(n_known, 2, 100 + seed)
    chosen = farthest_points(points, 4, known=known)
    best = min(radius(points, np.vstack([known, points[list(few)]])) for few in combinations(range(11), 4))
    assert chosen.radius == pytest.approx(radius(points, np.vstack([known, points[chosen.order]])))
    assert best <= chosen.radius <= 2 * best


def test_points_on_a_line_by_hand():
    # The mean is 3.2 and its nearest point 3; then 10 is 7 away, 0 is 3 away, and 1 is 1 from 0.
    chosen = farthest_points([[0.0], [1.0], [2.0], [3.0], [10.0]], 4)
    assert chosen.order.tolist() == [3, 4, 0, 1]
    assert chosen.distances.tolist() == [np.inf, 7.0, 3.0, 1.0]
    assert chosen.radius == 1.0


def test_every_beginning_of_the_order_is_the_choice_of_fewer():
    points = cloud(60)
    whole = farthest_points(points, 60)
    for n in (1, 2, 7, 30):
        part = farthest_points(points, n)
        assert part.order.tolist() == whole.order[:n].tolist()
        # What is left over is where the next point lies.
        assert part.radius == whole.distances[n]
    assert (np.diff(whole.distances) <= 0).all()


def test_the_whole_pool_is_an_order_of_all_points():
    chosen = farthest_points(cloud(25), 100)
    assert sorted(chosen.order.tolist()) == list(range(25)) and chosen.radius == 0.0


def test_known_points_count_as_chosen():
    points = cloud(40)
    first = farthest_points(points, 10)
    rest = np.delete(np.arange(40), first.order)
    continued = farthest_points(points[rest], 5, known=points[first.order])
    assert rest[continued.order].tolist() == farthest_points(points, 15).order[10:].tolist()


def test_many_known_points_are_compared_in_blocks(monkeypatch):
    points, known = cloud(30), cloud(100, seed=1)
    expected = farthest_points(points, 5, known=known)
    monkeypatch.setattr(farthest, "DISTANCES_PER_BLOCK", 70)  # two known points at a time
    assert farthest_points(points, 5, known=known).order.tolist() == expected.order.tolist()
    assert expected.distances[0] == pytest.approx(cdist(points, known).min(axis=1).max())


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_duplicates_are_never_chosen_while_others_remain(values):
    points = np.array(values, dtype=float)[:, None]
    order = farthest_points(points, len(values)).order
    n_distinct = len(set(values))
    assert len({values[index] for index in order[:n_distinct]}) == n_distinct
    assert sorted(order.tolist()) == list(range(len(values)))


def test_duplicates_of_known_points_come_last():
    points = np.array([[5.0], [1.0], [5.0], [5.1]])
    assert farthest_points(points, 4, known=[[5.0]]).order.tolist() == [1, 3, 0, 2]


def test_ties_go_to_the_lower_index():
    square = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    assert farthest_points(square, 4).order.tolist() == [0, 3, 1, 2]


def test_a_start_comes_first_wherever_it_lies():
    points = [[0.0], [1.0], [9.0]]
    chosen = farthest_points(points, 2, start=1, known=[[1.0]], min_distance=0.5)
    assert chosen.order.tolist() == [1, 2] and chosen.distances.tolist() == [0.0, 8.0]


def test_the_choice_stops_when_everything_is_near():
    points = [[0.0], [0.4], [5.0], [5.3], [9.0]]
    chosen = farthest_points(points, 5, min_distance=1.0)
    assert chosen.order.tolist() == [2, 0, 4] and chosen.radius == pytest.approx(0.4)
    assert farthest_points(points, 5, known=points, min_distance=1e-9).order.tolist() == []


def test_a_point_as_far_as_the_smallest_distance_is_still_taken():
    assert farthest_points([[0.0], [1.0]], 2, start=0, min_distance=1.0).order.tolist() == [0, 1]


def test_no_points_and_no_budget():
    assert farthest_points(np.empty((0, 3)), 2).radius == 0.0
    nothing = farthest_points(cloud(3), 0)
    assert nothing.order.tolist() == [] and nothing.radius == np.inf


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(value):
    points = cloud(5)
    points[3, 1] = value
    for refused in (lambda: farthest_points(points, 2), lambda: standardise(points)):
        with pytest.raises(InputError, match="structure of point 3"):
            refused()
    with pytest.raises(InputError, match="known"):
        farthest_points(cloud(4), 2, known=points)


@pytest.mark.parametrize(
    "arguments, key",
    [
        ({"n": -1}, "n"),
        ({"n": 2, "start": 5}, "start"),
        ({"n": 2, "start": -1}, "start"),
        ({"n": 2, "known": [[1.0]]}, "known"),
        ({"n": 2, "known": [1.0, 2.0]}, "known"),
    ],
)
def test_a_wrong_argument_is_named(arguments, key):
    with pytest.raises(InputError) as error:
        farthest_points(cloud(5), **arguments)
    assert error.value.key == key


def test_standard_features_have_zero_mean_and_unit_variance():
    features = cloud(50) * [1e-6, 1.0, 1e6] + [3.0, -7.0, 1e6]
    found = standardise(features)
    # 3 ± 1e-6 keeps ten digits of its fluctuations.
    assert found.mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert found.std(axis=0) == pytest.approx(1, abs=1e-9)
    assert np.corrcoef(found[:, 0], features[:, 0])[0, 1] == pytest.approx(1, abs=1e-9)


def test_constant_features_become_zero_and_their_rounding_is_not_blown_up():
    features = cloud(20)
    features[:, 0] = 0.0
    features[:, 1] = 0.1 + 1e-17 * features[:, 1]
    features[::2, 1] = np.nextafter(0.1, 1)
    found = standardise(features)
    assert (found[:, :2] == 0).all() and found[:, 2].std() == pytest.approx(1)


def test_no_features_have_no_standard():
    assert standardise(np.empty((0, 4))).shape == (0, 4)
