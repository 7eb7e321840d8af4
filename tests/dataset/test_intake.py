"""What `alpw import` takes in, what it leaves out, and what it says."""

import json
import lzma
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read
from typer.testing import CliRunner

from alpw.cli.intake import MODEL_ENDINGS
from alpw.cli.main import app
from alpw.codes.protocol import settings_hash
from alpw.codes.registry import code_of
from alpw.config.load import load_param, load_resource
from alpw.database import campaigns, configurations
from alpw.database.configurations import Role
from alpw.dataset import Dataset
from alpw.dataset.incoming import Terms
from alpw.dataset.intake import import_files
from alpw.errors import InputError
from alpw.formats.convert import find_inputs
from alpw.formats.extxyz import write_extxyz
from alpw.formats.registry import find
from alpw.potential.interchange import deepmd_files
from alpw.structures.frame import Label, LabelledFrame
from alpw.structures.frames import LabelledFrames
from alpw.workflows.launch import start_campaign
from tests.legacy.samples import dpgen

FORMATS = Path(__file__).parents[1] / "formats"
OUTCAR = FORMATS / "data" / "relax.OUTCAR.xz"


def frames(count, seed=0):
    """Rattled silicon with labels out of the air."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.1, rng=rng)
        forces = rng.normal(0, 1, (8, 3))
        made.append(LabelledFrame(atoms, Label(-40.0 - 0.01 * number, forces, np.diag([1.0, 2.0, 3.0]))))
    return made


@pytest.fixture
def db(launchpad, inputs, monkeypatch):
    """An empty data set; the working directory is a folder for files."""
    monkeypatch.chdir(inputs.folder)
    return launchpad.db


def take(*words):
    """Run ``alpw import``; its exit status, and its JSON."""
    result = CliRunner().invoke(app, ["import", *map(str, words), "--json"])
    assert result.exit_code in (0, 1, 2), result.output
    return result.exit_code, json.loads(result.stdout) if result.stdout else result.stderr


def counted(told):
    return [told[name] for name in ("frames", "new", "duplicates", "conflicts", "unconverged")]


def test_frames_keep_their_label_and_where_they_come_from(db):
    write_extxyz("a.xyz", frames(3))
    status, told = take(
        "a.xyz", "--to", "bulk", "--tag", "good", "--role", "validation", "--level", "PBE 40 Ry"
    )
    assert status == 0 and counted(told) == [3, 3, 0, 0, 0]
    documents = list(db.configurations.find().sort("_id", 1))
    for number, (document, atoms) in enumerate(zip(documents, read("a.xyz", ":"), strict=True)):
        (found,) = Dataset(db, {"_id": document["_id"]}).atoms()
        assert found.get_potential_energy() == atoms.get_potential_energy()
        assert np.array_equal(found.get_forces(), atoms.get_forces())
        assert found.positions == pytest.approx(atoms.positions, abs=1e-14)
        assert document["source"]["file"] == str(Path("a.xyz").resolve())
        assert document["source"]["frame"] == number and document["source"]["format"] == "extxyz"
        assert document["settings"] == {"level": "PBE 40 Ry"} and document["tags"] == ["good"]
        assert (document["campaign"], document["iteration"], document["role"]) == ("bulk", -1, "validation")
    digest = subprocess.run(["sha256sum", "a.xyz"], capture_output=True, text=True, check=True).stdout.split()
    assert documents[0]["source"]["sha256"] == digest[0]


def test_a_frame_comes_once_whatever_its_format_its_order_and_its_campaign(db):
    made = frames(4)
    configurations.add_frame(db, "elsewhere", 0, "key", made[0], Role.TRAIN, {}, {"settings_hash": "ab" * 32})
    write_extxyz("a.xyz", [*made, made[1]])
    assert counted(take("a.xyz", "--dry-run")[1]) == [5, 3, 2, 0, 0] and Dataset(db).count() == 1
    assert counted(take("a.xyz")[1]) == [5, 3, 2, 0, 0]
    assert counted(take("a.xyz")[1]) == [5, 0, 5, 0, 0]
    # PWdata has fractional coordinates: its last bits are others.
    find("pwmlff/npy").write(Path("pwdata"), made)
    assert counted(take("pwdata")[1]) == [4, 0, 4, 0, 0]
    order = np.random.default_rng(1).permutation(8)
    turned = LabelledFrames.of(made).reordered(order)
    write_extxyz("turned.xyz", [turned])
    assert counted(take("turned.xyz")[1]) == [4, 0, 4, 0, 0]
    assert counted(take("a.xyz", "--to", "all", "--copies")[1]) == [5, 4, 1, 0, 0]
    assert Dataset(db, {"campaign": "all"}).count() == 4


@pytest.mark.parametrize("change", ["energy", "forces"])
def test_another_label_of_the_same_structure_is_told_and_the_first_stays(db, change):
    (first,) = frames(1)
    label = first.label
    energy, forces = label.energy, label.forces.copy()
    if change == "energy":
        energy += 8 * 2e-6
    else:
        # The largest force keeps its length: only the arrays tell.
        forces[np.argmin(np.linalg.norm(forces, axis=1))] += 3e-5
    other = LabelledFrame(first.atoms, Label(energy, forces, label.virial))
    write_extxyz("a.xyz", [first])
    write_extxyz("b.xyz", [other])
    for terms in (("--dry-run",), ()):
        status, told = take("a.xyz", "b.xyz", *terms)
        seen = (1, [2, 1, 0, 1, 0]) if change == "energy" or not terms else (0, [2, 1, 1, 0, 0])
        assert (status, counted(told)) == seen
    (conflict,) = told["files"][1]["conflicts"]
    (document,) = db.configurations.find()
    assert conflict["frame"] == 0 and conflict["other"] == str(document["_id"])
    assert conflict["other_place"] == f"{Path('a.xyz').resolve()} frame 0"
    assert document["energy"] == label.energy
    status, told = take("b.xyz", "--level", "another")
    assert (status, counted(told)) == (0, [1, 1, 0, 0, 0])


def truncated(folder):
    write_extxyz("bad.xyz", frames(3))
    text = Path("bad.xyz").read_text().splitlines(keepends=True)
    Path("bad.xyz").write_text("".join(text[:-2]))


def killed(folder):
    text = lzma.decompress(OUTCAR.read_bytes()).decode()
    Path("bad.OUTCAR").write_text(text[: int(0.8 * len(text))])


def not_finite(folder):
    find("deepmd/npy").write(Path("bad"), frames(5))
    forces = np.load("bad/Si8/set.000/force.npy")
    forces[3, 7] = np.nan
    np.save("bad/Si8/set.000/force.npy", forces)


def other_elements(folder):
    made = frames(3)
    made[2].atoms.symbols[3] = "C"
    write_extxyz("bad.xyz", made)


def huge(folder):
    n_atoms = 400_000
    atoms = bulk("Si", cubic=True)[[0]].repeat((n_atoms, 1, 1))
    label = Label(-1.0, np.zeros((n_atoms, 3)))
    find("deepmd/npy").write(Path("bad"), [LabelledFrame(atoms, label)])


def unlabelled(folder):
    bulk("Si").write("bad.vasp", format="vasp")


def unknown(folder):
    Path("bad.txt").write_text("energies of silicon\n")


@pytest.mark.parametrize(
    ("make", "words", "complaint"),
    [
        (truncated, (), "bad.xyz: frame 2: not a valid extended XYZ file: the frame has 6 of 8 atoms"),
        (killed, (), "--partial takes the frames that are whole"),
        (not_finite, (), "force.npy: frame 3: holds a number that is not finite"),
        (other_elements, ("--elements", "Si"), "bad.xyz: frame 2: holds C; --elements allows Si"),
        (huge, (), "bad: frame 0: 400000 atoms make a document of 20.8 MB"),
        (unlabelled, (), "is vasp/poscar, which has no energies and forces"),
        (unknown, (), "in none of the known formats"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_of_a_file_with_a_fault_nothing_is_stored(db, inputs, make, words, complaint):
    make(inputs.folder)
    write_extxyz("good.xyz", frames(2, seed=1))
    (bad,) = inputs.folder.glob("bad*")
    status, told = take("good.xyz", bad.name, *words)
    text = told if isinstance(told, str) else told["files"][1]["error"]
    assert status == 2 and complaint in " ".join(text.split())
    # What cannot be read at all is seen before anything is stored.
    assert Dataset(db).count() == (0 if isinstance(told, str) else 2)


def test_the_finished_steps_of_a_run_that_was_killed_are_taken_if_asked_for(db, inputs):
    killed(inputs.folder)
    status, told = take("bad.OUTCAR", "--partial", "--keep-unconverged")
    assert status == 0 and told["new"] == told["frames"] > 1
    whole = [frame for batch in find("vasp/outcar").read(OUTCAR, Terms().options) for frame in batch]
    for found, frame in zip(Dataset(db).frames(), whole, strict=False):
        assert found.label.energy == frame.label.energy


def test_labels_of_a_run_of_ours_have_its_level_of_theory(db, inputs):
    folder = inputs.folder / "run"
    shutil.copytree(FORMATS / "cp2k" / "single", folder)
    (folder / "inputs.json").write_text(json.dumps({"rules": {"kspacing": 0.3, "kind": None}}))
    assert take(folder / "cp2k.out")[0] == 0
    (document,) = db.configurations.find()
    assert document["settings_hash"] == settings_hash(code_of("cp2k").settings(folder))
    assert document["code"] == "cp2k" and document["settings"]["kpoints"] == {"kspacing": 0.3}


def test_validation_folders_of_pwdata_stay_validation_frames(db):
    made = frames(5)
    find("pwmlff/npy").write(Path("pwdata"), made[:3], made[3:])
    assert counted(take("pwdata")[1]) == [5, 5, 0, 0, 0]
    held_out = {round(frame.label.energy, 9) for frame in Dataset(db, {"role": "validation"}).frames()}
    assert held_out == {round(frame.label.energy, 9) for frame in made[3:]}


def test_a_name_is_that_of_a_data_set_or_of_a_campaign(db, inputs, launchpad):
    write_extxyz("a.xyz", frames(1))
    campaigns.create(db, "other", {})
    status, told = take("a.xyz", "--to", "other")
    assert status == 2 and "is a campaign" in told
    assert take("a.xyz", "--to", "tiny")[0] == 0
    with pytest.raises(InputError, match="is a data set that was imported"):
        start_campaign(launchpad, load_param("param.json"), load_resource("resource.json"))
    assert campaigns.find(db, "tiny") is None


def test_the_folder_of_another_program_s_campaign_becomes_a_campaign(db, inputs):
    folder = dpgen(inputs.folder / "sic_run")
    write_extxyz("a.xyz", frames(1))
    status, told = take(folder, "--to", "sic")
    assert (status, told["family"], told["new"], told["n_iterations"]) == (0, "dpgen", 9, 3)
    assert campaigns.get(db, "sic")["kind"] == campaigns.IMPORTED
    status, told = take(folder, "a.xyz")
    assert status == 2 and "is imported alone" in " ".join(told.split())
    assert take("a.xyz", "--to", "bulk")[0] == 0
    status, told = take(folder, "--to", "bulk")
    assert status == 2 and "is a data set that was imported" in " ".join(told.split())


def test_options_of_models_and_of_frames_do_not_mix(db):
    assert set(MODEL_ENDINGS) == set(deepmd_files.READ)
    write_extxyz("a.xyz", frames(1))
    Path("model.yaml").write_text("backend: x\n")
    for words, complaint in (
        (("model.yaml",), "looks like a model"),
        (("a.xyz", "-o", "model.pt", "--to", "bulk"), "-o reads one model"),
        (("a.xyz", "--force"), "needs -o MODEL"),
        (("a.xyz", "--to", "a b"), "is no name"),
        (("*.nothing",), "no file fits this pattern"),
    ):
        status, told = take(*words)
        assert status == 2 and complaint in " ".join(told.split())


KILLED = """
import os, signal, sys
from pathlib import Path
from pymongo.collection import Collection
from alpw.cli.main import app

insert, calls = Collection.insert_many, []

def dies(self, documents, **options):
    calls.append(1)
    if len(calls) == 3:
        insert(self, documents[:50], **options)
        os.kill(os.getpid(), signal.SIGKILL)
    return insert(self, documents, **options)

Collection.insert_many = dies
app(["import", "a.xyz"])
"""


def test_an_import_that_was_killed_is_complete_when_it_is_repeated(db, inputs):
    made = frames(500)
    write_extxyz("a.xyz", made)
    ended = subprocess.run([sys.executable, "-c", KILLED], cwd=inputs.folder, env=inputs.environment())
    assert ended.returncode == -signal.SIGKILL and Dataset(db).count() == 450
    assert counted(take("a.xyz")[1]) == [500, 50, 450, 0, 0]
    check_complete(db, made)


TOGETHER = """
import json, sys
from pathlib import Path
from alpw.database.launchpad import open_launchpad
from alpw.dataset.intake import Terms, import_files
from alpw.formats.convert import find_inputs

db = open_launchpad(Path("my_launchpad.yaml")).db
inputs = find_inputs([Path(sys.argv[1])], None)
print("ready", flush=True)
sys.stdin.readline()
(report,) = import_files(db, inputs, Terms())
print(json.dumps([report.new, report.duplicates, len(report.conflicts)]))
"""


def test_two_writers_of_the_same_frames_lose_none_and_double_none(db, inputs):
    made = frames(600)
    write_extxyz("a.xyz", made[:400])
    write_extxyz("b.xyz", made[200:][::-1])
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, name],
            cwd=inputs.folder,
            env=inputs.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("a.xyz", "b.xyz")
    ]
    assert all(writer.stdout.readline() == "ready\n" for writer in writers)
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    told = [json.loads(writer.communicate()[0]) for writer in writers]
    assert sum(new for new, _, _ in told) == 600 and sum(known for _, known, _ in told) == 200
    check_complete(db, made)


def check_complete(db, made):
    """Each frame is there once."""
    energies = sorted(document["energy"] for document in db.configurations.find({}, {"energy": 1}))
    assert energies == sorted(frame.label.energy for frame in made)


def test_a_writer_who_was_too_late_is_told_of_the_other_one(db, monkeypatch):
    """Both look before either stores."""
    made = frames(3)
    write_extxyz("a.xyz", made)
    write_extxyz("b.xyz", [made[0], LabelledFrame(made[1].atoms, Label(-1.0, made[1].label.forces))])
    collection = type(db.configurations)
    insert = collection.insert_many

    def late(self, documents, **options):
        monkeypatch.setattr(collection, "insert_many", insert)
        import_files(db, find_inputs([Path("a.xyz")], None), Terms())
        return insert(self, documents, **options)

    monkeypatch.setattr(collection, "insert_many", late)
    (report,) = import_files(db, find_inputs([Path("b.xyz")], None), Terms())
    assert (report.new, report.duplicates, len(report.conflicts)) == (0, 1, 1)
    check_complete(db, made)
