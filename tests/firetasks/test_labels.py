"""What becomes of labels: their order, lanes, copies, failures, and those that come late."""

import threading

import numpy as np
import pytest

from alpw.cluster import recovery
from alpw.config import load_inputs
from alpw.database import campaigns, iterations, models, trajectories
from alpw.database.documents import atoms_of, frame_of, structure_document
from alpw.database.labels import known_label
from alpw.database.summary import summarise
from alpw.firetasks.base import Context, StructureContext
from alpw.firetasks.lanes import environments, run_in_lanes
from alpw.report.table import straggler_lines
from alpw.workflows.update import update_inputs
from tests.firetasks.arithmetic import Arithmetic, arithmetic_label

CANDIDATES = [0.2, 0.9, 0.5, 0.3, 0.8, 0.4, 0.7, 0.6, 0.15, 0.25]


@pytest.fixture
def arithmetic(launchpad, inputs, monkeypatch):
    monkeypatch.chdir(inputs.folder)
    return Arithmetic(launchpad, inputs, monkeypatch)


class Square:
    """A lane whose calculation needs another one beside it."""

    def __init__(self, together):
        self.together, self.closed = together, False

    def has_time(self):
        return True

    def calculate(self, item):
        self.together.wait(10)
        if item < 0:
            raise ValueError(item)
        return str(item**2)

    def close(self):
        self.closed = True


def test_lanes_calculate_at_the_same_time_and_an_error_waits_for_the_others():
    lanes = [Square(threading.Barrier(2)) for _ in range(2)]
    lanes[1].together = lanes[0].together
    assert run_in_lanes([1, 2, 3, 4], lanes) == {1: "1", 2: "4", 3: "9", 4: "16"}
    with pytest.raises(ValueError, match="-1"):
        run_in_lanes([-1, 2], lanes)
    assert all(lane.closed for lane in lanes)


@pytest.mark.parametrize(
    ("cards", "parallel", "shares"),
    [
        ("0,1,2,3", 2, ["0,1", "2,3"]),
        ("4,5,6", 2, ["4", "5,6"]),
        ("0,1", 4, ["0", "1", "0", "1"]),
        ("0,1", 1, [None]),
        ("", 2, [None, None]),
    ],
)
def test_each_lane_has_its_own_cards_as_long_as_there_are_enough(cards, parallel, shares):
    found = environments(parallel, 9, {"CUDA_VISIBLE_DEVICES": cards})
    assert [own.get("CUDA_VISIBLE_DEVICES") for own in found] == shares


@pytest.mark.parametrize("kind", [Context, StructureContext])
def test_what_a_firework_leaves_undone_stays_in_its_category(kind):
    context = kind(None, 1, "c", 0, {}, {"category": "explore", "priority": 3.5})
    context.__dict__["name"] = "Si"
    spec = context.firework("RunCalculations", "go on", calculations=[]).spec
    assert (spec["_category"], spec["_priority"]) == ("explore", 3.5)


def test_labels_run_in_the_order_of_information_and_in_parallel(arithmetic, launchpad):
    arithmetic.deviations = {0: CANDIDATES}
    arithmetic.inputs.resource["dft"] = {"group_size": 3, "parallel_num": 2, "cpu_per_node": 4}
    arithmetic.start()
    arithmetic.together = threading.Barrier(2)
    arithmetic.fails = lambda atoms: "SCF" if len(arithmetic.labelled) == 2 else None
    arithmetic.run(nlaunches=3)
    # Chunks of three would leave a lane idle: there is one of four labels.
    assert [document["state"] for document in arithmetic.configurations()].count("labelled") == 3
    assert {document["cores"] for document in arithmetic.configurations(state="labelled")} == {2.0}
    arithmetic.together = threading.Barrier(1)
    arithmetic.run(nlaunches=6)
    found = list(launchpad.fireworks.find({"spec.task": "LabelChunk", "spec.iteration": 0}))
    found.sort(key=lambda firework: -firework["spec"]["_priority"])
    assert all(3 <= firework["spec"]["_priority"] < 4 for firework in found)
    uncertainty = {
        str(d["_id"]): d["source"]["uncertainty"]["max_force_deviation"]
        for d in arithmetic.configurations(iteration=0)
    }
    order = [uncertainty[c] for f in found for c in f["spec"]["_tasks"][0]["configurations"]]
    assert order == sorted(CANDIDATES, reverse=True)


def test_a_label_is_never_computed_twice(arithmetic, launchpad):
    def label_first_structures(name):
        arithmetic.start(campaign=name, work_dir=name)
        arithmetic.run(campaign=name, task="GenerateStructures")
        arithmetic.run(campaign=name, task="LabelChunk")

    label_first_structures("first")
    computed = len(arithmetic.labelled)
    assert computed == 4
    # Without being asked to, a campaign takes no label of another one.
    label_first_structures("second")
    assert len(arithmetic.labelled) == 2 * computed
    # Only a run tells the level of theory: the first label of a campaign is always computed.
    arithmetic.inputs.resource["dft"]["group_size"] = -1
    arithmetic.inputs.param["dft"]["reuse_labels"] = True
    label_first_structures("third")
    assert len(arithmetic.labelled) == 2 * computed + 1
    taken = arithmetic.configurations(campaign="third", reused_from={"$exists": True})
    assert len(taken) == computed - 1
    assert {document["reused_from"]["campaign"] for document in taken} == {"first"}
    assert {document["wall_time"] * document["cores"] for document in taken} == {0.0}
    # Another order of the atoms, and another cell of the lattice: each keeps its own force.
    document = taken[0]
    atoms = atoms_of(document)
    order = np.random.default_rng(1).permutation(len(atoms))
    permuted = atoms[order]
    permuted.positions += permuted.cell[0]
    asked = {**document, **structure_document(permuted), "_id": None}
    label, record = known_label(launchpad.db, asked, document["level_asked"], False)
    assert label.forces == pytest.approx(arithmetic_label(atoms).forces[order])
    assert record["reused_from"]["campaign"] == "first"
    # Another level of theory, or other settings elsewhere.
    campaigns.update(launchpad.db, "third", settings_hash="another")
    assert known_label(launchpad.db, asked, document["level_asked"], True) is None
    campaigns.update(launchpad.db, "third", settings_hash="level")
    elsewhere = {**asked, "campaign": "third", "_id": document["_id"]}
    assert known_label(launchpad.db, elsewhere, "other settings", True) is None


def test_equal_structures_of_a_chunk_are_labelled_once(arithmetic):
    arithmetic.inputs.param["initial"]["atom_pert_distance"] = 0.0
    arithmetic.inputs.resource["dft"] = {"group_size": 1, "parallel_num": 4}
    arithmetic.start()
    arithmetic.run(nlaunches=2)
    found = arithmetic.configurations()
    assert len(arithmetic.labelled) == 1 and len(found) == 4
    assert {document["state"] for document in found} == {"labelled"}
    assert frame_of(found[0]).label.energy == frame_of(found[3]).label.energy


def test_an_iteration_goes_on_at_the_quorum_and_late_labels_join_the_next(arithmetic, launchpad, inputs):
    inputs.param["strategy"] |= {"quorum": 0.5, "validation_frames": 2, "max_select": 8}
    arithmetic.deviations = {0: CANDIDATES, 1: [0.0] * 9 + [0.5]}
    arithmetic.start()
    for task in ("GenerateStructures", "LabelChunk"):
        arithmetic.run(nlaunches=1, task=task)
    # Two of four are there: the iteration begins without the others.
    arithmetic.run(nlaunches=1, task="CollectLabels")
    arithmetic.run(task="TrainModels")
    assert arithmetic.training_sets == {0: 2}
    assert straggler_lines(summarise(launchpad.db, "tiny")) == ["2 labels of the preparation still running"]
    arithmetic.run(nlaunches=1, task="ExploreTrajectories")
    arithmetic.run(nlaunches=1, task="SelectCandidates")
    arithmetic.run(iteration=-1)
    assert summarise(launchpad.db, "tiny").stragglers == {}
    for _ in range(3):
        arithmetic.run(nlaunches=1, task="LabelChunk")
    # Frames for validation were drawn at random: the verdict rests on all of them.
    roles = [document["role"] for document in arithmetic.configurations(iteration=0, state="labelled")]
    assert roles.count("validation") == 2 and len(roles) == 6
    # A collector that comes twice has nothing to do.
    arithmetic.run(task="CollectLabels")
    arithmetic.run(task="TrainModels")
    # Two late ones of the preparation, four new ones.
    assert arithmetic.training_sets == {0: 2, 1: 8}
    assert straggler_lines(summarise(launchpad.db, "tiny")) == ["4 labels of iteration 0 still running"]
    arithmetic.run(iteration=1)
    # The campaign's end is decided, and waits for the late labels of the iteration before.
    newest = iterations.latest(launchpad.db, "tiny")
    assert (newest["index"], newest["verdict"]) == (1, "exhausted")
    arithmetic.run()
    assert campaigns.get(launchpad.db, "tiny")["state"] == "exhausted"
    assert [document["index"] for document in iterations.of_campaign(launchpad.db, "tiny")] == [-1, 0, 1, 2]
    states = {document["state"] for document in arithmetic.configurations()}
    assert states == {"labelled"} and arithmetic.training_sets[2] == len(arithmetic.configurations()) - 4
    computed = len(arithmetic.labelled)
    for firework in launchpad.fireworks.find({"spec.task": "CollectLabels"}):
        launchpad.rerun_fw(firework["fw_id"])
    arithmetic.run()
    assert len(arithmetic.labelled) == computed and len(models.committee(launchpad.db, "tiny", 2)) == 3
    assert launchpad.workflows.count_documents({}) == 4


def test_a_campaign_in_which_three_of_ten_labels_fail_converges(arithmetic, launchpad, inputs):
    inputs.param["initial"]["perturb"] = 10
    inputs.param["strategy"]["max_iterations"] = 3
    arithmetic.deviations = {0: CANDIDATES, 1: [0.0] * 10}
    arithmetic.fails = lambda atoms: "SCF at NELM" if len(arithmetic.labelled) % 10 in (2, 5, 8) else None
    arithmetic.start()
    arithmetic.run()
    campaign = campaigns.get(launchpad.db, "tiny")
    assert campaign["state"] == "converged", campaign["verdict"]
    states = [document["state"] for document in arithmetic.configurations()]
    assert (states.count("labelled"), states.count("quarantined")) == (14, 6)
    assert arithmetic.training_sets == {0: 7, 1: 14, 2: 14}


def test_a_campaign_whose_trajectories_broke_on_the_way_does_not_converge(arithmetic, launchpad, inputs):
    arithmetic.end = "too_close"
    jobs = [{"sys_idx": [0], "temps": [300], "nsteps": 190, "trj_freq": 10}]
    arithmetic.start(explore=inputs.param["explore"] | {"md_jobs": jobs})
    arithmetic.run()
    document = iterations.get(launchpad.db, "tiny", 0)
    # 20 frames were planned, and 10 are there, all of them accurate.
    assert (document["unreached"], document["counts"]["accurate"]) == (10, 10)
    assert document["verdict"] == "exhausted" and "50.0% of the frames are accurate" in document["reason"]


@pytest.mark.parametrize("quorum", [1.0, 0.4])
def test_a_campaign_in_which_all_labels_fail_stalls_with_the_most_frequent_reason(
    arithmetic, launchpad, inputs, quorum
):
    inputs.param["strategy"]["quorum"] = quorum
    arithmetic.deviations = {0: CANDIDATES}
    messages = ["out of memory", *["SCF at NELM"] * 9]
    arithmetic.fails = lambda atoms: (
        messages[len(arithmetic.labelled) - 5] if len(arithmetic.labelled) > 4 else None
    )
    arithmetic.start()
    arithmetic.run()
    campaign = campaigns.get(launchpad.db, "tiny")
    assert campaign["state"] == "stalled"
    assert "0 of 10 frames were labelled" in campaign["verdict"]
    assert "mostly scf: SCF at NELM" in campaign["verdict"]
    assert iterations.latest(launchpad.db, "tiny")["index"] == 0
    # What the user has mended is judged again.
    arithmetic.fails = lambda atoms: None
    recovery.retry(launchpad, "tiny")
    arithmetic.run(iteration=0)
    assert iterations.latest(launchpad.db, "tiny")["index"] == 1
    assert {document["state"] for document in arithmetic.configurations()} == {"labelled"}


def test_a_campaign_that_stalled_by_its_verdict_is_judged_anew_from_the_selection_on(
    arithmetic, launchpad, inputs
):
    db, strategy = launchpad.db, inputs.param["strategy"]
    strategy |= {"min_distance": {"Si-Si": 2.9}, "max_iterations": 3}
    arithmetic.deviations = dict.fromkeys(range(2), CANDIDATES)
    arithmetic.start()
    arithmetic.run()
    for _ in range(2):
        assert campaigns.get(db, "tiny")["state"] == "stalled"
        assert "no candidate passed" in campaigns.get(db, "tiny")["verdict"]
        # Twice, as after a call that was cut short before its end.
        recovery.retry(launchpad, "tiny")
        recovery.retry(launchpad, "tiny")
        assert launchpad.fireworks.distinct("spec.task", {"state": "READY"}) == ["SelectCandidates"]
        arithmetic.run()
    # A running campaign of which nothing is left to run does not wait for ever.
    campaigns.reopen(db, "tiny")
    assert recovery.is_stuck(launchpad, "tiny") and "iteration 1" in recovery.dead_end(launchpad, "tiny")[0]
    campaigns.finish(db, "tiny", campaigns.CampaignState.STALLED, "again")
    # What is mended counts at once, thresholds and caps among it.
    strategy |= {"min_distance": {"Si-Si": 0.5}, "lower_model_devi_f": 0.35, "max_select": 4}
    inputs.write()
    update_inputs(launchpad, *load_inputs("param.json", "resource.json"))
    (plan,), (run,) = iterations.get(db, "tiny", 1)["plan"], trajectories.of_iteration(db, "tiny", 1)
    for found in (plan, run):
        assert (found["cap"], found["thresholds"]["lower_model_devi_f"]) == (4, 0.35)
    recovery.retry(launchpad, "tiny")
    arithmetic.run(iteration=1)
    assert iterations.get(db, "tiny", 1)["counts"]["accurate"] == 4
    assert len(arithmetic.configurations(iteration=1, state="labelled")) == 4
    assert iterations.latest(db, "tiny")["index"] == 2
