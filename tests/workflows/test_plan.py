"""Trajectories of an iteration, expanded as the predecessor's users expect them."""

import pytest

from alpw.config import load_param
from alpw.workflows.plan import chunks, plan_trajectories, stage_of


@pytest.fixture
def plan(inputs):
    def make(*jobs, iteration=0, starts=(0, 0, 1), **strategy):
        inputs.param["explore"]["sys_configs"] = ["POSCAR", "POSCAR"]
        inputs.param["explore"]["md_jobs"] = [list(jobs)]
        inputs.param["strategy"].update(strategy)
        inputs.write()
        return plan_trajectories(load_param(inputs.folder / "param.json"), iteration, starts)

    return make


JOB = {"sys_idx": [0], "temps": [300, 500], "nsteps": 1000, "trj_freq": 10}


def test_one_trajectory_per_structure_and_temperature(plan):
    keys = [entry["key"] for entry in plan({**JOB, "sys_idx": [0, 1]})]
    assert keys == [f"md.000.sys.{s:03d}.t.{t:03d}" for s in range(3) for t in range(2)]


def test_pressures_multiply_npt_only(plan):
    assert len(plan({**JOB, "ensemble": "npt", "press": [1, 100, 1000]}, starts=(0,))) == 6
    assert len(plan({**JOB, "press": [1, 100, 1000]}, starts=(0,))) == 2


def test_caps_follow_the_structure_and_not_the_order(plan):
    entries = plan({**JOB, "sys_idx": [1, 0], "select_sys": [7, 3]})
    caps = {entry["structure"]: entry["cap"] for entry in entries}
    assert caps == {0: 3, 1: 3, 2: 7}


def test_a_single_cap_serves_every_structure_and_max_select_is_the_default(plan):
    assert {entry["cap"] for entry in plan({**JOB, "select_sys": 5})} == {5}
    assert {entry["cap"] for entry in plan(JOB, max_select=9)} == {9}


def test_nve_runs_at_its_starting_temperatures(plan):
    entries = plan({**JOB, "ensemble": "nve"}, starts=(0,))
    assert [entry["temperature"] for entry in entries] == [300, 500]
    assert {entry["pressure"] for entry in entries} == {None}


def test_velocity_seeds_differ_between_trajectories_and_iterations_and_repeat(plan):
    first, again, later = plan(JOB), plan(JOB), plan(JOB, iteration=1)
    seeds = [entry["seed"] for entry in first]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [entry["seed"] for entry in again]
    assert set(seeds).isdisjoint(entry["seed"] for entry in later)


def test_the_last_stage_is_repeated(inputs):
    param = load_param(inputs.folder / "param.json")
    assert [stage_of(param, iteration) for iteration in range(4)] == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("size", "lengths"), [(5, [5, 5, 5, 5, 5, 5, 4]), (-1, [34]), (100, [34]), (34, [34])]
)
def test_34_tasks_in_groups(size, lengths):
    assert [len(part) for part in chunks(range(34), size)] == lengths


def test_no_tasks_make_no_group():
    assert chunks([], 5) == [] and chunks([], -1) == []
