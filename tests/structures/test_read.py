from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure
from pymatgen.io.pwmat.inputs import AtomConfig

from alpw.errors import InputError
from alpw.structures.atom_config import read_atom_config, write_atom_config
from alpw.structures.read import read_structure

SAMPLE = """   2 atoms,Iteration (fs) =    0.1000000000E+01, Etot,Ep,Ek (eV) =   -0.1000000000E+02
 Lattice vector (Angstrom)
   0.4000000000E+01    0.0000000000E+00    0.0000000000E+00     stress (eV): -0.100000E+00  0.0  0.0
   0.0000000000E+00    0.5000000000E+01    0.0000000000E+00     stress (eV):  0.0 -0.100000E+00  0.0
   0.1000000000D+01    0.0000000000E+00    0.6000000000E+01     stress (eV):  0.0  0.0 -0.100000E+00
 Position (normalized), move_x, move_y, move_z
  11         0.000000000000000         0.000000000000000         0.000000000000000     1  1  1
  17         0.500000000000000         0.500000000000000         0.510000000000000     1  1  1
 Force (-force, eV/Angstrom)
  11         0.000000000000000         0.000000000000000         0.050000000000000
  17         0.000000000000000         0.000000000000000        -0.050000000000000
"""


@pytest.fixture
def crystal() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    atoms.rattle(0.1, seed=3)
    return atoms


def same(first: Atoms, second: Atoms, tolerance: float) -> bool:
    return (
        first.get_chemical_symbols() == second.get_chemical_symbols()
        and np.allclose(np.asarray(first.cell), np.asarray(second.cell), atol=tolerance, rtol=0)
        and np.allclose(first.positions, second.positions, atol=tolerance, rtol=0)
        and bool(second.pbc.all())
    )


def test_an_atom_config_is_read_with_its_headers_and_extra_blocks(tmp_path: Path) -> None:
    (tmp_path / "final.config").write_text(SAMPLE)
    atoms = read_atom_config(tmp_path / "final.config")
    assert atoms.get_chemical_symbols() == ["Na", "Cl"]
    assert np.allclose(np.asarray(atoms.cell), [[4, 0, 0], [0, 5, 0], [1, 0, 6]])
    assert np.allclose(atoms.positions[1], [2.51, 2.5, 3.06])


def test_pymatgen_reads_what_we_write(tmp_path: Path, crystal: Atoms) -> None:
    write_atom_config(tmp_path / "atom.config", crystal)
    structure = AtomConfig.from_file(tmp_path / "atom.config").structure
    assert [str(site.specie) for site in structure] == crystal.get_chemical_symbols()
    assert np.allclose(structure.lattice.matrix, np.asarray(crystal.cell), atol=1e-12)
    assert np.allclose(structure.cart_coords, crystal.positions, atol=1e-12)


def test_we_read_what_pymatgen_writes(tmp_path: Path, crystal: Atoms) -> None:
    structure = Structure(crystal.cell, crystal.symbols, crystal.positions, coords_are_cartesian=True)
    AtomConfig(structure).write_file(tmp_path / "atom.config")
    # pymatgen writes six decimals of the fractions.
    assert same(crystal, read_atom_config(tmp_path / "atom.config"), 1e-5)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_atom_config_keeps_fifteen_decimals(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell = rng.normal(size=(3, 3)) + 6 * np.eye(3)
    atoms = Atoms(
        numbers=rng.integers(1, 90, 4), scaled_positions=rng.uniform(-1, 2, (4, 3)), cell=cell, pbc=True
    )
    path = tmp_path_factory.mktemp("pwmat") / "atom.config"
    write_atom_config(path, atoms)
    # 5e-16 of rounding in each fraction times cell lengths below 10 Å.
    assert same(atoms, read_atom_config(path), 2e-14)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("two atoms\n", "line 1"),
        (SAMPLE.replace(" Lattice", " Nothing"), "no block 'lattice vector'"),
        (SAMPLE.replace(" Position", " Nothing"), "no block 'position'"),
        (SAMPLE.replace("   2 atoms", "   9 atoms"), "not a number"),
        (SAMPLE[: SAMPLE.index("  17 ")], "needs 2 rows of 4"),
        (SAMPLE.replace("0.4000000000E+01", "**********"), "not a number"),
        (SAMPLE.replace("0.5000000000E+01", "0.0000000000E+01"), "no volume"),
        (SAMPLE.replace("  11  ", " 200  "), "not an atomic number"),
        (SAMPLE.replace("0.510000000000000", "nan"), "finite"),
    ],
)
def test_broken_atom_configs_say_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "atom.config"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        read_atom_config(path)
    assert raised.value.file == path


@pytest.mark.parametrize(
    ("name", "ase_format", "named"),
    [
        ("POSCAR", "vasp", "vasp/poscar"),
        ("22_POSCAR", "vasp", None),
        ("CONTCAR", "vasp", None),
        ("salt.vasp", "vasp", None),
        ("salt.xyz", "extxyz", "extxyz"),
        ("salt.xyz", "extxyz", None),
        ("salt.cif", "cif", None),
        ("structure", "vasp", "VASP/POSCAR"),
    ],
)
def test_formats_are_named_or_recognised(
    tmp_path: Path, crystal: Atoms, name: str, ase_format: str, named: str | None
) -> None:
    ase.io.write(tmp_path / name, crystal, format=ase_format)
    atoms = read_structure(tmp_path / name, named)
    assert atoms.symbols.get_chemical_formula() == "ClNa"
    # ASE writes eight digits into extended XYZ and CIF; CIF also turns the cell.
    assert np.allclose(atoms.cell.cellpar(), crystal.cell.cellpar(), atol=1e-3)
    assert atoms.get_distance(0, 1, mic=True) == pytest.approx(crystal.get_distance(0, 1, mic=True), abs=1e-3)


@pytest.mark.parametrize("named", [None, "pwmat/config", "PWmat/Config"])
def test_an_atom_config_is_recognised_under_any_name(
    tmp_path: Path, crystal: Atoms, named: str | None
) -> None:
    write_atom_config(tmp_path / "3_pertub", crystal)
    assert same(crystal, read_structure(tmp_path / "3_pertub", named), 1e-12)


def test_lammps_data_with_masses_has_its_elements(tmp_path: Path, crystal: Atoms) -> None:
    ase.io.write(tmp_path / "lmp.config", crystal, format="lammps-data", masses=True)
    atoms = read_structure(tmp_path / "lmp.config", "lammps/lmp")
    assert sorted(atoms.get_chemical_symbols()) == ["Cl", "Na"]


def test_constraints_of_a_poscar_do_not_travel(tmp_path: Path) -> None:
    text = "Si\n1.0\n5 0 0\n0 5 0\n0 0 5\nSi\n1\nSelective dynamics\nDirect\n0 0 0 F F F\n"
    (tmp_path / "POSCAR").write_text(text)
    assert read_structure(tmp_path / "POSCAR").constraints == []


def test_periodicity_is_full_unless_told(tmp_path: Path) -> None:
    (tmp_path / "POSCAR").write_text("Si\n1.0\n5 0 0\n0 5 0\n0 0 5\nSi\n1\nDirect\n0 0 0\n")
    assert read_structure(tmp_path / "POSCAR").pbc.all()
    assert read_structure(tmp_path / "POSCAR", pbc=(True, True, False)).pbc.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("name", "text", "named", "message"),
    [
        ("POSCAR", "not a structure\n", None, "cannot be read as any known format"),
        ("POSCAR", "Si\n1.0\n5 0 0\n", "vasp/poscar", "cannot be read as vasp/poscar"),
        ("POSCAR", "", "vasp5", "unknown format 'vasp5'"),
    ],
)
def test_unreadable_files_are_input_errors(
    tmp_path: Path, name: str, text: str, named: str | None, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_structure(tmp_path / name, named)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_structure(tmp_path / "POSCAR")
