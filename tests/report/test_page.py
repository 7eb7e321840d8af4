"""The page of a campaign: one file, honest in every state, and whatever a name holds is text."""

import base64
import re
from datetime import timedelta
from html.parser import HTMLParser
from uuid import uuid4

import numpy as np
import pytest
from ase.build import bulk
from bson import ObjectId
from pymongo import MongoClient

from alpw.database import campaigns, configurations, iterations, models, snapshots, trajectories
from alpw.database.configurations import Role
from alpw.database.iteration_view import view
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.potential import DeepPotential, DeepPotentialConfig
from alpw.report.page.build import build_page, render
from alpw.report.page.methods import model_sentences, uncertainty_sentences
from alpw.structures.frame import Label, LabelledFrame
from alpw.uncertainty.frames import calibrate_frames, calibration_document

NASTY = "<script>alert(1)</script>"

PARAM = {
    "seed": 7,
    "train": {
        "atom_type": ["Si"],
        "descriptor": {"rcut": 3.0, "rcut_smth": 1.0, "neuron": [4, 4], "axis_neuron": 2},
        "fitting_net": {"neuron": [6, 6]},
        "optimizer": {
            **{"optimizer": "LKF", "epochs": 5, "batch_size": 1, "kalman_lambda": 0.98, "kalman_nue": 0.99},
            **{"block_size": 100, "train_energy": True, "train_force": True, "train_virial": False},
        },
        "threads": 2,
        "use_pre_model": True,
    },
    "strategy": {
        **{"uncertainty": "committee", "model_num": 2, "lower_model_devi_f": 0.1, "upper_model_devi_f": 1.0},
        **{"max_select": 5, "validation_frames": 2, "accurate_ratio": 0.9, "deviation": "dpgen"},
    },
    "explore": {},
    "dft": {"dft_style": "cp2k"},
}


class Reader(HTMLParser):
    """What a browser makes of a page: its elements, and its text."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def sources(self):
        """Addresses that a browser would fetch without being asked."""
        return [
            found[key] for _, found in self.elements for key in ("src", "srcset", "data") if key in found
        ] + [found["href"] for tag, found in self.elements if tag == "link"]


@pytest.fixture
def db(server):
    with MongoClient(server.uri, serverSelectionTimeoutMS=10_000) as client:
        name = f"page_{uuid4().hex}"
        yield client[name]
        client.drop_database(name)


def begin(db, name="si", **fields):
    document = {"kind": "active_learning", "resolved": {"param": PARAM}, "work_dir": "/nowhere"}
    campaigns.create(db, name, {**document, "inputs_hash": "ab" * 32, "alpw_version": "9.9", **fields})


def frame(seed):
    rng = np.random.default_rng(seed)
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, rng=rng)
    return LabelledFrame(atoms, Label(-40.0 + rng.normal(), rng.normal(size=(8, 3))))


def finished_iteration(db, name="si"):
    """Labels, a committee, a trajectory and an iteration with what later versions write."""
    record = {
        "code": "cp2k",
        "settings": {"version": "2025.1"},
        "settings_hash": "cd" * 32,
        "wall_time": 90.0,
    }
    record |= {"cores": 4}
    train = [
        configurations.add_frame(db, name, -1, f"a{i}", frame(i), Role.TRAIN, {"start": 0}, record)
        for i in range(3)
    ]
    source = {"trajectory": ObjectId(), "temperature": 300.0}
    for i, role in enumerate([Role.TRAIN, Role.TRAIN, Role.VALIDATION]):
        configurations.add_frame(db, name, 0, f"b{i}", frame(10 + i), role, source, record)
    lost = CalculationError(f"SCF {NASTY}", FailureKind.SCF, "/scratch", "cp2k")
    configurations.quarantine(
        db, configurations.propose(db, name, 0, "c", frame(9).atoms, Role.TRAIN, source), lost
    )
    for member in range(2):
        model = DeepPotential(
            DeepPotentialConfig(
                elements=("Si",),
                rcut=3.0,
                rcut_smth=1.0,
                neuron=(4, 4),
                axis_neuron=2,
                fitting_neuron=(6, 6),
                seed=member,
            )
        )
        known = {
            "training_set": snapshots.freeze(db, train),
            "wall_time": 60.0,
            "train": PARAM["train"],
        }
        models.store(db, name, 0, member, model.to_bytes(), known)
    u = np.array([0.05, 0.2, 0.3, 2.0])
    run = {"group": "md.000.sys.000", "temperature": 300.0, "end": "completed", "wall_time": 30.0}
    run |= {"timestep": 0.001, "stride": 10, "ensemble": "nvt", "pressure": None, "deviation": "dpgen"}
    atoms = [frame(20 + i).atoms for i in range(4)]
    trajectories.store(db, name, 0, "t", atoms, {"max_force_deviation": u}, run)
    iterations.create(db, name, -1, {"kind": "prepare", "stage": "done"})
    iterations.create(db, name, 0, iteration(snapshots.freeze(db, train)))


def iteration(training_set=None):
    rng = np.random.default_rng(1)
    u = rng.lognormal(size=100)
    e = abs(u * rng.normal(size=100))
    return {
        "kind": "explore",
        "finished": campaigns.now() + timedelta(minutes=5),
        "frames": 4,
        "counts": {"accurate": 1, "candidate": 2, "failed": 1},
        "training_set": training_set or {"hash": "ef" * 32, "n": 0},
        "thresholds": {"committee": {"md.000.sys.000": {"lower": 0.1, "upper": 1.0, "rule": "calibrated"}}},
        "heldout": {"force_rmse": 0.321, "energy_rmse": 0.0123, "n_frames": 1},
        "fresh_errors": {
            **{"force_rmse": 0.456, "by_element": {"Si": {"force_rmse": 0.457}}},
            "by_temperature": {"300": {"force_rmse": 0.458}},
        },
        "calibration": {
            "committee": {
                **calibration_document(calibrate_frames(u, e, "committee")),
                "pairs": np.c_[u, e].tolist(),
            }
        },
        "health": {
            "min_distance": 0.789,
            "pair": [0, 1],
            "limit": 0.01,
            "collapsed": False,
            "stragglers": [2],
        },
        "stage": "done",
        "verdict": "stalled",
        "reason": "no candidate passed",
        "next_step": "relax that rule",
    }


def test_a_page_needs_nothing_from_anywhere_and_whatever_it_is_told_is_text(db):
    begin(db, NASTY)
    finished_iteration(db, NASTY)
    campaigns.finish(db, NASTY, campaigns.CampaignState.STALLED, f"{NASTY}; relax that rule")
    page = build_page(db, NASTY)
    written = render(page)
    read = Reader(written)
    assert len(read.sources()) >= 5
    assert all(source.startswith("data:image/svg+xml;base64,") for source in read.sources())
    assert not {"script", "iframe", "link", "object"} & {tag for tag, _ in read.elements}
    assert "@import" not in written and "url(" not in written
    for source in read.sources():
        drawn = base64.b64decode(source.split(",")[1]).decode()
        assert not re.search(r'(href|src)="https?:', drawn) and "@font-face" not in drawn
    # The title, the heading, the verdict and the example of a failure.
    assert read.text.count(NASTY) >= 4

    numbers = ("0.321", "0.456", "Si: 0.457", "300 K: 0.458", "12.3", "0.789")
    for number in (*numbers, "5 for training, 1 held out", "members far worse in training"):
        assert number in read.text
    # Labels, trainings with two threads, a trajectory with as many.
    assert dict(page.facts)["core-hours"] == f"{(6 * 90 * 4 + 2 * 60 * 2 + 30 * 2) / 3600:.3g}"
    assert page.state == "stalled" and page.verdict == f"{NASTY}."
    assert page.advice.startswith("relax that rule. Most failures") and "robust mixing" in page.advice
    assert [text.split(":")[0] for text in page.left_out] == ["No learning curve"]


def test_a_campaign_that_has_just_begun_says_what_is_not_there(db):
    begin(db)
    page = build_page(db, "si")
    assert "left-out" in [section.anchor for section in page.sections]
    assert len(page.left_out) >= 6 and all(text.startswith("No ") for text in page.left_out)
    assert "there is no label yet" in Reader(render(page)).text


def test_an_init_bulk_campaign_has_a_short_page(db):
    begin(db, kind="init_bulk")
    db.preparations.insert_one(
        {"campaign": "si", "index": 0, "name": "Si_config_0", "state": "running", "stage": "aimd"}
    )
    read = Reader(render(build_page(db, "si")))
    assert "Si_config_0" in read.text and "First data set" in read.text


def test_references_are_those_of_the_methods_used(db):
    begin(db)
    text = Reader(render(build_page(db, "si"))).text
    assert all(name in text for name in ("RLEKF", "DP-GEN", "CP2K:", "LAMMPS"))
    assert not any(name in text for name in ("GFN1-xTB:", "VASP:", "ALKPU"))


def test_the_number_that_decides_a_frame_is_that_of_its_measure():
    kpu = {**PARAM["strategy"], "uncertainty": "kpu", "kpu_lower": 5.0, "kpu_upper": 10.0}
    text = " ".join(uncertainty_sentences(kpu))
    assert "mean over the atoms" in text and "largest" not in text
    assert "from 5 times the mean" in text and "to 10 times the lower bound" in text
    assert "largest deviation" in " ".join(uncertainty_sentences(PARAM["strategy"]))


def test_an_input_of_deepmd_kit_says_all_about_the_model():
    train = {**PARAM["train"], "trainer": "deepmd", "deepmd_input": "dpa2.json"}
    (sentence,) = model_sentences(train)
    assert sentence.endswith("trained by deepmd-kit, from the user's input dpa2.json.")


def test_an_unknown_campaign_is_an_error(db):
    with pytest.raises(InputError, match="no campaign 'no'"):
        build_page(db, "no")


def test_thresholds_belong_to_a_measure_and_a_group():
    thresholds = {"committee": {"md.000.sys.000": {"lower": 0.1, "upper": 1.0, "rule": "absolute"}}}
    found = view({"index": 0, "kind": "explore", "started": campaigns.now(), "thresholds": thresholds})
    bound = found.threshold("committee", "md.000.sys.000")
    assert (bound.lower, bound.upper) == (0.1, 1.0)
    assert found.threshold("kpu", "md.000.sys.000") is None


def test_an_iteration_is_shown_with_the_labels_that_it_was_trained_on_not_with_those_that_it_made():
    trained = {"training_set": {"hash": "h", "n": 3}, "dataset": {"train": 5, "validation": 1}}
    assert view({"index": 0, "kind": "explore", "started": campaigns.now(), **trained}).n_train == 3


def test_an_iteration_of_which_little_is_known_can_be_read():
    found = view({"index": 3, "kind": "explore", "started": campaigns.now()})
    assert found.frames == 0 and found.calibrations == [] and found.fresh == {} and found.n_train is None
