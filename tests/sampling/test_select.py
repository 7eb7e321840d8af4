"""Selection under caps: seeded, without repeats, with a reason for everything left out."""

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

from alpw.sampling.classify import CANDIDATE, CLASSES, agreement, classify, worst
from alpw.sampling.physical import Limits
from alpw.sampling.select import (
    ALIKE,
    CLOSE,
    DECISIONS,
    DUPLICATE,
    FORCE,
    OVER_CAP,
    OVER_TOTAL,
    UNPHYSICAL,
    VOLUME,
    Rules,
    select_frames,
)


def classes(accurate=(), candidate=(), failed=()):
    """Frames of each class by index, candidates in order of their uncertainty."""
    deviation = np.zeros(len([*accurate, *candidate, *failed]))
    deviation[list(candidate)] = np.linspace(1, 1.99, len(candidate))
    deviation[list(failed)] = 3
    return classify(deviation, 1, 2)


def no_features(frames):
    raise AssertionError("no features are needed")


def choose(
    members,
    groups,
    caps,
    n_validation=0,
    reject=lambda frame: None,
    seed=1,
    identity=str,
    features=no_features,
    **rules,
):
    rng = np.random.default_rng(seed)
    rules = Rules(caps, n_validation=n_validation, **rules)
    return select_frames(members, groups, rules, reject, identity, features, rng)


def test_caps_belong_to_groups_not_to_positions():
    members = [classes(candidate=range(10))] * 3
    selection = choose(members, ["b", "a", "b"], {"a": 1, "b": 4})
    taken = [trajectory for trajectory, _ in selection.train]
    assert taken.count(1) == 1
    assert taken.count(0) + taken.count(2) == 4


def test_failed_frames_are_never_chosen():
    selection = choose([classes(failed=range(20))], ["a"], {"a": 10}, n_validation=5)
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
    selection = choose([classes(range(3))], ["a"], {"a": 0}, n_validation=3)
    assert sorted(selection.validation) == [(0, 1), (0, 2)]


def test_rejected_frames_are_replaced_by_others():
    reject = {(0, frame): CLOSE for frame in range(5)}.get
    selection = choose([classes(candidate=range(10))], ["a"], {"a": 5}, reject=reject)
    assert sorted(selection.train) == [(0, frame) for frame in range(5, 10)]
    assert set(selection.left_out.values()) <= {CLOSE, OVER_CAP}


def test_of_frames_with_one_hash_the_first_is_taken():
    selection = choose(
        [classes(candidate=range(6))], ["a"], {"a": 6}, identity=lambda frame: str(frame[1] % 2)
    )
    assert len(selection.train) == 2
    assert selection.reasons == {DUPLICATE: 4}


def test_the_highest_are_the_most_uncertain():
    selection = choose([classes(candidate=range(10))] * 2, ["a", "b"], {"a": 3, "b": 1}, method="highest")
    assert selection.train == [(0, 9), (0, 8), (0, 7), (1, 9)]


@pytest.mark.parametrize("method", ["random", "highest"])
def test_strata_are_drawn_from_evenly(method):
    # Nine of ten candidates are near the lower threshold.
    deviation = np.concatenate([np.linspace(1, 1.2, 90), np.linspace(1.9, 1.99, 10)])
    selection = choose([classify(deviation, 1, 2)], ["a"], {"a": 10}, method=method, strata=2)
    high = sum(frame >= 90 for _, frame in selection.train)
    assert high == 5


def points_on_a_line(frames):
    return np.array([[float(frame)] for _, frame in frames]), np.array([[0.0]])


def test_diverse_frames_are_far_from_each_other_and_from_the_training_set():
    members = [classes(candidate=range(11))]
    selection = choose(members, ["a"], {"a": 3}, method="diverse", features=points_on_a_line)
    # The training set is at 0: first the other end, then the middle, then a quarter.
    assert [frame for _, frame in selection.train] in ([10, 5, 2], [10, 5, 7], [10, 5, 3], [10, 5, 8])


@pytest.mark.parametrize("method", ["random", "highest", "diverse"])
def test_frames_that_are_alike_are_left(method):
    members = [classes(candidate=range(11))]
    selection = choose(members, ["a"], {"a": 11}, method=method, min_distance=2.5, features=points_on_a_line)
    at = sorted(frame for _, frame in selection.train)
    assert at and at[0] >= 2.5 and (np.diff(at) >= 2.5).all()
    # Nothing could have been added.
    for _, frame in selection.left_out:
        assert min(abs(frame - other) for other in [0, *at]) < 2.5
    assert set(selection.left_out.values()) == {ALIKE}


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12), st.integers(0, 12)), max_size=6),
    st.fixed_dictionaries({group: st.integers(0, 9) for group in "abc"}),
    st.one_of(st.none(), st.integers(0, 12)),
    st.integers(0, 5),
    st.sampled_from(["random", "highest"]),
    st.integers(1, 4),
)
def test_every_frame_has_one_decision_and_no_cap_is_exceeded(runs, caps, total, n_validation, method, strata):
    members = [classes(range(a), range(a, a + c)) for _, a, c in runs]
    groups = [group for group, _, _ in runs]
    rules = {"total": total, "method": method, "strata": strata}
    selection = choose(members, groups, caps, n_validation, **rules)
    assert selection == choose(members, groups, caps, n_validation, **rules)
    per_group = [groups[trajectory] for trajectory, _ in selection.train]
    assert all(per_group.count(group) <= caps[group] for group in caps)
    assert total is None or len(selection.train) <= total
    assert len(set(selection.train)) == len(selection.train)
    assert set(selection.train).isdisjoint(selection.validation)
    for run, (codes, each) in enumerate(zip(selection.decisions(members), members, strict=True)):
        for frame, code in enumerate(codes):
            decision = DECISIONS[code]
            if each.codes[frame] == CANDIDATE:
                assert decision in ("selected", "validation", OVER_CAP, OVER_TOTAL)
            else:
                assert decision in (CLASSES[each.codes[frame]], "validation")
            assert (decision == "selected") == ((run, frame) in selection.train)


def test_the_total_is_shared_in_proportion():
    members = [classes(candidate=range(30)), classes(candidate=range(10))]
    selection = choose(members, ["a", "b"], {"a": 100, "b": 100}, total=8)
    taken = [trajectory for trajectory, _ in selection.train]
    assert (taken.count(0), taken.count(1)) == (6, 2)
    assert selection.reasons == {OVER_TOTAL: 32}


def test_the_worst_of_several_criteria_counts():
    force = classify(np.array([0.5, 1.5, 2.5, np.nan]), 1, 2)
    virial = classify(np.array([1.5, 0.5, 0.5, 0.5]), 1, 2)
    both = worst([force, virial])
    assert both.counts == {"accurate": 0, "candidate": 2, "failed": 2}
    assert agreement([force], [virial]).tolist() == [[0, 1, 0], [1, 0, 0], [2, 0, 0]]


def test_limits_say_what_is_broken():
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    bond = atoms.get_distance(0, 1, mic=True)
    assert Limits().broken(atoms, 1e9) is None
    assert Limits({"Cl-Na": bond + 0.1}).broken(atoms) == CLOSE
    assert Limits({"Na-Na": bond + 0.1}).broken(atoms) is None
    volume = atoms.get_volume() / 2
    assert Limits(volume_range=[volume - 1, volume + 1]).broken(atoms) is None
    assert Limits(volume_range=[volume + 1, volume + 2]).broken(atoms) == VOLUME
    assert Limits(max_force=5).broken(atoms, 5.1) == FORCE == Limits(max_force=5).broken(atoms, float("nan"))
    atoms.positions[1] = atoms.positions[0] + 0.1
    assert Limits().broken(atoms) == UNPHYSICAL
