from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from alpw.structures.perturb import scale
from alpw.structures.sanity import closest_contact, defect, lowest_distance_fraction


@pytest.mark.parametrize("symbol", ["Si", "Cu", "Al", "Fe", "Mg", "C", "Li"])
def test_real_crystals_are_physical(symbol: str) -> None:
    assert defect(bulk(symbol)) is None


@pytest.mark.parametrize("name", ["H2O", "CH4", "C6H6", "H2", "N2", "CO2"])
def test_real_molecules_are_physical(name: str) -> None:
    assert defect(molecule(name)) is None


def test_the_distance_is_measured_against_covalent_radii() -> None:
    # Si has a covalent radius of 1.11 Å (Cordero 2008); half of the bond 5.431 sqrt(3)/4 = 2.352 Å.
    assert lowest_distance_fraction(bulk("Si", a=5.431)) == pytest.approx(2.3517 / 2.22, abs=1e-4)


def test_the_closest_contact_may_be_to_an_image() -> None:
    contact = closest_contact(Atoms("Ar", cell=[1.0, 9, 9], pbc=True))
    assert contact is not None and (contact.i, contact.j, contact.distance) == (0, 0, pytest.approx(1.0))


@given(st.floats(0.05, 0.59), st.floats(0.61, 0.99))
@settings(deadline=None, max_examples=30)
def test_atoms_closer_than_the_fraction_are_a_defect(close: float, far: float) -> None:
    bond = 0.66 + 0.31  # O-H, Cordero 2008
    for fraction, physical in ((close, False), (far, True)):
        pair = Atoms("OH", positions=[(0, 0, 0), (0, 0, fraction * bond)], cell=[9, 9, 9], pbc=True)
        reason = defect(pair)
        assert (reason is None) == physical
        if reason:
            assert "O0 and H1 are" in reason


@pytest.mark.parametrize(
    ("atoms", "reason"),
    [
        (Atoms(), "no atoms"),
        (Atoms("Si", positions=[(np.nan, 0, 0)], cell=[5, 5, 5], pbc=True), "position of atom 0"),
        (Atoms("Si", cell=[np.inf, 5, 5], pbc=True), "cell vector"),
        (Atoms("Si", pbc=True), "Å^3 per atom"),
        (Atoms("Si", cell=[[5, 0, 0], [0, 5, 0], [5, 5, 0]], pbc=True), "Å^3 per atom"),
        (scale(bulk("Si"), 0.35), "Å^3 per atom"),
    ],
)
def test_broken_structures_have_a_reason(atoms: Atoms, reason: str) -> None:
    assert reason in (defect(atoms) or "")


def test_a_lone_atom_in_vacuum_has_no_contact() -> None:
    assert closest_contact(Atoms("Ar")) is None
    assert lowest_distance_fraction(Atoms("Ar")) == float("inf")
    assert defect(Atoms("Ar")) is None
