"""`alpw compress`, `alpw export`, `alpw import`: other forms of a model, each as accurate as it says."""

import json

import pytest
import torch
from ase.build import bulk
from ase.io import read

from alpw.potential import DeepPotential


def test_a_compressed_model_is_as_far_from_its_parent_as_reported(folder):
    result = folder.alpw("compress", "run/model.pt", "--frames", "valid.xyz", "--spacing", "0.1", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    parent, compressed = DeepPotential.load("run/model.pt"), DeepPotential.load(report["file"])
    found = max(
        abs(compressed.predict(atoms).forces - parent.predict(atoms).forces).max()
        for atoms in read("valid.xyz", ":")
    )
    assert report["file"] == "run/model.compressed.pt" and report["n_frames"] == 14
    assert report["force_error"] == pytest.approx(found, rel=1e-6) and 0 < found < 1e-3


def test_the_default_spacing_costs_less_than_a_millionth_of_an_ev_per_angstrom(folder):
    result = folder.alpw("compress", "run/model.pt", "-o", "fast.pt")
    line = next(line for line in result.stdout.splitlines() if line.split()[:1] == ["force"])
    assert float(line.split()[1]) < 1e-6 and "random crystals" in result.stdout


def test_export_and_import_give_the_model_back(folder):
    assert folder.alpw("export", "run/model.pt", "--to", "deepmd", "-o", "model.yaml").exit_code == 0
    result = folder.alpw("import", "model.yaml", "-o", "back.pt", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["network"]["elements"] == ["Cu", "Au"]
    parent, back = DeepPotential.load("run/model.pt"), DeepPotential.load("back.pt")
    for atoms in read("valid.xyz", ":3"):
        one, other = parent.predict(atoms), back.predict(atoms)
        assert other.energy == pytest.approx(one.energy, rel=1e-12)
        assert other.forces == pytest.approx(one.forces, abs=1e-11)


def test_exports_say_what_they_wrote(folder):
    bulk("Au", cubic=True).write("POSCAR", format="vasp")
    for target in ("torchscript", "ase", "lammps"):
        words = () if target == "torchscript" else ("--structure", "POSCAR")
        result = folder.alpw("export", "run/model.pt", "--to", target, *words, "--json")
        assert result.exit_code == 0, result.stderr
        files = json.loads(result.stdout)["files"]
        assert files and all((folder.path / file).is_file() for file in files)
    assert torch.jit.load("run/model.torchscript.pt") is not None


def test_nothing_is_overwritten_without_force(folder):
    for words in (
        ("compress", "run/model.pt", "-o", "train.xyz"),
        ("export", "run/model.pt", "--to", "ase", "-o", "train.xyz"),
        ("import", "valid.xyz", "-o", "train.xyz"),
    ):
        before = folder.files()
        result = folder.alpw(*words)
        assert result.exit_code == 2 and "train.xyz: exists already" in result.stderr
        assert folder.files() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("compress", "cut.pt"), "cut.pt: not a readable deep potential"),
        (("compress", "run/model.pt", "--order", "4"), "order: found 4"),
        (("compress", "run/model.pt", "--spacing", "0"), "spacing: found 0.0"),
        (("compress", "run/model.pt", "--frames", "iron.xyz"), "iron.xyz: element Fe"),
        (("export", "cut.pt", "--to", "ase"), "cut.pt: not a readable deep potential"),
        (("export", "run/model.pt", "--to", "deepmd", "-o", "model.xml"), "model.xml: found .xml; allowed"),
        (("export", "run/model.pt", "--to", "ase", "--structure", "iron.xyz"), "iron.xyz: element Fe"),
        (("export", "run/model.pt", "--to", "ase", "-o", "no/where.py"), "no/where.py: no folder"),
        (("import", "nothing.yaml", "-o", "new.pt"), "nothing.yaml: no such file"),
        (("import", "cut.yaml", "-o", "new.pt"), "cut.yaml: "),
    ],
)
def test_bad_input_is_named_and_leaves_no_file(folder, words, message):
    (folder.path / "cut.pt").write_bytes((folder.path / "run/model.pt").read_bytes()[:5000])
    assert folder.alpw("export", "run/model.pt", "--to", "deepmd", "-o", "cut.yaml").exit_code == 0
    (folder.path / "cut.yaml").write_text((folder.path / "cut.yaml").read_text()[:3000])
    bulk("Fe").write("iron.xyz")
    before = folder.files()
    result = folder.alpw(*words)
    assert result.exit_code == 2 and message in result.stderr
    assert folder.files() == before
