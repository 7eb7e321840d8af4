"""`alpw test`: the errors of a model, a parity plot, and the calibration of a committee."""

import json

import numpy as np
import pytest
from ase.io import read

from alpw.potential import DeepPotential, DeepPotentialConfig
from alpw.potential.weights import fingerprint
from alpw.uncertainty.calibration import Calibration


def test_the_errors_are_those_of_the_differences_between_model_and_labels(folder):
    result = folder.alpw("test", "run/model.pt", "valid.xyz", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    model = DeepPotential.load("run/model.pt")
    images = read("valid.xyz", ":")
    forces = np.concatenate([model.predict(atoms).forces - atoms.get_forces() for atoms in images])
    energies = np.array(
        [(model.predict(atoms).energy - atoms.get_potential_energy()) / 4 for atoms in images]
    )
    virials = np.array([(model.predict(atoms).virial - atoms.info["virial"]) / 4 for atoms in images])
    gold = np.concatenate([atoms.symbols == "Au" for atoms in images])
    errors = found["errors"]
    assert errors["force_rmse"] == pytest.approx(np.sqrt((forces**2).mean()))
    assert errors["force_mae"] == pytest.approx(abs(forces).mean())
    assert errors["energy_rmse"] == pytest.approx(np.sqrt((energies**2).mean()))
    assert errors["energy_mae"] == pytest.approx(abs(energies).mean())
    assert errors["virial_rmse"] == pytest.approx(np.sqrt((virials**2).mean()))
    assert errors["virial_mae"] == pytest.approx(abs(virials).mean())
    assert errors["elements"]["Au"]["force_rmse"] == pytest.approx(np.sqrt((forces[gold] ** 2).mean()))
    assert (found["frames"], found["atoms"]) == (14, 56)
    assert (folder.path / found["plot"]).read_bytes().startswith(b"\x89PNG")


def test_the_table_has_the_same_numbers_in_the_units_it_names(folder):
    errors = json.loads(folder.alpw("test", "run/model.pt", "valid.xyz", "--json").stdout)["errors"]
    rows = {
        line.split()[0]: line.split()[1:]
        for line in folder.alpw("test", "run/model.pt", "valid.xyz").stdout.splitlines()
        if line.split()
    }
    assert rows["energy"] == [
        f"{1e3 * errors['energy_rmse']:.2f}",
        f"{1e3 * errors['energy_mae']:.2f}",
        "meV/atom",
    ]
    assert rows["force"] == [f"{errors['force_rmse']:.4f}", f"{errors['force_mae']:.4f}", "eV/Å"]
    gold = errors["elements"]["Au"]
    assert rows["Au"] == [f"{gold['force_rmse']:.4f}", f"{gold['force_mae']:.4f}", "eV/Å"]


def test_several_sets_are_tested_as_one(folder):
    found = json.loads(folder.alpw("test", "run/model.pt", "valid.xyz", "train.xyz", "--json").stdout)
    assert found["frames"] == 24


def test_a_committee_is_calibrated_with_the_deviation_of_its_members(folder):
    config = DeepPotential.load("run/model.pt").config
    for seed in (11, 12):
        DeepPotential(DeepPotentialConfig(**{**vars(config), "seed": seed})).save(f"{seed}.pt")
    words = ("test", "run/model.pt", "valid.xyz", "-m", "11.pt", "-m", "12.pt", "--calibrate", "c.json")
    result = folder.alpw(*words, "--coverage", "0.8", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    calibration = Calibration.load("c.json")
    assert (calibration.measure, calibration.coverage, calibration.n_pairs) == ("committee", 0.8, 56)
    members = [DeepPotential.load(name) for name in ("run/model.pt", "11.pt", "12.pt")]
    assert calibration.source.models == tuple(sorted(fingerprint(model) for model in members))
    refused = folder.alpw("kpu", "run/model.pt", "valid.xyz", "--calibration", "c.json")
    assert refused.exit_code == 2 and "c.json: measure: calibrates the measure 'committee'" in refused.stderr
    assert not (folder.path / "kpu.npz").exists()
    assert not calibration.identity and found["calibration"]["quantile"] == calibration.quantile
    assert (folder.path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert found["committee"]["members"] == 3
    assert folder.alpw(*words).exit_code == 2
    assert folder.alpw(*words, "--force").exit_code == 0


def test_a_committee_of_copies_is_refused(folder):
    result = folder.alpw("test", "run/model.pt", "valid.xyz", "-m", "run/model.pt", "--calibrate", "c.json")
    assert result.exit_code == 1 and "collapsed" in result.stderr and not (folder.path / "c.json").exists()


def test_too_few_atoms_give_the_identity_and_a_note(folder):
    config = DeepPotential.load("run/model.pt").config
    DeepPotential(DeepPotentialConfig(**{**vars(config), "seed": 11})).save("11.pt")
    result = folder.alpw("test", "run/model.pt", "train.xyz", "-m", "11.pt", "--calibrate", "c.json")
    assert result.exit_code == 0 and "note: 40 pairs do not suffice" in result.stderr
    assert Calibration.load("c.json").identity


def truncate(folder):
    (folder.path / "run/model.pt").write_bytes((folder.path / "run/model.pt").read_bytes()[:5000])


def other_element(folder):
    text = (folder.path / "valid.xyz").read_text()
    (folder.path / "valid.xyz").write_text(text.replace("Au ", "Fe "))


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (truncate, (), "run/model.pt: not a readable deep potential"),
        (other_element, (), "valid.xyz: frame 0: element Fe is not one of the model's Cu, Au"),
        (lambda folder: None, ("nothing.xyz",), "nothing.xyz: no such file or folder"),
        (lambda folder: None, ("run/model.pt",), "run/model.pt: found an unknown format; labelled data are"),
        (lambda folder: None, ("--device", "abacus"), "--device: 'abacus' cannot be used"),
        (lambda folder: None, ("--plot", "no/where.png"), "no/where.png: no folder"),
        (
            lambda folder: None,
            ("--plot", "model.pt"),
            "--plot: found 'model.pt'; allowed suffixes: .png, .pdf",
        ),
    ],
    ids=["truncated model", "unknown element", "no data", "data that are none", "device", "plot", "suffix"],
)
def test_bad_input_is_named_and_leaves_no_file(folder, change, words, message):
    change(folder)
    before = folder.files()
    result = folder.alpw("test", "run/model.pt", "valid.xyz", *words)
    assert result.exit_code == 2 and message in result.stderr
    assert folder.files() == before


@pytest.mark.parametrize("name", ["train", "test", "compress", "export", "import", "kpu"])
def test_every_command_has_help_with_an_example(folder, name):
    result = folder.alpw(name, "--help")
    assert result.exit_code == 0 and f"Example: alpw {name}" in result.stdout and "--json" in result.stdout
