"""A train json of PWMLFF or MatPL: named by a param.json, or read by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alpw.config import InputErrors, Param, inputs_hash, load_train
from alpw.errors import InputError

Content = dict[str, Any]
Read = Callable[[Content], Param]


@pytest.fixture
def matpl() -> Content:
    """A train json as MatPL's manual shows it."""
    return {
        "model_type": "DP",
        "atom_type": [14],
        "max_neigh_num": 100,
        "seed": 2023,
        "recover_train": True,
        "model": {
            "descriptor": {"Rmax": 5.0, "Rmin": 0.5, "M2": 16, "network_size": [25, 25, 25]},
            "fitting_net": {"network_size": [50, 50, 50, 1]},
        },
        "optimizer": {
            "optimizer": "LKF",
            "epochs": 20,
            "batch_size": 4,
            "print_freq": 10,
            "block_size": 10240,
            "p0_weight": 0.01,
            "train_virial": True,
        },
        "format": "extxyz",
        "train_data": ["data/train.xyz"],
        "valid_data": ["data/valid.xyz"],
        "test_data": [],
    }


@pytest.fixture
def data(folder: Path) -> Path:
    (folder / "data").mkdir()
    for name in ("train.xyz", "valid.xyz"):
        (folder / "data" / name).touch()
    return folder / "data"


@pytest.fixture
def write(folder: Path) -> Callable[[Content, str], Path]:
    def write(content: Content, name: str = "matpl/train.json") -> Path:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        return path

    return write


class TestNamedByParam:
    def test_its_keys_are_those_of_the_block(
        self, silicon: Content, matpl: Content, read: Read, write: Callable[..., Path]
    ) -> None:
        file = write(matpl)
        silicon["train"] = {"train_input_file": "matpl/train.json"}
        param = read(silicon)
        train = param.train
        assert train.train_input_file == file
        assert (train.atom_type, train.seed, train.descriptor.rcut) == (["Si"], 2023, 5.0)
        assert train.descriptor.max_neigh_num == 100
        assert (train.optimizer.optimizer, train.optimizer.block_size) == ("LKF", 10240)
        assert train.optimizer.train_virial
        assert sorted(note.split(": has no effect")[0] for note in param.notes) == [
            "train.json: format",
            "train.json: optimizer.print_freq",
            "train.json: recover_train",
            "train.json: test_data",
            "train.json: train_data",
            "train.json: valid_data",
        ]

    def test_what_stands_in_param_wins_with_a_note(
        self, silicon: Content, matpl: Content, read: Read, write: Callable[..., Path]
    ) -> None:
        matpl = {key: matpl[key] for key in ("seed", "model", "atom_type")}
        write(matpl)
        silicon["train"] = {
            "train_input_file": "matpl/train.json",
            "Rmax": 4.0,
            "descriptor": {"M2": 16},
            "atom_type": [14],
            "seed": 7,
        }
        param = read(silicon)
        descriptor = param.train.descriptor
        assert (descriptor.rcut, descriptor.rcut_smth, param.train.seed) == (4.0, 0.5, 7)
        assert sorted(param.notes) == [
            "train.json: model.descriptor.Rmax: has no effect: param.json gives train.Rmax",
            "train.json: seed: has no effect: param.json gives train.seed",
        ]

    def test_errors_name_that_file_and_its_key(
        self, silicon: Content, matpl: Content, read: Read, write: Callable[..., Path]
    ) -> None:
        matpl["model"]["descriptor"]["Rmax"] = -1
        matpl["optimizer"]["block_sise"] = 1
        matpl["optimizer"]["train_ei"] = True
        file = write(matpl)
        silicon["train"] = {"train_input_file": "matpl/train.json", "threads": 0}
        with pytest.raises(InputErrors) as raised:
            read(silicon)
        where = {(error.file, error.key) for error in raised.value.errors}
        assert where == {
            (file, "model.descriptor.Rmax"),
            (file, "optimizer.block_sise"),
            (file, "optimizer.train_ei"),
            (file.parent.parent / "param.json", "train.threads"),
        }
        assert "did you mean 'block_size'?" in str(raised.value)

    def test_an_unavailable_choice_that_param_replaces_is_no_error(
        self, silicon: Content, matpl: Content, read: Read, write: Callable[..., Path]
    ) -> None:
        matpl["optimizer"]["optimizer"] = "SGD"
        write(matpl)
        silicon["train"] = {
            "train_input_file": "matpl/train.json",
            "optimizer": {"optimizer": "ADAM", "block_size": 10240},
        }
        assert read(silicon).train.optimizer.optimizer == "ADAM"
        del silicon["train"]["optimizer"]
        with pytest.raises(InputError, match=r"train\.json: optimizer\.optimizer: \"SGD\" is not available"):
            read(silicon)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{", "line 1, column 2: not valid JSON"),
            ("[1]", "holds no JSON object"),
            ("[" * 9999, "not valid"),
        ],
    )
    def test_a_broken_file_is_named(
        self, silicon: Content, read: Read, folder: Path, text: str, words: str
    ) -> None:
        (folder / "train.json").write_text(text)
        silicon["train"]["train_input_file"] = "train.json"
        with pytest.raises(InputError) as raised:
            read(silicon)
        assert str(raised.value).startswith(f"{folder / 'train.json'}: ") and words in str(raised.value)

    @pytest.mark.parametrize("value", ["nowhere.json", 3, ["a.json", "b.json"]])
    def test_a_missing_file_is_an_error(self, silicon: Content, read: Read, value: object) -> None:
        silicon["train"]["train_input_file"] = value
        with pytest.raises(InputError, match=r"param\.json: train\.train_input_file: ") as raised:
            read(silicon)
        assert len(str(raised.value).splitlines()) == 1

    def test_a_file_names_no_further_file_and_no_start_model(
        self, silicon: Content, read: Read, write: Callable[..., Path]
    ) -> None:
        write({"train_input_file": "train.json", "model_load_file": "model.ckpt"})
        silicon["train"]["train_input_file"] = "matpl/train.json"
        param = read(silicon)
        assert param.train.init_models == []
        assert [note.split(": has")[0] for note in param.notes] == [
            "train.json: train_input_file",
            "train.json: model_load_file",
        ]

    def test_the_hash_is_that_of_the_same_keys_inline(
        self, silicon: Content, matpl: Content, read: Read, write: Callable[..., Path]
    ) -> None:
        matpl = {key: matpl[key] for key in ("seed", "model", "atom_type", "max_neigh_num")}
        inline = inputs_hash(read({**silicon, "train": matpl}))
        write(matpl)
        silicon["train"] = {"train_input_file": "matpl/train.json"}
        assert inputs_hash(read(silicon)) == inline
        write({**matpl, "seed": 1})
        assert inputs_hash(read(silicon)) != inline


FLAT = {
    "seed": 5,
    "precision": "float32",
    "Rmax": 4.5,
    "M2": 8,
    "descriptor": {"neuron": [8, 16]},
    "model": {"fitting_net": {"network_size": [20, 20, 1]}},
    "optimizer": {"optimizer": "LKF", "nselect": 12},
    "type_embedding": True,
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(inline=st.sets(st.sampled_from(list(FLAT))))
def test_it_does_not_matter_in_which_file_a_key_stands(
    silicon: Content, read: Read, folder: Path, inline: set[str]
) -> None:
    other = {key: value for key, value in FLAT.items() if key not in inline}
    (folder / "train.json").write_text(json.dumps(other))
    here = {key: FLAT[key] for key in inline}
    named = read({**silicon, "train": {"atom_type": [14], "train_input_file": "train.json", **here}}).train
    whole = read({**silicon, "train": {"atom_type": [14], **FLAT}}).train
    assert named.model_copy(update={"train_input_file": None}) == whole


class TestByItself:
    def test_a_train_json(self, matpl: Content, data: Path, write: Callable[..., Path]) -> None:
        file = write(matpl, "train.json")
        found = load_train(file)
        assert (found.train.atom_type, found.train.optimizer.optimizer) == (["Si"], "LKF")
        assert found.train_data == [data / "train.xyz"] and found.valid_data == [data / "valid.xyz"]
        assert found.test_data == [] and found.file == file
        assert [note.split(":")[0] for note in found.notes] == ["recover_train", "optimizer.print_freq"]

    def test_the_older_keys_of_the_data(self, folder: Path, write: Callable[..., Path]) -> None:
        (folder / "more.xyz").touch()
        pwdata = "init_bulk/collection/init_config_0/PWdata"
        file = write(
            {"atom_type": "Si", "datasets_path": [pwdata], "raw_files": "*.xyz", "format": "pwmlff/npy"},
            "t.json",
        )
        assert load_train(file).train_data == [folder / pwdata, folder / "more.xyz"]

    def test_a_seed_that_is_not_given_is_the_one_of_a_campaign(
        self, matpl: Content, data: Path, write: Callable[..., Path]
    ) -> None:
        del matpl["seed"]
        assert load_train(write(matpl, "train.json")).train.seed == 2024

    def test_a_param_of_which_only_the_training_counts(
        self, silicon: Content, folder: Path, data: Path
    ) -> None:
        silicon.update(init_data=["data/train.xyz"], seed=11, unheard_of=1, dft={"dft_style": "vasp"})
        silicon["explore"]["sys_configs"] = ["nowhere"]
        silicon["train"]["optimizer"] = {"kalman_lambda": 0.9, "print_freq": 1}
        (folder / "param.json").write_text(json.dumps(silicon))
        found = load_train(folder / "param.json")
        assert (found.train.seed, found.train_data, found.valid_data) == (11, [data / "train.xyz"], [])
        assert [note.split(": has")[0] for note in found.notes] == [
            "train.optimizer.print_freq",
            "train.optimizer.kalman_lambda",
        ]

    def test_both_give_the_same_training(
        self, silicon: Content, matpl: Content, folder: Path, data: Path, write: Callable[..., Path]
    ) -> None:
        by_itself = load_train(write(matpl, "train.json")).train
        silicon.update(init_data=["data/train.xyz"], train={"train_input_file": "train.json"})
        (folder / "param.json").write_text(json.dumps(silicon))
        in_campaign = load_train(folder / "param.json").train
        assert in_campaign.model_copy(update={"train_input_file": None}) == by_itself

    @pytest.mark.parametrize(
        ("change", "key", "words"),
        [
            ({"train_data": []}, "train_data", "empty; a training needs labelled frames"),
            ({"train_data": ["nowhere.xyz"]}, "train_data[0]", "nothing found at /"),
            ({"format": "pwmat/movement"}, "format", "convert the data to extxyz or PWdata"),
            ({"format": "xml"}, "format", "'xml' is not one of 'pwmlff/npy' or 'extxyz'"),
            ({"model_type": "NEP"}, "model_type", "use 'DP'"),
            ({"model_load_file": "dp_model.ckpt"}, "model_load_file[0]", "no file at /"),
            ({"optimiser": {}}, "optimiser", "did you mean 'optimizer'?"),
        ],
    )
    def test_what_is_wrong_is_an_error(
        self,
        matpl: Content,
        data: Path,
        write: Callable[..., Path],
        change: Content,
        key: str,
        words: str,
    ) -> None:
        file = write({**matpl, **change}, "train.json")
        with pytest.raises(InputError) as raised:
            load_train(file)
        (line,) = str(raised.value).splitlines()
        assert line.startswith(f"{file}: {key}: ") and words in line

    def test_a_campaign_without_labelled_frames_cannot_be_trained(
        self, silicon: Content, folder: Path
    ) -> None:
        (folder / "param.json").write_text(json.dumps(silicon))
        with pytest.raises(InputError, match="init_data: empty; a training needs labelled frames"):
            load_train(folder / "param.json")
        assert load_train(folder / "param.json", needs_data=False).train_data == []

    def test_a_missing_file_is_an_error(self, folder: Path) -> None:
        with pytest.raises(InputError, match=r"nowhere\.json: no such file"):
            load_train(folder / "nowhere.json")
