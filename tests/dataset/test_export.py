"""`alpw export QUERY`: foreign readers find the frames of the database, and nothing is lost on the way.

Binary formats and extended XYZ give the doubles of the database; PWdata has fractional coordinates (1e-12 Å),
ASE's database a stress instead of a virial (1e-13).
"""

import json
from itertools import count
from pathlib import Path

import ase.db
import dpdata
import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from typer.testing import CliRunner

from alpw.cli.main import app
from alpw.dataset import Dataset, export
from alpw.formats.load import load_frames
from alpw.formats.registry import NOTHING_SAID, find
from alpw.structures.frame import Label, LabelledFrame
from alpw.structures.frames import single_frames

SUFFIXES = {"extxyz": ".xyz", "deepmd/hdf5": ".hdf5", "lmdb": ".lmdb", "ase-db": ".db"}


def alpw(*words):
    return CliRunner().invoke(app, list(map(str, words)))


def files(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def by_energy(frames):
    return {frame.label.energy: frame for frame in frames}


def check(back, wanted, positions=0.0, virials=0.0):
    """Frames with their atoms in any order; energies tell them apart."""
    back, wanted = by_energy(back), by_energy(wanted)
    assert back.keys() == wanted.keys() and wanted
    for energy, (atoms, label) in wanted.items():
        other, found = back[energy]
        one, two = (
            np.lexsort((*label.forces.T, atoms.numbers)),
            np.lexsort((*found.forces.T, other.numbers)),
        )
        assert atoms.numbers[one].tolist() == other.numbers[two].tolist()
        assert np.array_equal(label.forces[one], found.forces[two])
        assert other.positions[two] == pytest.approx(atoms.positions[one], abs=positions, rel=0)
        assert np.array_equal(atoms.cell, other.cell)
        assert (label.virial is None) == (found.virial is None)
        if label.virial is not None:
            assert found.virial == pytest.approx(label.virial, rel=virials, abs=virials)


def test_every_format_gives_the_frames_of_the_database(db):
    wanted = list(Dataset(db).frames())
    for to in ("extxyz", "pwdata", "deepmd/npy", "deepmd/mixed", "deepmd/hdf5", "ase-db", "lmdb"):
        out = Path("out" + to.replace("/", "_") + SUFFIXES.get(to, ""))
        told = alpw("export", "--to", to, "-o", out, "--json")
        assert told.exit_code == 0, told.output
        report = json.loads(told.stdout)
        assert (report["frames"], report["files"]) == (12, [str(out)])
        assert report["compositions"] == {"Si8": 8, "C4Si4": 4}
        tolerance = {"positions": 1e-12} if to == "pwdata" else {}
        check(load_frames(out), wanted, **tolerance, virials=1e-12 if to == "ase-db" else 0.0)
    assert not [path for path in Path().iterdir() if path.name.startswith(".out")]


def of_dpdata(path, form):
    systems = dpdata.MultiSystems()
    systems.load_systems_from_file(str(path), fmt=form)
    for system in systems.systems.values():
        symbols = [system["atom_names"][kind] for kind in system["atom_types"]]
        for k, energy in enumerate(system["energies"]):
            atoms = Atoms(symbols, system["coords"][k], cell=system["cells"][k], pbc=True)
            yield LabelledFrame(atoms, Label(float(energy), system["forces"][k], system["virials"][k]))


@pytest.mark.parametrize(
    ("to", "form"),
    [
        ("deepmd/npy", "deepmd/npy"),
        ("deepmd/mixed", "deepmd/npy/mixed"),
        ("deepmd/hdf5", "deepmd/hdf5"),
        ("lmdb", "deepmd/lmdb"),
    ],
)
def test_dpdata_reads_the_frames_of_the_database(db, to, form):
    # dpdata takes no composition of which only some frames have a virial.
    assert alpw("export", "virial?", "state=labelled", "--to", to, "-o", "out").exit_code == 0
    check(of_dpdata("out", form), Dataset(db, {"virial": {"$exists": True}}).frames())


def test_a_frame_is_found_again_by_its_id(db):
    assert alpw("export", "campaign=tiny", "chemsys=C-Si", "--to", "extxyz", "-o", "all.xyz").exit_code == 0
    assert alpw("export", "chemsys=C-Si", "--to", "ase-db", "-o", "all.db").exit_code == 0
    wanted = {
        str(document["_id"]): document for document in Dataset(db, {"chemical_system": "C-Si"}).documents()
    }
    with ase.db.connect("all.db") as database:
        rows = [row.data | {"iteration": row.iteration, "energy": row.energy} for row in database.select()]
    images = [atoms.info | {"energy": atoms.get_potential_energy()} for atoms in read("all.xyz", ":")]
    for found in (rows, images):
        assert {facts["id"] for facts in found} == set(wanted)
        for facts in found:
            document = wanted[facts["id"]]
            for name in ("campaign", "iteration", "settings_hash", "energy"):
                assert facts[name] == document[name]


def test_parts_have_whole_trajectories_and_snapshots_are_queries(db):
    assert alpw("dataset", "snapshot", "paper", "chemsys=Si").exit_code == 0
    dataset, halves, shares = (
        Dataset(db, {"$snapshot": "paper"}),
        {"train": 1.0, "valid": 1.0},
        "train=1,valid=1",
    )
    # Trajectories have other ids each time; a seed that gives both parts some.
    divisions = ((seed, dataset.split(halves, seed=seed)) for seed in range(50))
    seed, division = next((s, d) for s, d in divisions if all(part.count() for part in d.values()))
    wanted = {name: list(part.frames()) for name, part in division.items()}
    sizes = {name: len(frames) for name, frames in wanted.items()}
    gone = {"state": "removed", "removed": {"state": "labelled"}}
    db.configurations.update_many({"chemical_system": "Si"}, {"$set": gone})
    for to in ("extxyz", "lmdb", "pwdata", "deepmd/npy"):
        out = Path(to.replace("/", "_"))
        told = alpw(
            "export",
            "snapshot=paper",
            "--to",
            to,
            "-o",
            out,
            "--split",
            shares,
            "--seed",
            seed,
            "--json",
        )
        assert told.exit_code == 0, told.output
        assert json.loads(told.stdout)["parts"] == sizes
        for name, frames in wanted.items():
            place = out / f"{name}{find(to).suffix}"
            back = load_frames(out, name) if to == "pwdata" else load_frames(place)
            check(back, frames, positions=1e-12 if to == "pwdata" else 0.0)
    result = alpw(
        "export", "snapshot=paper", "--to", "extxyz", "-o", "new", "--split", "train=0.9,valid=1e-9"
    )
    assert result.exit_code == 2 and "valid would be empty" in result.stderr and not Path("new").exists()


def test_what_is_there_is_replaced_on_demand_and_only_if_it_is_a_data_set(db):
    assert alpw("export", "--to", "deepmd/npy", "-o", "data").exit_code == 0
    before = files(".")
    result = alpw("export", "chemsys=Si", "--to", "deepmd/npy", "-o", "data")
    assert result.exit_code == 2 and "exists already; --force replaces it" in result.stderr
    assert files(".") == before
    assert alpw("export", "chemsys=Si", "--to", "deepmd/npy", "-o", "data", "--force").exit_code == 0
    assert len(load_frames("data")) == 8
    Path("data/notes.txt").write_text("mine")
    before = files(".")
    for to, place in (("deepmd/npy", "data"), ("extxyz", "data"), ("lmdb", "data/notes.txt")):
        result = alpw("export", "--to", to, "-o", place, "--force")
        assert result.exit_code == 2, result.output
    assert "is a file, and a folder is to be written" in result.stderr
    assert files(".") == before


def test_an_interrupted_export_leaves_what_was_there(db, monkeypatch):
    for to in ("deepmd/npy", "lmdb", "extxyz"):
        assert alpw("export", "chemsys=Si", "--to", to, "-o", f"data{to[:3]}").exit_code == 0
    before = files(".")
    original, numbers = export.frame_of, count(1)

    def cut(document):
        if next(numbers) % 5 == 0:
            raise KeyboardInterrupt
        return original(document)

    monkeypatch.setattr(export, "frame_of", cut)
    for to in ("deepmd/npy", "lmdb", "extxyz"):
        assert alpw("export", "chemsys=Si", "--to", to, "-o", f"data{to[:3]}", "--force").exit_code != 0
    assert files(".") == before and not [path for path in Path().iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("chemsys=Ge", "--to", "lmdb", "-o", "x"), 1, "no labelled frame matches"),
        (("--to", "extxyz"), 2, "--out: name the file"),
        (("--to", "extxyz", "-o", "x", "--sel", "20"), 2, "--sel: is for models (--to deepmd, torchscript"),
        (
            ("model.pt", "--to", "ase", "--split", "a=1"),
            2,
            "--split: is for data, and --to ase writes a model",
        ),
        (("chemsys=Si", "--to", "deepmd"), 2, "frames are written with --to deepmd/npy"),
        (("--to", "vasp/outcar", "-o", "x"), 2, "vasp/outcar takes no labelled frames; allowed: pwmlff/npy"),
        (("--to", "xyzz", "-o", "x"), 2, "unknown format 'xyzz'"),
        (("--to", "extxyz", "-o", "no/x"), 2, "no folder"),
        (("--to", "extxyz", "-o", "x", "--split", "train"), 2, "write train=0.8,valid=0.2"),
        (
            ("--to", "pwdata", "-o", "x", "--split", "train=1,test=1"),
            2,
            "PWdata has the parts train and valid",
        ),
        (("max_forse>1", "--to", "extxyz", "-o", "x"), 2, "there is no field 'max_forse'"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_written(db, words, status, message):
    result = alpw("export", *words)
    assert (result.exit_code, message in result.stderr) == (status, True), result.output
    assert not Path("x").exists()


def test_a_frame_that_a_format_cannot_hold_is_refused_by_the_name_of_the_file(db):
    db.configurations.update_one({"key": "3"}, {"$set": {"structure.pbc": [False] * 3}})
    flat = db.configurations.find_one({"key": "3"})["structure"]["cell"]
    flat["data"] = bytes(len(flat["data"]))
    db.configurations.update_one({"key": "3"}, {"$set": {"structure.cell": flat}})
    result = alpw("export", "--to", "pwdata", "-o", "x")
    assert result.exit_code == 2 and f"{Path.cwd() / 'x'}: PWdata holds periodic frames only" in result.stderr
    assert not Path("x").exists() and alpw("export", "--to", "extxyz", "-o", "x.xyz").exit_code == 0
    assert len(list(single_frames(find("extxyz").read("x.xyz", NOTHING_SAID)))) == 12
