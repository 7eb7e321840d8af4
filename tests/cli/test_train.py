"""`alpw train`: models, covariance, curve and record of a training, and nothing lost on bad input."""

import json

import numpy as np
import pytest

from alpw.formats.load import load_frames
from alpw.formats.pwdata import write_pwdata
from alpw.potential import DeepPotential
from alpw.potential import test as evaluate
from alpw.potential.covariance import Covariance
from alpw.potential.training import read_curve


def weights(path):
    return {name: tensor.numpy() for name, tensor in DeepPotential.load(path).state_dict().items()}


def same(one, other):
    one, other = weights(one), weights(other)
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def test_a_training_leaves_model_covariance_curve_plot_and_record(trained):
    run = trained / "run"
    assert {file.name for file in run.iterdir()} == {
        "model.pt",
        "model.covariance.pt",
        "training.pt",
        "training.json",
        "learning_curve.csv",
        "learning_curve.png",
    }
    record = json.loads((run / "training.json").read_text())
    assert record == json.loads((trained / "train.out").read_text())
    model = DeepPotential.load(run / "model.pt")
    Covariance.load(run / "model.covariance.pt").check(model)
    (facts,) = record["models"]
    errors = evaluate(model, load_frames(trained / "valid.xyz"))
    assert facts["errors"]["valid"]["force_rmse"] == pytest.approx(errors.force_rmse, rel=1e-9)
    assert facts["errors"]["valid"]["elements"]["Au"]["n_atoms"] == 14
    assert len(read_curve(run / "learning_curve.csv")) == facts["epochs"] == 2
    assert record["frames"] == {"train": 10, "valid": 14}


def test_progress_goes_to_standard_error_line_by_line(trained):
    lines = (trained / "train.err").read_text().splitlines()
    assert lines[0].startswith("epoch 1 of 2  loss ") and "held out" in lines[0] and "meV/atom" in lines[-1]


def test_the_same_inputs_give_the_same_model_whatever_the_form_of_the_data(folder):
    write_pwdata(folder.path / "data", load_frames("train.xyz"), load_frames("valid.xyz"))
    train = {**folder.param["train"], "seed": 3, "train_data": ["train.xyz"], "valid_data": ["valid.xyz"]}
    (folder.path / "train.json").write_text(json.dumps(train))
    assert folder.alpw("train", "train.json", "-o", "again").exit_code == 0
    assert same("again/model.pt", "run/model.pt")
    bare = {key: folder.param[key] for key in ("seed", "train")}
    (folder.path / "bare.json").write_text(json.dumps(bare))
    result = folder.alpw("train", "bare.json", "train.xyz", "--valid", "valid.xyz", "-o", "words")
    assert result.exit_code == 0 and same("words/model.pt", "run/model.pt")
    # PWdata sorts atoms and keeps fractional coordinates, so that only the held-out frames are compared.
    result = folder.alpw("train", "bare.json", "data", "-o", "pwdata", "--json")
    assert json.loads(result.stdout)["frames"] == {"train": 10, "valid": 14}


def test_the_table_at_the_end_shows_the_errors_of_the_record(folder):
    result = folder.alpw("train", "param.json", "-o", "again")
    record = json.loads((folder.path / "again/training.json").read_text())
    errors = record["models"][0]["errors"]["valid"]
    assert f"{errors['force_rmse']:.4f}" in result.stdout
    assert f"{1e3 * errors['energy_mae']:.2f}" in result.stdout
    assert "errors on 14 held-out frames" in result.stdout


def test_another_training_is_never_overwritten_by_accident(folder):
    before = folder.files()
    result = folder.alpw("train", "param.json", "-o", "run")
    assert result.exit_code == 2 and "--resume" in result.stderr and "--force" in result.stderr
    assert folder.files() == before


def test_resume_goes_on_where_the_training_stopped(folder):
    folder.param["train"] = {
        **folder.param["train"],
        "optimizer": {**folder.param["train"]["optimizer"], "epochs": 4},
    }
    folder.write()
    resumed = folder.alpw("train", "param.json", "-o", "run", "--resume")
    fresh = folder.alpw("train", "param.json", "-o", "fresh")
    assert resumed.exit_code == fresh.exit_code == 0
    assert same("run/model.pt", "fresh/model.pt")
    assert len(read_curve("run/learning_curve.csv")) == 4


def test_resume_says_that_there_is_nothing_to_resume(folder):
    result = folder.alpw("train", "param.json", "-o", "new", "--resume")
    assert result.exit_code == 0
    assert "nothing to resume in new; starting from the beginning" in result.stderr
    again = folder.alpw("train", "param.json", "-o", "new", "--resume")
    assert again.exit_code == 0 and "nothing to resume" not in again.stderr


def test_resume_refuses_other_inputs(folder):
    folder.param["seed"] = 4
    folder.write()
    before = folder.files()
    result = folder.alpw("train", "param.json", "-o", "run", "--resume")
    assert result.exit_code == 2 and "run/training.pt" in result.stderr
    assert folder.files() == before


def test_force_replaces_a_training_but_not_before_the_data_are_found_good(folder):
    text = (folder.path / "train.xyz").read_text()
    (folder.path / "train.xyz").write_text(text.replace("Au ", "Fe "))
    before = folder.files()
    result = folder.alpw("train", "param.json", "-o", "run", "--force")
    assert result.exit_code == 2 and "train.xyz: frame 0: element Fe" in result.stderr
    assert folder.files() == before
    (folder.path / "train.xyz").write_text(text)
    assert folder.alpw("train", "param.json", "-o", "run", "--force").exit_code == 0
    assert folder.files().keys() == before.keys()


def test_ctrl_c_keeps_what_there_is_and_says_how_to_go_on(folder, monkeypatch):
    def interrupted(*arguments, on_epoch, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("alpw.cli.train.fit", interrupted)
    result = folder.alpw("train", "param.json", "-o", "stopped")
    assert result.exit_code == 1 and "With --resume the same command goes on" in result.stderr
    assert "Traceback" not in result.output


def test_a_training_that_diverges_keeps_its_last_good_weights(folder):
    text = (folder.path / "train.xyz").read_text().splitlines()
    text[1] = text[1].replace("energy=", "energy=1e200 old=")
    (folder.path / "train.xyz").write_text("\n".join(text) + "\n")
    result = folder.alpw("train", "param.json", "-o", "new")
    assert result.exit_code == 1 and "training diverged" in result.stderr
    assert "new/last_good_model.pt" in result.stderr and not (folder.path / "new/model.pt").exists()
    kept = weights("new/last_good_model.pt")
    assert all(np.isfinite(kept[name]).all() for name in kept)


def test_a_start_from_another_model_must_fit_the_inputs(folder):
    result = folder.alpw("train", "param.json", "-o", "warm", "--init-model", "run/model.pt", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["models"][0]["options"]["warm_start"]
    folder.param["train"] = {**folder.param["train"], "fitting_net": {"neuron": [12, 12]}}
    folder.write()
    refused = folder.alpw("train", "param.json", "-o", "other", "--init-model", "run/model.pt")
    assert refused.exit_code == 2 and "run/model.pt: fitting_neuron: has (10, 10)" in refused.stderr


def test_a_committee_is_trained_in_one_pass_and_goes_on_after_a_stop(folder):
    result = folder.alpw("train", "param.json", "-o", "two", "--committee", "2")
    assert result.exit_code == 0
    record = json.loads((folder.path / "two/training.json").read_text())
    members = [DeepPotential.load(f"two/model.{k:03d}.pt") for k in range(2)]
    for member, facts in zip(members, record["models"], strict=True):
        Covariance.load(facts["covariance"]).check(member)
        assert f"{facts['errors']['valid']['force_rmse']:.4f}" in result.stdout
        assert facts["seeds"]["weights"] == member.config.seed
    assert not same("two/model.000.pt", "two/model.001.pt")
    # The first member of a committee is the model that is trained alone, to rounding.
    alone = weights("run/model.pt")
    assert all(
        value == pytest.approx(alone[name], rel=1e-6, abs=1e-6)
        for name, value in weights("two/model.000.pt").items()
    )
    assert folder.alpw("train", "param.json", "-o", "two", "--committee", "2").exit_code == 2
    assert folder.alpw("train", "param.json", "-o", "two", "--committee", "2", "--resume").exit_code == 0


def edit(change):
    def apply(folder):
        lines = (folder.path / "train.xyz").read_text().splitlines()
        change(lines)
        (folder.path / "train.xyz").write_text("\n".join(lines) + "\n")

    return apply


def nan_force(lines):
    words = lines[2].split()
    lines[2] = " ".join([*words[:-1], "nan"])


def cut(lines):
    del lines[-2:]


def empty(lines):
    lines.clear()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (edit(nan_force), "train.xyz: frame 0: forces: a number that is not finite"),
        (edit(cut), "train.xyz: frame 9: not a valid extended XYZ file"),
        (edit(empty), "train.xyz: found an unknown format; labelled data are"),
        (lambda folder: (folder.path / "train.xyz").unlink(), "param.json: init_data[0]: nothing found"),
        (lambda folder: folder.param.update(init_data=[]), "param.json: init_data: empty"),
        (
            lambda folder: folder.param.update(train={**folder.param["train"], "atom_type": ["Cu"]}),
            "train.xyz: frame 0: element Au is not one of the model's Cu",
        ),
        (
            lambda folder: folder.param.update(train={**folder.param["train"], "atom_type": ["Cu", "Qq"]}),
            "param.json: train.atom_type[1]: 'Qq' is not an element",
        ),
    ],
    ids=["NaN", "truncated", "empty file", "no file", "no data", "unknown element", "no element"],
)
def test_bad_input_is_named_and_leaves_no_file(folder, change, words):
    change(folder)
    folder.write()
    before = folder.files()
    result = folder.alpw("train", "param.json", "-o", "new")
    assert result.exit_code == 2 and words in result.stderr.replace(str(folder.path) + "/", "")
    assert folder.files() == before
