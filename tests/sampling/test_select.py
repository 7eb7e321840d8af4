"""Selection under caps: seeded, without repeats, with a reason for everything left out."""

import numpy as np

from alpw.sampling.classify import Classes
from alpw.sampling.select import select_frames


def classes(accurate, candidate, failed=()):
    return Classes(*(np.array(list(indices), dtype=int) for indices in (accurate, candidate, failed)))


def choose(members, groups, caps, n_validation=0, reject=lambda frame: None, seed=1):
    return select_frames(members, groups, caps, n_validation, reject, np.random.default_rng(seed))


def test_caps_belong_to_groups_not_to_positions():
    members = [classes([], range(10)), classes([], range(10)), classes([], range(10))]
    selection = choose(members, ["b", "a", "b"], {"a": 1, "b": 4})
    taken = [trajectory for trajectory, _ in selection.train]
    assert taken.count(1) == 1
    assert taken.count(0) + taken.count(2) == 4


def test_failed_frames_are_never_chosen():
    selection = choose([classes([], [], range(20))], ["a"], {"a": 10}, n_validation=5)
    assert selection.train == [] and selection.validation == []


def test_validation_draws_from_accurate_and_candidate_alike():
    members = [classes(range(50), range(50, 100))]
    drawn = [
        frame for seed in range(40) for _, frame in choose(members, ["a"], {"a": 0}, 5, seed=seed).validation
    ]
    share = np.mean(np.array(drawn) < 50)
    # 200 draws: 0.5 within four standard deviations of a binomial share.
    assert abs(share - 0.5) < 4 * np.sqrt(0.25 / len(drawn))


def test_a_start_structure_is_no_validation_frame():
    selection = choose([classes(range(3), [])], ["a"], {"a": 0}, n_validation=3)
    assert sorted(selection.validation) == [(0, 1), (0, 2)]


def test_a_validation_frame_is_not_trained_on():
    members = [classes([], range(1, 7))]
    selection = choose(members, ["a"], {"a": 6}, n_validation=3)
    assert len(selection.validation) == 3
    assert set(selection.train).isdisjoint(selection.validation)
    assert len(selection.train) == 3


def test_rejected_frames_are_replaced_by_others():
    reject = {(0, frame): "atoms too close" for frame in range(5)}.get
    selection = choose([classes([], range(10))], ["a"], {"a": 5}, reject=reject)
    assert sorted(selection.train) == [(0, frame) for frame in range(5, 10)]
    assert set(selection.left_out.values()) <= {"atoms too close", "over the cap"}


def test_everything_left_out_has_a_reason():
    selection = choose([classes([], range(10))], ["a"], {"a": 4})
    assert len(selection.train) == 4
    assert list(selection.left_out.values()) == ["over the cap"] * 6


def test_the_same_seed_chooses_the_same_frames():
    members = [classes(range(30), range(30, 60))]
    first, second = (choose(members, ["a"], {"a": 7}, 3, seed=5) for _ in range(2))
    assert first == second
    assert choose(members, ["a"], {"a": 7}, 3, seed=6) != first
