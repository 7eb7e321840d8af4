"""POSCAR: blocks of elements, selective dynamics, velocities, and what VASP's own files look like."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.constraints import FixAtoms, FixBondLength, FixScaled
from ase.io import read
from pymatgen.io.vasp import Poscar

from alpw.errors import InputError
from alpw.formats.poscar import read_poscar, species_order, write_poscar


@pytest.fixture
def mixed(structure):
    atoms = structure(1, n_atoms=6)
    atoms.symbols = "SiGeSiOGeSi"
    return atoms


def test_elements_come_by_first_appearance_and_keep_their_order(mixed):
    order = species_order(mixed)
    assert order.tolist() == [0, 2, 5, 1, 4, 3]
    assert species_order(mixed[order]).tolist() == list(range(6))
    assert species_order(Atoms()).tolist() == []


def test_results_of_vasp_go_back_to_the_user_s_order(tmp_path, mixed):
    write_poscar(tmp_path / "POSCAR", mixed)
    back = np.empty((6, 3))
    back[species_order(mixed)] = read_poscar(tmp_path / "POSCAR").positions
    assert back == pytest.approx(mixed.positions, abs=1e-12)


def test_selective_dynamics_and_velocities_are_kept(tmp_path, mixed):
    mixed.set_constraint([FixAtoms([1, 3]), FixScaled([0, 2], [True, False, True])])
    mixed.set_velocities(np.random.default_rng(0).normal(size=(6, 3)))
    write_poscar(tmp_path / "POSCAR", mixed)
    order = species_order(mixed)
    back = read_poscar(tmp_path / "POSCAR")
    assert back.get_velocities() == pytest.approx(mixed.get_velocities()[order], rel=1e-14)
    # pymatgen reads Å/fs, T for free.
    theirs = Poscar.from_file(str(tmp_path / "POSCAR"))
    assert np.array(theirs.velocities) == pytest.approx(back.get_velocities() * units.fs, rel=1e-12)
    free = np.array(theirs.selective_dynamics)
    assert free[list(order).index(1)].tolist() == [False] * 3
    assert free[list(order).index(2)].tolist() == [False, True, False]
    assert free[list(order).index(5)].tolist() == [True] * 3
    write_poscar(tmp_path / "again", back)
    again = read_poscar(tmp_path / "again")
    assert str(again.constraints) == str(back.constraints)
    assert again.get_velocities() == pytest.approx(back.get_velocities(), rel=1e-14)


def test_velocities_may_be_given_in_angstrom_per_picosecond(tmp_path, mixed):
    write_poscar(tmp_path / "POSCAR", mixed, velocities=np.full((6, 3), 2.0))
    assert np.array(Poscar.from_file(str(tmp_path / "POSCAR")).velocities) == pytest.approx(0.002)
    with pytest.raises(InputError, match=r"velocities have the shape \(5, 3\)"):
        write_poscar(tmp_path / "POSCAR", mixed, velocities=np.zeros((5, 3)))


HEAD = "cubic\n1.0\n4 0 0\n0 4 0\n0 0 4\n"


@pytest.mark.parametrize(
    "text",
    [
        "x\n2.0\n2 0 0\n0 2 0\n0 0 2\nSi O\n1 1\nDirect\n0 0 0\n.5 .25 .5\n",
        "x\n-64.0\n2 0 0\n0 2 0\n0 0 2\nSi O\n1 1\nDirect\n0 0 0\n.5 .25 .5\n",
        "x\n1 2 4\n4 0 0\n0 2 0\n0 0 1\nSi O\n1 1\nDirect\n0 0 0\n.5 .25 .5\n",
        HEAD + "Si O\n1 1\nCartesian\n0 0 0\n2 1 2\n",
        "x\n2.0\n2 0 0\n0 2 0\n0 0 2\nSi O\n1 1\ncart\n0 0 0\n1 0.5 1\n",
        HEAD + "Si_pv/ab12cd O_s\n1 1\nSelective dynamics\nDirect\n0 0 0 T T T\n.5 .25 .5 T T T\n",
        "Si O\n1.0\n4 0 0\n0 4 0\n0 0 4\n1 1\nDirect\n0 0 0\n0.5D0 .25 .5 O\n",
        HEAD + "Si O\n1 1 ! two\nDirect\n0 0 0\n.5 .25 .5\n\n\n",
    ],
)
def test_what_vasp_takes_is_read(tmp_path, text):
    (tmp_path / "POSCAR").write_text(text)
    atoms = read_poscar(tmp_path / "POSCAR")
    assert atoms.get_chemical_symbols() == ["Si", "O"] and np.asarray(atoms.cell) == pytest.approx(
        4 * np.eye(3)
    )
    assert atoms.positions == pytest.approx(np.array([[0, 0, 0], [2, 1, 2]])) and not atoms.has("momenta")


def test_lattice_velocities_of_a_contcar_are_passed_over(tmp_path):
    lattice = "Lattice velocities and vectors\n  1\n" + " 0 0 0\n" * 3 + " 4 0 0\n" * 3
    text = HEAD + "Si\n1\nDirect\n0 0 0\n" + lattice + "Cartesian\n 0.1 0.2 0.3\n\n1\n0.5\n0 0 0\n"
    (tmp_path / "CONTCAR").write_text(text)
    atoms = read_poscar(tmp_path / "CONTCAR")
    assert atoms.get_velocities()[0] * units.fs == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 0: the file ends before the title"),
        ("x\nabc\n", "line 2: the scale: found"),
        ("x\n0.0\n4 0 0\n0 4 0\n0 0 4\nSi\n1\nDirect\n0 0 0\n", "line 2: the scale is one number"),
        ("x\n1.0\n4 0 0\n0 4 0\n0 8 0\nSi\n1\nDirect\n0 0 0\n", "line 5: the cell has no volume"),
        ("x\n1.0\n4 0 0\n0 4\n0 8 0\n", "line 4: a lattice vector: found '0 4'; 3 finite numbers"),
        (HEAD + "Si Qq\n1 1\nDirect\n0 0 0\n0 0 0\n", "found elements 'Si Qq'"),
        (HEAD + "Si\n1 1\nDirect\n0 0 0\n0 0 0\n", "found elements 'Si' for the numbers '1 1'"),
        (HEAD + "Si\n0\nDirect\n", "holds no atoms"),
        (HEAD + "Si\n2\nDirect\n0 0 0\n", "line 9: the file ends before the position of atom 1"),
        (HEAD + "Si\n1\nDirect\n0 0 nan\n", "line 9: the position of atom 0"),
        (HEAD + "Si\n1\nSelective\nDirect\n0 0 0 T\n", "selective dynamics: atom 0 needs three"),
        (
            HEAD + "Si\n2\nDirect\n0 0 0\n0 0 .5\n\n0 0 0\n",
            "line 12: the file ends before the velocity of atom 1",
        ),
        (HEAD + "Si\n1\nDirect\n0 0 0\nDirect\n0 0 0\n", "velocities in fractional coordinates"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "POSCAR").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_poscar(tmp_path / "POSCAR")
    assert str(caught.value).startswith(str(tmp_path / "POSCAR"))


def test_what_a_poscar_cannot_hold_is_refused(tmp_path, mixed):
    path = tmp_path / "POSCAR"
    with pytest.raises(InputError, match="without atoms"):
        write_poscar(path, Atoms(cell=[1, 1, 1]))
    with pytest.raises(InputError, match="needs a cell with a volume"):
        write_poscar(path, Atoms("O"))
    mixed.set_constraint(FixBondLength(0, 1))
    with pytest.raises(InputError, match="cannot express FixBondLength"):
        write_poscar(path, mixed)
    mixed.set_constraint()
    mixed.positions[0, 0] = np.inf
    with pytest.raises(InputError, match="positions: a number that is not finite"):
        write_poscar(path, mixed)
    assert not path.exists()


def test_ase_reads_the_velocities(tmp_path, mixed):
    mixed.set_velocities(np.random.default_rng(1).normal(size=(6, 3)))
    write_poscar(tmp_path / "POSCAR", mixed)
    theirs, ours = read(tmp_path / "POSCAR", format="vasp"), read_poscar(tmp_path / "POSCAR")
    assert theirs.get_velocities() == pytest.approx(ours.get_velocities(), rel=1e-12)
