"""LAMMPS's orientation, its data files and its dumps; LAMMPS itself reads and writes them."""

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alpw.codes.lammps.library import open_lammps
from alpw.errors import InputError
from alpw.formats.lammps import read_lammps_data, to_box, write_lammps_data
from alpw.formats.lammps_dump import read_lammps_dump, write_lammps_dump


@given(seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_box_is_a_rotated_cell_with_small_tilts(batch, seed):
    cell = batch(seed, n_frames=1).cells[0]
    box, rotation = to_box(cell)
    assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-14)
    assert np.triu(box, 1).tolist() == np.zeros((3, 3)).tolist() and (np.diag(box) > 0).all()
    lattice = box @ np.linalg.inv(cell @ rotation)
    assert lattice == pytest.approx(np.rint(lattice), abs=1e-9)
    assert np.linalg.det(lattice) == pytest.approx(1)
    for a, b, c in ((1, 0, 0), (2, 0, 0), (2, 1, 1)):
        assert abs(box[a, b]) <= box[c, c] / 2 * (1 + 1e-12)
    # ASE's, which loses half of the digits of a strongly skewed cell.
    prism = Prism(cell, reduce_cell=True)
    assert rotation == pytest.approx(prism.rot_mat, abs=1e-6)
    assert to_box(cell, reduce=False).box == pytest.approx(cell @ rotation, abs=1e-12)


def test_vectors_without_periodicity_are_not_exchanged():
    cell = np.array([[4.0, 0, 0], [9.0, 5.0, 0], [0, 9.0, 6.0]])
    assert to_box(cell, (False, True, True)).box[1].tolist() == [9.0, 5.0, 0.0]
    assert to_box(cell, (True, False, True)).box[1].tolist() == [1.0, 5.0, 0.0]
    assert to_box(cell, (True, False, True)).box[2].tolist() == [0.0, 9.0, 6.0]


@pytest.mark.parametrize("seed", range(4))
def test_lammps_reads_our_data_and_we_read_its_data_and_dump(tmp_path, structure, seed):
    atoms = structure(seed, n_atoms=6)
    atoms.set_velocities(np.random.default_rng(seed).normal(size=(6, 3)))
    symbols = ["Ge", "Si", "O", "Li", "H"]
    rotation = write_lammps_data(tmp_path / "in.lmp", atoms, symbols)
    columns = "id type element xu yu zu vx vy vz fx fy fz"
    program = open_lammps()
    try:
        for line in (
            "units metal\natom_style atomic\nboundary p p p",
            f"read_data {tmp_path / 'in.lmp'}",
            "pair_style zero 2.0 nocoeff\npair_coeff * *",
            f"dump 1 all custom 1 {tmp_path / 'out.dump'} {columns}",
            f'dump_modify 1 element {" ".join(symbols)} format float "%.17g" sort id',
            "fix 1 all nve\nrun 2",
            f"write_data {tmp_path / 'out.lmp'} nocoeff",
        ):
            for command in line.splitlines():
                program.command(command)
    finally:
        program.close()
    dumped = list(read_lammps_dump(tmp_path / "out.dump", rotation=rotation))
    assert [frame.info["timestep"] for frame in dumped] == [0, 1, 2]
    first = dumped[0]
    assert first.numbers.tolist() == atoms.numbers.tolist() and first.pbc.all()
    # LAMMPS wraps, so that atoms may be moved by lattice vectors.
    moved = np.linalg.solve(np.asarray(atoms.cell).T, (first.positions - atoms.positions).T).T
    assert moved == pytest.approx(np.rint(moved), abs=1e-9)
    assert first.get_velocities() == pytest.approx(atoms.get_velocities(), abs=1e-9)
    assert first.get_forces().tolist() == np.zeros((6, 3)).tolist()
    assert np.linalg.det(first.cell) == pytest.approx(np.linalg.det(atoms.cell))
    written = read_lammps_data(tmp_path / "out.lmp", symbols)
    assert written.numbers.tolist() == atoms.numbers.tolist()
    last = dumped[-1].positions @ rotation
    moved = np.linalg.solve(np.asarray(written.cell).T, (written.positions - last).T).T
    assert moved == pytest.approx(np.rint(moved), abs=1e-9)


def test_velocities_partial_periodicity_and_isotopes_come_back(tmp_path, structure):
    atoms = structure(3)
    atoms.pbc = (True, False, True)
    atoms.set_velocities(np.random.default_rng(0).normal(size=(len(atoms), 3)))
    write_lammps_data(tmp_path / "data", atoms)
    back = read_lammps_data(tmp_path / "data")
    assert back.pbc.tolist() == [True, False, True]
    assert back.get_velocities() == pytest.approx(atoms.get_velocities(), abs=1e-13)
    assert np.array_equal(np.asarray(back.cell), np.asarray(atoms.cell))
    molecule = Atoms("OH2", positions=[(0, 0, 0), (0.76, 0.59, 0), (-0.76, 0.59, 0)])
    write_lammps_data(tmp_path / "water", molecule)
    back = read_lammps_data(tmp_path / "water")
    assert not back.pbc.any() and back.cell.rank == 0 and np.array_equal(back.positions, molecule.positions)


def test_types_follow_the_given_elements(tmp_path, structure):
    atoms = structure(0, n_atoms=4)
    atoms.symbols = "SiOSiGe"
    write_lammps_data(tmp_path / "data", atoms, ["O", "Ge", "C", "Si"])
    rows = (tmp_path / "data").read_text().split("Atoms # atomic\n\n")[1].splitlines()
    assert [row.split()[1] for row in rows] == ["4", "1", "4", "2"]
    with pytest.raises(InputError, match="elements: holds Ge, which is none of Si, O"):
        write_lammps_data(tmp_path / "data", atoms, ["Si", "O"])


DATA = """LAMMPS data file via write_data, timestep = 0

2 atoms
2 atom types

0.0 4.0 xlo xhi
0.0 5.0 ylo yhi
1.0 7.0 zlo zhi
0.5 0.0 0.0 xy xz yz

Masses

1 28.0855
2 {mass}

Pair Coeffs # zero

1
2

Atoms # {style}

{rows}
"""


@pytest.mark.parametrize(
    ("style", "rows"),
    [
        ("atomic", "2 2 1.0 2.0 3.0 1 0 0\n1 1 0.5 0.5 0.5 0 -1 0"),
        ("charge", "2 2 0.3 1.0 2.0 3.0 1 0 0\n1 1 0 0.5 0.5 0.5 0 -1 0"),
        ("molecular", "2 1 2 1.0 2.0 3.0 1 0 0\n1 1 1 0.5 0.5 0.5 0 -1 0"),
        ("full", "2 1 2 0.1 1.0 2.0 3.0 1 0 0\n1 1 1 0.2 0.5 0.5 0.5 0 -1 0"),
    ],
)
def test_atom_styles_image_flags_masses_and_ids(tmp_path, style, rows):
    (tmp_path / "data").write_text(DATA.format(mass=72.64, style=style, rows=rows))
    atoms = read_lammps_data(tmp_path / "data")
    assert atoms.get_chemical_symbols() == ["Si", "Ge"]
    assert atoms.positions.tolist() == [[0.0, -4.5, 0.5], [5.0, 2.0, 3.0]]
    assert np.asarray(atoms.cell).tolist() == [[4, 0, 0], [0.5, 5, 0], [0, 0, 6]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2 atoms\n", "3 atoms\n", "section Atoms has 2 lines; 3 are needed"),
        ("2 atoms\n", "", "does not say how many atoms"),
        ("0.0 4.0 xlo xhi\n", "", "no complete box"),
        ("0.0 4.0 xlo xhi\n", "0.0 0.0 xlo xhi\n", "the box has no volume"),
        ("1.0 2.0 3.0 1", "1.0 2.0 x.0 1", "section Atoms holds something that is not a number"),
        ("2 2 1.0", "1 2 1.0", "an id twice"),
        ("2 72.64", "2 1234.5", "elements: type 2 has no element"),
        ("# atomic", "# sphere", "atom style 'sphere' is not known"),
        ("1 1 0.5 0.5", "1 1 0.5", "line 2 has 7 columns, not 5"),
    ],
)
def test_a_broken_data_file_is_refused(tmp_path, old, new, message):
    text = DATA.format(mass=72.64, style="atomic", rows="2 2 1.0 2.0 3.0 1 0 0\n1 1 0.5 0.5 0.5 0 -1 0")
    assert old in text
    (tmp_path / "data").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_lammps_data(tmp_path / "data")


def test_a_box_changed_by_hand_is_not_turned_back(tmp_path, structure, caplog):
    atoms = structure(2)
    write_lammps_data(tmp_path / "data", atoms)
    text = (tmp_path / "data").read_text()
    line = next(line for line in text.splitlines() if line.endswith("xlo xhi"))
    (tmp_path / "data").write_text(text.replace(line, "0.0 123.0 xlo xhi"))
    with caplog.at_level(logging.WARNING):
        assert read_lammps_data(tmp_path / "data").cell[0, 0] == 123.0
    assert "its box is not the one its comments speak of" in caplog.text


FRAME = """ITEM: TIMESTEP
{step}
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS {bounds}
ITEM: ATOMS id type {columns}
2 1 {second}
1 2 {first}
"""
TILTED = "xy xz yz pp pp ff\n1.0 5.5 0.5\n2.0 7.0 0.0\n-1.0 5.0 0.0"
# Box 4 x 5 x 6 with xy = 0.5 and its corner at (1, 2, -1).


@pytest.mark.parametrize(
    ("columns", "first", "second"),
    [
        ("x y z", "1.5 2.5 0.5", "3.25 4.5 2.0"),
        ("xu yu zu", "1.5 2.5 0.5", "3.25 4.5 2.0"),
        ("xs ys zs", "0.1125 0.1 0.25", "0.5 0.5 0.5"),
        ("xsu ysu zsu", "0.1125 0.1 0.25", "0.5 0.5 0.5"),
        ("q xs ys zs c_pe", "7 0.1125 0.1 0.25 1e-5", "7 0.5 0.5 0.5 nan"),
    ],
)
def test_all_kinds_of_coordinates_are_positions_in_space(tmp_path, columns, first, second):
    text = FRAME.format(step=10, bounds=TILTED, columns=columns, first=first, second=second)
    (tmp_path / "dump").write_text("ITEM: UNITS\nmetal\nITEM: TIME\n0.01\n" + text)
    (atoms,) = read_lammps_dump(tmp_path / "dump", ["Ge", "Si"])
    assert atoms.get_chemical_symbols() == ["Si", "Ge"]
    assert np.asarray(atoms.cell).tolist() == [[4.0, 0, 0], [0.5, 5.0, 0], [0, 0, 6.0]]
    assert atoms.positions == pytest.approx(np.array([[1.5, 2.5, 0.5], [3.25, 4.5, 2.0]]))
    assert atoms.get_celldisp().ravel().tolist() == [1.0, 2.0, -1.0]
    assert atoms.pbc.tolist() == [True, True, False] and atoms.info["timestep"] == 10


def test_a_general_triclinic_box_needs_no_turning(tmp_path):
    bounds = "abc origin pp pp pp\n0 4 0 0\n-4 0 0 0\n0 1 5 0"
    text = FRAME.format(step=0, bounds=bounds, columns="x y z", first="0 0 0", second="1 2 3")
    (tmp_path / "dump").write_text(text)
    (atoms,) = read_lammps_dump(tmp_path / "dump", ["Ge", "Si"])
    assert np.asarray(atoms.cell).tolist() == [[0, 4, 0], [-4, 0, 0], [0, 1, 5]]


def test_forces_velocities_and_steps_are_written_and_read(tmp_path, batch):
    frames = []
    for k, frame in enumerate(batch(3)):
        atoms = frame.atoms
        atoms.info["timestep"] = 100 * k
        atoms.pbc = (True, True, False)
        atoms.set_velocities(np.random.default_rng(k).normal(size=(len(atoms), 3)))
        atoms.calc = SinglePointCalculator(atoms, forces=frame.label.forces)
        frames.append(atoms)
    rotations = write_lammps_dump(tmp_path / "dump", iter(frames))
    assert rotations.shape == (3, 3, 3)
    for atoms, back in zip(frames, read_lammps_dump(tmp_path / "dump", rotation=rotations), strict=True):
        assert back.info["timestep"] == atoms.info["timestep"] and back.pbc.tolist() == atoms.pbc.tolist()
        assert back.positions == pytest.approx(atoms.positions, abs=1e-12)
        assert back.get_forces() == pytest.approx(atoms.get_forces(), abs=1e-13)
        assert back.get_velocities() == pytest.approx(atoms.get_velocities(), abs=1e-13)


@pytest.mark.parametrize("cut", [1, 20, 60, 100, 150, 200])
def test_a_last_frame_that_is_cut_is_left_out_with_a_warning(tmp_path, cut, caplog):
    text = "".join(
        FRAME.format(step=k, bounds=TILTED, columns="x y z", first="1 1 1", second="2 2 2") for k in range(3)
    )
    (tmp_path / "dump").write_text(text[:-cut])
    with caplog.at_level(logging.WARNING):
        frames = list(read_lammps_dump(tmp_path / "dump", ["Ge", "Si"]))
    n_whole = text[:-cut].count("1 2 1 1 1\n")
    assert len(frames) == n_whole < 3
    assert (f"frame {n_whole}, the last one, is cut short" in caplog.text) == (
        n_whole * len(text) // 3 < len(text) - cut
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2 1 2 2 2\n", "", "frame 1: has fewer than 2 atoms"),
        ("2 1 2 2 2", "2 1 2 2", "frame 1: its atoms do not have the 5 columns id type x y z"),
        ("2 1 2 2 2", "2 1 2 2 x", "frame 1: something that is not a number"),
        ("2 1 2 2 2", "2 3 2 2 2", "elements: type 3 has no element"),
        ("x y z", "x y w", "frame 1: the dump has no coordinates"),
        ("xy xz yz pp pp ff\n1.0 5.5 0.5", "xy xz yz pp pp ff\n1.0 5.5", "frame 1: its BOX BOUNDS"),
        ("1.0 5.5", "1.0 five", "frame 1: something that is not a number"),
        ("ITEM: NUMBER", "NUMBER", "frame 1: found 'NUMBER OF ATOMS' where an ITEM begins"),
    ],
)
def test_a_broken_frame_is_named(tmp_path, old, new, message):
    good = FRAME.format(step=0, bounds=TILTED, columns="x y z", first="1 1 1", second="2 2 2")
    assert old in good
    (tmp_path / "dump").write_text(good + good.replace(old, new) + good)
    with pytest.raises(InputError, match=message):
        list(read_lammps_dump(tmp_path / "dump", ["Ge", "Si"]))
