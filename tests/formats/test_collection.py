"""What init_bulk leaves in ``collection/``."""

import numpy as np
import pytest
from ase.build import bulk

from alpw.formats.collection import write_data, write_data_paths, write_structures
from alpw.formats.load import load_frames
from alpw.structures.frame import Label, LabelledFrame
from alpw.structures.read import read_structure
from alpw.structures.recipe import Recipe, build


def frames(count, repeat=1):
    rng = np.random.default_rng(count)
    made = []
    for _ in range(count):
        atoms = bulk("Si", cubic=True).repeat((repeat, 1, 1))
        atoms.rattle(0.1, rng=rng)
        made.append(LabelledFrame(atoms, Label(-1.0, rng.normal(size=(len(atoms), 3)), np.eye(3))))
    return made


def kept(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir()}


def test_one_composition_is_one_data_set(tmp_path):
    paths = write_data(tmp_path, frames(5), frames(2), "pwmlff/npy", divided=True)
    assert paths == [tmp_path / "PWdata"]
    assert kept(tmp_path) == {"PWdata", "PWdata/train", "PWdata/valid"}
    assert (len(load_frames(paths[0], "train")), len(load_frames(paths[0], "valid"))) == (5, 2)


def test_each_composition_has_a_folder_and_nothing_of_before_stays(tmp_path):
    write_data(tmp_path, frames(5), frames(2), "pwmlff/npy", divided=True)
    write_data(tmp_path, [*frames(3), *frames(4, repeat=2)], frames(1), "pwmlff/npy", divided=True)
    formulas = {"PWdata/Si8", "PWdata/Si8/train", "PWdata/Si8/valid", "PWdata/Si16", "PWdata/Si16/train"}
    assert kept(tmp_path) == {"PWdata", *formulas}
    assert len(load_frames(tmp_path / "PWdata")) == 8


def test_another_format_replaces_the_one_before(tmp_path):
    write_data(tmp_path, frames(5), frames(2), "pwmlff/npy", divided=True)
    assert write_data(tmp_path, frames(4), frames(1), "extxyz", divided=True) == [tmp_path / "train.xyz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.xyz", "valid.xyz"]
    assert write_data(tmp_path, [], [], "extxyz", divided=False) == []
    assert list(tmp_path.iterdir()) == []


def test_the_old_data_set_stays_when_the_new_one_cannot_be_written(tmp_path):
    write_data(tmp_path, frames(5), [], "pwmlff/npy", divided=True)
    flat = frames(1)[0]
    flat.atoms.set_cell(np.zeros((3, 3)))
    with pytest.raises(Exception, match="volume"):
        write_data(tmp_path, [*frames(2), flat], [], "pwmlff/npy", divided=True)
    assert len(load_frames(tmp_path / "PWdata")) == 5


def test_paths_can_be_pasted_into_param_json(tmp_path):
    (tmp_path / "valid.xyz").touch()
    write_data_paths(tmp_path, [tmp_path / "train.xyz"], legacy=True)
    expected = f'"{tmp_path / "train.xyz"}",\n'
    assert (tmp_path / "datapath.txt").read_text() == (tmp_path / "pwdata").read_text() == expected
    assert (tmp_path / "valid_datapath.txt").read_text() == f'"{tmp_path / "valid.xyz"}",\n'


@pytest.mark.parametrize("suffix", [".config", ".poscar"])
def test_structures_read_back_as_they_are(tmp_path, suffix):
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    tree = build(atoms, Recipe(scale=(0.9, 1.0), perturb=1), seed=1, root="relax")
    written = write_structures(tmp_path, atoms, tree, suffix)
    assert set(written) == {"relaxed", *(built.name for built in tree)}
    for built in tree:
        again = read_structure(written[built.name])
        assert again.symbols.formula == built.atoms.symbols.formula
        # Digits of the files; POSCAR sorts atoms by species, and so are these.
        order = np.argsort(built.atoms.symbols, kind="stable")
        other = np.argsort(again.symbols, kind="stable")
        np.testing.assert_allclose(again.positions[other], built.atoms.positions[order], atol=1e-10)
        np.testing.assert_allclose(again.cell, built.atoms.cell, atol=1e-10)
