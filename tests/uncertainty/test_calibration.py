"""An uncertainty becomes a force error in eV/Å, and the stated coverage is kept."""

import json
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpw.errors import InputError
from alpw.uncertainty.calibration import LEAST_PAIRS, METHODS, Calibration, Source, force_error


def heteroscedastic(n, seed, exponent=1.0):
    """Uncertainties u of arbitrary scale, and errors |N(0, 1)| u^exponent / 50."""
    rng = np.random.default_rng(seed)
    u = rng.lognormal(3.0, 0.7, n)
    return u, np.abs(rng.normal(size=n)) * u**exponent / 50


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("exponent", [1.0, 0.5, 2.0])
def test_the_coverage_on_new_data_is_the_stated_one(method, coverage, exponent):
    n, tested = 2000, 4000
    calibration = Calibration.fit(*heteroscedastic(n, 1, exponent), method=method, coverage=coverage)
    u, e = heteroscedastic(tested, 2, exponent)
    ranked = n if method == "conformal" else n / 2
    # Binomial error of the tested pairs, and that of the quantile, which is Beta distributed. There are 18
    # cases, so that one beyond three sigma would be no surprise.
    sigma = np.sqrt(coverage * (1 - coverage) * (1 / tested + 1 / ranked))
    assert abs(np.mean(e <= calibration.bound(u)) - coverage) < 4 * sigma


def test_the_coverage_is_kept_for_few_pairs_on_average():
    # ceil((n + 1) c)/(n + 1): never below the stated one, at most 1/(n + 1) above.
    kept = []
    for seed in range(400):
        calibration = Calibration.fit(*heteroscedastic(60, seed), method="conformal", coverage=0.8)
        u, e = heteroscedastic(200, 10_000 + seed)
        kept.append(np.mean(e <= calibration.bound(u)))
    sigma = np.std(kept) / np.sqrt(len(kept))
    assert 0.8 - 3 * sigma < np.mean(kept) < 0.8 + 1 / 61 + 3 * sigma


def test_isotonic_finds_the_expected_error_whatever_the_curve():
    u, e = heteroscedastic(20_000, 3, exponent=2.0)
    calibration = Calibration.fit(u, e, method="isotonic")
    at = np.quantile(u, [0.2, 0.5, 0.8])
    # The mean of |N(0, 1)| is sqrt(2/pi).
    assert calibration(at) == pytest.approx(np.sqrt(2 / np.pi) * at**2 / 50, rel=0.15)


def test_conformal_quantile_is_the_ranked_ratio_of_the_definition():
    u, e = heteroscedastic(99, 4)
    calibration = Calibration.fit(u, e, method="conformal", coverage=0.9)
    assert calibration.bound(1.0) == pytest.approx(np.sort(e / u)[90 - 1], rel=1e-12)
    assert calibration(2.0) == pytest.approx(2 * e.mean() / u.mean(), rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_scale_of_the_uncertainty_does_not_matter_and_that_of_the_error_does(method):
    u, e = heteroscedastic(400, 5)
    one = Calibration.fit(u, e, method=method)
    other = Calibration.fit(1e6 * u, 10 * e, method=method)
    assert other(1e6 * u) == pytest.approx(10 * one(u), rel=1e-9)
    assert other.bound(1e6 * u) == pytest.approx(10 * one.bound(u), rel=1e-9)


def test_outside_the_calibrated_range_the_error_is_constant_below_and_proportional_above():
    u, e = heteroscedastic(400, 6)
    calibration = Calibration.fit(u, e, method="isotonic")
    low, high = calibration.uncertainties[0], calibration.uncertainties[-1]
    assert calibration(0.0) == calibration(low) == calibration.errors[0]
    assert calibration(3 * high) == pytest.approx(3 * calibration(high))


pairs = st.lists(
    st.tuples(st.floats(0, 1e4, allow_subnormal=False), st.floats(0, 1e4, allow_subnormal=False)),
    min_size=LEAST_PAIRS,
    max_size=120,
)


@given(pairs, st.sampled_from(METHODS), st.floats(0.05, 0.9))
@settings(max_examples=60, deadline=None)
def test_any_calibration_is_monotone_finite_and_survives_its_file(tmp_path_factory, pairs, method, coverage):
    u, e = np.array(pairs).T
    calibration = Calibration.fit(u, e, method=method, coverage=coverage)
    at = np.sort(np.concatenate((u, [0.0, 2 * u.max() + 1], np.linspace(0, u.max() + 1, 50))))
    for curve in (calibration(at), calibration.bound(at)):
        assert np.isfinite(curve).all() and (curve >= 0).all()
        assert (np.diff(curve) >= -1e-9 * (1 + curve.max())).all()
    file = tmp_path_factory.mktemp("calibration") / "calibration.json"
    calibration.save(file)
    assert Calibration.load(file) == calibration


@given(pairs, st.floats(0.05, 0.9))
@settings(max_examples=60, deadline=None)
def test_at_least_the_stated_part_of_the_pairs_themselves_is_within_the_conformal_bound(pairs, coverage):
    u, e = np.array(pairs).T
    calibration = Calibration.fit(u, e, method="conformal", coverage=coverage)
    if not calibration.identity and (u > 1e-3 * u.mean()).all():
        assert np.mean(e <= calibration.bound(u) * (1 + 1e-9)) >= coverage


@pytest.mark.parametrize("method", METHODS)
def test_few_pairs_give_the_identity_and_a_warning(method, caplog):
    u, e = heteroscedastic(LEAST_PAIRS - 1, 7)
    with caplog.at_level(logging.WARNING, logger="alpw"):
        calibration = Calibration.fit(u, e, method=method)
    assert calibration.identity and f"{LEAST_PAIRS - 1} pairs" in caplog.text
    assert (calibration(u) == u).all() and (calibration.bound(u) == u).all()


def test_a_coverage_that_the_pairs_cannot_promise_gives_the_identity(caplog):
    u, e = heteroscedastic(98, 8)
    assert Calibration.fit(u, e, method="conformal", coverage=0.99).identity
    assert "99" in caplog.text
    u, e = heteroscedastic(99, 8)
    assert not Calibration.fit(u, e, method="conformal", coverage=0.99).identity


def test_halves_are_drawn_by_frame():
    # All atoms of a frame are equal. If both halves saw both frames, the fit would look perfect.
    frame = np.repeat([0, 1], 50)
    u, e = np.array([1.0, 2.0])[frame], np.array([1.0, 3.0])[frame]
    assert Calibration.fit(u, e, coverage=0.8).quantile == 1.0
    # From the first frame to the second 3/(2 * 1), or from the second to the first 1/3.
    assert Calibration.fit(u, e, coverage=0.8, groups=frame).quantile in (1.5, 1 / 3)


def test_the_true_error_of_an_atom_is_the_length_of_the_difference():
    assert force_error([[3.0, 0, 0], [0, 0, 0]], [[0, 4.0, 0], [0, 0, 0]]).tolist() == [5.0, 0.0]


@pytest.mark.parametrize(
    ("u", "e", "options", "message"),
    [
        ([1.0, 2.0], [1.0], {}, "2 uncertainties and 1 errors"),
        ([1.0, -1.0], [1.0, 1.0], {}, "uncertainty: 1 values are negative"),
        ([1.0, 1.0], [1.0, np.nan], {}, "error: 1 values are negative or not finite"),
        ([[1.0]], [1.0], {}, r"shape \(1, 1\)"),
        ([1.0], [1.0], {"method": "linear"}, "allowed: isotonic, conformal"),
        ([1.0], [1.0], {"coverage": 1.0}, "coverage: found 1.0"),
    ],
)
def test_wrong_pairs_are_refused(u, e, options, message):
    with pytest.raises(InputError, match=message):
        Calibration.fit(u, e, **options)


def test_a_file_that_is_no_calibration_is_refused_by_name(tmp_path):
    file = tmp_path / "calibration.json"
    Calibration.fit(*heteroscedastic(100, 1)).save(file)
    good = json.loads(file.read_text())
    bad = {
        "truncated": file.read_text()[:50],
        "another file": json.dumps({"summary": 1}),
        "another version": json.dumps({**good, "version": 99}),
        "a missing key": json.dumps({key: value for key, value in good.items() if key != "quantile"}),
        "falling": json.dumps({**good, "errors": good["errors"][::-1]}),
        "not finite": json.dumps({**good, "quantile": float("nan")}),
    }
    for text in bad.values():
        file.write_text(text)
        with pytest.raises(InputError, match=r"calibration\.json"):
            Calibration.load(file)
    with pytest.raises(InputError, match="No such file"):
        Calibration.load(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("source"), "json: source: missing"),
        (lambda content: content["source"].pop("models"), r"json: source\.models: missing"),
        (lambda content: content.update(colour=1), "json: colour: no such key"),
        (lambda content: content.update(errors=3), "json: errors: allowed: a list of numbers"),
        (lambda content: content.update(largest="high"), "json: largest: allowed: a number"),
        (lambda content: content.update(method="linear"), "json: method: allowed: one of isotonic"),
    ],
)
def test_a_wrong_key_of_the_file_is_named(tmp_path, change, message):
    file = tmp_path / "calibration.json"
    Calibration.fit(*heteroscedastic(100, 1)).save(file)
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        Calibration.load(file)


def test_a_calibration_is_tied_to_its_measure_and_covariance_and_knows_its_models():
    source = Source("lkf", ("a",))
    calibration = Calibration.fit(*heteroscedastic(100, 1), measure="kpu", source=source)
    assert calibration.check("kpu", source)
    assert not calibration.check("kpu", Source("lkf", ("b",)))
    with pytest.raises(InputError, match=r"source\.covariance: .*'lkf'.*'gkf'"):
        calibration.check("kpu", Source("gkf", ("a",)))
    with pytest.raises(InputError, match=r"measure: .*'kpu'.*'committee'"):
        calibration.check("committee", Source())


@pytest.mark.parametrize("method", METHODS)
def test_what_lies_above_the_calibrated_range_is_extrapolated(method):
    calibration = Calibration.fit(*heteroscedastic(100, 1), method=method)
    high = calibration.largest
    assert calibration.extrapolated([0.0, high, 1.001 * high]).tolist() == [False, False, True]
