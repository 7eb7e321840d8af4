"""Thresholds without gaps, and a calibrated one that keeps its promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpw.errors import InputError
from alpw.sampling.classify import classify
from alpw.sampling.thresholds import absolute, calibrated, relative
from alpw.uncertainty.frames import calibrate_frames

SCALES = pytest.mark.parametrize(("scale", "power"), [(1.0, 1.0), (0.03, 0.6)], ids=["committee", "kpu"])


def law(scale, power):
    """The root mean square error of a frame (eV/Å) by its uncertainty, as in a known world."""
    return lambda u: 0.6 * (u / scale) ** power


def world(scale, power, n, seed):
    """Frames of uncertainties over 1.6 decades, and their errors, scattered by 50 % around the law."""
    rng = np.random.default_rng(seed)
    u = scale * np.exp(rng.uniform(np.log(0.02), np.log(0.8), n))
    return u, law(scale, power)(u) * np.exp(0.5 * rng.normal(size=n) - 0.25)


def rms(values):
    return np.sqrt((np.asarray(values) ** 2).mean())


@SCALES
def test_accepted_frames_have_the_target_on_the_whole_when_the_law_is_known(scale, power):
    u, _ = world(scale, power, 5000, 1)
    expected = law(scale, power)
    bounds = calibrated(0.1, 0.4, lambda x: expected(x) ** 2, u)
    # One frame of five thousand is all that the sum can be off by.
    assert rms(expected(u[u < bounds.lower])) == pytest.approx(0.1, rel=2e-3)
    assert expected(bounds.upper) == pytest.approx(0.4)
    assert bounds.rule == "calibrated"


@SCALES
@pytest.mark.parametrize(("n", "tolerance"), [(30, 0.3), (300, 0.15)])
def test_and_nearly_so_when_it_is_learnt_from_labels_of_uncertain_frames(scale, power, n, tolerance):
    """The tolerances are two standard deviations of the mean square of errors that scatter by 50 %."""
    realised = []
    for seed in range(10):
        u, error = world(scale, power, 20 * n, seed)
        # Labels as a campaign has them: four uncertain ones for each that was drawn from everything.
        likely = np.where(u > np.median(u), 4.0, 1.0)
        taken = np.random.default_rng(seed).choice(len(u), n, replace=False, p=likely / likely.sum())
        calibration = calibrate_frames(u[taken], error[taken], "committee")
        explored, true = world(scale, power, 5000, 100 + seed)
        bounds = calibrated(0.15, 0.5, lambda x, map=calibration: map(x) ** 2, explored)
        realised.append(rms(true[explored < bounds.lower]))
    assert np.mean(np.abs(np.log(np.array(realised) / 0.15)) < np.log(1 + tolerance)) >= 0.8
    assert rms(realised) == pytest.approx(0.15, rel=0.2)


errors = st.floats(0.01, 2)
many = st.lists(st.floats(1e-3, 10), max_size=30)


@given(explored=many, target=errors, other=errors, factor=st.floats(1.1, 10), scale=st.floats(0.01, 100))
def test_a_larger_target_accepts_more_and_no_frame_is_left_between(explored, target, other, factor, scale):
    def bounds(error):
        return calibrated(error, factor * error, lambda u: (u / scale) ** 2, explored)

    small, large = bounds(min(target, other)), bounds(max(target, other))
    assert small.lower <= large.lower * (1 + 1e-12) and small.upper <= large.upper * (1 + 1e-12)
    assert small.lower <= small.upper
    assert sum(classify(np.array(explored), small.lower, small.upper).counts.values()) == len(explored)
    accepted = [u / scale for u in explored if u < small.lower]
    assert not accepted or rms(accepted) <= min(target, other) * (1 + 1e-9)


def test_without_anything_above_the_target_all_is_accurate():
    bounds = calibrated(0.1, 0.5, lambda u: u**2, [0.01, 0.05, np.nan])
    assert bounds.lower == bounds.upper == pytest.approx(0.5)


def test_without_frames_the_target_is_that_of_a_single_one():
    bounds = calibrated(0.1, 0.5, lambda u: u**2, [])
    assert (bounds.lower, bounds.upper) == pytest.approx((0.1, 0.5))


def test_the_first_frames_of_every_trajectory_set_the_relative_scale():
    runs = [np.r_[np.full(10, 2.0), np.full(990, 9.0)], [4.0, 4.0, 4.0, 4.0, np.nan, 9.0]]
    bounds = relative(runs, 0.5, 1.5)
    base = (10 * 2.0 + 4 * 4.0) / 14
    assert (bounds.lower, bounds.upper) == pytest.approx((0.5 * base, 0.75 * base))


@given(begins=st.lists(st.floats(1e-3, 10), min_size=1, max_size=5), factor=st.floats(1e-3, 1e3))
def test_relative_thresholds_follow_the_scale_of_the_uncertainty(begins, factor):
    one, other = relative([begins], 5.0, 10.0), relative([np.array(begins) * factor], 5.0, 10.0)
    assert (other.lower, other.upper) == pytest.approx((one.lower * factor, one.upper * factor))


@pytest.mark.parametrize(("lower", "upper"), [(None, 0.3), (0.1, None), (0.3, 0.3)])
def test_half_an_interval_and_an_empty_one_are_refused(lower, upper):
    with pytest.raises(InputError, match="model_devi_f"):
        absolute(lower, upper)
