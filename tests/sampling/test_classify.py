"""Classes of frames leave no gap."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alpw.sampling.classify import ACCURATE, CANDIDATE, FAILED, classify


def test_candidate_interval_is_closed_below_and_open_above():
    classes = classify(np.array([0.0999, 0.1, 0.25, 0.5]), lower=0.1, upper=0.5)
    assert classes.of(ACCURATE).tolist() == [0]
    assert classes.of(CANDIDATE).tolist() == [1, 2]
    assert classes.of(FAILED).tolist() == [3]


def test_nan_deviation_is_failed():
    assert classify(np.array([np.nan, np.inf]), lower=0.1, upper=0.5).of(FAILED).tolist() == [0, 1]


def test_no_frames_give_empty_classes():
    assert classify(np.array([]), lower=0.1, upper=0.5).counts == {"accurate": 0, "candidate": 0, "failed": 0}


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=50),
    st.floats(0.001, 1.0),
    st.floats(0.001, 1.0),
)
def test_classes_are_those_of_each_value_by_itself(deviations, lower, width):
    codes = classify(np.array(deviations), lower, lower + width).codes
    for value, code in zip(deviations, codes, strict=True):
        assert code == (ACCURATE if value < lower else CANDIDATE if value < lower + width else FAILED)
