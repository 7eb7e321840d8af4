"""Correlation times against processes whose correlation is known, and what thinning keeps and drops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from alpw.errors import InputError
from alpw.sampling.decorrelate import autocorrelation_time, thin


def autoregressive(rho, n_frames, seed=1):
    """x_t = rho x_{t-1} + noise: C(t) = rho^t, hence g = (1 + rho) / (1 - rho)."""
    n_warm = math.ceil(20 / (1 - abs(rho)))
    noise = np.random.default_rng(seed).standard_normal(n_frames + n_warm)
    return lfilter([1.0], [1.0, -rho], noise)[n_warm:]


@pytest.mark.parametrize("rho", [0.3, 0.5, 0.9, 0.98])
def test_an_autoregressive_process_has_its_analytic_time(rho):
    found = autocorrelation_time(autoregressive(rho, 200_000))
    exact = (1 + rho) / (1 - rho)
    # A sum up to lag W has a relative standard error of about sqrt(2 (2 W + 1) / n) (Sokal, in Functional
    # Integration (1997), eq. 3.19); the sum ends after some five decay times. Three of these errors.
    window = 5 / -math.log(rho)
    assert found == pytest.approx(exact, rel=3 * math.sqrt(2 * (2 * window + 1) / 200_000))


def test_white_noise_is_nearly_always_recognised():
    times = [autocorrelation_time(np.random.default_rng(seed).standard_normal(500)) for seed in range(400)]
    # C(1) exceeds its 95 % band on one side: 2.5 % of 400 are 10, with a standard deviation of 3.1.
    assert sum(time > 1 for time in times) <= 10 + 4 * 3.1


def test_frames_that_alternate_are_not_better_than_independent_ones():
    # Analytically g = 1/3: the mean profits, but a frame is no more than a frame.
    assert autocorrelation_time(autoregressive(-0.5, 10_000)) == 1.0


@pytest.mark.parametrize("period", [50, 100, 333.3])
def test_a_sine_is_cut_where_its_correlation_first_vanishes(period):
    series = np.sin(2 * np.pi * np.arange(20_000) / period)
    # 1 + 2 Σ cos up to a quarter of the period is P / π, up to the curvature of the cosine in one frame
    # (largest, 1 %, for the shortest period) and the divisor n instead of n - t (below 1 %).
    assert autocorrelation_time(series) == pytest.approx(period / np.pi, rel=0.02)


def test_the_sum_of_a_short_series_by_hand():
    """A square pulse, written out: δx = ±1/2 with eight frames each has C(t) linear in t by pieces."""
    series = np.repeat([0.0, 1.0], 8)
    deviation = series - 0.5
    correlation = [sum(deviation[k] * deviation[k + t] for k in range(16 - t)) / 4.0 for t in range(16)]
    pairs = [correlation[t] + correlation[t + 1] for t in range(0, 16, 2)]
    positive = pairs[: next(m for m, pair in enumerate(pairs) if pair <= 0)]
    assert autocorrelation_time(series) == pytest.approx(2 * sum(positive) - 1, abs=1e-12)


def test_units_and_origin_of_the_series_do_not_matter():
    series = autoregressive(0.8, 2000)
    # An origin of 1e4 leaves 12 digits of the fluctuations.
    assert autocorrelation_time(-1e-3 * series + 1e4) == pytest.approx(autocorrelation_time(series), rel=1e-6)
    assert autocorrelation_time(1e-200 * series) == pytest.approx(autocorrelation_time(series), rel=1e-9)


def test_a_constant_series_is_one_frame_many_times():
    assert autocorrelation_time(np.full(37, -4.2)) == 37


@pytest.mark.parametrize("series", [[], [1.0], [1.0, 2.0], [1.0, 2.0, 3.0, 4.0]])
def test_four_values_or_fewer_show_no_correlation(series):
    assert autocorrelation_time(series) == 1


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_the_time_lies_between_one_frame_and_the_series(series):
    assert 1 <= autocorrelation_time(series) <= len(series)


@pytest.mark.parametrize("series", [[1.0, np.nan, 2.0], [1.0, np.inf, 2.0], [[1.0, 2.0]]])
def test_a_series_with_gaps_or_columns_is_refused(series):
    with pytest.raises(InputError, match="one finite number per frame"):
        autocorrelation_time(series)


def test_thinning_counts_from_the_first_frame_after_equilibration():
    thinned = thin(20, discard=3, interval=5)
    assert thinned.kept.tolist() == [3, 8, 13, 18]
    assert thinned.dropped == {"equilibration": 3, "unconverged": 0, "correlated": 13}


def test_by_default_everything_is_kept():
    thinned = thin(4)
    assert thinned.kept.tolist() == [0, 1, 2, 3] and sum(thinned.dropped.values()) == 0


def test_an_unusable_frame_is_replaced_by_the_next_and_the_spacing_counts_from_there():
    usable = np.ones(20, dtype=bool)
    usable[[5, 6]] = False
    thinned = thin(20, interval=5, usable=usable)
    assert thinned.kept.tolist() == [0, 7, 12, 17]
    assert thinned.dropped == {"equilibration": 0, "unconverged": 2, "correlated": 14}


def test_an_unusable_frame_of_the_equilibration_is_counted_once():
    thinned = thin(6, discard=2, usable=[False, True, False, True, True, False])
    assert thinned.kept.tolist() == [3, 4]
    assert thinned.dropped == {"equilibration": 2, "unconverged": 2, "correlated": 0}


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 70), st.integers(1, 9))
def test_every_frame_is_kept_or_counted_and_none_is_closer_than_the_interval(usable, discard, interval):
    kept, dropped, _ = thin(len(usable), discard=discard, interval=interval, usable=usable)
    assert len(kept) + sum(dropped.values()) == len(usable)
    assert all(usable[frame] and frame >= discard for frame in kept)
    assert (np.diff(kept) >= interval).all()
    # No usable frame could have been taken sooner: neither the first, nor a next one, nor one after the last.
    earliest = [discard, *(kept + interval)]
    for sooner, frame in zip(earliest, [*kept, len(usable)], strict=True):
        assert not any(usable[sooner:frame])


def test_auto_reads_the_series_after_equilibration_only():
    series = autoregressive(0.9, 3000)
    drifting = np.concatenate([np.linspace(1000.0, 0.0, 500), series])
    thinned = thin(3500, discard=500, interval="auto", series=drifting)
    assert thinned.interval == math.ceil(autocorrelation_time(series))
    assert (np.diff(thinned.kept) == thinned.interval).all()


def test_frames_kept_by_auto_are_independent_of_each_other():
    series = autoregressive(0.9, 20_000)
    kept = thin(len(series), interval="auto", series=series).kept
    # g is about 19, and 0.9^19 = 0.14 of the correlation is left.
    assert abs(np.corrcoef(series[kept][:-1], series[kept][1:])[0, 1]) < 0.2


def test_auto_does_not_read_frames_that_are_not_usable():
    series = autoregressive(0.95, 20_000)
    usable = np.random.default_rng(2).random(len(series)) > 0.05
    spoiled = np.where(usable, series, np.nan)
    spoiled[np.flatnonzero(~usable)[:50]] = 1e9
    expected = autocorrelation_time(series)
    # One value in twenty, bridged between neighbours that are correlated by 0.95, changes little.
    found = thin(len(series), interval="auto", series=spoiled, usable=usable).interval
    assert found == pytest.approx(expected, rel=0.1)


def test_nothing_usable_keeps_nothing():
    thinned = thin(5, interval="auto", series=np.full(5, np.nan), usable=[False] * 5)
    assert thinned.kept.tolist() == [] and thinned.dropped["unconverged"] == 5


@pytest.mark.parametrize(
    "arguments, key",
    [
        ({"discard": -1}, "discard"),
        ({"interval": 0}, "interval"),
        ({"interval": 1.5}, "interval"),
        ({"interval": "automatic"}, "interval"),
        ({"interval": "auto"}, "interval"),
        ({"interval": "auto", "series": [1.0, 2.0]}, "series"),
        ({"usable": [True]}, "usable"),
    ],
)
def test_a_wrong_argument_is_named(arguments, key):
    with pytest.raises(InputError) as error:
        thin(3, **arguments)
    assert error.value.key == key
