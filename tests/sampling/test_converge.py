"""Verdicts on an iteration, and what they tell the user to do."""

from dataclasses import fields

import pytest

from alpw.sampling.converge import (
    Budget,
    Criteria,
    IterationOutcome,
    Standing,
    Verdict,
    judge,
    judge_preparation,
)

LABELS = Budget("strategy.max_labels", 120, 120, "labels")


def judged(**changes):
    """The judgement of a usual iteration that differs in what is given."""
    outcome = {"frames": 100, "accurate": 50, "candidate": 40, "selected": 10, "labelled": 10}
    given = {IterationOutcome: outcome, Criteria: {"accurate_ratio": 0.95}, Standing: {}}
    for kind, values in given.items():
        names = {field.name for field in fields(kind)}
        values |= {key: changes.pop(key) for key in list(changes) if key in names}
    assert not changes
    return judge(*(kind(**values) for kind, values in given.items()))


def test_converges_at_the_ratio_itself():
    assert judged(accurate=95, candidate=5).verdict is Verdict.CONVERGED
    assert judged(accurate=94, candidate=6).verdict is Verdict.CONTINUE


def test_frames_that_trajectories_broke_before_are_not_accurate():
    """A committee that has learnt too little agrees on the few frames before its atoms collide."""
    broken = {"frames": 46, "accurate": 46, "candidate": 0, "selected": 4, "labelled": 4, "unreached": 1166}
    found = judged(**broken)
    assert found.verdict is Verdict.CONTINUE and not found.stage_converged
    assert "3.8% of the frames are accurate" in found.reason and "before 1166 of 1212 frames" in found.reason
    ended = judged(**broken, budgets=[LABELS])
    assert ended.verdict is Verdict.EXHAUSTED and "train longer" in ended.next_step
    assert judged(accurate=95, candidate=5, frames=100, unreached=1).verdict is Verdict.CONTINUE


def test_an_easy_first_stage_does_not_converge_the_campaign_but_the_stage():
    first = judged(last_stage=False, accurate=100, candidate=0, selected=0, labelled=0)
    assert first.verdict is Verdict.CONTINUE and first.stage_converged


@pytest.mark.parametrize(
    ("error", "verdict"), [(0.05, Verdict.CONVERGED), (0.06, Verdict.CONTINUE), (None, Verdict.CONTINUE)]
)
def test_the_force_error_must_hold_as_well(error, verdict):
    found = judged(accurate=96, candidate=4, force_error=error, max_force_rmse=0.05)
    assert found.verdict is verdict
    assert found.stage_converged == (verdict is Verdict.CONVERGED)


def test_both_must_hold_so_many_times_in_a_row():
    wanted = {"accurate": 96, "candidate": 4, "converge_after": 3}
    second = judged(**wanted, held_before=1)
    assert (second.verdict, second.in_a_row) == (Verdict.CONTINUE, 2)
    assert "2 of 3 iterations in a row" in second.reason
    assert judged(**wanted, held_before=2).verdict is Verdict.CONVERGED
    assert judged(converge_after=3, held_before=2).in_a_row == 0


@pytest.mark.parametrize("accurate", [0, 50, 94])
def test_the_reason_quotes_the_share(accurate):
    assert f"{accurate}.0%" in judged(accurate=accurate, candidate=100 - accurate).reason


def test_a_budget_ends_the_campaign_by_its_name_but_not_one_that_converges():
    ended = judged(budgets=[Budget("strategy.max_core_hours", 3.2, 4, "core-hours"), LABELS])
    assert ended.verdict is Verdict.EXHAUSTED and "strategy.max_labels is used up" in ended.reason
    assert judged(budgets=[LABELS], accurate=95, candidate=5).verdict is Verdict.CONVERGED


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        (
            {"errors": [0.40, 0.20, 0.18, 0.162]},
            "still falls by 10% per iteration: raise strategy.max_labels",
        ),
        ({"errors": [0.20, 0.10, 0.10, 0.099]}, "does not fall any more: a larger network"),
        ({"accurate": 9, "candidate": 40}, "51% of the frames are above the upper threshold"),
        ({"errors": [0.2]}, "raise strategy.max_labels and give alpw run --update"),
        ({"last_stage": False}, "the last entry of md_jobs has not been explored"),
        (
            {"accurate": 98, "candidate": 2, "force_error": 0.12, "max_force_rmse": 0.05},
            "lower strategy.lower_model_devi_f",
        ),
        ({"accurate": 98, "candidate": 2, "max_force_rmse": 0.05}, "set strategy.validation_frames"),
        ({"accurate": 98, "candidate": 2, "converge_after": 2}, "not yet in 2 iterations in a row"),
    ],
)
def test_what_to_do_about_a_budget(changes, advice):
    ended = judged(budgets=[LABELS], **changes)
    assert ended.verdict is Verdict.EXHAUSTED
    assert advice in ended.next_step and ended.text.endswith(ended.next_step)


def test_more_labels_have_failed_than_the_ratio_and_chance_allow():
    assert judged(selected=10, labelled=5).verdict is Verdict.CONTINUE
    # At three in ten, so many fail of five in one iteration of six.
    assert judged(selected=5, labelled=2).verdict is Verdict.CONTINUE
    # From how many failures on a binomial test with a half says the same: 15 of 20, as tables have it.
    assert judged(selected=20, labelled=6).verdict is Verdict.CONTINUE
    stalled = judged(selected=20, labelled=5, failure="scf: did not converge")
    assert stalled.verdict is Verdict.STALLED
    assert (
        "strategy.max_failed_ratio = 0.5" in stalled.reason and "mostly scf: did not conv" in stalled.reason
    )
    assert judged(selected=3, labelled=0, max_failed_ratio=1.0).verdict is Verdict.STALLED
    assert judged(selected=5, labelled=4, max_failed_ratio=0.0).verdict is Verdict.STALLED
    assert judge_preparation(IterationOutcome(0, 0, 0, 6, 0), Criteria(0.9)).verdict is Verdict.STALLED
    assert judge_preparation(IterationOutcome(0, 0, 0, 6, 3), Criteria(0.9)).verdict is Verdict.CONTINUE


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"frames": 0, "accurate": 0, "candidate": 0}, "exploration gave no frame"),
        ({"candidate": 30, "selected": 0, "labelled": 0}, "no candidate passed"),
        ({"accurate": 100, "candidate": 0, "max_force_rmse": 0.05}, "no label says how accurate"),
        (
            {"accurate": 100, "candidate": 0, "max_force_rmse": 0.05, "force_error": 0.1},
            "no frame is left to learn from",
        ),
    ],
)
def test_what_would_only_repeat_itself_stalls_and_says_what_to_do(changes, why):
    found = judged(**changes)
    assert found.verdict is Verdict.STALLED and why in found.reason and found.next_step


def test_calibrated_thresholds_follow_the_error_so_that_the_campaign_goes_on():
    found = judged(accurate=100, candidate=0, max_force_rmse=0.05, force_error=0.1, calibrated=True)
    assert found.verdict is Verdict.CONTINUE


def test_no_iteration_begins_after_a_first_data_set_that_used_up_the_labels():
    outcome = IterationOutcome(frames=0, accurate=0, candidate=0, selected=8, labelled=8)
    budgets = [Budget("strategy.max_labels", 8, 8, "labels")]
    found = judge_preparation(outcome, Criteria(accurate_ratio=0.9), budgets)
    assert found.verdict is Verdict.EXHAUSTED
    assert (
        "strategy.max_labels is used up (8 of 8 labels)" in found.reason and "max_labels" in found.next_step
    )
