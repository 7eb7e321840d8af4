from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from alpw.errors import InputError
from alpw.formats import load_frames, write_pwdata
from alpw.formats import read_pwdata as read_batches
from alpw.structures.frame import Label, LabelledFrame
from alpw.structures.frames import single_frames


def frames(seed: int, numbers: list[int], n: int = 3, virial: bool = True) -> list[LabelledFrame]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        atoms = Atoms(
            numbers=numbers,
            cell=rng.normal(size=(3, 3)) + 8 * np.eye(3),
            scaled_positions=rng.uniform(-0.5, 1.5, (len(numbers), 3)),
            pbc=True,
        )
        label = Label(
            float(rng.normal(-100, 10)),
            rng.normal(size=(len(numbers), 3)),
            rng.normal(size=(3, 3)) if virial else None,
        )
        made.append(LabelledFrame(atoms, label))
    return made


def read_pwdata(directory: Path) -> list[LabelledFrame]:
    return list(single_frames(read_batches(directory)))


def check_same(first: LabelledFrame, second: LabelledFrame, order: np.ndarray) -> None:
    # Fractions and back cost two solves of the cell: 1e-12 Å is a hundred roundings at 10 Å.
    assert first.atoms.numbers[order].tolist() == second.atoms.numbers.tolist()
    assert np.array_equal(np.asarray(first.atoms.cell), np.asarray(second.atoms.cell))
    assert np.allclose(first.atoms.positions[order], second.atoms.positions, atol=1e-12, rtol=0)
    assert first.label.energy == second.label.energy
    assert np.array_equal(first.label.forces[order], second.label.forces)
    if first.label.virial is None:
        assert second.label.virial is None
    else:
        assert np.array_equal(first.label.virial, second.label.virial)


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(deadline=None, max_examples=15)
def test_frames_come_back_sorted_by_atomic_number(
    tmp_path_factory: pytest.TempPathFactory, seed: int, virial: bool
) -> None:
    folder = tmp_path_factory.mktemp("data")
    numbers = [14, 3, 14, 8, 3]
    written = frames(seed, numbers, virial=virial)
    write_pwdata(folder, written)
    order = np.argsort(numbers, kind="stable")
    back = read_pwdata(folder)
    assert len(back) == len(written)
    for first, second in zip(written, back, strict=True):
        check_same(first, second, order)


def test_the_files_have_the_shapes_that_the_predecessor_reads(tmp_path: Path) -> None:
    (folder,) = write_pwdata(tmp_path, frames(0, [14, 3, 3], n=4))
    assert folder.name == "Li2Si1"
    shapes = {file.stem: np.load(file).shape for file in folder.glob("*.npy")}
    assert shapes == {
        "lattice": (4, 9),
        "position": (4, 9),
        "energies": (4, 1),
        "forces": (4, 9),
        "virials": (4, 9),
        "ei": (4, 3),
        "image_type": (1, 3),
        "atom_type": (1, 2),
    }
    assert np.load(folder / "image_type.npy").tolist() == [[3, 3, 14]]
    assert np.load(folder / "atom_type.npy").tolist() == [[3, 14]]


def test_positions_are_fractional_and_the_filler_energy_adds_up(tmp_path: Path) -> None:
    atoms = Atoms("SiLi2", positions=[(1, 2, 3), (0, 0, 0), (4, 4, 4)], cell=[5, 8, 10], pbc=True)
    (folder,) = write_pwdata(tmp_path, [LabelledFrame(atoms, Label(-10.0, np.zeros((3, 3))))])
    assert np.allclose(np.load(folder / "position.npy")[0, 6:], [0.2, 0.25, 0.3])
    # One Si and two Li share -10 eV by least squares: E n_t / sum n_t^2 = -10 * (2, 2, 1) / 5.
    assert np.allclose(np.load(folder / "ei.npy"), [[-4, -4, -2]])


def test_compositions_and_missing_virials_go_to_folders_of_their_own(tmp_path: Path) -> None:
    written = [*frames(0, [3, 14]), *frames(1, [14, 14]), *frames(2, [3, 14], virial=False)]
    folders = write_pwdata(tmp_path, written)
    assert [folder.name for folder in folders] == ["Li1Si1", "Li1Si1_1", "Si2"]
    assert not (tmp_path / "Li1Si1_1/virials.npy").exists()
    back = read_pwdata(tmp_path)
    assert len(back) == 9 and sum(frame.label.virial is None for frame in back) == 3


def test_the_old_layout_keeps_training_and_validation_apart(tmp_path: Path) -> None:
    (folder,) = write_pwdata(tmp_path, frames(0, [14], n=5), valid=frames(1, [14], n=2))
    assert sorted(path.name for path in folder.iterdir()) == ["train", "valid"]
    for path in (tmp_path, folder):
        assert [len(load_frames(path, part)) for part in ("all", "train", "valid")] == [7, 5, 2]  # type: ignore[arg-type]


def test_a_second_write_replaces_the_first(tmp_path: Path) -> None:
    write_pwdata(tmp_path, frames(0, [14], n=5))
    write_pwdata(tmp_path, frames(0, [14], n=2, virial=False))
    back = read_pwdata(tmp_path)
    assert len(back) == 2 and all(frame.label.virial is None for frame in back)


def test_fillers_of_missing_virials_are_read_as_missing(tmp_path: Path) -> None:
    (folder,) = write_pwdata(tmp_path, frames(0, [14, 14], n=4))
    virials = np.load(folder / "virials.npy")
    virials[1], virials[2] = -1e5, -1e6
    np.save(folder / "virials.npy", virials)
    assert [frame.label.virial is None for frame in read_pwdata(folder)] == [False, True, True, False]


def test_newer_converters_write_atom_type_with_one_dimension(tmp_path: Path) -> None:
    (folder,) = write_pwdata(tmp_path, frames(0, [3, 14]))
    np.save(folder / "atom_type.npy", np.array([3, 14]))
    np.save(folder / "image_type.npy", np.array([3, 14]))
    assert len(read_pwdata(folder)) == 3


@pytest.mark.parametrize("name", ["energies", "forces", "lattice", "position", "virials"])
def test_numbers_that_are_not_finite_name_file_and_frame(tmp_path: Path, name: str) -> None:
    (folder,) = write_pwdata(tmp_path, frames(0, [14, 14]))
    array = np.load(folder / f"{name}.npy")
    array[2, 0] = np.nan
    np.save(folder / f"{name}.npy", array)
    with pytest.raises(InputError, match=rf"{name}\.npy: frame 2: .*not finite"):
        read_pwdata(folder)


@pytest.mark.parametrize("name", ["energies", "forces", "lattice", "position"])
def test_an_incomplete_set_names_the_missing_file(tmp_path: Path, name: str) -> None:
    (folder,) = write_pwdata(tmp_path, frames(0, [14]))
    (folder / f"{name}.npy").unlink()
    with pytest.raises(InputError, match=rf"{name}\.npy: no such file"):
        read_pwdata(folder)


@pytest.mark.parametrize("name", ["forces", "position", "lattice", "virials"])
def test_a_wrong_shape_or_count_names_the_file(tmp_path: Path, name: str) -> None:
    (folder,) = write_pwdata(tmp_path, frames(0, [14, 14]))
    array = np.load(folder / f"{name}.npy")
    np.save(folder / f"{name}.npy", array[:2])
    with pytest.raises(InputError, match=rf"{name}\.npy: has 2 frames, energies\.npy has 3"):
        read_pwdata(folder)
    np.save(folder / f"{name}.npy", array[:, :-1])
    with pytest.raises(InputError, match=rf"{name}\.npy: has the shape"):
        read_pwdata(folder)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    (folder,) = write_pwdata(tmp_path, frames(0, [14]))
    np.save(folder / "energies.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="not an array of numbers"):
        read_pwdata(folder)


def test_a_cell_without_volume_names_its_frame(tmp_path: Path) -> None:
    (folder,) = write_pwdata(tmp_path, frames(0, [14, 14]))
    lattice = np.load(folder / "lattice.npy")
    lattice[1, 3:6] = lattice[1, :3]
    np.save(folder / "lattice.npy", lattice)
    with pytest.raises(InputError, match=r"lattice\.npy: frame 1: the cell has no volume"):
        read_pwdata(folder)


def test_what_a_killed_writer_leaves_is_not_read(tmp_path: Path) -> None:
    (folder,) = write_pwdata(tmp_path, frames(0, [14], n=2))
    aside = tmp_path / ".writing.0" / "0"
    aside.mkdir(parents=True)
    (aside / "image_type.npy").write_bytes((folder / "image_type.npy").read_bytes())
    assert len(load_frames(tmp_path)) == 2


def test_nothing_is_touched_when_a_frame_cannot_be_written(tmp_path: Path) -> None:
    write_pwdata(tmp_path, frames(0, [14, 3], n=2))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    molecule = LabelledFrame(Atoms("O"), Label(0.0, np.zeros((1, 3))))
    with pytest.raises(InputError, match="periodic frames only"):
        write_pwdata(tmp_path, [*frames(1, [14, 3]), molecule])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not list(tmp_path.glob(".*"))


def test_the_layouts_replace_each_other(tmp_path: Path) -> None:
    write_pwdata(tmp_path, frames(0, [14], n=5), valid=frames(1, [14], n=2))
    write_pwdata(tmp_path, frames(0, [14], n=3))
    assert len(load_frames(tmp_path)) == 3
    write_pwdata(tmp_path, frames(0, [14], n=1), valid=[])
    assert len(load_frames(tmp_path)) == 1 and load_frames(tmp_path, "valid") == []


def test_a_cut_array_is_refused(tmp_path: Path) -> None:
    (folder,) = write_pwdata(tmp_path, frames(0, [14, 14]))
    (folder / "forces.npy").write_bytes((folder / "forces.npy").read_bytes()[:-30])
    with pytest.raises(InputError, match=r"forces\.npy: not an array of numbers"):
        read_pwdata(folder)
