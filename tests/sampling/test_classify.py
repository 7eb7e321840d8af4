"""Classes of frames leave no gap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpw.sampling.classify import classify


def test_candidate_interval_is_closed_below_and_open_above():
    classes = classify(np.array([0.0999, 0.1, 0.25, 0.5]), lower=0.1, upper=0.5)
    assert classes.accurate.tolist() == [0]
    assert classes.candidate.tolist() == [1, 2]
    assert classes.failed.tolist() == [3]


def test_nan_deviation_is_failed():
    assert classify(np.array([np.nan, np.inf]), lower=0.1, upper=0.5).failed.tolist() == [0, 1]


def test_no_frames_give_empty_classes():
    assert classify(np.array([]), lower=0.1, upper=0.5).counts == {"accurate": 0, "candidate": 0, "failed": 0}


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=50),
    st.floats(0.001, 1.0),
    st.floats(0.001, 1.0),
)
def test_every_frame_is_in_exactly_one_class(deviations, lower, width):
    classes = classify(np.array(deviations), lower, lower + width)
    everything = np.concatenate([classes.accurate, classes.candidate, classes.failed])
    assert sorted(everything.tolist()) == list(range(len(deviations)))


@pytest.mark.parametrize("value", [0.1, 0.5])
def test_a_deviation_on_a_threshold_is_counted(value):
    assert sum(classify(np.array([value]), 0.1, 0.5).counts.values()) == 1
