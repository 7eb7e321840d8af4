"""Workflows of init_bulk through real FireWorks; calculations are replaced by arithmetic unless slow."""

import itertools
import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk
from fireworks import FWorker
from fireworks.core.rocket_launcher import rapidfire

from alpw.codes.protocol import Steps, Task
from alpw.config import load_init_inputs
from alpw.database import calculations, configurations, preparations
from alpw.database.documents import frame_of
from alpw.database.init_summary import summarise_init
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.firetasks import calculate, harvest, label
from alpw.formats.load import load_frames
from alpw.structures.frame import Label, LabelledFrame
from alpw.structures.frames import LabelledFrames
from alpw.workflows.launch_init import retry_init, start_init, update_init

NAME = "init_bulk-bench"
STEPS = 4
"""Frames of each arithmetic run of AIMD."""


class Bench:
    """A folder with inputs, a database, and codes that answer at once."""

    def __init__(self, folder, launchpad, monkeypatch):
        self.folder, self.launchpad = folder, launchpad
        bulk("Si", cubic=True).repeat((2, 1, 1)).write(folder / "POSCAR", format="vasp", direct=True)
        (folder / "md.json").write_text(json.dumps({"steps": 3, "temperature": 300}))
        self.init = {
            "campaign": "bench",
            "dft_style": "xtb",
            "sys_configs": [self.entry()],
            "aimd_input": "md.json",
        }
        self.resource = {"dft": {}}
        self.broken: set[str] = set()
        self.calls: list[str] = []
        monkeypatch.setattr(calculate, "run_steps", self.run_steps)
        monkeypatch.setattr(harvest, "finished_steps", self.finished_steps)
        monkeypatch.setattr(label, "run_label", self.run_label)
        monkeypatch.chdir(folder)

    def entry(self, **more):
        return {"config": "POSCAR", "relax": False, "perturb": 0, "aimd": False, **more}

    def start(self, update=False):
        (self.folder / "init_param.json").write_text(json.dumps(self.init))
        (self.folder / "resource.json").write_text(json.dumps(self.resource))
        loaded = load_init_inputs(self.folder / "init_param.json", self.folder / "resource.json")
        if update:
            update_init(self.launchpad, *loaded)
        start_init(self.launchpad, *loaded)

    def run(self, update=False):
        self.start(update)
        return self.work()

    def work(self):
        rapidfire(self.launchpad, FWorker(), m_dir=str(self.folder), strm_lvl="CRITICAL")
        return summarise_init(self.launchpad.db, NAME)

    def run_steps(self, code, task, atoms, directory, dft, command=None, *, environment=None, timeout=None):
        name = str(directory).split("calculations/", 1)[-1]
        self.calls.append(name)
        if any(word in name for word in self.broken):
            raise CalculationError("it broke", FailureKind.GEOMETRY, directory, code.name)
        return self.finished_steps(code, task, atoms, directory, dft)

    def finished_steps(self, code, task, atoms, directory, dft):
        if any(word in str(directory) for word in self.broken):
            return None
        rng = np.random.default_rng(dft.seed or 0)
        frames = []
        for _ in range(1 if task is Task.RELAX else STEPS):
            moved = atoms.copy()
            moved.positions += 0.02 * rng.standard_normal(moved.positions.shape)
            frames.append(LabelledFrame(moved, Label(-1.0, np.zeros_like(moved.positions), np.eye(3))))
        return Steps(
            settings={"method": "arithmetic"},
            settings_hash="a" * 64,
            corrections=[],
            wall_time=36.0,
            directory=directory,
            frames=LabelledFrames.of(frames),
            hashes=["a" * 64] * len(frames),
            complete=True,
        )

    def run_label(self, code, atoms, directory, dft, command=None, **options):
        self.calls.append(str(directory).split("calculations/", 1)[-1])
        return SimpleNamespace(
            label=Label(-2.0, np.zeros_like(atoms.positions), np.eye(3)),
            settings={"method": "arithmetic"},
            settings_hash="b" * 64,
            corrections=[],
            changes=[],
            wall_time=3.6,
            directory=directory,
        )

    def frames(self, **query):
        return list(self.launchpad.db[configurations.COLLECTION].find(query))

    def files(self):
        root = self.folder / "collection"
        return {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()}


@pytest.fixture
def bench(inputs, launchpad, monkeypatch):
    return Bench(inputs.folder, launchpad, monkeypatch)


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
