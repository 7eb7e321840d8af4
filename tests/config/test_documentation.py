"""docs/inputs.md and the examples say what the models say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ase.data import atomic_numbers
from pydantic_core import PydanticUndefined

from alpw.config import ControlFile, InitBulk, StartConfig, json_schema, load_inputs
from alpw.config.dynamics import AimdFile, BigModel
from alpw.config.explore import Explore, MdJob, SysConfig
from alpw.config.keys import keys_of
from alpw.config.model import Descriptor, FittingNet, TypeEmbedding
from alpw.config.optimizer import Optimizer
from alpw.config.param import Dft, Initial, Param, Strategy
from alpw.config.resource import ByAtoms, Resource, ResourceBlock
from alpw.config.section import Section
from alpw.config.structures import Slab, Swap, Vacancy
from alpw.config.train import Train
from alpw.config.train_file import TrainFile
from alpw.config.vocabulary import MOVED, NO_EFFECT, NOT_AVAILABLE, NOT_IMPORTED, SPELLINGS
from alpw.structures.sanity import lowest_distance_fraction

ROOT = Path(__file__).parents[2]
SECTIONS: dict[str, type[Section]] = {
    "param.json": Param,
    "initial": Initial,
    "train": Train,
    "train.descriptor": Descriptor,
    "train.descriptor.type_embedding": TypeEmbedding,
    "train.fitting_net": FittingNet,
    "train.optimizer": Optimizer,
    "strategy": Strategy,
    "explore": Explore,
    "explore.sys_configs": SysConfig,
    "explore.md_jobs": MdJob,
    "dft": Dft,
    "resource.json": Resource,
    "resource.json: each block": ResourceBlock,
    "resource.json: by_atoms": ByAtoms,
}
INIT_SECTIONS: dict[str, type[Section]] = {
    "init_param.json": InitBulk,
    "sys_configs": StartConfig,
    "sys_configs: slab": Slab,
    "sys_configs: swap": Swap,
    "sys_configs: vacancy": Vacancy,
    "relax_input, scf_input": ControlFile,
    "aimd_input": AimdFile,
    "bigmodel_input": BigModel,
}
ALL_SECTIONS = [("inputs", title, model) for title, model in SECTIONS.items()] + [
    ("init_bulk", title, model) for title, model in INIT_SECTIONS.items()
]
FILLED_FROM_THE_FILE = {"campaign", "work_dir"}


def section_text(title: str, document: str = "inputs") -> str:
    text = (ROOT / f"docs/{document}.md").read_text(encoding="utf-8")
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{document}.md has no section {title}"
    return found[1]


def rows(title: str, document: str) -> list[list[str]]:
    table = [line for line in section_text(title, document).splitlines() if line.startswith("|")][2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in table]


@pytest.mark.parametrize(("document", "title", "model"), ALL_SECTIONS)
def test_the_documented_keys_are_the_keys_with_their_units_and_defaults(
    document: str, title: str, model: type[Section]
) -> None:
    documented = {row[0]: (row[2], row[3]) for row in rows(title, document)}
    assert list(documented) == keys_of(model)
    for key, (unit, default) in documented.items():
        info = model.model_fields[key]
        extra = info.json_schema_extra
        assert unit == (extra["unit"] if isinstance(extra, dict) else ""), key
        if default == "required":
            assert info.is_required()
        elif default == "absent":
            assert info.default is None or key in FILLED_FROM_THE_FILE, key
        elif isinstance(info.default, Section):
            assert default == "{}" and info.default == type(info.default)(), key
        else:
            assert info.default is not PydanticUndefined, key
            assert json.loads(default) == json.loads(json.dumps(info.default)), key


@pytest.mark.parametrize(
    ("title", "tables"),
    [("Without effect", NO_EFFECT), ("Without effect", NOT_IMPORTED), ("Not available", NOT_AVAILABLE)],
)
def test_every_key_of_the_predecessor_that_differs_is_documented(
    title: str, tables: dict[str, dict[str, object]]
) -> None:
    text = section_text(title)
    text += section_text(title, "init_bulk")
    missing = {key for table in tables.values() for key in table if f"`{key}`" not in text}
    assert missing == set()


def test_every_other_place_and_spelling_of_a_key_is_documented() -> None:
    documents = ("inputs", "init_bulk")
    text = "".join((ROOT / f"docs/{name}.md").read_text(encoding="utf-8").lower() for name in documents)
    others = {key for tables in (MOVED, SPELLINGS) for table in tables.values() for key in table}
    missing = {key for key in others - {"physical_properties"} if key not in text}
    assert missing == set()


def test_the_data_keys_of_a_train_json_are_documented() -> None:
    text = section_text("A training by itself")
    assert {
        key for key in keys_of(TrainFile) if key not in keys_of(Train) and f"`{key}`" not in text
    } == set()


@pytest.mark.parametrize("name", ["silicon", "silicon_cp2k"])
def test_the_examples_are_valid_without_a_note(name: str) -> None:
    folder = ROOT / "examples" / name
    param, resource = load_inputs(folder / "param.json", folder / "resource.json")
    assert param.notes == resource.notes == []
    assert param.campaign == name
    (atoms,) = param.explore.sys_configs[0].read()
    assert set(atoms.numbers) == {atomic_numbers["Si"]}
    # The bond of silicon, 2.352 Å, over twice the covalent radius 1.11 Å.
    assert lowest_distance_fraction(atoms) == pytest.approx(1.0593, abs=1e-3)


def test_the_silicon_example_has_two_by_two_by_one_cells() -> None:
    param, _ = load_inputs(ROOT / "examples/silicon/param.json", ROOT / "examples/silicon/resource.json")
    (atoms,) = param.explore.sys_configs[0].read()
    assert len(atoms) == 32
    assert atoms.cell.cellpar() == pytest.approx([10.862, 10.862, 5.431, 90, 90, 90])


@pytest.mark.parametrize(
    ("file", "root"), [("param", "Param"), ("init_param", "InitBulk"), ("resource", "Resource")]
)
def test_the_schema_has_every_key_and_no_field_of_our_own(file: str, root: str) -> None:
    schema = json.loads(json.dumps(json_schema(file)))
    blocks = {root: schema, **schema["$defs"]}
    for _, _, model in ALL_SECTIONS:
        if model.__name__ in blocks:
            assert set(keys_of(model)) <= set(blocks[model.__name__]["properties"])
    assert not {"files", "notes", "source", "file", "motion"} & {
        key for block in blocks.values() for key in block["properties"]
    }
    if file == "init_param":
        assert "dft_style" in blocks["InitBulk"]["properties"]
    if file == "param":
        assert "rmax" in blocks["Descriptor"]["properties"] and "rmax" in blocks["Train"]["properties"]
        assert "init_model_list" in blocks["Param"]["properties"]
        assert blocks["MdJob"]["properties"]["temps"]["anyOf"][1]["type"] == "number"
