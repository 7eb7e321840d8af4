"""DeePMD systems: their files, their names, several sets, missing atoms, and what is wrong with them."""

import numpy as np
import pytest

from alpw.errors import InputError
from alpw.formats.deepmd import is_deepmd, read_deepmd, write_deepmd
from alpw.formats.load import load_frames
from alpw.structures.frames import LabelledFrames, single_frames


def test_the_files_have_the_shapes_of_deepmd_kit(tmp_path, batch):
    (folder,) = write_deepmd(tmp_path, [batch(0, n_atoms=3)])
    shapes = {file.name: np.load(file).shape for file in folder.glob("set.000/*.npy")}
    assert shapes == {
        "coord.npy": (3, 9),
        "box.npy": (3, 9),
        "energy.npy": (3,),
        "force.npy": (3, 9),
        "virial.npy": (3, 9),
    }
    assert len((folder / "type.raw").read_text().split()) == 3 and not (folder / "nopbc").exists()
    assert all(np.load(file).dtype == np.float64 for file in folder.glob("set.000/*.npy"))


def test_mixed_systems_hold_any_composition_of_the_same_number_of_atoms(tmp_path, batch):
    written = [batch(seed, n_atoms=4) for seed in range(3)]
    (folder,) = write_deepmd(tmp_path, written, mixed=True)
    assert folder.name == "4" and (folder / "type.raw").read_text().split() == ["0"] * 4
    assert np.load(folder / "set.000" / "real_atom_types.npy").shape == (9, 4)
    back = list(read_deepmd(tmp_path))
    assert [part.numbers.tolist() for part in back] == [part.numbers.tolist() for part in written]


def test_orders_and_missing_virials_make_systems_of_their_own(tmp_path, batch):
    one, two = batch(0, n_atoms=4), batch(0, n_atoms=4)
    two = two.reordered([3, 2, 1, 0])
    folders = write_deepmd(tmp_path, [one, two, batch(0, n_atoms=4, virials="none")])
    stem = folders[0].name
    assert [folder.name for folder in folders] == [stem, f"{stem}_1", f"{stem}_2"]
    back = list(read_deepmd(tmp_path))
    assert [part.virials is None for part in back] == [False, False, True]
    assert np.array_equal(back[1].forces, two.forces)


def test_several_sets_and_places_without_an_atom(tmp_path, batch):
    (folder,) = write_deepmd(tmp_path, [batch(0, n_atoms=4)], mixed=True)
    (folder / "set.000").rename(folder / "set.002")
    (folder / "set.001").mkdir()
    for file in (folder / "set.002").glob("*.npy"):
        np.save(folder / "set.001" / file.name, np.load(file)[:1])
    types = np.load(folder / "set.001" / "real_atom_types.npy")
    types[0, 2] = -1
    np.save(folder / "set.001" / "real_atom_types.npy", types)
    back = list(single_frames(read_deepmd(folder)))
    assert [len(frame.atoms) for frame in back] == [3, 4, 4, 4]
    assert np.array_equal(back[0].label.forces, back[1].label.forces[[0, 1, 3]])


def test_a_second_write_replaces_the_first(tmp_path, batch):
    write_deepmd(tmp_path, [batch(0, n_atoms=4)])
    folders = write_deepmd(tmp_path, [batch(0, n_atoms=4, n_frames=1, virials="none")])
    assert len(folders) == 1 and len(load_frames(tmp_path)) == 1
    assert load_frames(tmp_path)[0].label.virial is None


def test_nothing_is_touched_when_a_frame_cannot_be_written(tmp_path, batch):
    write_deepmd(tmp_path, [batch(0)])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    flat = batch(0)
    flat.cells[1] = 0
    with pytest.raises(InputError, match="its cell has no volume"):
        write_deepmd(tmp_path, [batch(0), flat])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_slab_becomes_periodic_with_a_warning(tmp_path, batch, caplog):
    slab = LabelledFrames(**{**batch(0).__dict__, "pbc": (True, True, False)})
    write_deepmd(tmp_path, [slab, slab])
    assert caplog.text.count("periodic along ab only are written as periodic in all directions") == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: (s / "type_map.raw").unlink(), "type_map.raw: no such file"),
        (lambda s: (s / "type_map.raw").write_text("Qq\nSi\n"), "'Qq' is not an element"),
        (lambda s: (s / "type.raw").write_text("0\n9\n0\n0\n"), "type.raw: frame 0: a type beyond"),
        (lambda s: (s / "type.raw").write_text("0 x 1 1"), "type.raw: not a list of types"),
        (lambda s: (s / "set.000/force.npy").unlink(), "force.npy: no such file"),
        (lambda s: cut(s / "set.000/force.npy"), "force.npy: not an array of numbers"),
        (lambda s: np.save(s / "set.000/coord.npy", np.zeros((3, 9))), "coord.npy: has the shape"),
        (lambda s: np.save(s / "set.000/coord.npy", np.zeros((2, 12))), "coord.npy: has 2 frames"),
        (
            lambda s: np.save(s / "set.000/force.npy", np.full((3, 12), np.nan)),
            "force.npy: frame 0: .*finite",
        ),
        (lambda s: np.save(s / "set.000/box.npy", np.ones((3, 9))), "box.npy: frame 0: the cell has no vol"),
        (lambda s: (s / "set.000/box.npy").unlink(), "box.npy: no such file"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_frame(tmp_path, batch, damage, message):
    (folder,) = write_deepmd(tmp_path, [batch(0, n_atoms=4)])
    damage(folder)
    with pytest.raises(InputError, match=message):
        list(read_deepmd(folder))


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def test_a_folder_without_sets_is_none(tmp_path):
    (tmp_path / "type.raw").write_text("0\n")
    assert not is_deepmd(tmp_path)
    with pytest.raises(InputError, match=r"type.raw and set.\* not found"):
        read_deepmd(tmp_path)
