"""The numbers of the stand-in for PWmat: derivatives of one energy, with PWmat's signs, read by others too.

What it writes is read with a few lines of their own, with dpdata and with pymatgen, never with its writers.
"""

import re
import resource
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from potentials import pick
from pwmat.fortran import compact, scientific
from pwmat_folders import (
    SCF,
    calculate,
    frames,
    prepare,
    run,
    salt,
    silicon,
    structure,
    surface_of,
    total_energy,
)


@pytest.mark.parametrize("atoms", [silicon(), salt()], ids=["Si", "NaCl"])
def test_forces_and_stress_of_a_label_are_those_of_the_potential_with_the_signs_of_pwmat(atoms, tmp_path):
    order = np.argsort(atoms.numbers != atoms.numbers[0], kind="stable")
    folder = calculate(tmp_path, atoms, SCF)
    frame = frames(folder / "OUT.MLMD")[0]
    atoms.calc, _ = pick(atoms.get_chemical_symbols())
    forces = atoms.get_forces()[order]
    scale = -float((frame["gradient"] * forces).sum() / (forces**2).sum())
    assert 0.9 < scale < 1.1
    np.testing.assert_allclose(frame["gradient"], -scale * forces, atol=1e-12)
    stress = atoms.get_stress(voigt=False) * atoms.get_volume()
    np.testing.assert_allclose(frame["stress"], scale * stress, rtol=5e-6, atol=1e-6)  # six digits
    electrons = {14: 4, 11: 1, 17: 7}
    free = -27.2 * sum(electrons[number] for number in atoms.numbers)
    assert frame["energy"] == pytest.approx(scale * atoms.get_potential_energy() + free, abs=1e-7)
    written = np.array(
        [line.split()[1:4] for line in (folder / "OUT.FORCE").read_text().splitlines()[1:]], float
    )
    np.testing.assert_array_equal(written, frame["gradient"])
    per_atom = np.loadtxt(folder / "OUT.STRESS", skiprows=1)
    np.testing.assert_allclose(per_atom * len(atoms), scale * stress, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "atoms", [silicon(), salt(), bulk("Cu", cubic=True) * (1, 1, 2)], ids=["Si", "NaCl", "Cu"]
)
def test_forces_and_stress_are_derivatives_of_the_energy(atoms, tmp_path):
    atoms.rattle(0.05, seed=3)
    prepare(tmp_path, atoms, SCF)
    surface = surface_of(tmp_path, atoms)
    _, forces, strain = surface.evaluate(atoms)
    h = 1e-4
    for atom, axis in ((0, 0), (3, 1)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * h
            energies.append(surface.evaluate(moved)[0])
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * h), abs=1e-5)
    for i, j in ((0, 0), (1, 2)):
        energies = []
        for sign in (1, -1):
            deformation = np.eye(3)
            deformation[i, j] += sign * h / 2
            deformation[j, i] += sign * h / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell @ deformation, scale_atoms=True)
            energies.append(surface.evaluate(strained)[0])
        assert strain[i, j] == pytest.approx((energies[0] - energies[1]) / (2 * h), abs=1e-4)


def test_the_files_of_displaced_atoms_give_the_force_of_the_file(tmp_path):
    energies = []
    for sign in (1, -1):
        atoms = silicon()
        atoms.positions[2, 1] += sign * 0.005
        energies.append(total_energy(calculate(tmp_path / str(sign), atoms, SCF)))
    centre = frames(calculate(tmp_path / "0", silicon(), SCF) / "OUT.MLMD")[0]
    assert centre["gradient"][2, 1] == pytest.approx((energies[0] - energies[1]) / 0.01, abs=1e-3)


PHYSICS = {
    "ECUT": "60",
    "ECUT2": "200",
    "MP_N123": "3 3 3 0 0 0 3",
    "PRECISION": "DOUBLE",
    "XCFUNCTIONAL": "LDA",
    "SPIN": "2",
    "VDW": "DFT-D3",
    "FERMIDE": "0.1",
    "SCF_ITER0_2": "94 4 3 1.0 0.1 1",
    "LDAU_PSP1": "1 2.0",
    "NUM_ELECTRON": "33",
    "USE_DFTB": "T",
}


NUMERICAL = {
    "SCF_ITER0_1": "8 4 3 0.0 0.025 1",
    "SCF_ITER0_2": "200 5 3 1.05 0.025 1",
    "MAX_SCF_ITER": "300",
    "KERK_AMIX": "0.1",
    "PULAY_MIX_OPT": "10 0 0 1.0 0.0",
    "E_ERROR": "1.d-8",
    "RHO_ERROR": "1.E-6",
    "NUM_BLOCKED_PSI": "T",
    "OUT.WG": "F",
}


def energy_with(folder: Path, changes: dict) -> float:
    atoms = silicon()
    prepare(folder, atoms, {**SCF, **changes})
    return surface_of(folder, atoms).evaluate(atoms)[0]


@pytest.mark.parametrize("key", PHYSICS)
def test_settings_that_are_physics_change_the_energy(key, tmp_path):
    plain = energy_with(tmp_path, {})
    assert abs(energy_with(tmp_path, {key: PHYSICS[key]}) - plain) > 1e-5


@pytest.mark.parametrize("key", NUMERICAL)
def test_settings_that_are_numerical_do_not(key, tmp_path):
    assert energy_with(tmp_path, {key: NUMERICAL[key]}) == energy_with(tmp_path, {})


def test_the_energy_converges_smoothly_with_the_cutoff(tmp_path):
    energies = [
        energy_with(tmp_path, {"ECUT": str(ecut), "ECUT2": str(4 * ecut)}) for ecut in range(20, 100, 10)
    ]
    steps = np.diff(energies)
    assert (steps < 0).all()
    assert (np.abs(steps[1:]) < np.abs(steps[:-1])).all()
    assert abs(steps[-1]) < 0.01


def test_atoms_of_one_element_are_brought_together_and_the_order_is_told(tmp_path):
    atoms = salt()[[0, 1, 2, 3, 4, 5, 6, 7]]
    assert list(atoms.symbols[:3]) == ["Na", "Cl", "Na"]
    folder = calculate(tmp_path, atoms, SCF)
    frame = frames(folder / "OUT.MLMD")[0]
    assert list(frame["numbers"]) == [11] * 4 + [17] * 4
    places = np.loadtxt(folder / "ORIGIN.INDEX", dtype=int)[:, 1] - 1
    np.testing.assert_allclose(structure(frame).positions, atoms[places].positions % 5.0, atol=1e-9)


def test_dpdata_reads_a_trajectory_but_gives_the_virial_the_wrong_sign(tmp_path):
    dpdata = pytest.importorskip("dpdata")
    settings = {"JOB": "MD", "MD_DETAIL": "1 5 1.0 300 300", "OUT.STRESS": "T"}
    folder = calculate(tmp_path, silicon(), settings)
    mine = frames(folder / "MOVEMENT")
    data = dpdata.LabeledSystem(str(folder / "MOVEMENT"), fmt="pwmat/movement")
    assert len(data) == 5
    np.testing.assert_allclose(data["energies"], [f["energy"] for f in mine], rtol=1e-12)
    np.testing.assert_allclose(data["forces"], [-f["gradient"] for f in mine], atol=1e-12)
    for i, frame in enumerate(mine):
        atoms = structure(frame)
        energy_slope = surface_of(folder, atoms).evaluate(atoms, first=False)[2]
        # The virial is -dE/dstrain, positive under compression. dpdata 1.1.0 takes the stress of the file
        # for it, which is +dE/dstrain, so its virials of PWmat push where they should pull.
        np.testing.assert_allclose(data["virials"][i], energy_slope, rtol=2e-3, atol=2e-4)
        assert np.trace(data["virials"][i]) * np.trace(-energy_slope) < 0


def test_pymatgen_reads_the_structures_the_report_and_the_fermi_energy(tmp_path):
    pwmat = pytest.importorskip("pymatgen.io.pwmat")
    from pymatgen.io.pwmat.outputs import Movement, OutFermi, Report

    folder = calculate(tmp_path, silicon(), {"JOB": "MD", "MD_DETAIL": "1 4 1.0 300 300", "OUT.STRESS": "T"})
    mine = frames(folder / "MOVEMENT")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        final = pwmat.AtomConfig.from_file(folder / "final.config").structure
        movement = Movement(folder / "MOVEMENT")
        report = Report(folder / "REPORT")
    np.testing.assert_allclose(final.frac_coords, mine[-1]["positions"], atol=1e-12)
    assert movement.n_ionic_steps == 4
    # pymatgen puts one dictionary into its list again and again: every frame is the last one.
    np.testing.assert_allclose(movement.virials[0], mine[-1]["stress"], rtol=1e-12)
    np.testing.assert_allclose(movement.e_tots, mine[-1]["total"], rtol=1e-12)
    assert (report.n_kpoints, report.spin) == (8, 1)
    assert report.eigenvalues.shape == (1, 8, report.n_bands)
    assert OutFermi(folder / "OUT.FERMI").e_fermi == 5.0


def test_the_projects_own_reader_agrees(tmp_path):
    movement = pytest.importorskip("alpw.formats.movement")
    folder = calculate(tmp_path, silicon(), {"JOB": "MD", "MD_DETAIL": "1 4 1.0 300 300", "OUT.STRESS": "T"})
    mine = frames(folder / "MOVEMENT")
    (read,) = movement.read_movement(folder / "MOVEMENT")
    np.testing.assert_allclose(read.energies, [f["energy"] for f in mine], rtol=1e-12)
    np.testing.assert_allclose(read.forces, [-f["gradient"] for f in mine], atol=1e-12)
    np.testing.assert_allclose(read.virials, [-f["stress"] for f in mine], atol=1e-9)
    # The project has Å/ps and ps, PWmat bohr/fs and fs.
    np.testing.assert_allclose(read.extras["velocities"], [1000 * f["velocities"] for f in mine], rtol=1e-7)
    np.testing.assert_allclose(read.extras["time"], [f["time"] / 1000 for f in mine])
    label = calculate(tmp_path / "label", silicon(), SCF)
    (read,) = movement.read_movement(label / "OUT.MLMD")
    np.testing.assert_allclose(read.forces[0], -frames(label / "OUT.MLMD")[0]["gradient"], atol=1e-12)


def test_a_finished_report_has_the_word_time_once_and_in_the_last_line(tmp_path):
    report = (calculate(tmp_path, silicon(), SCF) / "REPORT").read_text()
    assert report.count("time") == 1
    assert "time" in report.rstrip().splitlines()[-1]
    printed = re.findall(r"E_tot\(eV\)\s+=\s+(\S+)", report)
    assert float(printed[-1]) == pytest.approx(total_energy(tmp_path), abs=1e-7)


def test_energy_decomposition_and_switched_off_files(tmp_path):
    folder = calculate(tmp_path, silicon(), {**SCF, "ENERGY_DECOMP": "T, 1", "OUT.WG": "F", "OUT.RHO": "F"})
    shares = np.loadtxt(folder / "OUT.ENDIV", skiprows=2)[:, 1]
    assert shares.sum() == pytest.approx(total_energy(folder), abs=1e-5)
    assert not (folder / "OUT.WG").exists() and not (folder / "OUT.RHO").exists()
    assert (folder / "OUT.VR").exists()


def test_stress_is_written_on_request_only(tmp_path):
    folder = calculate(tmp_path, silicon(), {**SCF, "OUT.STRESS": None, "OUT.FORCE": None})
    assert frames(folder / "OUT.MLMD")[0]["stress"] is None
    assert not (folder / "OUT.STRESS").exists() and not (folder / "OUT.FORCE").exists()


def test_a_label_of_eight_atoms_costs_less_than_a_second_of_processor_time(tmp_path):
    prepare(tmp_path, silicon(), SCF)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_fortran_numbers():
    assert scientific(-904.3499098929, 10) == "-0.9043499099E+03"
    assert scientific(0.99999999999, 5) == "0.10000E+01"
    assert scientific(1.4e-321, 2).startswith("0.14-320")
    assert compact(-904.3, 4) == "-.9043E+03"
    assert scientific(float("nan"), 4) == "NaN"
