"""init_param.json: every key of the predecessor, its meaning, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alpw.config import InitBulk, load_init, load_init_inputs
from alpw.config.keys import keys_of
from alpw.config.structures import StartConfig
from alpw.config.vocabulary import MOVED, NO_EFFECT
from alpw.errors import InputError

Content = dict[str, Any]
Read = Callable[[Content], InitBulk]

PREDECESSOR = {
    InitBulk: (
        "work_dir reserve_work data_shuffle train_valid_ratio data_format interval sys_config_prefix "
        "sys_configs dft_style scf_style pseudo scf_pseudo in_skf basis_set_file potential_file "
        "gaussian_param relax_input aimd_input scf_input bigmodel_input direct_input scf_max_num"
    ),
    StartConfig: (
        "config format pbc relax relax_input_idx super_cell scale perturb cell_pert_fraction "
        "atom_pert_distance aimd aimd_input_idx bigmodel bigmodel_input_idx direct direct_input_idx scf "
        "scf_input_idx"
    ),
}
"""keys of the predecessor's init_param.json, from its sources"""


@pytest.fixture
def si_pwmat() -> Content:
    """The predecessor's silicon example, its invalid format name included."""
    return {
        "reserve_work": True,
        "train_valid_ratio": 0.8,
        "sys_config_prefix": "./",
        "sys_configs": [
            {
                "config": "atom.config",
                "format": "pwmat/config",
                "relax": True,
                "relax_input_idx": 0,
                "perturb": 10,
                "cell_pert_fraction": 0.03,
                "atom_pert_distance": 0.01,
                "aimd": True,
                "aimd_input_idx": 0,
            },
            {
                "config": "POSCAR",
                "format": "vasp",
                "relax": False,
                "super_cell": [1, 2, 1],
                "scale": [0.9, 0.95],
                "perturb": 3,
                "aimd": False,
            },
        ],
        "dft_style": "pwmat",
        "relax_input": [{"input": "relax_etot.input", "kspacing": 0.3, "flag_symm": 0}],
        "aimd_input": [{"input": "aimd_etot.input", "flag_symm": 3}],
        "pseudo": ["Si.SG15.PBE.UPF"],
    }


@pytest.fixture
def read(folder: Path) -> Read:
    """Writes an init_param.json into a folder with the files that it names, and loads it."""
    perturbed = folder / "init_bulk/collection/init_config_0/relax_pertub"
    (folder / "atom.config").write_bytes((perturbed / "1_pertub.config").read_bytes())
    for name in ("relax_etot.input", "aimd_etot.input", "INCAR1", "INCAR2"):
        (folder / name).touch()

    def write_and_load(content: Content) -> InitBulk:
        (folder / "init_param.json").write_text(json.dumps(content))
        return load_init(folder / "init_param.json")

    return write_and_load


@pytest.mark.parametrize("model", PREDECESSOR)
def test_every_key_of_the_predecessor_is_known(model: type[InitBulk] | type[StartConfig]) -> None:
    tables = (MOVED, NO_EFFECT)
    known = {*keys_of(model), *(key for table in tables for key in table.get(model.section, {}))}
    assert set(PREDECESSOR[model].split()) - known == set()


def test_the_predecessors_example_reads_as_it_means(read: Read, si_pwmat: Content) -> None:
    init = read(si_pwmat)
    first, second = init.sys_configs
    assert init.dft.dft_style == "pwmat" and init.elements == ["Si"]
    assert init.relaxes(first) and init.runs_aimd(first)
    assert not init.relaxes(second) and not init.runs_aimd(second)
    assert init.relax_of(first).kspacing == 0.3 and init.relax_of(first).flag_symm == 0
    ((name, dft),) = init.runs_of(first)
    assert name == "" and dft.flag_symm == 3 and dft.kspacing is None and dft.temperature is None
    assert dft.input is not None and dft.input.name == "aimd_etot.input"
    assert second.super_cell == ((1, 0, 0), (0, 2, 0), (0, 0, 1)) and second.scale == [0.9, 0.95]
    assert init.format == "pwmlff/npy" and init.ratio == 0.8
    assert [start.file.name for start in init.starts] == ["atom.config", "POSCAR"]


@pytest.mark.parametrize("style", ["VASP", "PWmat", "cp2k"])
def test_dft_style_in_any_case(read: Read, si_pwmat: Content, style: str) -> None:
    assert read(si_pwmat | {"dft_style": style}).dft.dft_style == style.lower()


@pytest.mark.parametrize("matrix", [[1, 2, 1], "1 2 1", "1,2,1", [1, 0, 0, 0, 2, 0, 0, 0, 1]])
def test_a_supercell_in_every_spelling(read: Read, si_pwmat: Content, matrix: Any) -> None:
    si_pwmat["sys_configs"][1]["super_cell"] = matrix
    np.testing.assert_array_equal(read(si_pwmat).sys_configs[1].super_cell, np.diag([1, 2, 1]))


def test_scale_as_text_and_as_one_number(read: Read, si_pwmat: Content) -> None:
    si_pwmat["sys_configs"][0]["scale"] = "0.9 0.95"
    si_pwmat["sys_configs"][1]["scale"] = 0.98
    init = read(si_pwmat)
    assert init.sys_configs[0].scale == [0.9, 0.95] and init.sys_configs[1].scale == [0.98]


def test_steps_that_are_not_given_follow_the_inputs(read: Read, si_pwmat: Content) -> None:
    si_pwmat["sys_configs"] = [{"config": "POSCAR"}]
    init = read(si_pwmat)
    (entry,) = init.sys_configs
    assert init.relaxes(entry) and init.runs_aimd(entry) and entry.perturb == 0
    init = read({key: value for key, value in si_pwmat.items() if not key.endswith("_input")})
    (entry,) = init.sys_configs
    assert not init.relaxes(entry) and not init.runs_aimd(entry)


def test_a_shell_pattern_stands_for_all_its_files(read: Read, si_pwmat: Content) -> None:
    si_pwmat["sys_configs"][0]["config"] = "init_bulk/collection/init_config_0/relax_pertub/*.config"
    init = read(si_pwmat)
    assert [start.number for start in init.starts] == list(range(7))
    assert [start.entry for start in init.starts] == [0] * 6 + [1]
    assert init.entry(6) is init.sys_configs[1]


def test_each_entry_takes_its_own_control_file(read: Read, si_pwmat: Content) -> None:
    si_pwmat["aimd_input"] = ["INCAR1", {"input": "INCAR2", "temps": [300, 600]}]
    si_pwmat["sys_configs"][1] |= {"aimd": True, "aimd_input_idx": 1}
    init = read(si_pwmat)
    runs = [init.runs_of(entry) for entry in init.sys_configs]
    assert [
        [(name, dft.input.name, dft.temperature) for name, dft in each if dft.input] for each in runs
    ] == [
        [("", "INCAR1", None)],
        [("300K", "INCAR2", 300.0), ("600K", "INCAR2", 600.0)],
    ]


def test_a_force_field_runs_in_place_of_aimd(read: Read, si_pwmat: Content) -> None:
    si_pwmat["bigmodel_input"] = {
        "calculator": "tblite.ase.TBLite",
        "arguments": {"method": "GFN1-xTB"},
        "ensemble": "npt",
        "temps": [300, 600],
        "press": [1, 1000],
        "nsteps": 1000,
        "md_dt": 0.002,
        "trj_freq": 100,
        "taut": 0.1,
    }
    si_pwmat["sys_configs"] = [
        {"config": "POSCAR", "relax": False, "bigmodel": True, "direct": True, "scf": True}
    ]
    si_pwmat |= {"scf_input": "scf_etot.input", "scf_max_num": 7}
    init = read(si_pwmat)
    runs = init.runs_of(init.sys_configs[0])
    assert [name for name, _ in runs] == ["300K_1bar", "300K_1000bar", "600K_1bar", "600K_1000bar"]
    dft = runs[0][1]
    assert dft.dft_style == "ase" and dft.motion is not None
    # fs, and 1/fs: the units of the control file, whose keys they become.
    assert dft.motion["timestep"] == 2.0 and dft.motion["friction"] == pytest.approx(0.01)
    assert dft.motion["stride"] == 100 and dft.motion["pressure"] == 1
    assert init.label_quota(0) == 7 and init.label_dft(0).input.name == "scf_etot.input"  # type: ignore[union-attr]


def test_the_limit_of_labels_is_shared(read: Read, si_pwmat: Content) -> None:
    si_pwmat |= {"scf_input": "scf_etot.input", "scf_max_num": 8}
    si_pwmat["sys_configs"] = [{"config": "POSCAR", "aimd": True, "scf": index != 1} for index in range(4)]
    init = read(si_pwmat)
    assert [init.label_quota(index) for index in range(4)] == [3, None, 3, 2]


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"perturb": -1}, "sys_configs[0].perturb", "at least 0"),
        ({"super_cell": [0, 1, 1]}, "sys_configs[0].super_cell", "no volume"),
        ({"super_cell": [[0, 1, 0], [1, 0, 0], [0, 0, 1]]}, "sys_configs[0].super_cell", "negative"),
        ({"super_cell": [1, 2]}, "sys_configs[0].super_cell", "3 or 9"),
        ({"super_cell": [1.5, 1, 1]}, "sys_configs[0].super_cell", "whole"),
        ({"scale": [0.9, 0.9]}, "sys_configs[0].scale", "twice"),
        ({"scale": ["wide"]}, "sys_configs[0].scale", "list of numbers"),
        ({"pbc": [1, 2, 1]}, "sys_configs[0].pbc", "0 or 1"),
        ({"pbc": [1, 1]}, "sys_configs[0].pbc", "three numbers 0 or 1"),
        ({"super_cell": [100, 100, 100]}, "sys_configs[0].super_cell", "makes 8000000 atoms"),
        ({"swap": {"copies": 1000}, "perturb": 1000}, "sys_configs[0].perturb", "makes 1000000 structures"),
        ({"slab": {"miller": "111"}}, "sys_configs[0].slab.miller", "no plane"),
        ({"slab": {"miller": [[1, 1, 1], [2, 2, 2]]}}, "sys_configs[0].slab.miller", "twice"),
        ({"bigmodel": True, "aimd": False}, "sys_configs[0].bigmodel", "bigmodel_input is empty"),
        ({"bigmodel": True}, "sys_configs[0].bigmodel", "in place of AIMD"),
        ({"relax_input_idx": 1}, "sys_configs[0].relax_input_idx", "no entry of relax_input"),
        ({"scf": True}, "sys_configs[0].scf", "scf_input is empty"),
        ({"direct": True, "aimd": False}, "sys_configs[0].direct", "neither aimd nor bigmodel"),
        ({"pertub": 3}, "sys_configs[0].pertub", "did you mean 'perturb'"),
        ({"slab": {"miller": [0, 0, 0]}}, "sys_configs[0].slab.miller[0]", "no plane"),
        ({"vacancy": {"element": "Xx"}}, "sys_configs[0].vacancy.element", "not an element"),
        ({"config": "nowhere"}, "sys_configs[0].config", "nothing found"),
    ],
)
def test_what_is_wrong_with_a_structure_is_named(
    read: Read, si_pwmat: Content, changes: Content, key: str, words: str
) -> None:
    si_pwmat["sys_configs"][0] |= changes
    with pytest.raises(InputError, match=words) as caught:
        read(si_pwmat)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"interval": 0}, "at least 1"),
        ({"interval": "often"}, "auto"),
        ({"aimd_input": {"input": "INCAR1", "temps": [300, 300]}}, "a run is asked for twice"),
        ({"train_valid_ratio": 0}, "greater than 0"),
        ({"data_format": "json"}, "extxyz"),
        ({"relax_input": []}, "relax_input is empty"),
        ({"train": {}}, "param.json"),
        ({"bigmodel_input": ["md.py"]}, "is a script"),
    ],
)
def test_what_is_wrong_with_the_file_is_named(
    read: Read, si_pwmat: Content, changes: Content, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read(si_pwmat | changes)


def test_labels_of_a_force_field_and_of_dft_are_never_mixed(read: Read, si_pwmat: Content) -> None:
    si_pwmat["bigmodel_input"] = {"calculator": "ase.calculators.emt.EMT"}
    si_pwmat["sys_configs"][1] |= {"bigmodel": True}
    with pytest.raises(InputError, match="set scf to true") as caught:
        read(si_pwmat)
    assert caught.value.key == "sys_configs[1].scf"


def test_what_one_structure_may_not_take_goes_to_the_others(read: Read, si_pwmat: Content) -> None:
    si_pwmat |= {"scf_input": "scf_etot.input", "scf_max_num": 9}
    capped = {"config": "POSCAR", "aimd": True, "scf": True, "direct": True, "direct_max_num": 2}
    si_pwmat["sys_configs"] = [capped, {"config": "POSCAR", "aimd": True, "scf": True}, capped]
    init = read(si_pwmat)
    assert [init.label_quota(index) for index in range(3)] == [2, 5, 2]


def test_notes_say_where_it_differs_from_the_predecessor(read: Read, si_pwmat: Content) -> None:
    notes = "\n".join(read(si_pwmat | {"interval": 5}).notes)
    assert "interval: compat:" in notes and "train_valid_ratio: compat:" in notes
    assert "flag_symm" not in notes
    del si_pwmat["aimd_input"][0]["flag_symm"]
    assert "flag_symm: compat:" in "\n".join(read(si_pwmat).notes)


def test_what_was_read_is_the_same_out_of_the_database(read: Read, si_pwmat: Content) -> None:
    init = read(si_pwmat)
    again = InitBulk.model_validate(json.loads(init.model_dump_json()))
    assert again == init and again.elements == ["Si"]


def test_a_resource_file_with_the_block_dft_alone_is_enough(
    read: Read, folder: Path, si_pwmat: Content
) -> None:
    read(si_pwmat)
    (folder / "resource.json").write_text(json.dumps({"dft": {"command": "PWmat", "group_size": 3}}))
    _, resource = load_init_inputs(folder / "init_param.json", folder / "resource.json")
    assert resource.block("scf") is resource.dft and resource.notes == []
