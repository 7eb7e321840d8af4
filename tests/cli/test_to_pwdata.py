"""`alpw to_pwdata`: the predecessor's options, doing what they say."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from alpw.cli.main import app
from alpw.formats.load import load_frames
from alpw.formats.pwdata import write_pwdata
from alpw.formats.registry import FORMATS, find
from alpw.structures.frames import LabelledFrames


def frames(count, symbols="SiOSi", first=0, virials=True):
    """Frames whose energy is their number."""
    rng = np.random.default_rng(first)
    n_atoms = len(Atoms(symbols))
    return LabelledFrames(
        numbers=Atoms(symbols).numbers.astype(np.int64),
        cells=np.tile(np.diag([5.0, 6.0, 7.0]), (count, 1, 1)),
        positions=rng.uniform(0, 5, (count, n_atoms, 3)),
        energies=np.arange(first, first + count, dtype=float),
        forces=rng.normal(size=(count, n_atoms, 3)),
        virials=rng.normal(size=(count, 3, 3)) if virials else None,
        converged=np.ones(count, dtype=bool),
    )


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a MOVEMENT of ten frames, as the working directory."""
    monkeypatch.chdir(tmp_path)
    find("movement").write(tmp_path / "MOVEMENT", [frames(10)])
    return tmp_path


def run(*words):
    return CliRunner().invoke(app, ["to_pwdata", *map(str, words)])


def energies(path, part="all"):
    return [round(frame.label.energy) for frame in load_frames(path, part)]


def test_the_defaults_are_the_predecessor_s(work):
    result = run("-i", "MOVEMENT")
    assert result.exit_code == 0, result.stderr
    folder = work / "PWdata" / "O1Si2"
    assert sorted(path.name for path in folder.iterdir()) == ["train", "valid"]
    train, valid = energies("PWdata", "train"), energies("PWdata", "valid")
    assert len(train) == 8 and sorted(train + valid) == list(range(10)) and train != list(range(8))
    # NumPy's generator of the predecessor, seeded as it does.
    np.random.seed(2024)
    indices = np.arange(10)
    np.random.shuffle(indices)
    assert train == indices[:8].tolist() and valid == indices[8:].tolist()
    assert "8 frames for training, 2 for validation" in result.stdout


@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.5, 0.95, 1])
def test_the_ratio_is_rounded_up(work, ratio):
    result = run("-i", "MOVEMENT", "-o", ratio, "--json")
    report = json.loads(result.stdout)
    assert report["train"] == math.ceil(10 * ratio) and report["train"] + report["valid"] == 10
    assert len(energies("PWdata")) == 10


@pytest.mark.parametrize("word", ["false", "False", "F", "0", "no"])
def test_no_shuffling_means_no_shuffling(work, word):
    assert run("-i", "MOVEMENT", "-r", word, "-o", "0.7").exit_code == 0
    assert energies("PWdata", "train") == list(range(7)) and energies("PWdata", "valid") == [7, 8, 9]


def test_a_word_that_is_no_boolean_is_refused(work):
    for option in ("-r", "-m"):
        result = run("-i", "MOVEMENT", option, "maybe")
        assert result.exit_code == 2 and "'maybe'" in result.stderr
    assert not (work / "PWdata").exists()


def test_seeds_differ_and_repeat(work):
    splits = []
    for seed in (1, 2, 1):
        assert run("-i", "MOVEMENT", "--seed", seed).exit_code == 0
        splits.append(energies("PWdata", "train"))
    assert splits[0] == splits[2] != splits[1]


@pytest.mark.parametrize("gap", [1, 2, 3, 4, 11])
def test_the_gap_takes_every_nth_frame_of_a_file(work, gap):
    find("extxyz").write(work / "long.xyz", [frames(3000, first=100)])
    assert run("-i", "long.xyz", "-f", "extxyz", "-g", gap, "-r", "F", "-o", 1).exit_code == 0
    assert energies("PWdata") == list(range(100, 3100, gap))


def test_a_repetition_leaves_the_same_data(work):
    for _ in range(2):
        assert run("-i", "MOVEMENT").exit_code == 0
    assert sorted(energies("PWdata")) == list(range(10))
    assert run("-i", "MOVEMENT", "-o", "1").exit_code == 0
    assert energies("PWdata", "valid") == [] and len(energies("PWdata")) == 10
    assert list(work.rglob(".*")) == []


def test_identical_frames_are_written_once_and_told(work):
    shutil.copy("MOVEMENT", "again")
    result = run("-i", "MOVEMENT", "-i", "again", "MOVEMENT", "--json")
    report = json.loads(result.stdout)
    assert report["read"] == 20 and report["duplicates"] == 10 and len(energies("PWdata")) == 10
    assert "10 frames are identical to others and written once" in run("-i", "MOVEMENT", "again").stderr


def test_many_files_by_name_by_pattern_and_by_folder(work):
    for k in range(3):
        folder = work / "runs" / f"{k}"
        folder.mkdir(parents=True)
        find("movement").write(folder / "MOVEMENT", [frames(4, first=100 * (k + 1))])
        (folder / "notes.txt").write_text("nothing to read")
    for words in (["runs/0/MOVEMENT", "runs/1/MOVEMENT", "runs/2/MOVEMENT"], ["runs/*/MOVEMENT"], ["runs"]):
        result = run("-i", *words, "-s", "out", "--json")
        assert result.exit_code == 0, result.stderr
        assert len(json.loads(result.stdout)["inputs"]) == 3
        assert len(energies("out")) == 12
    assert run("-i", "runs/[01]/MOVE*", "-s", "out", "-w", work, "--json").exit_code == 0
    assert len(energies("out")) == 8


def test_the_work_dir_is_where_paths_begin(work, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert run("-i", "MOVEMENT", "-w", work, "-s", "made/data").exit_code == 0
    assert len(energies(work / "made" / "data")) == 10 and list(Path().iterdir()) == []


def test_compositions_are_split_one_by_one(work):
    find("extxyz").write(work / "mixed.xyz", [frames(5, "Si2"), frames(1, "SiO", 10), frames(6, "Si2", 20)])
    assert run("-i", "mixed.xyz", "-f", "extxyz").exit_code == 0
    assert sorted(path.name for path in (work / "PWdata").iterdir()) == ["O1Si1", "Si2"]
    assert len(energies("PWdata/Si2", "train")) == 9 and len(energies("PWdata/Si2", "valid")) == 2
    assert energies("PWdata/O1Si1") == [10]


def test_merging_needs_one_composition(work):
    assert run("-i", "MOVEMENT", "-m", "true", "-s", "one").exit_code == 0
    assert sorted(path.name for path in (work / "one").iterdir()) == ["train", "valid"]
    find("extxyz").write(work / "mixed.xyz", [frames(5, "Si2"), frames(1, "SiO", 10)])
    result = run("-i", "mixed.xyz", "-f", "auto", "-m", "T", "-s", "two")
    assert result.exit_code == 2 and "only frames of one composition can be merged" in result.stderr
    assert not (work / "two").exists()


def test_unconverged_frames_are_dropped_and_counted_unless_kept(work):
    marked = LabelledFrames(**{**frames(6).__dict__, "converged": np.array([1, 1, 0, 1, 0, 1], dtype=bool)})
    find("extxyz").write(work / "some.xyz", [marked])
    report = json.loads(run("-i", "some.xyz", "-f", "auto", "-o", 1, "--json").stdout)
    assert report["unconverged"] == 2 and sorted(energies("PWdata")) == [0, 1, 3, 5]
    result = run("-i", "some.xyz", "-f", "auto", "-o", 1, "--unconverged", "keep")
    assert "2 frames without a converged SCF are kept" in result.stderr and len(energies("PWdata")) == 6


@pytest.mark.parametrize("target", [form.name for form in FORMATS if form.labelled and form.write])
def test_every_labelled_format_is_written_and_read_again(work, target):
    result = run("-i", "MOVEMENT", "--to", target, "-s", "out", "--json")
    assert result.exit_code == 0, result.stderr
    suffix = find(target).suffix
    parts = ["out"] if target == "pwmlff/npy" else [f"out/train{suffix}", f"out/valid{suffix}"]
    assert sorted(e for part in parts for e in energies(part)) == list(range(10))
    back = run("-i", *parts, "-f", "auto", "-s", "back", "--json")
    assert back.exit_code == 0, back.stderr
    by_energy = {round(frame.label.energy): frame for frame in load_frames("back")}
    original = {round(frame.label.energy): frame for frame in load_frames("MOVEMENT")}
    for number, (atoms, label) in original.items():
        order = np.argsort(atoms.numbers, kind="stable")
        assert by_energy[number].atoms.positions == pytest.approx(atoms.positions[order], abs=1e-11)
        assert by_energy[number].label.forces == pytest.approx(label.forces[order], rel=1e-12)
        # ASE's database keeps six components of a stress.
        virial = (label.virial + label.virial.T) / 2 if target == "ase-db" else label.virial
        assert by_energy[number].label.virial == pytest.approx(virial, rel=1e-12)


def test_one_file_takes_all_frames(work):
    assert run("-i", "MOVEMENT", "--to", "extxyz", "-s", "all.xyz", "-r", "F").exit_code == 0
    assert energies("all.xyz") == list(range(10))
    result = run("-i", "MOVEMENT", "--to", "extxyz", "-s", "all.xyz", "-o", "0.8")
    assert result.exit_code == 2 and "one file takes no validation frames" in result.stderr


@pytest.mark.parametrize("target", [form.name for form in FORMATS if not form.labelled])
def test_structures_are_written_without_labels(work, target):
    for count in (10, 5):
        result = run("-i", "MOVEMENT", "--to", target, "-s", "out", "-g", 10 // count, "--json")
        assert result.exit_code == 0, result.stderr
        outputs = json.loads(result.stdout)["outputs"]
        structures = [
            atoms for path in outputs for atoms in find(target).read_structures(Path(path), find_options())
        ]
        assert len(structures) == count and {len(atoms) for atoms in structures} == {3}
        assert len(list((work / "out").iterdir())) == len(outputs)


def find_options():
    from alpw.formats.registry import Options

    return Options(elements=("Si", "O"))


def test_structures_become_structures(work):
    run("-i", "MOVEMENT", "--to", "vasp/poscar", "-s", "poscars", "-g", 10)
    assert (
        run("-i", "poscars/000000.vasp", "-f", "auto", "--to", "lammps/lmp", "-s", "data.lmp").exit_code == 0
    )
    atoms = next(find("lmp").read(work / "data.lmp", find_options()))
    assert sorted(atoms.get_chemical_symbols()) == ["O", "Si", "Si"]


def test_data_from_before_are_mentioned(work):
    write_pwdata(work / "PWdata", [frames(3, "Si2")])
    result = run("-i", "MOVEMENT")
    assert result.exit_code == 0 and "data from before lie there too: PWdata/Si2" in result.stderr.replace(
        "\n", ""
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-i", "nowhere"], "nowhere: no such file or folder"),
        (["-i", "no*where"], "no*where: no file fits this pattern"),
        (["-i", "MOVEMENT", "-f", "vasp/outcar"], "MOVEMENT: is pwmat/movement, not vasp/outcar"),
        (["-i", "MOVEMENT", "-f", "vasp/outcra"], "did you mean 'vasp/outcar'"),
        (["-i", "MOVEMENT", "--to", "vasp/outcar"], "vasp/outcar is only read"),
        (["-i", "MOVEMENT", "-o", "0"], "train_valid_ratio: found 0"),
        (["-i", "MOVEMENT", "-o", "1.5"], "train_valid_ratio: found 1.5"),
        (["-i", "MOVEMENT", "-g", "0"], "gap: found 0"),
        (["-i", "MOVEMENT", "-r", "maybe"], "data_shuffle: found 'maybe'"),
        (["-i", "MOVEMENT", "-s", "notes.txt/data"], "notes.txt/data: savepath: this folder cannot be made"),
        (["-i", "MOVEMENT", "--energy", "sigma0"], "MOVEMENT: has no energy extrapolated to zero smearing"),
        (
            ["-i", "MOVEMENT", "-i", "cut.xyz", "-f", "auto", "--to", "vasp/poscar", "-s", "poscars"],
            "cut.xyz: frame 9: not a valid extended XYZ file",
        ),
        (["-i", "MOVEMENT", "-w", "nowhere"], "no such folder"),
        (["-i", "notes.txt", "-f", "auto"], "notes.txt: in none of the known formats"),
        (["-i", "empty"], "empty: holds no file in pwmat/movement"),
        (["-i", "POSCAR", "-f", "vasp/poscar"], "POSCAR: is vasp/poscar, which has no energies and forces"),
        (["-i", "cut.xyz", "-f", "extxyz"], "cut.xyz: frame 9: not a valid extended XYZ file"),
        (["-i", "unconverged.xyz", "-f", "extxyz"], "no frames are left to write"),
        (["-i", "both", "-f", "auto"], "both: holds pwmat/movement and extxyz, perhaps of the same run"),
    ],
)
def test_wrong_input_ends_with_status_2_and_writes_nothing(work, words, message):
    (work / "notes.txt").write_text("nothing")
    (work / "empty").mkdir()
    find("poscar").write(work / "POSCAR", iter([frames(1)[0].atoms]), find_options())
    find("extxyz").write(work / "whole.xyz", [frames(10)])
    text = (work / "whole.xyz").read_text().splitlines(keepends=True)
    (work / "cut.xyz").write_text("".join(text[:-1]))
    none = LabelledFrames(**{**frames(2).__dict__, "converged": np.zeros(2, dtype=bool)})
    find("extxyz").write(work / "unconverged.xyz", [none])
    (work / "both").mkdir()
    shutil.copy("MOVEMENT", "both")
    shutil.copy("whole.xyz", "both")
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before
    assert not (work / "PWdata").exists() and not (work / "poscars").exists()


def test_the_energy_without_smearing_is_taken_from_any_file_that_has_it(work):
    extras = {"energy_sigma0": np.arange(10.0) + 0.25}
    find("extxyz").write(work / "vasp.xyz", [LabelledFrames(**{**frames(10).__dict__, "extras": extras})])
    result = run("-i", "vasp.xyz", "-f", "extxyz", "-r", "F", "-o", 1, "--energy", "sigma0", "--json")
    assert json.loads(result.stdout)["energy"] == "sigma0"
    found = [frame.label.energy for frame in load_frames(work / "PWdata")]
    assert found == extras["energy_sigma0"].tolist()


def test_data_sets_beside_the_files_of_a_folder_do_not_hide_them(work):
    for _ in range(2):
        result = run("-i", ".", "-o", 1)
        assert result.exit_code == 0, result.stderr
        assert len(energies("PWdata")) == 10


def test_the_predecessor_s_command_in_any_case(work):
    command = Path(sys.executable).parent / "al_pwmlff"
    words = [
        "-i",
        "MOVEMENT",
        "-f",
        "pwmat/movement",
        "-s",
        "made",
        "-o",
        "0.8",
        "-r",
        "True",
        "-m",
        "False",
        "-g",
        "1",
        "-w",
        ".",
    ]
    done = subprocess.run(
        [command, "TO_PWDATA", *words], cwd=work, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(load_frames(work / "made")) == 10


def test_help_gives_an_example():
    result = run("--help")
    assert result.exit_code == 0 and "alpw to_pwdata -i MOVEMENT" in result.stdout
