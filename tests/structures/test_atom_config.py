"""atom.config: blocks beside the structure, and round trips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.constraints import FixAtoms, FixBondLength, FixCartesian, FixScaled
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.io.pwmat.inputs import AtomConfig

from alpw.errors import InputError
from alpw.structures.atom_config import looks_like_atom_config, read_atom_config, write_atom_config

FILE = """   2
 LATTICE
   4.0    0.0    0.0
   0.0    5.0    0.0
   1.0    0.0    6.0
 MAGNETIC
  26   2.5
   8  -0.5
 Position (normalized), move_x, move_y, move_z
  26    0.0    0.0    0.0    0  0  0
   8    0.5    0.5    0.5    1  0  1
 STRESS_MASK
  1.0  0.0  0.0
  0.0  1.0  0.0
  0.0  0.0  0.0
 stress_external
  0.1  0.0  0.0
  0.0  0.2  0.0
  0.0  0.0  0.3
 velocity (bohr/fs)
  26    0.01  0.02  0.03
   8    0.00  0.00  0.00
 FORCE
  26    9.0  9.0  9.0
   8    9.0  9.0  9.0
"""


@pytest.fixture
def config(tmp_path: Path):
    """Writes a text as an atom.config."""

    def write(text: str) -> Path:
        (tmp_path / "atom.config").write_text(text)
        return tmp_path / "atom.config"

    return write


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 30),
    st.sampled_from([0.3, 1.0, 10.0]),
    st.booleans(),
    st.sampled_from([None, 1, 3]),
)
def test_what_is_written_is_read(
    tmp_path_factory, seed: int, n_atoms: int, scale: float, moving: bool, moments: int | None
) -> None:
    rng = np.random.default_rng(seed)
    atoms = Atoms(
        numbers=rng.integers(1, 104, n_atoms),
        cell=scale * (6 * np.eye(3) + rng.uniform(-2, 2, (3, 3))),
        positions=scale * rng.uniform(-10, 20, (n_atoms, 3)),
        pbc=True,
    )
    atoms.set_velocities(rng.normal(0, 0.1, (n_atoms, 3)))
    if moments:
        atoms.set_initial_magnetic_moments(rng.normal(0, 3, (n_atoms, 3) if moments == 3 else n_atoms))
    atoms.info["stress_mask"] = rng.integers(0, 2, (3, 3))
    fixed = rng.integers(0, 2, (n_atoms, 3)).astype(bool)
    atoms.set_constraint([FixCartesian(k, mask) for k, mask in enumerate(fixed) if mask.any()])
    path = tmp_path_factory.mktemp("trip") / "atom.config"
    write_atom_config(path, atoms, velocities=moving)
    found = read_atom_config(path, velocities=True)
    assert np.array_equal(found.numbers, atoms.numbers)
    assert np.allclose(np.asarray(found.cell), np.asarray(atoms.cell), rtol=0, atol=1e-12)
    assert np.allclose(found.positions, atoms.positions, rtol=0, atol=1e-12 * max(scale, 1))
    assert np.array_equal(found.info["stress_mask"], atoms.info["stress_mask"])
    assert found.has("momenta") == moving
    if moving:
        assert np.allclose(found.get_velocities(), atoms.get_velocities(), rtol=1e-14, atol=0)
    assert found.has("initial_magmoms") == bool(moments)
    if moments:
        assert np.array_equal(found.get_initial_magnetic_moments(), atoms.get_initial_magnetic_moments())
    free = np.ones((n_atoms, 3), dtype=bool)
    for constraint in found.constraints:
        mask = True if isinstance(constraint, FixAtoms) else constraint.mask
        free[constraint.index] &= ~np.broadcast_to(mask, 3)
    assert np.array_equal(free, ~fixed)


def test_every_block_is_read_in_any_order_and_case(config) -> None:
    path = config(FILE)
    atoms = read_atom_config(path)
    assert atoms.get_chemical_symbols() == ["Fe", "O"]
    assert atoms.positions[1] == pytest.approx([2.5, 2.5, 3.0])
    assert atoms.get_initial_magnetic_moments().tolist() == [2.5, -0.5]
    assert np.array_equal(atoms.info["stress_mask"], np.diag([1, 1, 0]))
    assert np.array_equal(atoms.info["stress_external"], np.diag([0.1, 0.2, 0.3]))
    assert not atoms.has("momenta")
    moving = read_atom_config(path, velocities=True)
    # Å/fs
    assert moving.get_velocities()[0] * units.fs == pytest.approx(np.array([0.01, 0.02, 0.03]) * units.Bohr)


def test_move_flags_are_constraints(config) -> None:
    whole, partly = read_atom_config(config(FILE)).constraints
    assert isinstance(whole, FixAtoms)
    assert whole.index.tolist() == [0]
    assert isinstance(partly, FixCartesian)
    assert (partly.index.tolist(), list(partly.mask)) == ([1], [False, True, False])
    free = FILE.replace("0  0  0", "1  1  1").replace("1  0  1", "1  1  1")
    assert read_atom_config(config(free)).constraints == []
    assert read_atom_config(config(free.replace("1  1  1", ""))).constraints == []


def test_fractional_axes_are_move_flags_in_a_straight_cell_only(tmp_path: Path) -> None:
    atoms = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    atoms.set_constraint(FixScaled([1], [True, False, False]))
    write_atom_config(tmp_path / "atom.config", atoms)
    (found,) = read_atom_config(tmp_path / "atom.config").constraints
    assert (found.index.tolist(), list(found.mask)) == ([1], [True, False, False])
    skewed = bulk("MgO", "rocksalt", a=4.2)
    skewed.set_constraint(FixScaled([1], [True, False, False]))
    with pytest.raises(InputError, match="FixScaled"):
        write_atom_config(tmp_path / "atom.config", skewed)


def test_other_constraints_are_refused(tmp_path: Path) -> None:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    atoms.set_constraint(FixBondLength(0, 1))
    with pytest.raises(InputError, match="FixBondLength"):
        write_atom_config(tmp_path / "atom.config", atoms)


@pytest.mark.parametrize(
    "atoms",
    [Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.7]]), Atoms("H", positions=[[0, 0, np.nan]], cell=[3, 3, 3])],
    ids=["no cell", "not finite"],
)
def test_what_pwmat_cannot_hold_is_not_written(tmp_path: Path, atoms: Atoms) -> None:
    with pytest.raises(InputError, match="cell with a volume"):
        write_atom_config(tmp_path / "atom.config", atoms)
    assert not (tmp_path / "atom.config").exists()


def test_pymatgen_reads_our_magnetic_moments(tmp_path: Path) -> None:
    atoms = bulk("Fe", cubic=True)
    atoms.set_initial_magnetic_moments([2.25, -1.5])
    atoms.info["stress_mask"] = np.eye(3)
    write_atom_config(tmp_path / "atom.config", atoms)
    structure = AtomConfig.from_file(tmp_path / "atom.config", mag=True).structure
    assert structure.site_properties["magmom"] == [2.25, -1.5]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  26   2.5", "  26   two", "'magnetic' holds something"),
        ("  0.0  0.0  0.0\n stress", " stress", "stress_mask"),
        ("  26    0.01  0.02  0.03", "  26    0.01  0.02", "velocity"),
    ],
)
def test_broken_blocks_are_named(config, old: str, new: str, message: str) -> None:
    assert old in FILE
    with pytest.raises(InputError, match=message):
        read_atom_config(config(FILE.replace(old, new)), velocities=True)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (FILE, True),
        ("2 atoms\n Lattice vector (Angstrom)\n", True),
        ('2\nLattice="1 0 0 0 1 0 0 0 1" Properties=species:S:1:pos:R:3\n', False),
        ("Si\n1.0\n", False),
        ("", False),
    ],
)
def test_its_beginning_is_known(head: str, expected: bool) -> None:
    assert looks_like_atom_config(head) is expected
