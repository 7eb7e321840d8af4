"""The block ``train``: networks, optimizers, and the places where their keys may stand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpw.config import Param, Train
from alpw.config.keys import keys_of, translate
from alpw.config.optimizer import OPTIMIZER_KEYS, Optimizer
from alpw.config.vocabulary import MOVED, NO_EFFECT, NOT_AVAILABLE, SPELLINGS
from alpw.errors import InputError

Content = dict[str, Any]
Read = Callable[[Content], Param]


def error(read: Read, content: Content) -> str:
    """The only error, without the file."""
    with pytest.raises(InputError) as raised:
        read(content)
    (line,) = str(raised.value).splitlines()
    return line.removeprefix(f"{raised.value.file}: ")


class TestOptimizer:
    def test_a_kalman_filter_has_the_predecessors_defaults(self, silicon: Content, read: Read) -> None:
        silicon["train"]["optimizer"] = {"optimizer": "lkf"}
        optimizer = read(silicon).train.optimizer
        assert optimizer.optimizer == "LKF" and optimizer.is_kalman
        assert (optimizer.kalman_lambda, optimizer.kalman_nue) == (0.98, 0.9987)
        assert (optimizer.block_size, optimizer.nselect, optimizer.groupsize) == (5120, 24, 6)
        assert (optimizer.pre_fac_force, optimizer.pre_fac_virial) == (2, 1)
        assert (optimizer.train_energy, optimizer.train_force, optimizer.train_virial) == (True, True, False)

    def test_energies_count_more_since_forces_are_not_divided_by_the_number_of_atoms(
        self, silicon: Content, read: Read
    ) -> None:
        silicon["train"]["optimizer"] = {"optimizer": "lkf"}
        optimizer = read(silicon).train.optimizer
        assert (optimizer.scale_by_atoms, optimizer.pre_fac_etot) == (False, 10)

    @pytest.mark.parametrize("name", OPTIMIZER_KEYS)
    def test_keys_of_another_optimizer_are_notes(self, silicon: Content, read: Read, name: str) -> None:
        own = {key for keys in OPTIMIZER_KEYS.values() for key in keys}
        values = {key: Optimizer.model_fields[key].default for key in own} | {"p0_weight": 0.01}
        silicon["train"]["optimizer"] = {"optimizer": name, **values}
        noted = {note.split(": ")[0] for note in read(silicon).notes}
        assert noted == {f"train.optimizer.{key}" for key in own - OPTIMIZER_KEYS[name]}

    def test_the_note_names_the_optimizers_that_use_the_key(self, silicon: Content, read: Read) -> None:
        silicon["train"]["optimizer"] = {"optimizer": "LKF", "Learning_Rate": 0.1}
        (note,) = read(silicon).notes
        assert note == (
            "train.optimizer.Learning_Rate: has no effect: LKF does not use it, but ADAM and ADAMW"
        )

    @pytest.mark.parametrize(
        ("keys", "key", "words"),
        [
            ({"optimizer": "SGD"}, "optimizer", "use 'ADAM', 'ADAMW', 'LKF' or 'GKF'"),
            ({"optimizer": "RLEKF"}, "optimizer", "is not one of 'ADAM', 'ADAMW', 'LKF' or 'GKF'"),
            ({"optimizer": "LKF", "nselect": 20}, "nselect", "20 is not a multiple of groupsize 6"),
            ({"kalman_lambda": 1.1}, "kalman_lambda", "at most 1"),
            ({"p0_weight": 0}, "p0_weight", "greater than 0"),
            ({"p_precision": "float16"}, "p_precision", "is not one of 'float64' or 'float32'"),
            ({"stop_lr": 0.1}, "stop_lr", "larger than learning_rate"),
            ({"train_energy": False, "train_force": False}, "train_energy", "train one"),
            ({"train_ei": True}, "train_ei", "atomic energies are not trained"),
            ({"train_egroup": True}, "train_egroup", "group energies are not trained"),
            ({"clip_value": 1.0}, "clip_value", "not available"),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, silicon: Content, read: Read, keys: Content, key: str, words: str
    ) -> None:
        silicon["train"]["optimizer"] = keys
        line = error(read, silicon)
        assert line.startswith(f"train.optimizer.{key}: ") and words in line

    def test_values_that_the_optimizer_does_not_use_are_not_compared(
        self, silicon: Content, read: Read
    ) -> None:
        silicon["train"]["optimizer"] = {"optimizer": "GKF", "learning_rate": 1e-9}
        assert read(silicon).train.optimizer.optimizer == "GKF"


class TestDescriptor:
    @pytest.mark.parametrize("place", ["train", "descriptor", "model"])
    def test_the_predecessors_keys_work_wherever_they_stand(
        self, silicon: Content, read: Read, place: str
    ) -> None:
        keys = {"Rmax": 5.5, "Rmin": 0.8, "M2": 8, "max_neigh_num": 60}
        if place == "train":
            silicon["train"].update(keys)
        elif place == "descriptor":
            silicon["train"]["descriptor"] = keys
        else:
            silicon["train"]["model"] = {"descriptor": keys}
        param = read(silicon)
        found = param.train.descriptor
        assert (found.rcut, found.rcut_smth, found.axis_neuron, found.max_neigh_num) == (5.5, 0.8, 8, 60)
        assert param.notes == []

    def test_one_key_in_two_places_must_have_one_value(self, silicon: Content, read: Read) -> None:
        silicon["train"].update(Rmax=5.5, descriptor={"rcut": 5.5})
        assert read(silicon).train.descriptor.rcut == 5.5
        silicon["train"]["Rmax"] = 5.0
        assert error(read, silicon) == (
            "train.Rmax: 'train.Rmax' and 'train.descriptor.rcut' are the same key with different values; "
            "keep one"
        )

    def test_errors_name_the_place_where_the_key_stands(self, silicon: Content, read: Read) -> None:
        silicon["train"].update(Rmax=5, rmin=6)
        assert error(read, silicon) == "train.rmin: 6.0 must be smaller than the cutoff 5.0 (Å)"

    def test_what_does_not_fit_together_is_an_error_where_no_key_stands(
        self, silicon: Content, read: Read
    ) -> None:
        silicon["train"]["M2"] = 30
        silicon["train"]["model"] = {"descriptor": {"network_size": [25, 20]}}
        assert error(read, silicon).startswith("train.M2: 30 is larger than the last layer")

    def test_deepmds_defaults(self, silicon: Content, read: Read) -> None:
        descriptor = read(silicon).train.descriptor
        assert descriptor.type_one_side is descriptor.resnet_dt is False
        assert descriptor.sel is descriptor.max_neigh_num is descriptor.type_embedding is None
        assert descriptor.activation == "tanh"

    @pytest.mark.parametrize(
        ("written", "meant"), [("auto", None), ("AUTO", None), (None, None), (60, [60]), ([60], [60])]
    )
    def test_sel_is_automatic_or_a_number(
        self, silicon: Content, read: Read, written: object, meant: list[int] | None
    ) -> None:
        silicon["train"]["descriptor"] = {"sel": written}
        assert read(silicon).train.descriptor.sel == meant

    @pytest.mark.parametrize(
        ("descriptor", "key", "words"),
        [
            ({"sel": [1, 2]}, "sel", "has 2 entries; allowed are 1"),
            ({"sel": "all"}, "sel[0]", "'all' is not a whole number"),
            ({"sel": [0]}, "sel", "no neighbours at all"),
            ({"sel": []}, "sel", "at least 1 needed"),
            ({"sel": 60, "max_neigh_num": 60}, "max_neigh_num", "says the same as sel; keep one"),
            ({"max_neigh_num": 0}, "max_neigh_num", "at least 1"),
            ({"activation": "relu"}, "activation", "'relu' is not one of 'tanh', 'gelu'"),
            ({"cutoff": 6}, "cutoff", "not available"),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, silicon: Content, read: Read, descriptor: Content, key: str, words: str
    ) -> None:
        silicon["train"]["descriptor"] = descriptor
        line = error(read, silicon)
        assert line.startswith(f"train.descriptor.{key}: ") and words in line

    def test_all_nets_have_one_activation(self, silicon: Content, read: Read) -> None:
        silicon["train"]["descriptor"] = {"activation_function": "GELU"}
        assert error(read, silicon).startswith(
            "train.fitting_net.activation: 'tanh' differs from 'gelu' of the descriptor"
        )
        silicon["train"]["fitting_net"] = {"activation": "gelu"}
        assert read(silicon).train.fitting_net.activation == "gelu"


class TestTypeEmbedding:
    @pytest.mark.parametrize(
        ("written", "kind"),
        [
            (True, "physical"),
            ("physical", "physical"),
            ("LEARNED", "learned"),
            ({}, "physical"),
            ({"kind": "learned", "tebd_dim": 4}, "learned"),
            ({"physical_property": ["pauling", "atom_mass"]}, "physical"),
        ],
    )
    @pytest.mark.parametrize("place", ["train", "descriptor"])
    def test_forms(self, silicon: Content, read: Read, written: object, kind: str, place: str) -> None:
        block = silicon["train"] if place == "train" else silicon["train"].setdefault("descriptor", {})
        block["type_embedding"] = written
        param = read(silicon)
        embedding = param.train.descriptor.type_embedding
        assert embedding is not None and embedding.kind == kind and param.notes == []

    @pytest.mark.parametrize("written", [False, None])
    def test_none(self, silicon: Content, read: Read, written: object) -> None:
        silicon["train"]["type_embedding"] = written
        assert read(silicon).train.descriptor.type_embedding is None

    def test_the_predecessors_five_properties_are_the_default(self, silicon: Content, read: Read) -> None:
        silicon["train"]["type_embedding"] = True
        embedding = read(silicon).train.descriptor.type_embedding
        assert embedding is not None
        assert embedding.physical_property == [
            "atomic_number",
            "atom_radius",
            "atom_mass",
            "electron_affin",
            "pauling",
        ]

    def test_true_and_a_block_together_are_the_block(self, silicon: Content, read: Read) -> None:
        silicon["train"]["type_embedding"] = True
        silicon["train"]["model"] = {"descriptor": {"type_embedding": {"physical_property": ["pauling"]}}}
        embedding = read(silicon).train.descriptor.type_embedding
        assert embedding is not None and embedding.physical_property == ["pauling"]

    def test_false_and_a_block_contradict_each_other(self, silicon: Content, read: Read) -> None:
        silicon["train"].update(type_embedding=False, descriptor={"type_embedding": {"tebd_dim": 4}})
        assert "are the same key with different values" in error(read, silicon)

    def test_the_predecessors_unused_net_is_a_note(self, silicon: Content, read: Read) -> None:
        silicon["train"]["type_embedding"] = {"network_size": [10], "tebd_dim": 4}
        assert [note.split(": has")[0] for note in read(silicon).notes] == [
            "train.type_embedding.network_size",
            "train.type_embedding.tebd_dim",
        ]

    @pytest.mark.parametrize(
        ("written", "words"),
        [
            ("fancy", "'fancy' is not one of 'physical' or 'learned'"),
            ({"physical_property": ["colour"]}, "'colour' is not one of 'atomic_number'"),
            ({"physical_property": ["pauling", "pauling"]}, "names a property twice"),
            ({"dim": 8}, "unknown key"),
            (8, "8 is not a block {...}"),
        ],
    )
    def test_anything_else_is_refused(
        self, silicon: Content, read: Read, written: object, words: str
    ) -> None:
        silicon["train"]["type_embedding"] = written
        assert words in error(read, silicon)


class TestStart:
    @pytest.fixture
    def models(self, folder: Path) -> list[str]:
        names = [f"model_{k}.pt" for k in range(4)]
        for name in names:
            (folder / name).touch()
        return names

    def test_one_start_model_per_member(
        self, silicon: Content, read: Read, folder: Path, models: list[str]
    ) -> None:
        silicon["init_model_list"] = models
        param = read(silicon)
        assert param.train.init_models == [folder / name for name in models]
        del silicon["init_model_list"]
        silicon["train"]["init_models"] = models
        assert read(silicon).train == param.train

    def test_one_start_model_for_all_members_is_refused(
        self, silicon: Content, read: Read, models: list[str]
    ) -> None:
        silicon["init_model_list"] = models[:1]
        line = error(read, silicon)
        assert line.startswith("init_model_list: has 1 entries; strategy.model_num is 4, and every member")

    def test_a_missing_start_model_is_an_error(self, silicon: Content, read: Read) -> None:
        silicon["init_model_list"] = ["a.pt"]
        with pytest.raises(InputError, match=r"init_model_list\[0\]: no file at /"):
            read(silicon)

    def test_members_go_on_from_their_own_weights_unless_told_otherwise(
        self, silicon: Content, read: Read
    ) -> None:
        assert read(silicon).train.use_pre_model is True
        silicon["use_pre_model"] = False
        assert read(silicon).train.use_pre_model is False


def test_strategy_of_compression_deviation_and_early_end(silicon: Content, read: Read) -> None:
    strategy = read(silicon).strategy
    assert (strategy.compress, strategy.deviation, strategy.stop_after) == (False, "dpgen", None)
    silicon["strategy"].update(compress=True, Compress_order=3, deviation="LEGACY", stop_after=3)
    param = read(silicon)
    strategy = param.strategy
    assert (strategy.compress, strategy.compress_order, strategy.compress_dx) == (True, 3, 0.01)
    assert (strategy.deviation, strategy.stop_after) == ("legacy", 3)
    assert param.notes == []


def test_settings_of_a_compression_that_is_not_asked_for_are_notes(silicon: Content, read: Read) -> None:
    silicon["strategy"].update(compress=False, compress_order=5, Compress_dx=0.001)
    assert [note.split(": has")[0] for note in read(silicon).notes] == [
        "strategy.compress_order",
        "strategy.Compress_dx",
    ]


def test_a_full_train_block_out_of_the_database_is_the_same(
    silicon: Content, read: Read, folder: Path
) -> None:
    (folder / "train.json").write_text(json.dumps({"optimizer": {"optimizer": "GKF"}, "Rmax": 5}))
    for k in range(4):
        (folder / f"{k}.pt").touch()
    silicon["train"].update(
        train_input_file="train.json",
        type_embedding="learned",
        descriptor={"sel": "auto"},
        init_models=[f"{k}.pt" for k in range(4)],
    )
    param = read(silicon)
    for file in ("train.json", "0.pt", "1.pt", "2.pt", "3.pt", "POSCAR"):
        (folder / file).unlink()
    stored = json.loads(json.dumps(param.model_dump(mode="json")))
    assert Param.model_validate(stored) == param


SIMPLE: list[tuple[tuple[str, ...], st.SearchStrategy[Any]]] = [
    (("descriptor", "rcut"), st.floats(3, 9)),
    (("descriptor", "rcut_smth"), st.floats(0, 2)),
    (("descriptor", "axis_neuron"), st.integers(1, 25)),
    (("descriptor", "max_neigh_num"), st.integers(1, 300)),
    (("descriptor", "type_embedding"), st.sampled_from([True, False, "learned"])),
    (("fitting_net", "neuron"), st.lists(st.integers(2, 99), min_size=1, max_size=3)),
    (("optimizer", "epochs"), st.integers(1, 99)),
    (("optimizer", "optimizer"), st.sampled_from(list(OPTIMIZER_KEYS))),
    (("seed",), st.integers(0, 99)),
    (("precision",), st.sampled_from(["float32", "float64"])),
]
OTHER_NAMES = {
    (section, key): [other for other, field in table.items() if field == key] + [key]
    for section, table in SPELLINGS.items()
    for key in table.values()
}


@st.composite
def scattered(draw: st.DrawFn) -> tuple[Content, Content]:
    """A train block with its own names, and one that says the same where and how a user might write it."""
    plain: Content = {"atom_type": ["Si"]}
    user: Content = {"atom_type": ["Si"]}
    for path, values in draw(st.lists(st.sampled_from(SIMPLE), unique_by=lambda entry: entry[0])):
        value, key = draw(values), path[-1]
        inner = plain
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        inner[key] = value
        section = ".".join(("train", *path[:-1]))
        name = draw(st.sampled_from(OTHER_NAMES.get((section, key), [key])))
        place = user
        if len(path) > 1 and not (MOVED["train"].get(name) == path[0] and draw(st.booleans())):
            if path[0] != "optimizer" and draw(st.booleans()):
                place = place.setdefault("model", {})
            place = place.setdefault(draw(st.sampled_from([path[0], path[0].upper()])), {})
        place[draw(st.sampled_from([name, name.upper(), name.capitalize()]))] = value
    return plain, user


@given(scattered())
def test_where_and_how_a_key_is_written_changes_nothing(blocks: tuple[Content, Content]) -> None:
    plain, user = blocks
    (one, found), (other, found_too) = (translate(Train, block, Path("t.json")) for block in (plain, user))
    assert found.problems == found_too.problems == found.notes == found_too.notes == []
    assert Train.model_validate(one) == Train.model_validate(other)


TABLES = (SPELLINGS, MOVED, NO_EFFECT, NOT_AVAILABLE)
KNOWN = sorted({*keys_of(Train), *(key for table in TABLES for key in table["train"])} - {"train_input_file"})


@given(
    st.dictionaries(
        st.sampled_from(KNOWN) | st.text("abcDEF. 19", min_size=1),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()),
        max_size=4,
    )
)
def test_no_key_disappears(block: Content) -> None:
    """Whatever a user writes becomes a field, a note or a problem."""
    content, found = translate(Train, block, Path("t.json"))
    told = {finding.place.key for finding in (*found.notes, *found.problems)}
    for key in block:
        lower = key.rsplit(".", 1)[-1].lower()
        fields = {lower, SPELLINGS["train"].get(lower), MOVED["train"].get(lower)}
        harmless = NOT_AVAILABLE["train"][lower].harmless if lower in NOT_AVAILABLE["train"] else ()
        assert key in told or fields & set(content) or block[key] in harmless, key
    assert set(content) <= set(keys_of(Train))
