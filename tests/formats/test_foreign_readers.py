"""Other programs read what we write, and we read what they write.

Where a foreign reader differs, `EXCEPTIONS` says why; each entry is checked, so that it goes once mended.
"""

import dpdata
import numpy as np
import pytest
from ase import Atoms
from ase.io import iread, read
from ase.io import write as ase_write
from ase.stress import voigt_6_to_full_3x3_stress
from pymatgen.io.lammps.data import LammpsData
from pymatgen.io.vasp import Poscar

from alpw.formats.deepmd import read_deepmd, write_deepmd
from alpw.formats.extxyz import read_extxyz, write_extxyz
from alpw.formats.lammps import read_lammps_data, write_lammps_data
from alpw.formats.lammps_dump import read_lammps_dump, write_lammps_dump
from alpw.formats.poscar import read_poscar, species_order, write_poscar
from alpw.structures.frames import single_frames

EXCEPTIONS = {
    ("ase", "iread extxyz"): "takes the first digit of the number of atoms for the number",
    ("ase", "lammps-dump xs"): "leaves the origin of the box out where coordinates are fractions",
    ("dpdata", "orientation"): "turns every POSCAR and dump into LAMMPS's orientation",
}

SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
def test_ase_reads_our_extended_xyz(tmp_path, batch, seed):
    frames = batch(seed)
    # ASE keeps six numbers of a stress, so that this one is symmetric.
    frames.virials[:] = (frames.virials + np.swapaxes(frames.virials, 1, 2)) / 2
    write_extxyz(tmp_path / "frames.xyz", [frames])
    for k, atoms in enumerate(read(tmp_path / "frames.xyz", ":", format="extxyz")):
        assert np.array_equal(atoms.positions, frames.positions[k])
        assert np.array_equal(np.asarray(atoms.cell), frames.cells[k]) and atoms.pbc.all()
        assert atoms.get_potential_energy() == frames.energies[k]
        assert np.array_equal(atoms.get_forces(), frames.forces[k])
        assert np.array_equal(atoms.info["virial"], frames.virials[k])
        stress = voigt_6_to_full_3x3_stress(atoms.get_stress())
        assert stress == pytest.approx(-frames.virials[k] / atoms.get_volume(), rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_we_read_ase_s_extended_xyz_as_ase_does(tmp_path, batch, seed):
    images = [frame.to_ase() for frame in batch(seed, virials="some")]
    for atoms in images:
        atoms.info |= {"config_type": "bulk [1]", "step": 7, "note": 'it\'s = "x"', "flags": [True, False]}
        atoms.new_array("tags2", np.arange(len(atoms)))
    ase_write(tmp_path / "frames.xyz", images, format="extxyz")
    theirs = read(tmp_path / "frames.xyz", ":", format="extxyz")
    ours = list(single_frames(read_extxyz(tmp_path / "frames.xyz")))
    for (atoms, label), other in zip(ours, theirs, strict=True):
        assert atoms.numbers.tolist() == other.numbers.tolist()
        assert np.array_equal(atoms.positions, other.positions)
        assert np.array_equal(np.asarray(atoms.cell), np.asarray(other.cell))
        assert label.energy == other.get_potential_energy()
        assert np.array_equal(label.forces, other.get_forces())
        assert (label.virial is None) == ("stress" not in other.calc.results)
        if label.virial is not None:
            stress = voigt_6_to_full_3x3_stress(other.get_stress())
            assert label.virial == pytest.approx(-stress * other.get_volume(), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_dpdata_reads_our_deepmd_systems(tmp_path, batch, seed):
    frames = batch(seed)
    (folder,) = write_deepmd(tmp_path / "npy", [frames])
    system = dpdata.LabeledSystem(str(folder), fmt="deepmd/npy")
    check_dpdata(system, frames)
    (folder,) = write_deepmd(
        tmp_path / "mixed", [frames, batch(seed + 100, n_atoms=len(frames.numbers))], mixed=True
    )
    systems = dpdata.MultiSystems()
    systems.load_systems_from_file(str(folder), fmt="deepmd/npy/mixed")
    assert sum(len(part) for part in systems.systems.values()) == 6


def check_dpdata(system, frames):
    symbols = [system["atom_names"][kind] for kind in system["atom_types"]]
    assert Atoms(symbols).numbers.tolist() == frames.numbers.tolist()
    assert np.array_equal(system["coords"], frames.positions)
    assert np.array_equal(system["cells"], frames.cells)
    assert np.array_equal(system["energies"], frames.energies)
    assert np.array_equal(system["forces"], frames.forces)
    assert np.array_equal(system["virials"], frames.virials)


@pytest.mark.parametrize("kind", ["deepmd/npy", "deepmd/npy/mixed"])
@pytest.mark.parametrize("seed", SEEDS)
def test_we_read_dpdata_s_systems(tmp_path, batch, kind, seed):
    frames = batch(seed)
    (folder,) = write_deepmd(tmp_path / "ours", [frames])
    system = dpdata.LabeledSystem(str(folder), fmt="deepmd/npy")
    system.to(kind, str(tmp_path / "theirs"), set_size=2, prec=np.float64) if kind == "deepmd/npy" else (
        system.to(kind, str(tmp_path / "theirs"), prec=np.float64)
    )
    back = list(single_frames(read_deepmd(tmp_path / "theirs")))
    assert len(back) == 3
    for k, (atoms, label) in enumerate(back):
        order = np.argsort(atoms.numbers, kind="stable"), np.argsort(frames.numbers, kind="stable")
        assert atoms.numbers[order[0]].tolist() == frames.numbers[order[1]].tolist()
        # dpdata turns the coordinates of some formats; energies and cells tell the frames apart.
        assert label.energy == frames.energies[k]
        assert label.forces[order[0]] == pytest.approx(frames.forces[k][order[1]], abs=1e-12)
        assert label.virial == pytest.approx(frames.virials[k], abs=1e-12)


def metric(cells):
    """Scalar products of the cell vectors, which no orientation changes."""
    cells = np.array([np.asarray(cell) for cell in cells])
    return cells @ np.swapaxes(cells, -1, -2)


def distances(atoms):
    """All distances with periodic images: what no orientation and no choice of lattice vectors changes."""
    everything = atoms.repeat((1, 1, 1))
    return np.sort(everything.get_all_distances(mic=True), axis=None)


@pytest.mark.parametrize("seed", SEEDS)
def test_ase_and_pymatgen_read_our_lammps_data(tmp_path, structure, seed):
    atoms = structure(seed, n_atoms=6)
    path = tmp_path / "data.lmp"
    rotation = write_lammps_data(path, atoms, ["Ge", "Si", "O", "Li", "H"])
    theirs = read(path, format="lammps-data")
    assert theirs.numbers.tolist() == atoms.numbers.tolist()
    assert theirs.positions == pytest.approx(atoms.positions @ rotation, abs=1e-12)
    assert theirs.get_volume() == pytest.approx(atoms.get_volume(), rel=1e-12)
    assert distances(theirs) == pytest.approx(distances(atoms), abs=1e-9)
    pymatgen = LammpsData.from_file(str(path), atom_style="atomic").structure
    assert [site.specie.Z for site in pymatgen] == atoms.numbers.tolist()
    assert pymatgen.volume == pytest.approx(atoms.get_volume(), rel=1e-9)
    lattice = np.array(pymatgen.lattice.matrix)
    assert lattice == pytest.approx(np.asarray(theirs.cell), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("style", ["atomic", "charge", "full"])
def test_we_read_ase_s_lammps_data(tmp_path, structure, seed, style):
    atoms = structure(seed, n_atoms=6)
    path = tmp_path / "data.lmp"
    ase_write(path, atoms, format="lammps-data", atom_style=style, masses=True)
    ours, theirs = read_lammps_data(path), read(path, format="lammps-data", atom_style=style)
    assert ours.numbers.tolist() == theirs.numbers.tolist()
    assert ours.positions == pytest.approx(theirs.positions, abs=1e-9)
    assert np.asarray(ours.cell) == pytest.approx(np.asarray(theirs.cell), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_ase_and_dpdata_read_our_dumps(tmp_path, batch, seed):
    frames = [frame.to_ase() for frame in batch(seed, n_atoms=5)]
    rotations = write_lammps_dump(tmp_path / "dump", frames)
    for atoms, turn, theirs in zip(
        frames, rotations, read(tmp_path / "dump", ":", format="lammps-dump-text"), strict=True
    ):
        assert theirs.get_chemical_symbols() == atoms.get_chemical_symbols()
        assert theirs.positions == pytest.approx(atoms.positions @ turn, abs=1e-12)
        assert np.asarray(theirs.cell) == pytest.approx(np.asarray(atoms.cell) @ turn, abs=1e-12)
        assert theirs.get_forces() == pytest.approx(atoms.get_forces() @ turn, abs=1e-12)
    system = dpdata.System(str(tmp_path / "dump"), fmt="lammps/dump")
    assert metric(system["cells"]) == pytest.approx(metric([atoms.cell for atoms in frames]), rel=1e-9)
    back = list(read_lammps_dump(tmp_path / "dump", rotation=rotations))
    for atoms, ours in zip(frames, back, strict=True):
        assert ours.positions == pytest.approx(atoms.positions, abs=1e-12)
        assert np.asarray(ours.cell) == pytest.approx(np.asarray(atoms.cell), abs=1e-12)
        assert ours.get_forces() == pytest.approx(atoms.get_forces(), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_ase_pymatgen_and_dpdata_read_our_poscar(tmp_path, structure, seed):
    atoms = structure(seed, n_atoms=6)
    write_poscar(tmp_path / "POSCAR", atoms)
    order = species_order(atoms)
    ours, theirs = read_poscar(tmp_path / "POSCAR"), read(tmp_path / "POSCAR", format="vasp")
    pymatgen = Poscar.from_file(str(tmp_path / "POSCAR"), check_for_potcar=False).structure
    for numbers, positions in (
        (ours.numbers, ours.positions),
        (theirs.numbers, theirs.positions),
        ([site.specie.Z for site in pymatgen], pymatgen.cart_coords),
    ):
        assert list(numbers) == atoms.numbers[order].tolist()
        assert positions == pytest.approx(atoms.positions[order], abs=1e-12)
    system = dpdata.System(str(tmp_path / "POSCAR"), fmt="vasp/poscar")
    assert metric(system["cells"][0]) == pytest.approx(metric(atoms.cell), rel=1e-12)
    assert ("dpdata", "orientation") in EXCEPTIONS


def test_ase_forgets_the_corner_of_the_box_where_coordinates_are_fractions(tmp_path):
    assert ("ase", "lammps-dump xs") in EXCEPTIONS
    text = "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n1 5\n2 7\n3 9\n"
    positions = {}
    for columns, row in (("x y z", "2.0 3.0 4.5"), ("xs ys zs", "0.25 0.2 0.25")):
        (tmp_path / "dump").write_text(f"{text}ITEM: ATOMS id element {columns}\n1 Si {row}\n")
        (ours,) = read_lammps_dump(tmp_path / "dump")
        assert ours.positions == pytest.approx(np.array([[2.0, 3.0, 4.5]]))
        positions[columns] = read(tmp_path / "dump", format="lammps-dump-text").positions
    assert positions["x y z"] == pytest.approx(np.array([[2.0, 3.0, 4.5]]))
    assert positions["xs ys zs"] == pytest.approx(np.array([[1.0, 1.0, 1.5]]))


def test_ase_s_own_streaming_reader_miscounts_atoms(tmp_path, batch):
    assert ("ase", "iread extxyz") in EXCEPTIONS
    write_extxyz(tmp_path / "frames.xyz", [batch(0, n_atoms=12)])
    assert len(list(single_frames(read_extxyz(tmp_path / "frames.xyz")))) == 3
    from ase.io.extxyz import iread_xyz

    with (tmp_path / "frames.xyz").open() as file, pytest.raises((ValueError, KeyError, IndexError, OSError)):
        list(iread_xyz(file))
    assert len(list(iread(str(tmp_path / "frames.xyz"), ":", format="extxyz"))) == 3
