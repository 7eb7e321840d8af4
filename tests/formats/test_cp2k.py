"""CP2K's logs and trajectory files: real outputs, single points of the same structures, torn files."""

import json
import re
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from ase import units
from pymatgen.io.cp2k.outputs import Cp2kOutput

from alpw.errors import InputError
from alpw.formats.cp2k import looks_like_cp2k, read_cp2k_md, read_cp2k_single
from alpw.formats.cp2k_log import LogReader
from alpw.structures.frames import LabelledFrames, single_frames

DATA = Path(__file__).parent / "cp2k"
RUNS = ("npt", "cell_opt", "cg", "bfgs")


@pytest.fixture
def copy(tmp_path):
    """A copy of one of the outputs, to be damaged."""

    def make(name):
        return Path(shutil.copytree(DATA / name, tmp_path / name))

    return make


def frames_of(folder):
    return LabelledFrames.join(list(read_cp2k_md(folder)))


@pytest.mark.parametrize("run", RUNS)
def test_every_label_belongs_to_its_structure_as_single_points_of_cp2k_tell(run):
    frames = frames_of(DATA / run)
    labels = json.loads((DATA / run / "labels.json").read_text())
    assert len(frames) == len(labels)
    for k, (frame, expected) in enumerate(zip(single_frames([frames]), labels, strict=True)):
        # The first structure of an optimisation is printed with six decimals, the others with ten, and forces
        # in the log with eight in hartree/bohr.
        loose = 20 if k == 0 and run != "npt" else 1
        assert frame.label.energy == pytest.approx(expected["energy"], abs=1e-6)
        np.testing.assert_allclose(frame.label.forces, expected["forces"], atol=5e-7 * loose)
        np.testing.assert_allclose(frame.label.virial, expected["virial"], atol=5e-7 * loose)
    assert frames.converged.all()


def test_stress_of_md_is_that_of_the_log_and_not_the_one_with_kinetic_part():
    frames = frames_of(DATA / "npt")
    table = np.loadtxt(DATA / "npt" / "run-1.stress")[:, 2:].reshape(-1, 3, 3) * units.bar
    with_kinetic = table * np.abs(np.linalg.det(frames.cells))[:, None, None]
    kinetic = np.trace(with_kinetic - frames.virials, axis1=1, axis2=2)
    energies = np.loadtxt(DATA / "npt" / "run-1.ener")[:, 2] * units.Hartree
    # The trace of the kinetic part is twice the kinetic energy.
    np.testing.assert_allclose(kinetic, 2 * energies, rtol=1e-4)


def test_md_has_times_temperatures_and_velocities():
    frames = frames_of(DATA / "npt")
    np.testing.assert_allclose(frames.extras["time"], [0, 0.001, 0.002, 0.003])
    assert frames.extras["temperature"][0] == pytest.approx(300)
    masses = np.full(2, 28.0855) * units._amu
    speeds = (frames.extras["velocities"] * 100) ** 2  # (m/s)^2 from Å/ps
    kinetic = 0.5 * (masses[:, None] * speeds).sum(axis=(1, 2)) / units._e
    expected = np.loadtxt(DATA / "npt" / "run-1.ener")[:, 2] * units.Hartree
    np.testing.assert_allclose(kinetic, expected, rtol=1e-5)


@pytest.mark.parametrize("run", ["npt", "bfgs"])
def test_pymatgen_reads_the_same_energies_forces_and_geometries(run, copy):
    folder = copy(run)
    theirs = Cp2kOutput(folder / "cp2k.out", auto_load=False)
    theirs.parse_files()
    theirs.parse_energies()
    theirs.parse_forces()
    ours = frames_of(folder)
    # pymatgen reads the files only, which lack the first structure of an optimisation, and keeps the second
    # evaluation of the last geometry.
    first = int(run == "bfgs")
    n = len(ours) - first
    np.testing.assert_allclose(theirs.data["total_energy"][:n], ours.energies[first:], rtol=1e-7)
    forces = np.array(theirs.data["forces"])[:n] * units.Hartree / units.Bohr
    np.testing.assert_allclose(forces, ours.forces[first:], atol=1e-6)


def test_pymatgen_reads_the_same_single_point():
    theirs = Cp2kOutput(DATA / "single" / "cp2k.out", auto_load=False)
    theirs.parse_energies()
    theirs.parse_forces()
    theirs.parse_stresses()
    ours = next(read_cp2k_single(DATA / "single"))[0]
    assert theirs.final_energy == pytest.approx(ours.label.energy, rel=1e-7)
    forces = np.array(theirs.data["forces"][0]) * units.Hartree / units.Bohr
    np.testing.assert_allclose(forces, ours.label.forces, atol=1e-9)
    stress = np.array(theirs.data["stress_tensor"][0]) * units.GPa
    np.testing.assert_allclose(stress * ours.atoms.get_volume(), ours.label.virial, rtol=1e-9)


def test_energy_in_the_heading_of_a_line_search_is_not_that_of_its_geometry():
    """CP2K writes the best energy on the line above the geometry that was tried last."""
    text = (DATA / "cg" / "run-pos-1.xyz").read_text()
    headings = np.array(re.findall(r"E = +(\S+)", text), dtype=float) * units.Hartree
    ours = frames_of(DATA / "cg").energies[1:]
    assert np.abs(headings - ours).max() > 1e-6


def test_cell_is_turned_before_the_first_step_of_cell_opt():
    frames = frames_of(DATA / "cell_opt")
    assert np.abs(frames.cells[:, [0, 0, 1], [1, 2, 2]]).max() < 1e-9
    np.testing.assert_array_less(0, np.linalg.det(frames.cells))


def test_truncated_last_step_is_left_out(copy):
    folder = copy("npt")
    positions = folder / "run-pos-1.xyz"
    positions.write_text(positions.read_text()[:-5])
    assert len(frames_of(folder)) == 3


@pytest.mark.parametrize("cut", range(0, 12000, 1500))
def test_log_cut_anywhere_gives_only_steps_that_are_whole(copy, cut):
    folder = copy("npt")
    whole = frames_of(folder)
    log = folder / "cp2k.out"
    text = log.read_text()
    log.write_text(text[: len(text) - cut])
    found = frames_of(folder)
    assert 2 <= len(found) <= 4
    np.testing.assert_array_equal(found.forces, whole.forces[: len(found)])
    np.testing.assert_array_equal(found.virials, whole.virials[: len(found)])


def test_unconverged_step_is_marked_and_an_interrupted_one_left_out(copy):
    folder = copy("npt")
    log = folder / "cp2k.out"
    parts = log.read_text().split("  *** SCF run converged in")
    line = " *** WARNING in qs_scf.F:601 :: SCF run NOT converged ***\n"
    failed = line + parts[2].split("\n", 1)[1]
    log.write_text("  *** SCF run converged in".join([parts[0], parts[1] + failed, *parts[3:]]))
    assert frames_of(folder).converged.tolist() == [True, False, True, True]
    log.write_text(log.read_text().replace(line, " *** SCF run terminated by external request ***\n" + line))
    assert len(frames_of(folder)) == 3


def test_missing_steps_of_a_file_do_not_shift_the_others(copy):
    folder = copy("npt")
    whole = frames_of(folder)
    for name in ("run-pos-1.xyz", "run-frc-1.xyz"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(lines[:4] + lines[8:]))
    found = frames_of(folder)
    np.testing.assert_array_equal(found.positions, whole.positions[[0, 2, 3]])
    np.testing.assert_array_equal(found.virials, whole.virials[[0, 2, 3]])
    np.testing.assert_array_equal(found.extras["velocities"], whole.extras["velocities"][[0, 2, 3]])


def test_log_and_positions_alone_are_enough_at_constant_cell(copy):
    folder = copy("bfgs")
    whole = frames_of(folder)
    for path in folder.glob("run-*"):
        if "pos" not in path.name:
            path.unlink()
    found = frames_of(folder)
    np.testing.assert_allclose(found.energies, whole.energies, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.forces, whole.forces, atol=1e-6)
    np.testing.assert_allclose(found.cells, whole.cells, atol=1e-9)


def test_line_searches_without_a_force_file_are_not_guessed(copy):
    folder = copy("cg")
    (folder / "run-frc-1.xyz").unlink()
    assert len(frames_of(folder)) == 1


def test_variable_cell_that_was_not_written_is_an_input_error(copy):
    folder = copy("npt")
    (folder / "run-1.cell").unlink()
    with pytest.raises(InputError, match="NPT_F changes the cell"):
        frames_of(folder)


def test_md_without_trajectory_is_an_input_error(copy):
    folder = copy("npt")
    (folder / "run-pos-1.xyz").unlink()
    with pytest.raises(InputError, match=r"no \*-pos-1.xyz"):
        frames_of(folder)


def older(text):
    """The same output as versions before 8.1 wrote it."""
    text = re.sub(r"energy \[a\.u\.\]:", "energy (a.u.):", text)
    text = text.replace("STRESS| Analytical stress tensor [GPa]", "STRESS TENSOR [GPa]\n")
    text = re.sub(r"STRESS\| {20,}x {10,}y {10,}z", "            X               Y               Z", text)
    text = re.sub(
        r"STRESS\|      ([xyz])  (.*)",
        lambda m: f"  {m[1].upper()} {' '.join(f'{float(x):.10f}' for x in m[2].split())}",
        text,
    )
    return re.sub(r" STRESS\|.*\n", "", text)


def newer(text):
    """The same output as versions from 2024 on write it."""

    def table(match):
        rows = [line.split() for line in match[1].splitlines()]
        lines = [
            " FORCES| Atomic forces [hartree/bohr]",
            " FORCES|   Atom      x         y       z        |f|",
        ]
        lines += [f" FORCES| {row[0]:>6} {row[3]} {row[4]} {row[5]}  0.1E-01" for row in rows]
        return "\n".join([*lines, " FORCES| Sum   0.0  0.0  0.0  0.0"]) + "\n"

    text = text.replace("energy [a.u.]:", "energy [hartree]  ")
    text = re.sub(r" ATOMIC FORCES in \[a\.u\.\]\n\n.*\n((?: +\d.*\n)+) SUM OF.*\n", table, text)
    text = text.replace("Analytical stress tensor [GPa]", "Analytical stress tensor [bar]")
    return re.sub(
        r"STRESS\|      ([xyz])  (.*)",
        lambda m: f"STRESS|      {m[1]}  {' '.join(f'{float(x) * 1e4:.11E}' for x in m[2].split())}",
        text,
    )


@pytest.mark.parametrize("form", [older, newer])
@pytest.mark.parametrize("run", ["npt", "cg"])
def test_forms_of_other_versions_give_the_same_frames(copy, run, form):
    folder = copy(run)
    whole = frames_of(folder)
    log = folder / "cp2k.out"
    changed = form(log.read_text())
    assert ("STRESS|" in changed, "ATOMIC FORCES" in changed) == ((form is newer), (form is older))
    log.write_text(changed)
    found = frames_of(folder)
    np.testing.assert_array_equal(found.energies, whole.energies)
    np.testing.assert_array_equal(found.forces, whole.forces)
    # Ten decimals of GPa are what the older form keeps here.
    np.testing.assert_allclose(found.virials, whole.virials, atol=1e-9)


def test_forces_that_did_not_fit_their_columns_are_not_numbers(copy):
    log = copy("single") / "cp2k.out"
    text = log.read_text()
    row = re.search(r"^ +1 +1 +Si +(-?\d+\.\d+)", text.split("ATOMIC FORCES")[1], re.MULTILINE)[1]
    log.write_text(text.replace(row, "*" * len(row)))
    assert np.isnan(next(read_cp2k_single(log)).forces[0, 0, 0])


@pytest.mark.parametrize("fault", ["no_forces", "two", "empty"])
def test_what_is_no_single_point_is_an_input_error(copy, fault):
    log = copy("single") / "cp2k.out"
    text = log.read_text()
    changed = {
        "no_forces": re.sub(r" ATOMIC FORCES(?:.*\n)*? SUM OF.*\n", "", text),
        "two": text + text[text.index("  *** SCF run converged") :],
        "empty": " CP2K| version string:  CP2K version 2023.1\n",
    }[fault]
    log.write_text(changed)
    with pytest.raises(InputError, match=r"complete|evaluations"):
        next(read_cp2k_single(log))


def test_folder_with_two_logs_asks_for_the_file(copy):
    folder = copy("single")
    shutil.copy(folder / "cp2k.out", folder / "other.log")
    with pytest.raises(InputError, match=r"cp2k.out, other.log; name the file"):
        next(read_cp2k_single(folder))
    assert len(next(read_cp2k_single(folder / "other.log"))) == 1


def test_cell_in_another_orientation_is_exact_only_with_the_input_beside_the_log(copy, caplog):
    folder = copy("single")
    exact = next(read_cp2k_single(folder)).cells[0]
    (folder / "cp2k.inp").unlink()
    assert not caplog.records
    rounded = next(read_cp2k_single(folder)).cells[0]
    assert "orientation" in caplog.text
    assert 1e-6 < np.abs(exact - rounded).max() < 1e-3
    # The shape is known to six decimals all the same.
    np.testing.assert_allclose(exact @ exact.T, rounded @ rounded.T, atol=1e-5)


def test_log_is_recognised_by_its_beginning():
    assert looks_like_cp2k((DATA / "npt" / "cp2k.out").read_text()[:4096])
    assert not looks_like_cp2k("ITEM: TIMESTEP\n0\n")


def test_long_log_passes_through_memory_in_pieces(copy):
    """Two thousand steps: the log is read line by line."""
    log = copy("npt") / "cp2k.out"
    text = log.read_text()
    step = text[
        text.rindex("  *** SCF run converged") : text.index(" -                                DBCSR")
    ]
    with log.open("a") as file:
        file.writelines(step for _ in range(2000))
    assert log.stat().st_size > 4e6
    tracemalloc.start()
    with log.open() as lines:
        count = sum(1 for _ in LogReader(lines))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count > 2000 and peak < 1e6
