"""Trajectories are recognised by their content and keep their time steps."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from alpw.errors import InputError
from alpw.formats.pwdata import write_pwdata
from alpw.formats.trajectory import read_trajectory
from alpw.structures.atom_config import write_atom_config
from alpw.structures.frame import Label, LabelledFrame

DUMP = """ITEM: TIMESTEP
{step}
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS xy xz yz pp pp ff
0.0 4.5 0.5
0.0 5.0 0.0
-1.0 5.0 0.0
ITEM: ATOMS id type x y z
2 1 1.0 2.0 {z}
1 2 0.5 0.5 0.5
"""


@pytest.fixture
def frames():
    crystal = bulk("Si", cubic=True)
    images = [crystal.copy() for _ in range(3)]
    for k, atoms in enumerate(images):
        atoms.rattle(0.1, seed=k)
    return images


def same(found, frames):
    assert len(found.frames) == len(frames)
    for one, other in zip(found.frames, frames, strict=True):
        assert one.positions == pytest.approx(other.positions, abs=1e-6)
        assert (one.numbers == other.numbers).all() and np.asarray(one.cell) == pytest.approx(
            np.asarray(other.cell)
        )
        assert one.pbc.all() and one.calc is None


@pytest.mark.parametrize("name", ["frames.xyz", "frames.traj", "XDATCAR"])
def test_extxyz_and_what_else_ase_reads(tmp_path, frames, name):
    write(tmp_path / name, frames, format={"XDATCAR": "vasp-xdatcar"}.get(name))
    found = read_trajectory(tmp_path / name)
    same(found, frames)
    assert found.steps.tolist() == [0, 1, 2]


def test_steps_in_an_extxyz_file_are_kept(tmp_path, frames):
    for k, atoms in enumerate(frames):
        atoms.info["step"] = 10 * k
    write(tmp_path / "frames.xyz", frames)
    assert read_trajectory(tmp_path / "frames.xyz").steps.tolist() == [0, 10, 20]


def test_a_dump_gives_steps_cell_and_elements_by_type_in_the_order_of_the_ids(tmp_path):
    file = tmp_path / "dump.lammpstrj"
    file.write_text(DUMP.format(step=100, z=3.0) + DUMP.format(step=200, z=3.5))
    found = read_trajectory(file, ["Ge", "Si"])
    assert found.steps.tolist() == [100, 200]
    assert [atoms.get_chemical_formula("reduce") for atoms in found.frames] == ["SiGe", "SiGe"]
    assert found.frames[1].positions[1].tolist() == [1.0, 2.0, 3.5]
    assert np.asarray(found.frames[0].cell).tolist() == [[4.0, 0, 0], [0.5, 5.0, 0], [0, 0, 6.0]]
    assert found.frames[0].pbc.tolist() == [True, True, False]


def test_names_in_a_dump_are_used(tmp_path):
    text = DUMP.format(step=0, z=3.0).replace("id type x", "id element x")
    (tmp_path / "dump").write_text(text.replace("2 1 1.0", "2 Ge 1.0").replace("1 2 0.5", "1 Si 0.5"))
    assert read_trajectory(tmp_path / "dump").frames[0].get_chemical_symbols() == ["Si", "Ge"]


def test_pwdata_is_a_trajectory(tmp_path, frames):
    label = Label(0.0, np.zeros((8, 3)))
    write_pwdata(tmp_path / "data", [LabelledFrame(atoms, label) for atoms in frames])
    same(read_trajectory(tmp_path / "data"), frames)


def test_the_predecessor_s_folder_of_files_named_by_their_step(tmp_path, frames):
    for step, atoms in zip((1000, 20, 3), frames, strict=True):
        write_atom_config(tmp_path / f"{step}.config", atoms)
    (tmp_path / "log.txt").write_text("not a structure")
    found = read_trajectory(tmp_path)
    assert found.steps.tolist() == [3, 20, 1000]
    same(found, frames[::-1])


def broken(tmp_path):
    crystal = bulk("Si")
    crystal.positions[1, 0] = np.nan
    write(tmp_path / "nan.xyz", crystal)
    write(tmp_path / "none.xyz", Atoms())
    (tmp_path / "types").write_text(DUMP.format(step=0, z=1.0))
    (tmp_path / "cut").write_text(DUMP.format(step=0, z=1.0)[:-20])
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    (tmp_path / "empty").write_text("")
    (tmp_path / "folder").mkdir()


@pytest.mark.parametrize(
    ("name", "elements", "message"),
    [
        ("absent", (), "no such file"),
        ("nan.xyz", (), "frame 0: a position or a cell vector is not finite"),
        ("none.xyz", (), "frame 0: holds no atoms"),
        ("types", (), "elements: the dump has LAMMPS types"),
        ("types", ("Si",), "elements: type 2 has no element; 1 are named"),
        ("types", ("Si", "Qq"), "'Qq' is not an element"),
        ("cut", ("Si", "Ge"), "frame 0: the file is cut short; it holds no complete frame"),
        ("bytes", (), "cannot be read as any known format"),
        ("empty", (), "cannot be read as any known format"),
        ("folder", (), "neither a data set"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, elements, message):
    broken(tmp_path)
    with pytest.raises(InputError, match=message):
        read_trajectory(tmp_path / name, elements)
