"""The table of formats: names, recognition by content, and what the documentation says of it."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from alpw.errors import InputError
from alpw.formats.registry import FORMATS, NOTHING_SAID, find, recognise

WRITABLE = [form.name for form in FORMATS if form.write]
DOCS = Path(__file__).parents[2] / "docs" / "formats.md"


def write(name, path, batch):
    form = find(name)
    if form.labelled:
        form.write(path, [batch(1)])
    else:
        form.write(path, iter([batch(1)[0].atoms]), NOTHING_SAID)


@pytest.mark.parametrize("name", WRITABLE)
def test_content_alone_tells_the_format(tmp_path, batch, name):
    # A name that suggests something else, as users' files have it.
    path = tmp_path / "OUTCAR.POSCAR"
    write(name, path, batch)
    assert [form.name for form in FORMATS if form.recognise(path)] == [name]
    assert recognise(path).name == name


@pytest.mark.parametrize("text", ["", "\n\n", "3\n", "hello\nworld\n", "\x00\x01\x02", "1 2 3\n" * 20])
def test_anything_else_is_not_recognised(tmp_path, text):
    (tmp_path / "MOVEMENT").write_text(text)
    (tmp_path / "empty").mkdir()
    assert recognise(tmp_path / "MOVEMENT") is None and recognise(tmp_path / "empty") is None
    with pytest.raises(InputError, match="no such file"):
        recognise(tmp_path / "nowhere")


def test_an_xdatcar_is_no_poscar(tmp_path):
    bulk("Si").write(tmp_path / "XDATCAR", format="vasp-xdatcar")
    assert recognise(tmp_path / "XDATCAR") is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("PWmat/Movement", "pwmat/movement"),
        ("EXTXYZ", "extxyz"),
        ("pwdata", "pwmlff/npy"),
        ("lammps/data", "lammps/lmp"),
        ("contcar", "vasp/poscar"),
    ],
)
def test_names_in_any_case_and_synonyms(name, found):
    assert find(name).name == found


def test_an_unknown_name_is_met_with_the_nearest():
    with pytest.raises(InputError, match="'pwmat/movment'; did you mean 'pwmat/movement'"):
        find("pwmat/movment")
    with pytest.raises(InputError, match="known are pwmlff/npy"):
        find("qqqqqqqq")


def test_no_name_is_that_of_two_formats():
    names = [name for form in FORMATS for name in (form.name, *form.synonyms)]
    assert len(names) == len(set(names)) and all(name == name.lower() for name in names)


def test_the_predecessor_s_names_are_all_there():
    wanted = [
        "pwmat/config",
        "pwmat/movement",
        "vasp/poscar",
        "vasp/outcar",
        "vasp/xml",
        "cp2k/scf",
        "cp2k/md",
        "lammps/lmp",
    ]
    wanted += ["lammps/dump", "extxyz", "pwmlff/npy", "deepmd/npy", "deepmd/mixed"]
    assert sorted(wanted) == sorted(form.name for form in FORMATS)


def test_a_file_of_one_structure_takes_no_two(tmp_path, batch):
    frames = [frame.atoms for frame in batch(1)]
    for name in ("vasp/poscar", "lammps/lmp", "pwmat/config"):
        with pytest.raises(InputError, match="holds one structure"):
            find(name).write(tmp_path / "file", iter(frames), NOTHING_SAID)


def test_the_documentation_lists_every_format_as_it_is():
    rows = {}
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if len(cells) == 6 and "/" in cells[0] + "extxyz/" and cells[0] in {form.name for form in FORMATS}:
            rows[cells[0]] = cells[1:]
    for form in FORMATS:
        content, reads, writes, synonyms, _ = rows[form.name]
        assert content == ("labels" if form.labelled else "structures"), form.name
        assert reads == "yes" and writes == ("yes" if form.write else "no"), form.name
        assert {word.strip() for word in synonyms.split(",") if word.strip()} == set(form.synonyms), form.name
    assert len(rows) == len(FORMATS)


def test_labels_can_be_left_out(tmp_path, batch):
    frames = batch(4)
    find("extxyz").write(tmp_path / "frames.xyz", [frames])
    structures = list(find("extxyz").read_structures(tmp_path / "frames.xyz", NOTHING_SAID))
    assert len(structures) == 3 and all(atoms.calc is None for atoms in structures)
    assert np.array_equal(structures[2].positions, frames.positions[2])
