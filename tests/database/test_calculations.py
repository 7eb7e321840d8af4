"""Relaxations and AIMD runs in the database."""

import pytest
from ase.build import bulk

from alpw.database import calculations
from alpw.database.calculations import State
from alpw.database.indexes import ensure_indexes
from alpw.errors import CalculationError, FailureKind


@pytest.fixture
def db(mongo):
    ensure_indexes(mongo)
    return mongo


@pytest.fixture
def silicon():
    return bulk("Si")


def propose(db, atoms, key="relax/0"):
    return calculations.propose(db, "c", -1, key, "relax", atoms, {"dft_style": "xtb"})


def test_proposing_twice_proposes_once(db, silicon):
    assert propose(db, silicon) == propose(db, silicon)


def test_only_one_firework_has_it_until_its_time_is_up(db, silicon):
    identity = propose(db, silicon)
    assert calculations.claim(db, identity, 1)["attempts"] == 1
    assert calculations.claim(db, identity, 2) is None
    assert calculations.claim(db, identity, 1), "the same Firework may have died"
    calculations.store(db, identity, State.UNFINISHED, silicon, {"steps": 3})
    assert calculations.claim(db, identity, 2)["steps"] == 3


def test_what_is_done_is_not_done_again(db, silicon):
    identity = propose(db, silicon)
    calculations.claim(db, identity, 1)
    relaxed = silicon.copy()
    relaxed.set_cell(relaxed.cell * 1.01, scale_atoms=True)
    calculations.store(db, identity, State.DONE, relaxed, {"steps": 5})
    assert calculations.claim(db, identity, 1) is None
    document = db[calculations.COLLECTION].find_one()
    assert calculations.last_structure(document).get_volume() == pytest.approx(relaxed.get_volume())


def test_a_quarantined_calculation_says_why(db, silicon):
    identity = propose(db, silicon)
    calculations.claim(db, identity, 1)
    error = CalculationError("EDDDAV", FailureKind.SCF, "/x", "vasp")
    calculations.quarantine(db, identity, error)
    assert calculations.diagnoses(db, "c")[0]["diagnosis"] == "vasp scf: EDDDAV (in /x)"
    assert calculations.claim(db, identity, 1) is None
