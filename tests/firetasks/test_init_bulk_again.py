"""init_bulk that runs again: with changed inputs, after failures, and in part."""

import pytest

from alpw.database import preparations
from alpw.errors import InputError
from alpw.firetasks import calculate, harvest
from alpw.workflows.launch_init import retry_init
from tests.firetasks.init_bench import NAME, STEPS

CHANGES = [
    ({"cell_pert_fraction": 0.1}, {}, r"sys_configs\[0\].*cell_pert_fraction changed"),
    ({"perturb": 1}, {}, "perturb changed"),
    ({"scale": [0.98]}, {}, "scale changed"),
    ({"relax": True}, {}, "relax changed"),
    ({"aimd": False}, {}, "aimd.* changed"),
    ({"scf": True}, {}, "scf changed"),
    (
        {"bigmodel": True, "aimd": False},
        {"bigmodel_input": {"calculator": "ase.calculators.emt.EMT"}},
        "bigmodel",
    ),
    ({}, {"aimd_input": {"input": "md.json", "temps": [300]}}, "temps changed"),
    ({}, {"aimd_input": {"input": "md.json", "discard": 1}}, "discard changed"),
    ({}, {"seed": 7}, "seed: was 2024"),
    ({}, {"interval": 2}, "interval: was 1"),
    ({}, {"train_valid_ratio": 0.5}, "train_valid_ratio: was None"),
]
"""what an entry and the file say now, and the words of the refusal"""


def test_a_change_that_gives_another_meaning_to_what_is_there_is_refused(bench):
    first, file = {"perturb": 2, "aimd": True}, dict(bench.init)
    bench.init["sys_configs"] = [bench.entry(**first)]
    bench.run()
    before = {frame["key"] for frame in bench.frames()}
    for of_entry, of_file, words in CHANGES:
        bench.init = {**file, **of_file, "sys_configs": [bench.entry(**{**first, **of_entry})]}
        with pytest.raises(InputError, match=words):
            bench.start(update=True)
        assert {frame["key"] for frame in bench.frames()} == before


def test_more_temperatures_run_beside_those_that_are_there(bench):
    bench.init["sys_configs"] = [bench.entry(aimd=True)]
    bench.init["aimd_input"] = {"input": "md.json", "temps": [300]}
    bench.run()
    calls = list(bench.calls)
    bench.init["aimd_input"]["temps"] = [600, 300]
    bench.run(update=True)
    assert bench.calls[len(calls) :] == ["Si_config_0/aimd/init/600K"]
    assert len(bench.frames()) == 2 * STEPS


def test_a_calculation_whose_firework_fizzled_runs_again(bench, monkeypatch):
    bench.init["sys_configs"] = [bench.entry(perturb=2, aimd=True)]
    with monkeypatch.context() as full_disk:

        def fail(*arguments, **options):
            raise OSError(28, "No space left on device")

        full_disk.setattr(calculate, "run_steps", fail)
        summary = bench.run()
    assert summary.state == "stalled" and len(summary.structures[0].problems) == 2
    assert all("No space left on device" in problem for problem in summary.structures[0].problems)
    retry_init(bench.launchpad, NAME)
    summary = bench.work()
    assert summary.state == "completed" and len(bench.frames()) == 2 * STEPS


def test_frames_that_could_not_be_harvested_are_missed(bench, monkeypatch):
    bench.init["sys_configs"] = [bench.entry(aimd=True)]
    with monkeypatch.context() as broken:
        broken.setattr(harvest, "thin", lambda *arguments, **options: 1 / 0)
        summary = bench.run()
    assert summary.state == "stalled"
    (problem,) = summary.structures[0].problems
    assert "harvest Si_config_0 fizzled" in problem and "ZeroDivisionError" in problem
    retry_init(bench.launchpad, NAME)
    assert bench.work().state == "completed" and len(bench.frames()) == STEPS


def test_every_firetask_may_run_twice(bench):
    """The same frames, and no calculation is paid for twice."""
    bench.init["sys_configs"] = [bench.entry(relax=True, perturb=2, aimd=True, scf=True)]
    bench.run()
    before = {frame["key"]: frame["energy"] for frame in bench.frames()}
    calls = list(bench.calls)
    relax = bench.launchpad.fireworks.find_one({"name": {"$regex": "relax"}}, {"fw_id": 1})["fw_id"]
    bench.launchpad.rerun_fw(relax)
    bench.work()
    assert {frame["key"]: frame["energy"] for frame in bench.frames()} == before
    assert bench.calls == calls


def test_preparations_are_one_per_structure_however_often_it_is_started(bench):
    bench.init["sys_configs"] = [bench.entry(), bench.entry(scale=[0.95])]
    for _ in range(3):
        bench.start()
    assert bench.launchpad.workflows.count_documents({}) == 2
    assert bench.launchpad.db[preparations.COLLECTION].count_documents({}) == 2
