"""Trajectories of an iteration, expanded as the predecessor's users expect them."""

import pytest

from alpw.codes.lammps import Template
from alpw.config import load_param
from alpw.workflows.plan import chunks, plan_trajectories
from alpw.workflows.stages import FIRST, allowed_iterations, next_stage, stage_limits


@pytest.fixture
def plan(inputs):
    def make(*jobs, iteration=0, starts=(0, 0, 1), given=None, systems=("POSCAR", "POSCAR"), **strategy):
        inputs.param["explore"]["sys_configs"] = list(systems)
        inputs.param["explore"]["md_jobs"] = [list(jobs)]
        inputs.param["strategy"].update(strategy)
        inputs.write()
        param = load_param(inputs.folder / "param.json")
        return plan_trajectories(param, iteration, starts, 0, **(given or {}))

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


def test_ramps_and_masses_are_those_of_the_block(plan):
    entries = plan({**JOB, "temps_end": 900, "mass": {"Si": 30}}, starts=(0,))
    assert [(entry["temperature"], entry["temperature_end"]) for entry in entries] == [(300, 900), (500, 900)]
    assert {entry["masses"]["Si"] for entry in entries} == {30}
    entries = plan({**JOB, "temps_end": [100, 200]}, starts=(0,))
    assert [entry["temperature_end"] for entry in entries] == [100, 200]
    assert plan(JOB)[0]["temperature_end"] is None


def test_caps_by_structure_and_thresholds_of_the_system_and_the_block(plan):
    systems = ("POSCAR", {"config": "POSCAR", "upper_model_devi_f": 0.7})
    job = {**JOB, "sys_idx": [0, 1], "select_sys": {"1": 4}, "lower_model_devi_f": 0.03}
    entries = {entry["structure"]: entry for entry in plan(job, systems=systems, max_select=9)}
    assert {structure: entry["cap"] for structure, entry in entries.items()} == {0: 9, 1: 9, 2: 4}
    assert entries[0]["thresholds"]["lower_model_devi_f"] == 0.03
    assert entries[0]["thresholds"]["upper_model_devi_f"] == 5.0
    assert entries[2]["thresholds"]["upper_model_devi_f"] == 0.7


def test_templates_bring_their_own_state(plan, inputs):
    text = "variable TEMP equal {}\nfix 1 all nve\nrun 50\nrun 100 upto"
    templates = [Template(str(number), text.format(number)) for number in (400, 500)]
    for template in templates:
        (inputs.folder / template.name).write_text(template.text)
    inputs.param["explore"]["lmps_in"] = ["400", "500"]
    job = {"sys_idx": [0, 1], "lmps_in_idx": [1, 0], "trj_freq": 5}
    entries = plan(job, given={"templates": templates})
    assert [entry["key"] for entry in entries] == [
        "md.000.sys.000.lmps.001",
        "md.000.sys.001.lmps.001",
        "md.000.sys.002.lmps.000",
    ]
    assert [(entry["temperature"], entry["n_steps"]) for entry in entries] == [
        (500, 100),
        (500, 100),
        (400, 100),
    ]
    assert {entry["ensemble"] for entry in entries} == {"template"}


def test_uncertain_frames_take_the_place_of_their_structure_alone(plan):
    entries = plan(
        {**JOB, "temps": 300, "from_uncertain": 2}, given={"uncertain": {0: ["a", "b", "c"], 1: []}}
    )
    assert [(entry["key"], entry.get("start")) for entry in entries] == [
        ("md.000.sys.000.u.000.t.000", {"configuration": "a"}),
        ("md.000.sys.000.u.001.t.000", {"configuration": "b"}),
        ("md.000.sys.001.t.000", None),
    ]
    assert {entry["group"] for entry in entries[:2]} == {"md.000.sys.000"}


@pytest.mark.parametrize(
    ("limits", "converged", "expected"),
    [
        ([1, 1, None], [0, 0, 0, 0, 0], [(0, 1), (1, 1), (2, 1), (2, 2), (2, 3), (2, 4)]),
        ([1, 1, None], [0, 0, 0, 1], [(0, 1), (1, 1), (2, 1), (2, 2), None]),
        ([3, 2], [0, 0, 0, 0, 0], [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), None]),
        ([3, 2], [0, 1, 1], [(0, 1), (0, 2), (1, 1), None]),
    ],
)
def test_a_stage_ends_when_it_has_converged_or_its_iterations_are_used_up(limits, converged, expected):
    stages = [FIRST]
    for done in converged:
        stages.append(next_stage(*stages[-1], bool(done), limits))
    assert stages == expected


def test_limits_of_stages_come_from_the_inputs(inputs):
    def limits(**explore):
        inputs.param["explore"].update(explore)
        inputs.write()
        param = load_param(inputs.folder / "param.json")
        return stage_limits(param), allowed_iterations(param)

    assert limits() == ([1, None], 2)
    assert limits(stage_iterations=4) == ([4, 4], 8)
    assert limits(stage_iterations=[2, 3]) == ([2, 3], 5)


@pytest.mark.parametrize(
    ("size", "lengths"), [(5, [5, 5, 5, 5, 5, 5, 4]), (-1, [34]), (100, [34]), (34, [34])]
)
def test_34_tasks_in_groups(size, lengths):
    assert [len(part) for part in chunks(range(34), size)] == lengths


def test_no_tasks_make_no_group():
    assert chunks([], 5) == [] and chunks([], -1) == []
