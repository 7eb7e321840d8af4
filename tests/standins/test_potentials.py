"""The potentials behind the stand-ins: their forces and stress are derivatives of their energy."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from potentials import pairs, pick, valence

STEP = 1e-4  # Å; the error of a central difference is then about 1e-7 eV/Å


def distorted(atoms, seed=3):
    """Nothing is zero by symmetry."""
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell @ [[1, 0.03, 0.01], [0, 1.02, 0.01], [0.02, 0, 0.97]], scale_atoms=True)
    atoms.rattle(0.08, seed=seed)
    return atoms


STRUCTURES = {
    "sw": distorted(bulk("Si", cubic=True)),
    "emt": distorted(
        Atoms(
            "Al2CuNi",
            cell=[4.0] * 3,
            pbc=True,
            scaled_positions=bulk("Al", cubic=True).get_scaled_positions(),
        )
    ),
    "morse": distorted(bulk("NaCl", "rocksalt", a=5.64, cubic=True)),
}


@pytest.fixture(params=STRUCTURES)
def system(request):
    atoms = STRUCTURES[request.param].copy()
    atoms.calc, name = pick(atoms.get_chemical_symbols())
    assert name == request.param
    return atoms


def energy(atoms, **changes):
    moved = atoms.copy()
    moved.calc = atoms.calc
    if "positions" in changes:
        moved.positions = changes["positions"]
    if "strain" in changes:
        moved.set_cell(moved.cell @ (np.eye(3) + changes["strain"]), scale_atoms=True)
    return moved.get_potential_energy()


def test_forces_are_the_slope_of_the_energy(system):
    forces = system.get_forces()
    for atom, axis in [(0, 0), (1, 2), (len(system) - 1, 1)]:
        shift = np.zeros((len(system), 3))
        shift[atom, axis] = STEP
        slope = (
            energy(system, positions=system.positions + shift)
            - energy(system, positions=system.positions - shift)
        ) / (2 * STEP)
        assert forces[atom, axis] == pytest.approx(-slope, abs=1e-6)
    assert np.abs(forces.sum(axis=0)).max() < 1e-10


def test_stress_is_the_slope_of_the_energy_with_strain(system):
    stress = system.get_stress(voigt=False)
    for row, column in [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2)]:
        strain = np.zeros((3, 3))
        strain[row, column] += STEP / 2
        strain[column, row] += STEP / 2
        slope = (energy(system, strain=strain) - energy(system, strain=-strain)) / (2 * STEP)
        assert stress[row, column] == pytest.approx(slope / system.get_volume(), abs=1e-7)


def test_a_supercell_has_the_energy_of_its_cells(system):
    large = system * (2, 1, 3)
    large.calc = system.calc
    assert large.get_potential_energy() == pytest.approx(6 * system.get_potential_energy(), rel=1e-12)


@pytest.mark.parametrize("cutoff", [2.0, 5.0, 9.0])
def test_pairs_are_those_of_ase_also_for_atoms_outside_a_skewed_cell(cutoff):
    atoms = bulk("Si")
    atoms.set_cell(atoms.cell @ [[1, 0.4, 0], [0, 1, 0.7], [0, 0, 1]])
    atoms.positions += [[0, 0, 0], [31.0, -17.0, 8.0]]
    i, j, d, vectors = pairs(atoms, cutoff)
    expected = neighbor_list("ijd", atoms, cutoff)
    assert len(i) == len(expected[0])
    np.testing.assert_allclose(np.sort(d), np.sort(expected[2]))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), d)
    assert np.bincount(i).tolist() == np.bincount(expected[0]).tolist()
    assert np.bincount(j).tolist() == np.bincount(expected[1]).tolist()


def test_silicon_has_the_published_cohesive_energy_and_lattice_constant():
    """Stillinger and Weber fitted their energy unit to 4.3366 eV per atom, at 5.431 Å."""
    atoms = bulk("Si", a=5.431, cubic=True)
    atoms.calc, _ = pick(["Si"])
    assert atoms.get_potential_energy() / 8 == pytest.approx(-4.3366, abs=1e-3)
    assert np.abs(atoms.get_stress()).max() < 1e-4


def test_metals_have_their_cohesive_energy():
    """3.28 eV is the cohesive energy of Al in the parameters of ASE's EMT."""
    atoms = bulk("Al", a=3.99)
    atoms.calc, _ = pick(["Al"])
    assert atoms.get_potential_energy() == pytest.approx(-3.28, abs=0.02)


def test_tblite_is_used_when_named():
    atoms = bulk("Si")
    atoms.calc, name = pick(["Si"], "gfn1-xtb")
    assert name == "gfn1-xtb"
    assert atoms.get_potential_energy() < -80  # electrons, not the -8.7 eV of the classical potential


def test_a_potential_for_the_wrong_elements_is_refused():
    with pytest.raises(ValueError, match="Si alone"):
        pick(["Si", "O"], "sw")
    with pytest.raises(ValueError, match="no potential 'dft'"):
        pick(["Si"], "dft")


@pytest.mark.parametrize(
    ("symbol", "electrons"), [("H", 1), ("Si", 4), ("Na", 1), ("Cl", 7), ("Fe", 8), ("Ga", 3), ("Pb", 4)]
)
def test_valences_are_those_of_the_periodic_table(symbol, electrons):
    assert valence(symbol) == electrons
