"""dpdata, ASE, h5py and msgpack read the data sets that we write in one file, and we read theirs.

Binary formats give the same doubles back. ASE keeps a stress of six numbers, the virial divided by the
volume: a relative tolerance of 1e-13 is some hundred roundings.
"""

import ase.db
import dpdata
import h5py
import lmdb
import msgpack
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from ase.stress import full_3x3_to_voigt_6_stress

from alpw.errors import AlpwError, InputError
from alpw.formats.ase_db import read_ase_db, write_ase_db
from alpw.formats.deepmd_hdf5 import write_deepmd_hdf5
from alpw.formats.deepmd_lmdb import read_lmdb, write_lmdb
from alpw.formats.extxyz import write_extxyz
from alpw.formats.registry import NOTHING_SAID, find
from alpw.structures.frames import LabelledFrames, single_frames

FILES = {"deepmd/hdf5": write_deepmd_hdf5, "lmdb": write_lmdb, "ase-db": write_ase_db}


@pytest.fixture
def data(batch):
    """Two compositions with virials, one without, and molecules."""
    without = batch(8, n_atoms=6, virials="none", symbols=("Ge", "H"))
    molecules = batch(9, n_atoms=3, virials="none", symbols=("Li", "H"))
    nothing = {"pbc": (False,) * 3, "cells": np.zeros_like(molecules.cells)}
    molecules = LabelledFrames(**{**molecules.__dict__, **nothing})
    return [batch(1, n_atoms=4), batch(2, n_atoms=5), without, molecules]


def check_dpdata(systems, data):
    """All frames are there, whatever the names of the systems; dpdata may sort atoms by type."""
    theirs = {}
    for system in systems:
        symbols = [system["atom_names"][kind] for kind in system["atom_types"]]
        for k, energy in enumerate(system["energies"]):
            theirs[float(energy)] = (Atoms(symbols).numbers, system, k)
    assert len(theirs) == sum(len(part) for part in data)
    for part in data:
        for k, energy in enumerate(part.energies):
            numbers, system, row = theirs[float(energy)]
            ours, order = np.argsort(part.numbers, kind="stable"), np.argsort(numbers, kind="stable")
            assert numbers[order].tolist() == part.numbers[ours].tolist()
            assert np.array_equal(system["coords"][row][order], part.positions[k][ours])
            assert np.array_equal(system["forces"][row][order], part.forces[k][ours])
            assert np.array_equal(system["cells"][row], part.cells[k])
            assert system.data.get("nopbc", False) != any(part.pbc)
            assert ("virials" in system.data) == (part.virials is not None)
            if part.virials is not None:
                assert np.array_equal(system["virials"][row], part.virials[k])


@pytest.mark.parametrize("name", ["deepmd/hdf5", "lmdb"])
def test_dpdata_reads_what_we_write_and_we_read_what_it_writes(tmp_path, data, name):
    FILES[name](tmp_path / "ours", iter(data))
    form = "deepmd/lmdb" if name == "lmdb" else name
    systems = dpdata.MultiSystems()
    systems.load_systems_from_file(str(tmp_path / "ours"), fmt=form)
    check_dpdata(systems.systems.values(), data)
    options = {} if name == "lmdb" else {"comp_prec": np.float64}
    systems.to(form, str(tmp_path / "theirs"), **options)
    back = {
        frame.label.energy: frame
        for frame in single_frames(find(name).read(tmp_path / "theirs", NOTHING_SAID))
    }
    for frame in single_frames(data):
        atoms, label = back[frame.label.energy]
        # dpdata brings atoms of an element together, each kept in its order.
        one, other = (np.argsort(numbers, kind="stable") for numbers in (frame.atoms.numbers, atoms.numbers))
        assert np.array_equal(frame.atoms.positions[one], atoms.positions[other])
        assert np.array_equal(frame.label.forces[one], label.forces[other])
        assert (label.virial is None) == (frame.label.virial is None)
        assert label.virial is None or np.array_equal(label.virial, frame.label.virial)
        assert np.array_equal(atoms.cell, frame.atoms.cell) and np.array_equal(atoms.pbc, frame.atoms.pbc)


def test_h5py_finds_the_arrays_where_deepmd_kit_looks(tmp_path, data):
    write_deepmd_hdf5(tmp_path / "train.hdf5", data)
    with h5py.File(tmp_path / "train.hdf5") as file:
        groups = {len(group["type.raw"]): group for group in file.values()}
        assert set(groups) == {3, 4, 5, 6} and "nopbc" in groups[3] and "nopbc" not in groups[4]
        assert np.array_equal(groups[4]["set.000/force.npy"][()], data[0].forces.reshape(3, 12))
        assert "virial.npy" not in groups[6]["set.000"]
        symbols = [word.decode() for word in groups[5]["type_map.raw"]]
        assert (
            Atoms([symbols[kind] for kind in groups[5]["type.raw"]]).numbers.tolist()
            == data[1].numbers.tolist()
        )


def test_lmdb_records_are_deepmd_kit_s(tmp_path, data):
    write_lmdb(tmp_path / "train.lmdb", data)
    with (
        lmdb.open(str(tmp_path / "train.lmdb"), readonly=True, lock=False) as database,
        database.begin() as txn,
    ):
        about = msgpack.unpackb(txn.get(b"__metadata__"))
        record = msgpack.unpackb(txn.get(b"000000000004"))
    assert about["nframes"] == 12 and about["frame_nlocs"] == [4] * 3 + [5] * 3 + [6] * 3 + [3] * 3
    assert about["frame_system_ids"] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    forces = record["forces"]
    assert (forces["type"], forces["shape"]) == ("float64", [5, 3])
    assert forces["data"] == data[1].forces[1].tobytes()
    types = np.frombuffer(record["atom_types"]["data"], record["atom_types"]["type"])
    assert Atoms([about["type_map"][kind] for kind in types]).numbers.tolist() == data[1].numbers.tolist()


def test_a_map_of_lmdb_grows_with_its_frames(tmp_path, data, monkeypatch):
    monkeypatch.setattr("alpw.formats.deepmd_lmdb._FIRST_SIZE", 1 << 15)
    write_lmdb(tmp_path / "train.lmdb", (part for _ in range(40) for part in data))
    assert sum(len(part) for part in read_lmdb(tmp_path / "train.lmdb")) == 480


def with_provenance(part):
    told = {
        "id": np.array(["6630a1b2c3d4e5f601234567", "663012345678901234567890", ""]),
        "campaign": np.array(["Si melt", "2024", "x"]),
        "iteration": np.array(["0", "12", ""]),
        "settings_hash": np.array(["abc", "1e5", ""]),
    }
    return LabelledFrames(**{**part.__dict__, "extras": told}), told


def test_ase_finds_frames_in_our_database(tmp_path, data):
    marked, told = with_provenance(data[0])
    write_ase_db(tmp_path / "frames.db", [marked, *data[1:]])
    with ase.db.connect(tmp_path / "frames.db") as database:
        rows = list(database.select())
        frames = [(part, k) for part in data for k in range(len(part))]
        for row, (part, k) in zip(rows, frames, strict=True):
            atoms = row.toatoms()
            assert atoms.numbers.tolist() == part.numbers.tolist() and atoms.pbc.tolist() == list(part.pbc)
            assert np.array_equal(atoms.positions, part.positions[k]) and np.array_equal(
                atoms.cell, part.cells[k]
            )
            assert atoms.get_potential_energy() == part.energies[k]
            assert np.array_equal(atoms.get_forces(), part.forces[k])
            assert ("stress" in atoms.calc.results) == (part.virials is not None)
            if part.virials is not None:
                stress = full_3x3_to_voigt_6_stress(-part.virials[k] / atoms.get_volume())
                assert atoms.get_stress() == pytest.approx(stress, rel=1e-13)
        assert database.get(configuration=told["id"][0]).id == 1
        assert database.get(campaign="Si melt", iteration=0).id == 1
        # These read as numbers, which ASE takes for texts in no other way.
        assert database.get(configuration=f'"{told["id"][1]}"').settings_hash == '"1e5"'
        assert rows[1].data == {name: texts[1] for name, texts in told.items()}
        assert rows[2].key_value_pairs == {"campaign": "x"}


def test_ase_finds_the_provenance_in_our_extended_xyz(tmp_path, data):
    marked, told = with_provenance(data[0])
    write_extxyz(tmp_path / "frames.xyz", [marked])
    frames = read(tmp_path / "frames.xyz", ":", format="extxyz")
    for k, atoms in enumerate(frames):
        for name, texts in told.items():
            wanted = int(texts[k]) if name == "iteration" and texts[k] else texts[k]
            assert atoms.info.get(name, "") == wanted, (k, name)
    (back,) = find("extxyz").read(tmp_path / "frames.xyz", NOTHING_SAID)
    assert np.array_equal(back.energies, data[0].energies)


def test_we_read_a_database_of_ase_as_ase_does(tmp_path, data):
    images = [frame.to_ase() for frame in single_frames(data)]
    with ase.db.connect(tmp_path / "theirs.db") as database:
        for k, atoms in enumerate(images):
            database.write(atoms, step=k, note="a = b")
    back = list(single_frames(read_ase_db(tmp_path / "theirs.db")))
    for (atoms, label), image in zip(back, images, strict=True):
        assert np.array_equal(atoms.positions, image.positions) and atoms.pbc.tolist() == image.pbc.tolist()
        assert label.energy == image.get_potential_energy()
        assert np.array_equal(label.forces, image.get_forces())
        assert (label.virial is None) == ("stress" not in image.calc.results)
        if label.virial is not None:
            theirs = -image.get_stress(voigt=False) * image.get_volume()
            assert label.virial == pytest.approx(theirs, rel=1e-13)


@pytest.mark.parametrize("name", FILES)
def test_an_interrupted_writer_leaves_what_was_there(tmp_path, data, name):
    place = tmp_path / f"data{find(name).suffix}"
    FILES[name](place, data)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def interrupted():
        yield data[1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FILES[name](place, interrupted())
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    FILES[name](place, data[1:2])
    assert sum(len(part) for part in find(name).read(place, NOTHING_SAID)) == 3
    assert [path.name for path in tmp_path.iterdir()] == [place.name]


def spoiled_lmdb(path):
    with lmdb.open(str(path)) as database, database.begin(write=True) as writing:
        record = msgpack.unpackb(writing.get(b"000000000001"))
        record["energies"]["data"] = np.float64(np.nan).tobytes()
        writing.put(b"000000000001", msgpack.packb(record))


def lost_lmdb(path):
    with lmdb.open(str(path)) as database, database.begin(write=True) as writing:
        writing.delete(b"000000000002")


def spoiled_hdf5(path):
    with h5py.File(path, "r+") as file:
        next(iter(file.values()))["set.000/energy.npy"][1] = np.nan


def unlabelled_row(path):
    with ase.db.connect(path) as database:
        database.write(Atoms("H"))


def spoiled_row(path):
    with ase.db.connect(path) as database:
        atoms = Atoms("H")
        atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.full((1, 3), np.nan))
        database.write(atoms)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("deepmd/hdf5", lambda path: path.write_bytes(path.read_bytes()[:-200]), "not a readable HDF5 file"),
        ("deepmd/hdf5", spoiled_hdf5, r"hdf5#/\w+/set.000/energy.npy: frame 1: .*not finite"),
        ("lmdb", spoiled_lmdb, "frame 1: .*not finite"),
        ("lmdb", lost_lmdb, "frame 2: no such record"),
        ("lmdb", lambda path: (path / "data.mdb").write_bytes(b"x" * 9000), "not a readable LMDB database"),
        ("ase-db", unlabelled_row, "row 4: no energy"),
        ("ase-db", spoiled_row, "row 4: forces: a number that is not finite"),
        ("ase-db", lambda path: path.write_bytes(path.read_bytes()[:9000]), "not a readable database of ASE"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_frame(tmp_path, data, name, damage, message):
    place = tmp_path / f"data{find(name).suffix}"
    FILES[name](place, data[:1])
    damage(place)
    with pytest.raises(InputError, match=message):
        list(find(name).read(place, NOTHING_SAID))


def test_a_missing_library_is_named_with_what_installs_it(tmp_path, data, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lmdb", None)
    with pytest.raises(AlpwError, match=r"lmdb needs lmdb, which is missing: pip install 'alpw\[formats\]'"):
        write_lmdb(tmp_path / "train.lmdb", data)
