from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from hypothesis import given, settings
from hypothesis import strategies as st

from alpw.errors import InputError
from alpw.formats import load_frames, read_extxyz, write_extxyz
from alpw.structures.frame import Label, LabelledFrame
from alpw.structures.frames import single_frames


def copper() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(np.asarray(atoms.cell) * 0.97, scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    atoms.calc = EMT()
    return atoms


def labelled(atoms: Atoms) -> LabelledFrame:
    stress = atoms.get_stress(voigt=False)
    label = Label(atoms.get_potential_energy(), atoms.get_forces(), -stress * atoms.get_volume())
    return LabelledFrame(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True), label)


def check_equal(first: LabelledFrame, second: LabelledFrame) -> None:
    assert first.atoms.numbers.tolist() == second.atoms.numbers.tolist()
    assert first.atoms.pbc.tolist() == second.atoms.pbc.tolist()
    assert np.array_equal(np.asarray(first.atoms.cell), np.asarray(second.atoms.cell))
    assert np.array_equal(first.atoms.positions, second.atoms.positions)
    assert first.label.energy == second.label.energy
    assert np.array_equal(first.label.forces, second.label.forces)
    assert (first.label.virial is None) == (second.label.virial is None)
    if first.label.virial is not None:
        assert np.array_equal(first.label.virial, second.label.virial)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.tuples(st.booleans(), st.booleans(), st.booleans()))
@settings(deadline=None, max_examples=25)
def test_a_round_trip_keeps_every_digit(
    tmp_path_factory: pytest.TempPathFactory, seed: int, virial: bool, pbc: tuple[bool, bool, bool]
) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    atoms = Atoms(
        numbers=rng.integers(1, 90, n),
        positions=rng.normal(scale=5, size=(n, 3)),
        cell=rng.normal(size=(3, 3)) + 9 * np.eye(3),
        pbc=pbc,
    )
    # Not symmetric on purpose: rows and columns must not be exchanged.
    frame = LabelledFrame(
        atoms, Label(rng.normal(), rng.normal(size=(n, 3)), rng.normal(size=(3, 3)) if virial else None)
    )
    path = tmp_path_factory.mktemp("xyz") / "frames.xyz"
    write_extxyz(path, [frame, frame])
    back = list(single_frames(read_extxyz(path)))
    assert len(back) == 2
    check_equal(frame, back[1])


def test_ase_reads_what_we_write(tmp_path: Path) -> None:
    frame = labelled(copper())
    write_extxyz(tmp_path / "train.xyz", [frame])
    atoms = ase.io.read(tmp_path / "train.xyz")
    assert atoms.get_potential_energy() == frame.label.energy
    assert np.array_equal(atoms.get_forces(), frame.label.forces)
    assert np.array_equal(atoms.info["virial"], frame.label.virial)


def test_stress_of_ase_becomes_a_virial_positive_under_compression(tmp_path: Path) -> None:
    atoms = copper()
    frame = labelled(atoms)
    ase.io.write(tmp_path / "ase.xyz", atoms, format="extxyz")
    (back,) = load_frames(tmp_path / "ase.xyz")
    assert back.label.virial is not None
    # Compressed by 3 % in length: the pressure is positive.
    assert np.trace(back.label.virial) > 0
    # ASE writes eight decimals of the forces and all digits of energy and stress.
    assert np.allclose(back.label.virial, frame.label.virial, atol=1e-10)
    assert np.allclose(back.label.forces, frame.label.forces, atol=1e-8)
    assert back.label.energy == pytest.approx(frame.label.energy, abs=1e-12)


def test_a_labelled_frame_survives_the_way_through_ase(tmp_path: Path) -> None:
    frame = labelled(copper())
    ase.io.write(tmp_path / "ase.xyz", frame.to_ase(), format="extxyz")
    (back,) = load_frames(tmp_path / "ase.xyz")
    assert back.label.virial is not None and frame.label.virial is not None
    assert np.allclose(back.label.virial, frame.label.virial, atol=1e-10)


def test_the_predecessors_column_is_called_force(tmp_path: Path) -> None:
    text = (
        '1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:force:R:3 pbc="T T T" energy=-3.5 '
        'virial="1 2 3 2 4 5 3 5 6"\nSi 0 0 0 0.1 0.2 0.3\n'
    )
    (tmp_path / "train.xyz").write_text(text)
    (frame,) = load_frames(tmp_path / "train.xyz")
    assert frame.label.forces.tolist() == [[0.1, 0.2, 0.3]]
    assert frame.label.virial is not None and frame.label.virial.tolist() == [[1, 2, 3], [2, 4, 5], [3, 5, 6]]
    assert set(frame.atoms.arrays) == {"numbers", "positions"}


def test_writing_replaces_the_file(tmp_path: Path) -> None:
    for _ in range(2):
        write_extxyz(tmp_path / "train.xyz", [labelled(copper())])
    assert len(load_frames(tmp_path / "train.xyz")) == 1


HEADER = 'Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:forces:R:3 pbc="T T T"'


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (f"1\n{HEADER}\nSi 0 0 0 0 0 0\n", "frame 1: no energy"),
        ('1\nLattice="4 0 0 0 4 0 0 0 4" energy=1\nSi 0 0 0\n', "frame 1: no forces; the frame has energy"),
        (f"1\n{HEADER} energy=1\nSi 0 0 0 0 nan 0\n", "frame 1: forces: a number that is not finite"),
        (f"1\n{HEADER} energy=-1x\nSi 0 0 0 0 0 0\n", "frame 1: a label that is not numbers"),
        (f"1\n{HEADER} energy=nan\nSi 0 0 0 0 0 0\n", "frame 1: energy: a number that is not finite"),
        (f"1\n{HEADER} energy=1\nSi inf 0 0 0 0 0\n", "frame 1: positions: a number that is not finite"),
        (f'1\n{HEADER} energy=1 virial="nan 0 0 0 0 0 0 0 0"\nSi 0 0 0 0 0 0\n', "frame 1: virial: a number"),
    ],
)
def test_a_frame_without_a_complete_label_is_named(tmp_path: Path, second: str, message: str) -> None:
    (tmp_path / "train.xyz").write_text(f"1\n{HEADER} energy=1\nSi 0 0 0 0 0 0\n" + second)
    with pytest.raises(InputError, match=message):
        load_frames(tmp_path / "train.xyz")


@pytest.mark.parametrize("text", ["", "3\n", "hello\nworld\n"])
def test_other_files_are_no_data(tmp_path: Path, text: str) -> None:
    (tmp_path / "data").write_text(text)
    with pytest.raises(InputError, match="an unknown format; labelled data are pwmlff/npy"):
        load_frames(tmp_path / "data")


def test_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train.xyz").write_text(f"3\n{HEADER} energy=1\nSi 0 0 0 0 0 0\n")
    with pytest.raises(
        InputError, match=r"frame 0: not a valid extended XYZ file: .* 1 of 3 atoms; the file is cut short"
    ):
        load_frames(tmp_path / "train.xyz")


@pytest.mark.parametrize("word", ["F", "False", "0", '"no"'])
def test_any_word_for_no_marks_an_unconverged_frame(tmp_path: Path, word: str) -> None:
    (tmp_path / "train.xyz").write_text(f"1\n{HEADER} energy=1 converged={word}\nSi 0 0 0 0 0 0\n")
    (batch,) = read_extxyz(tmp_path / "train.xyz")
    assert batch.converged.tolist() == [False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"1\n{HEADER} energy=1\nX 0 0 0 0 0 0\n", "an atom is of no element"),
        (
            f"1\n{HEADER} energy=1\nSi 0 0 0 0 0 0\ntwo\n",
            "frame 1: .* 'two' stands where the number of atoms belongs",
        ),
        (f"1\n{HEADER}:force:R:3 energy=1\nSi 0 0 0 0 0 0 1 1 1\n", "two columns for forces"),
    ],
)
def test_what_could_be_taken_for_another_label_is_refused(tmp_path: Path, text: str, message: str) -> None:
    text = text.replace(' pbc="T T T":force:R:3', ':force:R:3 pbc="T T T"')
    (tmp_path / "train.xyz").write_text(text)
    with pytest.raises(InputError, match=message):
        load_frames(tmp_path / "train.xyz")


@pytest.mark.parametrize("n_lost", [1, 2, 5])
def test_a_last_number_that_lost_its_end_is_no_label(tmp_path: Path, n_lost: int) -> None:
    text = f"1\n{HEADER} energy=1\nSi 0 0 0 0 0 -1.25e-05\n"
    (tmp_path / "train.xyz").write_text(text[:-n_lost])
    with pytest.raises(InputError, match="frame 0: the file ends within its last line"):
        load_frames(tmp_path / "train.xyz")


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        load_frames(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="an unknown format"):
        load_frames(tmp_path / "empty")
