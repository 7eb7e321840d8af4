"""A small data set with every state and origin in it."""

from datetime import timedelta

import numpy as np
import pytest
from ase.build import bulk
from bson import ObjectId

from alpw.database import campaigns, configurations
from alpw.database.configurations import Role
from alpw.database.indexes import ensure_indexes
from alpw.database.migrations import migrate
from alpw.errors import CalculationError, FailureKind
from alpw.structures.frame import Label, LabelledFrame

CELLS = {
    "Si": bulk("Si", cubic=True),
    "C-Si": bulk("SiC", "zincblende", a=4.36, cubic=True),
}
RECORD = {"code": "xtb", "settings": {"method": "GFN1-xTB"}, "settings_hash": "ab" * 32, "directory": "/runs"}


def frame_of(system, number, virial=True):
    """A rattled cell with a label out of the air; the same for the same number."""
    rng = np.random.default_rng(number)
    atoms = CELLS[system].copy()
    atoms.set_cell(atoms.cell * (1 - 0.01 * (number % 4)), scale_atoms=True)
    atoms.rattle(0.1, seed=number)
    strain = rng.normal(0, 5, (3, 3)) + 20 * np.eye(3) * (number % 4)
    forces = rng.normal(0, 0.5 + 2 * (number % 4), (len(atoms), 3))
    return LabelledFrame(atoms, Label(-100.0 - 0.1 * number, forces, strain + strain.T if virial else None))


def add(db, key, frame, iteration=0, role=Role.TRAIN, source=None, refusal=None):
    return configurations.add_frame(db, "tiny", iteration, key, frame, role, source or {}, RECORD, refusal)


@pytest.fixture
def db(launchpad, inputs, monkeypatch):
    """Twelve labelled frames of two trajectories and a file, and one configuration of each other state."""
    monkeypatch.chdir(inputs.folder)
    db = launchpad.db
    ensure_indexes(db)
    migrate(db)
    campaigns.create(db, "tiny", {"kind": "active_learning"})
    runs = [ObjectId(), ObjectId()]
    for number in range(12):
        system = "C-Si" if number % 3 == 2 else "Si"
        source = {"trajectory": runs[number % 2], "frame": number, "temperature": 300.0 * (1 + number % 3)}
        source["uncertainty"] = {"max_force_deviation": 0.05 * number}
        if number >= 10:
            source = {"file": "/data/OUTCAR", "frame": number}
        role = Role.VALIDATION if number % 5 == 4 else Role.TRAIN
        add(db, str(number), frame_of(system, number, virial=number != 3), number // 6, role, source)
    for number, key in ((20, "waiting"), (21, "claimed")):
        made = configurations.propose(db, "tiny", 1, key, frame_of("Si", number).atoms, Role.TRAIN, {})
        if key == "claimed":
            configurations.claim(db, made, 1)
    for number, kind in ((22, FailureKind.SCF), (23, FailureKind.WALLTIME)):
        made = configurations.propose(db, "tiny", 1, kind.value, frame_of("Si", number).atoms, Role.TRAIN, {})
        configurations.quarantine(db, made, CalculationError("did not end", kind, "/runs", "xtb"))
    gone = add(db, "gone", frame_of("Si", 24))
    note = {"state": "labelled", "reason": "atoms overlap", "at": campaigns.now() - timedelta(days=1)}
    db.configurations.update_one({"_id": gone}, {"$set": {"state": "removed", "removed": note}})
    db.configurations.update_one({"key": "0"}, {"$set": {"tags": ["liquid"]}})
    return db
