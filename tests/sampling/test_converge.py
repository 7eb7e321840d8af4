"""Verdicts on an iteration."""

import pytest

from alpw.sampling.converge import IterationOutcome, Verdict, judge


def verdict(**changes):
    outcome = {"index": 1, "frames": 100, "accurate": 50, "candidate": 40, "selected": 10, "labelled": 10}
    rules = {"n_stages": 2, "max_iterations": 4, "accurate_ratio": 0.95, "max_failed_ratio": 0.5}
    outcome.update({key: value for key, value in changes.items() if key in outcome})
    rules.update({key: value for key, value in changes.items() if key in rules})
    return judge(IterationOutcome(**outcome), **rules)[0]


def test_converges_at_the_ratio_itself():
    assert verdict(accurate=95, candidate=5) is Verdict.CONVERGED
    assert verdict(accurate=94, candidate=6) is Verdict.CONTINUE


def test_an_easy_first_stage_does_not_converge_the_campaign():
    assert verdict(index=0, accurate=100, candidate=0) is Verdict.CONTINUE


def test_the_last_iteration_is_exhausted_and_not_called_converged():
    assert verdict(index=3) is Verdict.EXHAUSTED


def test_the_quorum_is_met_by_exactly_the_ratio():
    assert verdict(selected=10, labelled=5) is Verdict.CONTINUE
    assert verdict(selected=10, labelled=4) is Verdict.STALLED


def test_exploration_without_frames_stalls():
    assert verdict(frames=0, accurate=0, candidate=0) is Verdict.STALLED


def test_zero_candidates_on_an_early_stage_go_on_without_labels():
    assert verdict(index=0, accurate=90, candidate=0, selected=0, labelled=0) is Verdict.CONTINUE


def test_candidates_that_can_never_be_labelled_stall_instead_of_repeating():
    assert verdict(index=2, candidate=30, selected=0, labelled=0) is Verdict.STALLED


@pytest.mark.parametrize("accurate", [0, 50, 100])
def test_the_reason_quotes_the_share(accurate):
    outcome = IterationOutcome(1, 100, accurate, 100 - accurate, 1, 1)
    _, reason = judge(outcome, n_stages=1, max_iterations=9, accurate_ratio=0.95, max_failed_ratio=0.5)
    assert f"{accurate}.0%" in reason
