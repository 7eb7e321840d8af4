"""Life of a configuration: proposed once, claimed by one Firework, labelled once, never lost."""

import numpy as np
import pytest
from ase.build import bulk

from alpw.database import campaigns, configurations, reading
from alpw.database.configurations import Role, State
from alpw.database.indexes import ensure_indexes
from alpw.errors import CalculationError, DatabaseError, FailureKind
from alpw.structures.frame import Label, LabelledFrame

RECORD = {"code": "xtb", "settings": {}, "settings_hash": "h", "corrections": [], "wall_time": 1.0}


@pytest.fixture
def db(mongo):
    ensure_indexes(mongo)
    return mongo


@pytest.fixture
def silicon():
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def label_of(atoms, virial=True):
    rng = np.random.default_rng(0)
    return Label(-1.5, rng.normal(size=(len(atoms), 3)), rng.normal(size=(3, 3)) if virial else None)


def propose(db, atoms, key="a", role=Role.TRAIN):
    return configurations.propose(db, "c", 0, key, atoms, role, {"trajectory": "t"})


def state(db, identity):
    return db[configurations.COLLECTION].find_one({"_id": identity})["state"]


def test_proposing_twice_proposes_once_and_keeps_the_first(db, silicon):
    first = propose(db, silicon)
    configurations.claim(db, first, 1)
    assert propose(db, silicon) == first
    assert db[configurations.COLLECTION].count_documents({}) == 1
    assert state(db, first) == State.LABELLING.value


def test_structure_and_label_come_back_bit_for_bit(db, silicon):
    identity, label = propose(db, silicon), label_of(silicon)
    configurations.claim(db, identity, 1)
    assert configurations.store_label(db, identity, LabelledFrame(silicon, label), RECORD)
    (frame,) = reading.frames(db, [identity])
    assert np.array_equal(frame.atoms.positions, silicon.positions)
    assert np.array_equal(frame.atoms.cell, silicon.cell) and list(frame.atoms.pbc) == list(silicon.pbc)
    assert np.array_equal(frame.label.forces, label.forces)
    assert np.array_equal(frame.label.virial, label.virial) and frame.label.energy == label.energy


def test_a_missing_virial_is_an_absent_field(db, silicon):
    identity = propose(db, silicon)
    configurations.claim(db, identity, 1)
    configurations.store_label(db, identity, LabelledFrame(silicon, label_of(silicon, virial=False)), RECORD)
    assert "virial" not in db[configurations.COLLECTION].find_one()
    assert next(reading.frames(db, [identity])).label.virial is None


def test_only_one_firework_can_claim_and_it_can_claim_again_after_a_crash(db, silicon):
    identity = propose(db, silicon)
    assert configurations.claim(db, identity, 1)["attempts"] == 1
    assert configurations.claim(db, identity, 2) is None
    assert configurations.claim(db, identity, 1)["attempts"] == 2


def test_the_first_label_stays(db, silicon):
    identity, label = propose(db, silicon), label_of(silicon)
    configurations.claim(db, identity, 1)
    assert configurations.store_label(db, identity, LabelledFrame(silicon, label), RECORD)
    later = Label(7.0, label.forces)
    assert not configurations.store_label(db, identity, LabelledFrame(silicon, later), RECORD)
    assert configurations.claim(db, identity, 1) is None
    configurations.quarantine(db, identity, CalculationError("late", FailureKind.NODE))
    assert next(reading.frames(db, [identity])).label.energy == label.energy


def test_quarantined_labels_are_counted_but_not_in_the_data_set(db, silicon):
    identity = propose(db, silicon)
    configurations.claim(db, identity, 1)
    refusal = CalculationError("another level of theory", FailureKind.INPUT, "/x", "vasp")
    configurations.store_label(db, identity, LabelledFrame(silicon, label_of(silicon)), RECORD, refusal)
    assert configurations.ids(db, "c", Role.TRAIN) == []
    assert configurations.count_states(db, "c", 0) == {"quarantined": 1}
    assert configurations.diagnoses(db, "c")[0]["diagnosis"] == "vasp input: another level of theory (in /x)"
    assert configurations.reopen(db, "c", 0) == [], "computing it again would give the same"


def test_a_frame_that_came_with_its_label_is_added_once(db, silicon):
    frame = LabelledFrame(silicon, label_of(silicon))
    for _ in range(2):
        configurations.add_frame(db, "c", -1, "aimd/0#3", frame, Role.TRAIN, {"step": 3}, RECORD)
    assert len(configurations.ids(db, "c", Role.TRAIN)) == 1
    assert db[configurations.COLLECTION].find_one()["source"] == {"step": 3}


def test_the_first_settings_of_a_campaign_are_its_settings(db):
    campaigns.create(db, "c", {})
    assert campaigns.admit_settings(db, "c", "first")
    assert not campaigns.admit_settings(db, "c", "second")
    assert campaigns.admit_settings(db, "c", "first")


def test_released_configurations_can_be_claimed_by_another_firework_a_bounded_number_of_times(db, silicon):
    identity = propose(db, silicon)
    for fw_id in (1, 2):
        assert configurations.claim(db, identity, fw_id)
        assert configurations.release(db, "c", 0, max_attempts=3) == [identity]
    assert configurations.claim(db, identity, 3)
    assert configurations.release(db, "c", 0, max_attempts=3) == []


def test_a_failure_is_kept_when_the_configuration_is_tried_again(db, silicon):
    identity = propose(db, silicon)
    configurations.claim(db, identity, 1)
    configurations.quarantine(db, identity, CalculationError("no luck", FailureKind.SCF, "/x"))
    assert configurations.count_errors(db, "c") == {"scf": 1}
    assert configurations.reopen(db, "c", 0) == [identity]
    document = db[configurations.COLLECTION].find_one()
    assert document["state"] == "candidate" and "error" not in document
    assert document["errors"][0]["message"] == "no luck"


def test_importing_twice_imports_once_and_keeps_the_roles_apart(db, silicon):
    frames = [LabelledFrame(silicon, label_of(silicon))]
    for expected in (1, 0):
        assert configurations.import_frames(db, "c", frames, Role.VALIDATION, "file", "imported") == expected
    assert configurations.ids(db, "c", Role.TRAIN) == []
    assert len(configurations.ids(db, "c", Role.VALIDATION)) == 1


def test_a_configuration_that_is_gone_is_named(db, silicon):
    identity = propose(db, silicon)
    db[configurations.COLLECTION].delete_one({"_id": identity})
    with pytest.raises(DatabaseError, match=str(identity)):
        list(reading.frames(db, [identity]))
