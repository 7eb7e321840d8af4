"""Files that are cut anywhere give the right label or none; steps are judged by their own SCF."""

import re
import shutil

import numpy as np
import pytest
from ase.build import bulk

from alpw.codes.protocol import Task
from alpw.codes.pwmat.code import Pwmat
from alpw.codes.pwmat.steps import distances, places, read_frames, unwrapped
from alpw.errors import CalculationError, FailureKind
from alpw.structures.frames import LabelledFrames

PWMAT = Pwmat()


def test_a_result_that_is_cut_anywhere_is_the_right_label_or_none(label, carbide, user, tmp_path):
    expected = label(carbide, user.dft()).label
    random = np.random.default_rng(4)
    outcomes = set()
    for name in ("OUT.MLMD", "OUT.FORCE", "REPORT"):
        content = (tmp_path / "run" / name).read_bytes()
        for length in random.integers(0, len(content), 25):
            folder = tmp_path / "cut"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(tmp_path / "run", folder, symlinks=True)
            (folder / name).write_bytes(content[:length])
            try:
                found = PWMAT.read_label(folder, carbide, user.dft())
            except CalculationError as error:
                outcomes.add(error.kind)
            else:
                outcomes.add("label")
                assert found.energy == expected.energy
                np.testing.assert_array_equal(found.forces, expected.forces)
                np.testing.assert_array_equal(found.virial, expected.virial)
    assert outcomes <= {"label", FailureKind.NODE, FailureKind.SCF} and len(outcomes) > 1


def test_a_trajectory_that_is_cut_anywhere_gives_its_first_steps(steps, carbide, user, tmp_path):
    dft = user.dft("ECUT = 50\nMD_DETAIL = 1 6 1.0 300 300")
    whole = steps("aimd", carbide, dft).frames
    content = (tmp_path / "run" / "MOVEMENT").read_bytes()
    counts = set()
    for length in np.random.default_rng(5).integers(0, len(content), 25):
        (tmp_path / "run" / "MOVEMENT").write_bytes(content[:length])
        found = PWMAT.read_steps(tmp_path / "run", carbide, dft, Task.AIMD)
        n = 0 if found is None else len(found)
        counts.add(n)
        if found is not None:
            np.testing.assert_array_equal(found.positions, whole.positions[:n])
            np.testing.assert_array_equal(found.forces, whole.forces[:n])
            assert found.converged.all()
        assert PWMAT.complete(tmp_path / "run", Task.AIMD) == (n == 6)
    assert len(counts) > 3


def test_steps_are_judged_by_number_where_report_has_other_energies(steps, carbide, user, tmp_path):
    """Some contributions are in one file only; then a step needs both SCFs that may be its own."""
    dft = user.dft("ECUT = 50\nMD_DETAIL = 1 4 1.0 300 300")
    steps("aimd", carbide, dft)
    report = tmp_path / "run" / "REPORT"
    text = report.read_text().replace(" E_tot(eV)    = -.", " E_tot(eV)    = -.9")
    text = re.sub(r"(E_ERROR|RHO_ERROR) *=.*", r"\1 = 0.0", text)
    scfs = text.split(" ending_scf_reason = ")
    assert len(scfs) == 6, "four steps and the first structure, after the head"
    scfs[3] = "niter reached\n" + scfs[3].partition("\n")[2]
    report.write_text(" ending_scf_reason = ".join(scfs))
    found = PWMAT.read_steps(tmp_path / "run", carbide, dft, Task.AIMD)
    assert found.converged.tolist() == [True, False, False, True]


def test_a_relaxation_in_the_format_of_old_versions_is_read(steps, silicon8, user):
    dft = user.dft("ECUT = 50\nRELAX_DETAIL = 1 60 0.02", ("Si",), stress=False)
    result = steps("relax", silicon8, dft, environment={"PWMAT_OLD_FORMAT": "1"})
    assert result.complete and len(result.frames) > 2 and result.frames.converged.all()


def frames_of(atoms, positions):
    n = len(positions)
    return LabelledFrames(
        numbers=atoms.numbers.astype(np.int64),
        cells=np.repeat(np.asarray(atoms.cell)[None], n, axis=0),
        positions=np.array(positions),
        energies=np.zeros(n),
        forces=np.zeros((n, len(atoms), 3)),
        virials=None,
        converged=np.ones(n, dtype=bool),
    )


def test_atoms_are_told_by_their_element_and_their_turn_and_checked_by_their_place(carbide, tmp_path):
    order = np.argsort(carbide.numbers != 6, kind="stable")
    frames = frames_of(carbide[order], [carbide.positions[order] + 0.01 + carbide.cell[2]])
    found = places(carbide, frames, tmp_path)
    np.testing.assert_array_equal(order[found], np.arange(8))
    shuffled = np.random.default_rng(1).permutation(8)
    with pytest.raises(CalculationError, match="cannot be told"):
        places(carbide, frames_of(carbide[shuffled], [carbide.positions[shuffled]]), tmp_path)
    with pytest.raises(CalculationError, match="the output is for"):
        places(carbide, frames_of(bulk("Si", cubic=True), [np.zeros((8, 3))]), tmp_path)


def test_a_trajectory_has_no_jumps_over_the_border_of_the_cell(carbide):
    walk = carbide.positions + np.cumsum(np.random.default_rng(2).normal(0, 0.3, (40, 8, 3)), axis=0)
    wrapped = []
    for positions in walk:
        atoms = carbide.copy()
        atoms.positions = positions
        atoms.wrap()
        wrapped.append(atoms.positions)
    assert np.abs(np.array(wrapped) - walk).max() > 3
    np.testing.assert_allclose(unwrapped(frames_of(carbide, wrapped), carbide.positions), walk, atol=1e-9)
    assert distances(wrapped[-1], walk[-1], np.asarray(carbide.cell)).max() < 1e-9


def test_no_movement_is_no_frame(tmp_path):
    assert read_frames(tmp_path / "MOVEMENT") is None
    (tmp_path / "MOVEMENT").write_text("")
    assert read_frames(tmp_path / "MOVEMENT") is None
