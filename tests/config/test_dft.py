"""The block dft, and control files in the forms that the predecessor takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from alpw.config import ControlFile, Dft
from alpw.config.keys import translate
from alpw.config.load import validated
from alpw.config.section import Section, setting


class Wanted(Section):
    relax_input: list[ControlFile] = setting(meaning="control files of relaxations")


def controls(folder: Path, value: object) -> list[ControlFile]:
    content, translation = translate(Wanted, {"relax_input": value}, folder / "init_param.json")
    return validated(Wanted, content, translation, folder / "init_param.json").relax_input


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("INCAR", "INCAR_md"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("INCAR", [("INCAR", None, None)]),
        ({"input": "INCAR", "kspacing": 0.3, "flag_symm": 3}, [("INCAR", 0.3, 3)]),
        (["INCAR", "INCAR_md"], [("INCAR", None, None), ("INCAR_md", None, None)]),
        (
            [{"input": "INCAR"}, {"Input": "INCAR_md", "_k": 1}],
            [("INCAR", None, None), ("INCAR_md", None, None)],
        ),
    ],
)
def test_a_path_a_block_and_lists_of_either(folder: Path, value: object, expected: list) -> None:
    found = [(entry.input.name, entry.kspacing, entry.flag_symm) for entry in controls(folder, value)]
    assert found == expected


def test_a_control_file_replaces_what_it_names_and_nothing_else(folder: Path) -> None:
    dft = Dft.model_validate({"dft_style": "pwmat", "kspacing": 0.5, "flag_symm": 1})
    other = dft.with_control(controls(folder, {"input": "INCAR_md", "flag_symm": 3})[0])
    assert (other.input, other.kspacing, other.flag_symm) == (folder / "INCAR_md", 0.5, 3)


def test_values_per_element_are_checked() -> None:
    dft = Dft.model_validate({"dft_style": "vasp", "by_element": {"magmom": {"Fe": 5}}})
    assert dft.by_element == {"MAGMOM": {"Fe": 5.0}}
    for wrong in ({"MAGMOM": {"Fx": 5}}, {"MAGMOM": 5}, {"MAGMOM": {"Fe": "up"}}):
        with pytest.raises(ValueError, match=r"is not|is no block"):
            Dft.model_validate({"dft_style": "vasp", "by_element": wrong})


def test_more_than_one_control_file_for_labels_is_refused() -> None:
    assert Dft.model_validate({"dft_style": "vasp", "input": ["INCAR"]}).input == Path("INCAR")
    with pytest.raises(ValueError, match="every label must be made alike"):
        Dft.model_validate({"dft_style": "vasp", "input": ["INCAR", "INCAR_md"]})
