"""What init_bulk makes and leaves in `collection`; codes are arithmetic."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest

from alpw.database import calculations
from alpw.database.documents import frame_of
from alpw.formats.load import load_frames
from alpw.workflows.launch_init import retry_init
from tests.firetasks.init_bench import NAME, STEPS


@pytest.mark.parametrize(
    ("relax", "supercell", "scale", "perturb", "aimd"), itertools.product([False, True], repeat=5)
)
def test_every_combination_ends_with_the_structures_of_the_parent_rule(
    bench, relax, supercell, scale, perturb, aimd
):
    bench.init["sys_configs"] = [
        bench.entry(
            relax=relax,
            super_cell=[1, 2, 1] if supercell else None,
            scale=[0.95, 1.05] if scale else [],
            perturb=3 if perturb else 0,
            aimd=aimd,
        )
    ]
    summary = bench.run()
    # By hand: every group acts on the last group before it that is there.
    n_scaled, n_cells = (2 if scale else 0), int(supercell)
    n_parents = n_scaled or 1
    n_perturbed = 3 * n_parents if perturb else 0
    n_leaves = n_perturbed or n_parents
    expected = {"super_cell": n_cells, "scale": n_scaled, "perturb": n_perturbed}
    (structure,) = summary.structures
    assert summary.state == "completed" and structure.problems == []
    assert structure.structures == {stage: count for stage, count in expected.items() if count}
    assert structure.runs == ({"done": n_leaves} if aimd else {})
    assert structure.relax == ("done" if relax else None)
    frames = bench.frames()
    assert len(frames) == (n_leaves * STEPS if aimd else 0)
    assert {frame["n_atoms"] for frame in frames} <= {32 if supercell else 16}

    root = "relax" if relax else "init"
    parents = [f"{s}_scale" for s in ("0.95", "1.05")] if scale else ["super_cell" if supercell else root]
    names = {"relaxed"} if relax else set()
    names |= {"super_cell"} if supercell else set()
    names |= set(parents) if scale else set()
    names |= {f"{parent}_pertub/{k}_pertub" for parent in parents for k in range(3)} if perturb else set()
    written = {file for file in bench.files() if file.endswith(".poscar")}
    assert written == {f"init_config_0/{name}.poscar" for name in names}


def test_every_frame_tells_where_it_comes_from(bench):
    bench.init["sys_configs"] = [bench.entry(relax=True, scale=[0.95], perturb=2, aimd=True)]
    bench.run()
    frames = bench.frames()
    assert Counter(frame["source"]["run"] for frame in frames) == {
        f"aimd/Si_config_0/0.95_scale_pertub/{k}_pertub": STEPS for k in range(2)
    }
    for frame in frames:
        source = frame["source"]
        assert source["structure"] == "Si_config_0" and source["file"].endswith("/POSCAR")
        relaxation = bench.launchpad.db[calculations.COLLECTION].find_one({"_id": source["relaxation"]})
        assert relaxation["key"] == "relax/Si_config_0" and len(source["start_hash"]) == 64
        scale, perturb = source["operations"]
        assert scale["operation"] == "scale" and scale["factor"] == 0.95
        assert perturb["operation"] == "perturb" and perturb["seed"] > 0
        assert frame["key"] == f"{source['run']}#{source['frame']}"
        assert bench.launchpad.db[calculations.COLLECTION].find_one({"_id": source["calculation"]})
        assert frame["state"] == "labelled" and frame["iteration"] == -1
    manifest = json.loads((bench.folder / "collection/init_config_0/manifest.json").read_text())
    assert manifest["frames"]["train"] == [frame["key"] for frame in frames]
    written = load_frames(bench.folder / "collection/init_config_0/train.xyz")
    np.testing.assert_allclose(
        [frame.atoms.positions for frame in written],
        [frame_of(frame).atoms.positions for frame in frames],
        atol=1e-7,  # decimals of the file
    )


def test_names_are_readable_for_lpad(bench):
    bench.init["sys_configs"] = [bench.entry(relax=True, aimd=True)]
    bench.run()
    names = {document["name"] for document in bench.launchpad.fireworks.find()}
    assert {"init_bulk-bench: relax Si_config_0", "init_bulk-bench: collect Si_config_0"} <= names
    (workflow,) = bench.launchpad.workflows.find()
    assert workflow["name"] == "init_bulk-bench: Si_config_0"
    assert workflow["metadata"]["campaign"] == NAME and workflow["metadata"]["structure"] == 0


def test_a_relaxation_that_fails_is_reported_and_the_others_finish(bench):
    bench.init["sys_configs"] = [bench.entry(relax=True, perturb=2, aimd=True) for _ in range(3)]
    bench.broken = {"Si_config_1/relax"}
    summary = bench.run()
    assert summary.state == "stalled" and "Si_config_1" in summary.reason
    assert [structure.state for structure in summary.structures] == ["done", "incomplete", "done"]
    (problem,) = summary.structures[1].problems
    assert problem.startswith("relax/Si_config_1: xtb geometry: it broke")
    assert len(bench.frames()) == 2 * 2 * STEPS

    first = list(bench.calls)
    bench.broken = set()
    retry_init(bench.launchpad, NAME)
    summary = bench.work()
    assert summary.state == "completed"
    assert len(bench.frames()) == 3 * 2 * STEPS
    again = bench.calls[len(first) :]
    assert sorted(again) == [
        "Si_config_1/aimd/relax_pertub/0_pertub",
        "Si_config_1/aimd/relax_pertub/1_pertub",
        "Si_config_1/relax",
    ]
    shown = [w for w in bench.launchpad.workflows.find() if w["state"] != "ARCHIVED"]
    assert len(shown) == 3


def test_of_runs_that_fail_the_others_count(bench):
    bench.init["sys_configs"] = [bench.entry(perturb=3, aimd=True)]
    bench.broken = {"1_pertub"}
    summary = bench.run()
    (structure,) = summary.structures
    assert structure.runs == {"done": 2, "quarantined": 1}
    assert len(bench.frames()) == 2 * STEPS
    assert len(structure.problems) == 1 and "1_pertub" in structure.problems[0]


def test_what_cannot_be_built_is_a_problem_of_its_structure(bench):
    bench.init["sys_configs"] = [
        bench.entry(relax=True, perturb=2, atom_pert_distance=0.01),
        bench.entry(aimd=True),
    ]
    bench.start()
    # As if the relaxed structure were so tight that no perturbed copy is physical; bonds have 1.06.
    campaign = bench.launchpad.db["campaigns"].find_one({"_id": NAME})
    entry = campaign["resolved"]["param"]["sys_configs"][0]
    entry |= {"atom_pert_distance": 0.5, "minimum_distance": 1.0}
    bench.launchpad.db["campaigns"].update_one({"_id": NAME}, {"$set": {"resolved": campaign["resolved"]}})
    summary = bench.work()
    assert [structure.state for structure in summary.structures] == ["incomplete", "done"]
    assert "perturb" in summary.structures[0].problems[0]


def test_temperatures_make_a_run_each(bench):
    bench.init["sys_configs"] = [bench.entry(perturb=2, aimd=True)]
    bench.init["aimd_input"] = {"input": "md.json", "temps": [300, 900.5]}
    bench.run()
    runs = list(bench.launchpad.db[calculations.COLLECTION].find({"task": "aimd"}))
    assert Counter(run["dft"]["temperature"] for run in runs) == {300: 2, 900.5: 2}
    assert len({run["dft"]["seed"] for run in runs}) == 4
    assert {run["key"].rsplit("/", 1)[-1] for run in runs} == {"300K", "900.5K"}


def test_interval_and_equilibration_thin_a_run(bench):
    bench.init["sys_configs"] = [bench.entry(aimd=True)]
    bench.init |= {"interval": 2, "aimd_input": {"input": "md.json", "discard": 1}}
    summary = bench.run()
    assert [frame["source"]["frame"] for frame in bench.frames()] == [1, 3]
    assert summary.structures[0].dropped == {"equilibration": 1, "correlated": 1}


def test_scf_labels_the_sampled_frames_up_to_the_limit(bench):
    bench.init["sys_configs"] = [bench.entry(perturb=2, aimd=True, scf=True) for _ in range(2)]
    bench.init |= {"scf_max_num": 5}
    summary = bench.run()
    assert summary.state == "completed"
    assert [sum(s.labels.values()) for s in summary.structures] == [3, 2]
    frames = bench.frames()
    assert {frame["energy"] for frame in frames} == {-2.0} and {f["settings_hash"] for f in frames} == {
        "b" * 64
    }
    assert all(frame["key"].startswith("scf/aimd/Si_config_") for frame in frames)
    assert len({frame["structure_hash"] for frame in frames}) == 5


def test_scf_without_dynamics_labels_the_structures_themselves(bench):
    bench.init["sys_configs"] = [bench.entry(scale=[0.95, 1.05], perturb=2, scf=True)]
    bench.run()
    assert {frame["source"]["name"] for frame in bench.frames(state="labelled")} == {
        f"{s}_scale_pertub/{k}_pertub" for s in ("0.95", "1.05") for k in range(2)
    }


def test_direct_takes_a_diverse_part_and_adds_none_when_it_runs_again(bench):
    bench.init["sys_configs"] = [bench.entry(perturb=4, aimd=True, scf=True, direct=True, direct_max_num=6)]
    bench.run()
    before = {frame["key"] for frame in bench.frames()}
    assert len(before) == 6
    harvests = bench.launchpad.fireworks.find({"spec.task": "HarvestFrames"}, {"fw_id": 1})
    for firework in list(harvests):
        bench.launchpad.rerun_fw(firework["fw_id"])
    bench.work()
    assert {frame["key"] for frame in bench.frames()} == before


def test_training_and_validation_do_not_depend_on_what_else_is_there(bench):
    bench.init |= {"train_valid_ratio": 0.7}
    bench.init["sys_configs"] = [bench.entry(perturb=5, aimd=True)]
    bench.run()
    before = {frame["key"]: frame["role"] for frame in bench.frames()}
    assert set(before.values()) == {"train", "validation"}
    bench.init["sys_configs"] = [bench.entry(perturb=8, aimd=True), bench.entry(aimd=True)]
    summary = bench.run(update=True)
    after = {frame["key"]: frame["role"] for frame in bench.frames()}
    assert summary.state == "completed" and len(after) == 9 * STEPS
    assert {key: after[key] for key in before} == before
    folder = bench.folder / "collection/init_config_0/PWdata"
    assert (
        len(load_frames(folder, "train"))
        == Counter(role for key, role in after.items() if "config_0" in key)["train"]
    )
