"""Export and import without deepmd-kit: what must not change, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from alpw.errors import InputError
from alpw.potential.interchange import export_model, from_deepmd, import_model, to_deepmd
from alpw.potential.interchange.deepmd_files import PYTHON_VARIABLE
from alpw.potential.tables import TableOptions

from .conftest import VARIANTS, agrees, make_variant


def _results(model, atoms):
    prediction = model.predict(atoms)
    return prediction.energy, prediction.forces, prediction.virial


@pytest.mark.parametrize("name", VARIANTS)
def test_a_model_comes_back_whatever_the_size_of_the_neighbour_table(name, variants, structures, tmp_path):
    atoms = structures[VARIANTS[name][0]]
    export_model(variants[name], "deepmd", tmp_path / "model.yaml", sel=120)
    back = import_model(tmp_path / "model.yaml")
    assert agrees(back.predict(atoms), _results(variants[name], atoms)) < 1e-13


def test_a_compressed_model_is_exported_as_its_parent(variants, structures):
    model, atoms = variants["plain-two-side"], structures["quaternary"]
    compressed = model.tabulated(TableOptions())
    assert agrees(from_deepmd(to_deepmd(compressed)).predict(atoms), _results(model, atoms)) < 1e-13


def test_a_model_in_single_precision_comes_back(structures):
    model, atoms = make_variant("silicon", precision="float32"), structures["silicon"]
    back = from_deepmd(to_deepmd(model))
    assert back.config.precision == "float32"
    assert agrees(back.predict(atoms), _results(model, atoms)) < 1e-6


def test_a_capacity_for_all_elements_together_makes_room_for_each():
    model = make_variant("quaternary", sel=40)
    assert to_deepmd(model)["model"]["descriptor"]["sel"] == [40] * 4


@pytest.mark.parametrize(
    ("sel", "message"), [([20, 20], "4 numbers"), (0, "allowed"), ([10, 10, 10, -1], "allowed")]
)
def test_a_neighbour_table_of_another_shape_is_refused(sel, message, variants):
    with pytest.raises(InputError, match=message):
        to_deepmd(variants["plain-two-side"], sel=sel)


@pytest.mark.parametrize("widths", [(60, 14), (14, 28), (120, 120)])
def test_fitting_layers_that_backends_compute_differently_are_refused(widths):
    model = make_variant("silicon", neuron=(6, 12), axis_neuron=5, fitting_neuron=widths)
    with pytest.raises(InputError, match="TensorFlow and PyTorch") as refusal:
        to_deepmd(model)
    assert refusal.value.key == "fitting_neuron"


def _set(data: dict[str, Any], path: str, value: Any) -> None:
    *parents, key = path.split(".")
    for parent in parents:
        data = data[parent]
    data[key] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("descriptor.type", "dpa2", "dpa2"),
        ("descriptor.attn_layer", 2, "attention"),
        ("descriptor.tebd_input_mode", "strip", "concat"),
        ("descriptor.use_econf_tebd", True, "electron"),
        ("descriptor.exclude_types", [[0, 1]], "without interaction"),
        ("descriptor.env_protection", 1e-3, "distance"),
        ("descriptor.env_mat.use_exp_switch", True, "switch"),
        ("descriptor.spin", {"use_spin": [True]}, "spin"),
        ("descriptor.compress", {"@variables": {}, "geo_compress": True}, "compressed"),
        ("descriptor.a_new_option", True, "not known"),
        ("descriptor.@version", 9, "newer"),
        ("descriptor.activation_function", "relu", "relu"),
        ("descriptor.precision", "bfloat16", "precision|bfloat16"),
        ("fitting.type", "dipole", "ener"),
        ("fitting.numb_fparam", 2, "frame parameters"),
        ("fitting.numb_aparam", 1, "atomic parameters"),
        ("fitting.atom_ener", [-1.0, None], "vacuum"),
        ("type", "zbl", "standard"),
        ("pair_exclude_types", [[0, 0]], "without interaction"),
        ("type_map", ["Si", "Ge", "C", "H_water"], "chemical symbols"),
        ("type_map", ["Si", "Ge", "C", "C"], "each once"),
    ],
)
def test_what_we_cannot_represent_is_refused_by_its_key(path, value, message, variants):
    data = copy.deepcopy(to_deepmd(variants["learned-two-side"]))
    _set(data["model"], path, value)
    with pytest.raises(InputError, match=message) as refusal:
        from_deepmd(data)
    assert refusal.value.key


def test_a_scale_that_differs_between_slots_is_refused(variants):
    data = to_deepmd(variants["plain-silicon"])
    data["model"]["descriptor"]["@variables"]["dstd"][0, 3, 0] *= 2
    with pytest.raises(InputError, match="one row per type"):
        from_deepmd(data)


def test_weights_that_do_not_fit_their_settings_are_refused(variants):
    data = to_deepmd(variants["plain-silicon"])
    layer = data["model"]["fitting"]["nets"]["networks"][0]["layers"][1]
    layer["@variables"]["w"] = np.zeros((14, 13))
    with pytest.raises(InputError, match="14 -> 13") as refusal:
        from_deepmd(data)
    assert refusal.value.key == "model.fitting.nets.0.1"


def test_a_descriptor_without_type_vectors_at_its_end_is_read(variants, structures):
    # `concat_output_tebd: false`: the fitting net does not see the vectors, so their weights are zero.
    model, atoms = variants["learned-one-side"], structures["quaternary"]
    n_products = model.config.neuron[-1] * model.config.axis_neuron
    data = to_deepmd(model)
    data["model"]["descriptor"]["concat_output_tebd"] = False
    data["model"]["fitting"]["dim_descrpt"] = n_products
    layer = data["model"]["fitting"]["nets"]["networks"][0]["layers"][0]
    blind = make_variant("quaternary", **VARIANTS["learned-one-side"][1])
    blind.load_state_dict(model.state_dict())
    blind.fitting[0][0].w.data[n_products:] = 0.0
    layer["@variables"]["w"] = layer["@variables"]["w"][:n_products]
    assert agrees(from_deepmd(data).predict(atoms), _results(blind, atoms)) < 1e-13


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1, 2", "not YAML"), ("[1, 2]", "no key"), ("model: 3", "missing"), ("\x00\x01", "not YAML")],
)
def test_a_file_that_is_no_model_is_refused_by_its_name(text, message, tmp_path):
    (tmp_path / "model.yaml").write_text(text)
    with pytest.raises(InputError, match=message) as refusal:
        import_model(tmp_path / "model.yaml")
    assert refusal.value.file == tmp_path / "model.yaml"


def test_yaml_numbers_have_a_decimal_point(tmp_path, variants):
    # A YAML 1.1 parser, such as deepmd-kit's, reads 1e-05 as a word.
    model = copy.deepcopy(variants["plain-silicon"])
    model.energy_bias[0] = 1e-5
    export_model(model, "deepmd", tmp_path / "model.yaml")
    assert "[[1.0e-05]]" in (tmp_path / "model.yaml").read_text()
    assert import_model(tmp_path / "model.yaml").energy_bias[0] == 1e-5


def test_a_frozen_model_without_deepmd_says_what_to_do(variants, tmp_path, monkeypatch):
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    with pytest.raises(InputError, match=r"dp convert-backend model.yaml model.pb"):
        export_model(variants["plain-silicon"], "deepmd", tmp_path / "model.pb")
    (tmp_path / "model.pb").write_bytes(b"frozen")
    with pytest.raises(InputError, match=r"pip install 'alpw\[deepmd\]'"):
        import_model(tmp_path / "model.pb")


def test_a_python_that_does_not_exist_is_named(variants, tmp_path):
    with pytest.raises(InputError, match="no-python"):
        export_model(variants["plain-silicon"], "deepmd", tmp_path / "m.pb", deepmd_python="/no-python")


def test_a_failed_export_leaves_the_old_file(variants, tmp_path):
    (tmp_path / "model.onnx").write_text("old")
    with pytest.raises(InputError, match=r"\.onnx; allowed"):
        export_model(variants["plain-silicon"], "deepmd", tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_text() == "old"
