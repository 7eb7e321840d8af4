"""What a query selects, freezes, divides and removes."""

import numpy as np
import pytest
from ase import units

from alpw.database import configurations, migrations, reading, snapshots
from alpw.database.configurations import Role
from alpw.database.documents import label_hash
from alpw.dataset import Dataset
from alpw.dataset.difference import difference
from alpw.dataset.split import part_of
from alpw.errors import DatabaseError, InputError
from alpw.structures.frame import Label, LabelledFrame
from tests.dataset.conftest import add, frame_of


def test_scalars_are_those_of_ase(db):
    for document, atoms in zip(
        db.configurations.find({"virial": {"$exists": True}, "state": "labelled"}).sort("_id", 1),
        Dataset(db, {"virial": {"$exists": True}}).atoms(),
        strict=True,
    ):
        # ASE's stress is the derivative of the energy by strain, its pressure minus a third of the trace.
        pressure = -np.trace(atoms.get_stress(voigt=False)) / 3 / units.GPa
        grams = atoms.get_masses().sum() / units.mol / (atoms.get_volume() * 1e-24)
        assert document["pressure"] == pytest.approx(pressure, rel=1e-12)
        assert document["density"] == pytest.approx(grams, rel=1e-12)
        assert document["volume"] == pytest.approx(atoms.get_volume(), rel=1e-12)


def test_a_molecule_has_no_density(db):
    atoms = frame_of("Si", 1).atoms
    atoms.pbc = (True, True, False)
    made = add(db, "slab", LabelledFrame(atoms, frame_of("Si", 1).label))
    document = db.configurations.find_one({"_id": made})
    assert not {"volume", "density", "pressure"} & set(document) and "virial" in document


def test_the_hash_of_a_label_is_of_every_bit_but_not_of_the_sign_of_zero():
    frame = frame_of("Si", 1)
    forces = frame.label.forces.copy()
    forces[0, 0] = 0.0
    same = -1 * np.where(forces == 0, 0.0, -forces)
    other = np.nextafter(forces, 1)
    of = [label_hash(frame.atoms, Label(-1.0, array)) for array in (forces, same, other)]
    assert of[0] == of[1] != of[2]
    assert label_hash(frame.atoms, Label(-1.0, forces, np.zeros((3, 3)))) != of[0]


def test_tensors_hold_the_same_numbers_in_any_order(db):
    dataset = Dataset(db)
    (whole,) = dataset.torch_batches(100)
    shuffled = list(dataset.torch_batches(5, seed=3))
    assert [len(batch["energies"]) for batch in shuffled] == [5, 5, 2]
    energies = np.concatenate([batch["energies"].numpy() for batch in shuffled])
    assert sorted(energies) == sorted(whole["energies"].numpy()) and list(energies) != list(whole["energies"])
    frames = list(dataset.frames())
    for number, frame in enumerate(frames):
        rows = whole["frame"].numpy() == number
        assert np.array_equal(whole["forces"].numpy()[rows], frame.label.forces)
        assert np.isnan(whole["virials"].numpy()[number]).all() == (frame.label.virial is None)


def test_a_snapshot_keeps_what_is_removed_later(db):
    silicon = Dataset(db, {"chemical_system": "Si"})
    made = silicon.snapshot("paper")
    assert made == snapshots.freeze(db, reversed(silicon.labelled.ids())) | {}
    frozen = Dataset(db, {"$snapshot": "paper"})
    before = [frame.label.energy for frame in frozen.frames()]
    removed = silicon.remove("a better functional")
    assert removed == len(before) + 2, "two are in quarantine"
    assert [frame.label.energy for frame in Dataset(db, {"$snapshot": "paper"}).frames()] == before
    parts = Dataset(db, {"$snapshot": "paper"}).split({"train": 0.5, "test": 0.5}, by_frame=True)
    assert sum(part.labelled.count() for part in parts.values()) == len(before)
    assert configurations.ids(db, "tiny", *Role) == Dataset(db).labelled.ids()
    assert silicon.labelled.count() == 0 and silicon.count() == 2, "what waits for a label is left alone"
    with pytest.raises(InputError, match="another; choose a new name"):
        Dataset(db).snapshot("paper")
    assert Dataset(db, {"state": "removed", "removed.reason": "a better functional"}).restore() == removed
    assert Dataset(db).snapshot("paper.all")["hash"] != made["hash"]


def test_the_content_of_a_snapshot_has_the_same_hash_elsewhere(db):
    first = Dataset(db, {"chemical_system": "Si"}).snapshot("here")
    for number, frame in enumerate(Dataset(db, {"chemical_system": "Si"}).frames()):
        configurations.add_frame(db, "copy", 0, str(number), frame, Role.TRAIN, {}, {})
    second = Dataset(db, {"campaign": "copy"}).snapshot("there")
    assert second["content_hash"] == first["content_hash"] and second["hash"] != first["hash"]
    found = difference(Dataset(db, {"$snapshot": "here"}), Dataset(db, {"$snapshot": "there"}))
    assert found == ([], [], [], first["n"])


def test_a_difference_tells_new_lost_and_relabelled_frames(db):
    one = Dataset(db, {"campaign": "tiny", "chemical_system": "Si"})
    frames = list(one.frames())
    ids = one.labelled.ids()
    changed = LabelledFrame(frames[1].atoms, Label(-1.0, frames[1].label.forces))
    for number, frame in enumerate([changed, *frames[2:], frame_of("C-Si", 50)]):
        configurations.add_frame(db, "other", 0, str(number), frame, Role.TRAIN, {}, {})
    other = Dataset(db, {"campaign": "other"})
    found = difference(one, other)
    assert found.removed == [ids[0]] and found.relabelled == [(ids[1], other.ids()[0])]
    assert found.added == [other.ids()[-1]] and found.common == len(frames) - 2


def test_a_division_keeps_trajectories_together_and_what_is_added_moves_nothing():
    parts = {"train": 0.8, "test": 0.2}
    documents = [
        {"structure_hash": str(k), "source": {"trajectory": k // 10, "frame": k}} for k in range(4000)
    ]
    found = [part_of(document, parts) for document in documents]
    assert all(len(set(found[k : k + 10])) == 1 for k in range(0, 4000, 10))
    # 400 trajectories: 80 are expected, with a standard deviation of 8.
    assert 48 < found.count("test") / 10 < 112
    alone = [part_of(document, parts, by_frame=True) for document in documents]
    assert any(len(set(alone[k : k + 10])) == 2 for k in range(0, 4000, 10))
    assert [part_of(document, parts, seed=1) for document in documents] != found


def test_an_older_database_gets_what_it_lacks_and_a_newer_one_is_refused(db):
    dataset = Dataset(db, {"state": "labelled"})
    wanted = list(db.configurations.find().sort("_id", 1))
    lists = {"ids": dataset.ids(), "hash": "old"}
    db.iterations.insert_one({"campaign": "tiny", "index": 0, "training_set": lists})
    gone = dict.fromkeys(migrations.SCALARS, "")
    db.configurations.update_many({}, {"$unset": gone})
    db.alpw_schema.delete_many({})
    assert migrations.migrate(db) == len(wanted) and migrations.migrate(db) == 0
    assert list(db.configurations.find().sort("_id", 1)) == wanted
    frozen = db.iterations.find_one({"index": 0})["training_set"]
    assert snapshots.ids(db, frozen["hash"]) == lists["ids"] and frozen["n"] == len(lists["ids"])
    db.alpw_schema.update_one({}, {"$set": {"version": 99}})
    with pytest.raises(DatabaseError, match="newer ALPW"):
        migrations.migrate(db)


def test_a_branch_shares_its_arrays(db):
    original = db.configurations.find_one({"key": "0"})
    copy = {key: part for key, part in original.items() if key not in ("_id", *reading.ARRAYS)}
    db.configurations.insert_one(copy | {"campaign": "branch", "reference": original["_id"]})
    (frame,) = Dataset(db, {"campaign": "branch"}).frames()
    (parent,) = reading.frames(db, [original["_id"]])
    assert np.array_equal(frame.label.forces, parent.label.forces)
    assert next(Dataset(db, {"campaign": "branch"}).documents())["campaign"] == "branch"
