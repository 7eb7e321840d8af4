"""The table of formats: names, recognition by content, and what the documentation says of it."""

import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from alpw.errors import InputError
from alpw.formats.convert import find_inputs
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


def test_the_predecessor_s_names_are_all_there_and_three_more():
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
    wanted += ["deepmd/hdf5", "lmdb", "ase-db"]
    assert sorted(wanted) == sorted(form.name for form in FORMATS)


PACKERS = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("name", ["extxyz", "pwmat/movement", "lammps/dump", "lammps/lmp", "vasp/poscar"])
def test_packed_files_are_read_as_they_were(tmp_path, batch, name, suffix):
    write(name, tmp_path / "plain", batch)
    packed = tmp_path / f"packed{suffix}"
    packed.write_bytes(PACKERS[suffix]((tmp_path / "plain").read_bytes()))
    form = recognise(packed)
    assert form.name == name
    (one,) = list(form.read_structures(tmp_path / "plain", NOTHING_SAID))[:1]
    (other,) = list(form.read_structures(packed, NOTHING_SAID))[:1]
    assert one == other


@pytest.mark.parametrize("name", ["extxyz", "lammps/dump"])
def test_a_packed_file_that_is_cut_is_refused(tmp_path, batch, name):
    write(name, tmp_path / "plain", batch)
    data = gzip.compress((tmp_path / "plain").read_bytes())
    (tmp_path / "cut.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="the packed file is cut short"):
        list(find(name).read_structures(tmp_path / "cut.gz", NOTHING_SAID))


def test_a_file_that_may_not_be_read_is_not_taken_for_an_unknown_one(tmp_path, monkeypatch):
    (tmp_path / "MOVEMENT").write_text("")

    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("alpw.formats.registry.open_any", forbidden)
    with pytest.raises(InputError, match="MOVEMENT: cannot be read: permission denied"):
        recognise(tmp_path / "MOVEMENT")


def test_a_file_of_one_structure_takes_no_two(tmp_path, batch):
    frames = [frame.atoms for frame in batch(1)]
    for name in ("vasp/poscar", "lammps/lmp", "pwmat/config"):
        with pytest.raises(InputError, match="holds one structure"):
            find(name).write(tmp_path / "file", iter(frames), NOTHING_SAID)


def test_the_documentation_lists_every_format_as_it_is():
    rows = {}
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if (
            len(cells) == 6
            and "/" in cells[0] + "extxyz/lmdb/ase-db/"
            and cells[0] in {form.name for form in FORMATS}
        ):
            rows[cells[0]] = cells[1:]
    for form in FORMATS:
        content, reads, writes, synonyms, _ = rows[form.name]
        assert content == ("labels" if form.labelled else "structures"), form.name
        assert reads == "yes" and writes == ("yes" if form.write else "no"), form.name
        assert {word.strip() for word in synonyms.split(",") if word.strip()} == set(form.synonyms), form.name
    assert len(rows) == len(FORMATS)


def test_final_config_of_dynamics_is_a_structure(tmp_path, batch):
    frames = batch(2, n_frames=1)
    find("movement").write(tmp_path / "MOVEMENT", [frames])
    lines = (tmp_path / "MOVEMENT").read_text().splitlines(keepends=True)
    # PWmat writes the last frame there, without the line of dashes.
    (tmp_path / "final.config").write_text("".join(line for line in lines if "-----" not in line))
    for name in ("pwmat/config", None):
        ((path, form),) = find_inputs([tmp_path / "final.config"], find(name) if name else None)
        (atoms,) = form.read_structures(path, NOTHING_SAID)
        assert atoms.numbers.tolist() == frames.numbers.tolist()
        assert atoms.positions == pytest.approx(frames.positions[0], abs=1e-12)
    assert not list(find("movement").read(tmp_path / "final.config", NOTHING_SAID))


def test_labels_can_be_left_out(tmp_path, batch):
    frames = batch(4)
    find("extxyz").write(tmp_path / "frames.xyz", [frames])
    structures = list(find("extxyz").read_structures(tmp_path / "frames.xyz", NOTHING_SAID))
    assert len(structures) == 3 and all(atoms.calc is None for atoms in structures)
    assert np.array_equal(structures[2].positions, frames.positions[2])
