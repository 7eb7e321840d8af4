"""Each check finds the defect that it is for, and nothing in data without it."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from bson import ObjectId
from typer.testing import CliRunner

from alpw.cli.main import app
from alpw.database import blobs, campaigns, configurations
from alpw.database.arrays import encode
from alpw.database.configurations import Role
from alpw.database.indexes import ensure_indexes
from alpw.database.migrations import migrate
from alpw.database.unreferenced import YOUNGEST
from alpw.dataset import Dataset
from alpw.dataset.health import CHECKS, examine
from alpw.dataset.health.outliers import modified_scores
from alpw.structures.frame import Label, LabelledFrame

LEVEL = {"code": "vasp", "settings": {"encut": 400, "ismear": {"value": 0}}, "settings_hash": "a" * 64}
OTHER = {"code": "vasp", "settings": {"encut": 520, "ismear": {"value": 0}}, "settings_hash": "b" * 64}


def frame_of(number, amplitude=0.1):
    """A crystal with atoms off their places; forces that sum to zero."""
    atoms = bulk("Si", cubic=True)
    atoms.rattle(amplitude, seed=number)
    forces = np.random.default_rng(number).normal(0, 1, (8, 3))
    return LabelledFrame(atoms, Label(-40.0 - 0.1 * number, forces - forces.mean(axis=0)))


def changed(frame, energy=0.0, moved=0.0, order=None):
    atoms, label = frame.atoms.copy(), frame.label
    atoms.rattle(moved / 3**0.5, seed=77) if moved else None
    order = np.arange(len(atoms)) if order is None else order
    return LabelledFrame(atoms[order], Label(label.energy + energy, label.forces[order], label.virial))


@pytest.fixture
def db(launchpad, inputs, monkeypatch):
    """Six good frames of one campaign and level."""
    monkeypatch.chdir(inputs.folder)
    db = launchpad.db
    ensure_indexes(db)
    migrate(db)
    campaigns.create(db, "good", {"kind": "active_learning", "work_dir": str(inputs.folder / "good")})
    for number in range(6):
        add(db, f"good{number}", frame_of(number))
    return db


def add(db, key, frame, campaign="good", record=LEVEL):
    return configurations.add_frame(db, campaign, 0, key, frame, Role.TRAIN, {}, record)


def look(db, **query):
    return {problem.subject: problem for problem in examine(Dataset(db, query))[1]}


def found(problem):
    return [which for which, _ in problem.found]


def spoil(key, **fields):
    """A defect that somebody who writes to the database makes."""

    def make(db):
        document = db.configurations.find_one_and_update({"key": key}, {"$set": fields})
        return [document["_id"]]

    return make


def short_forces(db):
    return spoil("good1", forces=encode(np.zeros((7, 3))))(db)


def nan_in_virial(db):
    return spoil("good1", virial=encode(np.full((3, 3), np.nan)))(db)


def orphan(db):
    original = db.configurations.find_one({"key": "good0"})
    rest = {name: part for name, part in original.items() if name not in ("_id", "structure", "forces")}
    return [db.configurations.insert_one(rest | {"key": "b", "reference": ObjectId()}).inserted_id]


def altered_forces(db):
    return spoil("good1", forces=encode(frame_of(1).label.forces + 1e-12))(db)


def older(db):
    document = db.configurations.find_one_and_update(
        {"key": "good1"}, {"$unset": {"schema": "", "volume": ""}}
    )
    return [document["_id"]]


def contradiction(db):
    return [add(db, "again", changed(frame_of(1), energy=0.01))]


def two_levels(db):
    return [add(db, "new", frame_of(10), record=OTHER)]


def no_settings(db):
    return [add(db, "new", frame_of(10), record={"settings_hash": "a" * 64, "code": "vasp"})]


def net_force(db):
    frame = frame_of(10)
    return [
        add(db, "new", LabelledFrame(frame.atoms, Label(-40.0, frame.label.forces + np.array([0.02, 0, 0]))))
    ]


def overlap(db):
    frame = frame_of(10)
    frame.atoms.positions[1] = frame.atoms.positions[0] + [0.5, 0, 0]
    return [add(db, "new", frame)]


def outlier(db):
    for number in range(10, 30):
        add(db, str(number), frame_of(number))
    return [add(db, "new", changed(frame_of(31), energy=8.0))]


def duplicate(db):
    return [add(db, "again", changed(frame_of(1), order=np.arange(8)[::-1]))]


def near_duplicate(db):
    return [add(db, "again", changed(frame_of(1), energy=1e-4, moved=0.003, order=np.arange(8)[::-1]))]


def unreferenced_blob(db):
    kept, lost, fresh = (blobs.put(db, text) for text in (b"kept", b"lost", b"fresh"))
    db.models.insert_one({"campaign": "good", "iteration": 0, "member": 0, "weights": kept})
    old = campaigns.now() - 2 * YOUNGEST
    db["alpw_blobs.files"].update_many({"_id": {"$ne": fresh}}, {"$set": {"uploadDate": old}})
    return [lost]


def lost_folder(db):
    work = db.campaigns.find_one()["work_dir"]
    known = db.configurations.find_one()["_id"]
    folders = [Path(work, "iter.0000", "02.label", str(name)) for name in (known, ObjectId(), "notes")]
    for folder in folders:
        folder.mkdir(parents=True)
    return [str(folders[1])]


def gone(db):
    return spoil("good1", directory="/no/such/folder")(db)


DEFECTS = {
    "short forces": (short_forces, "arrays", "FAIL"),
    "NaN": (nan_in_virial, "arrays", "FAIL"),
    "no energy": (spoil("good1", energy=None), "arrays", "FAIL"),
    "orphan": (orphan, "references", "FAIL"),
    "altered forces": (altered_forces, "altered", "FAIL"),
    "altered elements": (spoil("good1", chemical_system="C"), "altered", "FAIL"),
    "altered volume": (spoil("good1", volume=1.0), "altered", "FAIL"),
    "no label_hash": (spoil("good1", label_hash=None), "altered", "FAIL"),
    "altered scalar": (spoil("good1", max_force=0.5), "altered", "FAIL"),
    "older schema": (older, "schema", "warn"),
    "contradiction": (contradiction, "contradictions", "FAIL"),
    "two levels": (two_levels, "levels", "FAIL"),
    "no settings": (no_settings, "settings", "warn"),
    "net force": (net_force, "net-force", "warn"),
    "overlap": (overlap, "distances", "warn"),
    "outlier": (outlier, "outliers", "warn"),
    "duplicate": (duplicate, "duplicates", "warn"),
    "near-duplicate": (near_duplicate, "near-duplicates", "warn"),
    "unreferenced blob": (unreferenced_blob, "blobs", "warn"),
    "lost folder": (lost_folder, "folders", "note"),
    "gone": (gone, "directories", "note"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_check_finds_its_defect_and_no_other_does(db, name):
    make, check, severity = DEFECTS[name]
    ids = make(db)
    problems = look(db)
    assert set(problems) == {check}
    assert found(problems[check]) == ids and problems[check].severity.value == severity


def test_a_label_of_no_level_is_told_twice(db):
    ids = spoil("good1", settings_hash=None)(db)
    problems = look(db)
    assert found(problems["settings"]) == found(problems["levels"]) == ids


@pytest.mark.parametrize(
    "name", ["short forces", "two levels", "contradiction", "older schema", "unreferenced blob"]
)
def test_the_command_that_is_proposed_runs_and_mends(db, name):
    make, check, severity = DEFECTS[name]
    make(db)
    shown = CliRunner().invoke(app, ["dataset", "health", "--json"])
    assert shown.exit_code == (1 if severity == "FAIL" else 0)
    (finding,) = json.loads(shown.stdout)["findings"]
    ran = CliRunner().invoke(app, shlex.split(finding["command"])[1:])
    assert ran.exit_code == 0, ran.output
    assert (check in look(db)) == finding["command"].startswith("alpw query")


def test_many_get_a_tag_first(db):
    ids = [add(db, f"again{k}", frame_of(1)) for k in range(25)]
    shown = CliRunner().invoke(app, ["dataset", "health", "campaign=good", "--only", "duplicates"])
    assert "and 15 more" in shown.output
    commands = shown.output.split("$ ")[1].splitlines()[0].split(";")
    for command in commands:
        assert CliRunner().invoke(app, shlex.split(command)[1:]).exit_code == 0
    removed = db.configurations.find({"state": "removed"})
    assert [document["_id"] for document in removed] == ids and look(db) == {}


def test_copies_in_another_campaign_are_a_note_and_other_levels_a_warning(db):
    copy = add(db, "copy", frame_of(1), campaign="other")
    problems = look(db)
    assert found(problems["duplicates"]) == [copy] and problems["duplicates"].severity.value == "note"
    db.configurations.update_one({"_id": copy}, {"$set": OTHER})
    problems = look(db)
    assert set(problems) == {"levels"} and problems["levels"].severity.value == "warn"
    assert "they differ in encut 400 and 520" in problems["levels"].text


def test_frames_with_the_same_energy_are_near_only_if_their_atoms_are(db):
    frame = frame_of(1)
    for number in range(50, 60):
        add(db, str(number), LabelledFrame(frame_of(number).atoms, frame.label))
    turned = changed(frame)
    turned.atoms.rotate(90, "x", rotate_cell=True)
    turned.atoms.translate([0.3, 0.2, 0.1])
    near = [add(db, "turned", turned), add(db, "moved", changed(frame, moved=0.004))]
    add(db, "far", changed(frame, moved=0.05))
    assert found(look(db)["near-duplicates"]) == near


def test_scores_are_those_of_the_textbook():
    # Iglewicz and Hoaglin's example as in NIST/SEMATECH e-Handbook 1.3.5.17 would need their data; here the
    # definition is evaluated by hand: median 3, MAD 1, so that 0.6745 * 7 / 1 is the last one's.
    values = [1.0, 2.0, 3.0, 4.0, 10.0] * 5
    scores, residuals = modified_scores(["Si2"] * 25, values)
    assert scores[:5] == pytest.approx([-1.349, -0.6745, 0, 0.6745, 4.7215]) and residuals[4] == 7.0


def test_an_energy_that_is_wrong_for_its_composition_is_found_among_single_compositions():
    # Energies linear in composition up to a little noise, but one; most compositions occur once.
    formulas = [f"C{i}Si{j}" for i in range(1, 7) for j in range(1, 7)]
    energies = [(-9.0 * i - 5.0 * j) / (i + j) for i in range(1, 7) for j in range(1, 7)]
    energies = np.array(energies) + np.random.default_rng(0).uniform(-0.01, 0.01, 36)
    energies[20] += 0.3
    scores, _ = modified_scores(formulas, energies)
    assert np.flatnonzero(np.abs(scores) > 3.5).tolist() == [20]


def test_good_data_have_no_findings(db):
    assert examine(Dataset(db)) == (6, [])
    assert {check for _, check, _ in DEFECTS.values()} == set(CHECKS)
