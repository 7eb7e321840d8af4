"""`alpw kpu`: the uncertainty of every atom, as text and arrays, and as calibrated force errors."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ase.io import read, write

from alpw.potential import DeepPotential
from alpw.potential.covariance import Covariance
from alpw.potential.weights import fingerprint
from alpw.uncertainty.calibration import Calibration, Source
from alpw.uncertainty.committee import force_deviation
from alpw.uncertainty.kpu import Samples, exact_kpu


@pytest.fixture
def expected():
    """Exact uncertainties of the held-out frames, straight from the library."""

    def compute():
        model, covariance = DeepPotential.load("run/model.pt"), Covariance.load("run/model.covariance.pt")
        return [exact_kpu(model, covariance, atoms) for atoms in read("valid.xyz", ":")]

    return compute


def test_the_text_file_has_the_predecessor_s_columns_with_correct_values_and_units(folder, expected):
    assert folder.alpw("kpu", "run/model.pt", "valid.xyz").exit_code == 0
    lines = (folder.path / "kpu.out").read_text().splitlines()
    assert lines[1].split() == ["#", "step", "etot_kpu", "f_kpu_mean", "f_kpu_max", "f_kpu_min"]
    assert lines[2].split() == ["#", "eV/atom", "eV/A", "eV/A", "eV/A"]
    table = np.loadtxt("kpu.out")
    for k, (row, frame) in enumerate(zip(table, expected(), strict=True)):
        u = frame.u_force
        assert len(u) == 4
        assert row == pytest.approx([k, frame.u_energy, u.mean(), u.max(), u.min()], rel=1e-7)


def test_the_arrays_have_every_atom_of_every_frame(folder, expected):
    images = read("valid.xyz", ":")
    images[3] = images[3].repeat((2, 1, 1))
    for k, atoms in enumerate(images):
        atoms.calc, atoms.info = None, {"step": 10 * k}
    write("md.xyz", images)
    result = folder.alpw("kpu", "run/model.pt", "md.xyz", "-o", "md", "--json")
    assert result.exit_code == 0
    found, frames = np.load("md.npz", allow_pickle=False), json.loads(result.stdout)["frames"]
    assert found["steps"].tolist() == [frame["step"] for frame in frames] == list(range(0, 140, 10))
    assert np.bincount(found["frame"]).tolist() == [4, 4, 4, 8] + 10 * [4]
    assert (found["numbers"] == np.concatenate([atoms.numbers for atoms in images])).all()
    for k, frame in enumerate(expected()):
        u = found["u_force"][found["frame"] == k]
        # A repeated cell has the same atoms twice.
        assert u == pytest.approx(np.tile(frame.u_force, 2 if k == 3 else 1), rel=1e-6)
        assert found["u_force_quantiles"][k] == pytest.approx(np.quantile(u, [0.5, 0.9, 0.95]))
        assert frames[k]["q90"] == pytest.approx(np.quantile(u, 0.9))
    assert json.loads(str(found["units"]))["u_force"] == "eV/Å"


def test_a_sampled_uncertainty_is_within_its_stated_error(folder, expected):
    result = folder.alpw("kpu", "run/model.pt", "valid.xyz", "--samples", "200", "--json")
    assert result.exit_code == 0
    found = np.load("kpu.npz")
    exact = np.concatenate([frame.u_force for frame in expected()])
    assert np.mean(abs(found["u_force"] - exact) < 3 * found["stderr_force"]) > 0.9
    again = folder.alpw("kpu", "run/model.pt", "valid.xyz", "--samples", "200", "-o", "again")
    assert again.exit_code == 0 and (np.load("again.npz")["u_force"] == found["u_force"]).all()


def test_a_covariance_is_computed_from_a_training_set_and_kept(folder):
    (folder.path / "run/model.covariance.pt").unlink()
    refused = folder.alpw("kpu", "run/model.pt", "valid.xyz")
    assert refused.exit_code == 2 and "--posterior-from" in refused.stderr
    words = ("--posterior-from", "train.xyz", "--save-covariance", "p.pt", "--json")
    made = folder.alpw("kpu", "run/model.pt", "valid.xyz", "-o", "made", *words)
    assert made.exit_code == 0 and json.loads(made.stdout)["covariance"]["kind"] == "gauss-newton"
    assert folder.alpw("kpu", "run/model.pt", "valid.xyz", "--covariance", "p.pt").exit_code == 0
    assert (np.load("kpu.npz")["u_force"] == np.load("made.npz")["u_force"]).all()


def test_a_compressed_model_has_the_uncertainty_of_its_parent(folder, expected):
    assert folder.alpw("compress", "run/model.pt").exit_code == 0
    assert folder.alpw("kpu", "run/model.compressed.pt", "valid.xyz").exit_code == 0
    exact = np.concatenate([frame.u_force for frame in expected()])
    assert np.load("kpu.npz")["u_force"] == pytest.approx(exact, rel=1e-9)


def test_a_calibration_turns_uncertainties_into_force_errors(folder):
    made = folder.alpw("kpu", "run/model.pt", "valid.xyz", "-o", "a", "--calibrate", "kpu.json", "--json")
    assert made.exit_code == 0 and json.loads(made.stdout)["calibration"]["pairs"] == 56
    calibration = Calibration.load("kpu.json")
    assert calibration.measure == "kpu" and not calibration.identity
    used = folder.alpw("kpu", "run/model.pt", "valid.xyz", "--calibration", "kpu.json", "--json")
    found = np.load("kpu.npz")
    assert found["expected_error"] == pytest.approx(calibration(found["u_force"]))
    assert found["bound"] == pytest.approx(calibration.bound(found["u_force"]))
    model = DeepPotential.load("run/model.pt")
    images = read("valid.xyz", ":")
    errors = [np.linalg.norm(model.predict(a).forces - a.get_forces(), axis=1) for a in images]
    assert np.mean(np.concatenate(errors) <= found["bound"]) > 0.75
    rows = json.loads(used.stdout)["frames"]
    assert rows[0]["expected_error"] == pytest.approx(found["expected_error"][found["frame"] == 0].mean())


def test_a_calibration_of_another_covariance_is_refused_and_of_another_model_noted(folder):
    assert folder.alpw("kpu", "run/model.pt", "valid.xyz", "--calibrate", "kpu.json").exit_code == 0
    calibration = Calibration.load("kpu.json")
    model = DeepPotential.load("run/model.pt")
    assert calibration.source == Source("lkf", (fingerprint(model),))
    words = ("kpu", "run/model.pt", "valid.xyz", "--calibration", "kpu.json", "-o", "b")
    before = folder.files()
    refused = folder.alpw(*words, "--posterior-from", "train.xyz", "--save-covariance", "p.pt")
    assert refused.exit_code == 2 and "kpu.json: source.covariance: " in refused.stderr
    assert "--calibrate" in refused.stderr and folder.files() == before
    same = folder.alpw(*words, "--json")
    assert json.loads(same.stdout)["calibrated"]["same_model"] and "another model" not in same.stderr
    replace(calibration, source=Source("lkf", ("0",))).save("kpu.json")
    other = folder.alpw(*words, "--force", "--json")
    assert other.exit_code == 0 and "note: kpu.json calibrates another model" in other.stderr
    assert json.loads(other.stdout)["calibrated"]["same_model"] is False


def test_atoms_above_the_calibrated_range_are_counted_and_marked(folder):
    assert folder.alpw("kpu", "run/model.pt", "valid.xyz", "--calibrate", "kpu.json").exit_code == 0
    u = np.load("kpu.npz")["u_force"]
    middle = float(np.median(u))
    replace(Calibration.load("kpu.json"), largest=middle).save("kpu.json")
    words = ("kpu", "run/model.pt", "valid.xyz", "--calibration", "kpu.json", "-o", "b", "--json")
    result = folder.alpw(*words)
    marked = np.load("b.npz")["extrapolated"]
    assert marked.dtype == bool and (marked == (u > middle)).all() and marked.sum() == 28
    assert json.loads(result.stdout)["calibrated"]["extrapolated"] == 28
    text = f"28 of 56 atoms lie outside the calibrated range (up to {middle:.3g}); their expected errors"
    assert text in result.stderr


def test_kept_draws_need_no_covariance(folder):
    words = ("kpu", "run/model.pt", "valid.xyz")
    made = folder.alpw(*words, "-o", "a", "--samples", "8", "--save-samples", "draws.pt")
    assert made.exit_code == 0 and len(Samples.load("draws.pt").draws) == 8
    (folder.path / "run/model.covariance.pt").unlink()
    used = folder.alpw(*words, "-o", "b", "--samples-from", "draws.pt", "--json")
    assert used.exit_code == 0 and json.loads(used.stdout)["samples"] == 8
    assert (np.load("a.npz")["u_force"] == np.load("b.npz")["u_force"]).all()
    for wrong, message in (
        (("--save-samples", "c.pt"), "--save-samples: there are no draws"),
        (("--samples-from", "draws.pt", "--samples", "4"), "--samples-from: takes the place of"),
        (("--samples-from", "draws.pt", "--posterior-models", "9"), "--posterior-models: found 9"),
    ):
        refused = folder.alpw(*words, "-o", "d", *wrong)
        assert refused.exit_code == 2 and message in refused.stderr
    other_weights(folder)
    refused = folder.alpw(*words, "-o", "d", "--samples-from", "draws.pt")
    assert refused.exit_code == 2 and "draws.pt: these 8 draws" in refused.stderr


def test_posterior_models_deviate_by_the_stated_factor(folder):
    words = ("kpu", "run/model.pt", "valid.xyz", "--posterior-models", "60")
    result = folder.alpw(*words, "--json")
    assert result.exit_code == 0
    drawn = json.loads(result.stdout)["posterior_models"]
    assert drawn["files"][0] == "kpu.model.000.pt" and len(drawn["files"]) == 60
    models = [DeepPotential.load(name) for name in ("run/model.pt", *drawn["files"])]
    frames = read("valid.xyz", ":4")
    deviation = [force_deviation([model.predict(atoms).forces for model in models]) for atoms in frames]
    u = np.load("kpu.npz")["u_force"][:16]
    ratio = np.sqrt(np.mean(np.concatenate(deviation) ** 2) / np.mean((drawn["factor"] * u) ** 2))
    assert ratio == pytest.approx(1, abs=0.25)
    shown = folder.alpw(*words, "--force")
    assert f"their force deviation is {drawn['factor']:.3g} u_F" in shown.stdout


def test_lammps_types_are_the_model_s_elements_unless_named(folder):
    dump = """ITEM: TIMESTEP
400
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
0.0 2.9
0.0 3.0
0.0 5.5
ITEM: ATOMS id type x y z
1 1 0.0 0.0 0.0
2 2 1.4 1.5 2.6
"""
    (folder.path / "dump").write_text(dump)
    for name, words in (("a", ()), ("b", ("--elements", "Au Cu"))):
        result = folder.alpw("kpu", "run/model.pt", "dump", "-o", name, *words)
        assert result.exit_code == 0, result.stderr
    assert np.load("a.npz")["numbers"].tolist() == [29, 79] and np.load("a.npz")["steps"].tolist() == [400]
    assert np.load("b.npz")["numbers"].tolist() == [79, 29]


def other_weights(folder):
    model = DeepPotential.load("run/model.pt")
    model.energy_bias += 1.0
    next(model.parameters()).data += 1.0
    model.save("run/model.pt")


def iron(folder):
    text = (folder.path / "valid.xyz").read_text().splitlines()
    text[8 * 6 + 3] = text[8 * 6 + 3].replace("Cu", "Fe").replace("Au", "Fe")
    (folder.path / "valid.xyz").write_text("\n".join(text) + "\n")


def on_top_of_each_other(folder):
    atoms = read("valid.xyz", "0")
    atoms.positions[1] = atoms.positions[0]
    atoms.calc = None
    write("valid.xyz", atoms)


@pytest.mark.parametrize(
    ("change", "words", "status", "message"),
    [
        (other_weights, (), 2, "--posterior-from TRAINING_DATA"),
        (iron, (), 2, "valid.xyz: frame 8: element Fe is not one of the model's Cu, Au"),
        (on_top_of_each_other, (), 1, "valid.xyz: frame 0: "),
        (lambda folder: (folder.path / "valid.xyz").write_text(""), (), 2, "valid.xyz: "),
        (lambda folder: None, ("--covariance", "valid.xyz"), 2, "valid.xyz: "),
        (lambda folder: None, ("--calibration", "param.json"), 2, "param.json: format: not a calibration"),
        (lambda folder: None, ("-o", "no/where"), 2, "no/where.out: no folder no"),
    ],
    ids=["other weights", "element", "collision", "empty", "no covariance", "no calibration", "no folder"],
)
def test_bad_input_is_named_and_leaves_no_file(folder, change, words, status, message):
    change(folder)
    before = folder.files()
    result = folder.alpw("kpu", "run/model.pt", "valid.xyz", *words)
    assert result.exit_code == status and message in result.stderr and "Traceback" not in result.output
    assert folder.files() == before


def test_results_are_not_overwritten_without_force(folder):
    assert folder.alpw("kpu", "run/model.pt", "valid.xyz").exit_code == 0
    before = folder.files()
    refused = folder.alpw("kpu", "run/model.pt", "train.xyz")
    assert refused.exit_code == 2 and "--force" in refused.stderr and folder.files() == before
    assert folder.alpw("kpu", "run/model.pt", "train.xyz", "--force").exit_code == 0
