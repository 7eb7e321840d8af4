"""Molecular dynamics and relaxations of the stand-in for PWmat."""

import re

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from pwmat_folders import calculate, frames, prepare, run, silicon, structure, surface_of, table


def test_verlet_conserves_the_total_energy(tmp_path):
    folder = calculate(tmp_path, silicon(0.02), {"JOB": "MD", "MD_DETAIL": "1 200 1.0 300 300"})
    totals = np.array([frame["total"] for frame in frames(folder / "MOVEMENT")])
    assert len(totals) == 200
    assert np.ptp(totals) < 1e-3
    assert abs(np.polyfit(np.arange(200), totals, 1)[0]) < 1e-6  # eV/fs
    first = frames(folder / "MOVEMENT")[0]
    assert 2 * first["kinetic"] / (21 * units.kB) == pytest.approx(600, abs=40)
    mdsteps = (folder / "MDSTEPS").read_text().splitlines()
    assert len(mdsteps) == 200 and mdsteps[-1].startswith("Iter(fs)=  0.200000E+03 Etot,Ep,Ek(eV)=")


def test_velocities_of_the_structure_file_are_those_of_the_run(tmp_path):
    atoms = silicon(0.0)
    velocities = np.random.default_rng(0).normal(scale=1e-3, size=(8, 3))
    settings = {"JOB": "MD", "MD_DETAIL": "11 1 0.1 300 300"}
    folder = calculate(tmp_path, atoms, settings, velocities=velocities)
    frame = frames(folder / "MOVEMENT")[0]
    moved = structure(frame).positions - atoms.positions
    moved -= 5.43 * np.round(moved / 5.43)
    np.testing.assert_allclose(moved, 0.1 * velocities, atol=1e-8)
    np.testing.assert_allclose(frame["velocities"], velocities, atol=1e-5)
    prepare(tmp_path / "without", atoms, settings)
    assert "'velocity' is needed" in run(tmp_path / "without").stdout


@pytest.mark.parametrize("method", ["1", "2"])
def test_a_run_from_final_config_goes_on_where_the_last_one_ended(method, tmp_path):
    whole = calculate(tmp_path / "whole", silicon(), {"JOB": "MD", "MD_DETAIL": f"{method} 8 1.0 300 300"})
    half = calculate(tmp_path / "half", silicon(), {"JOB": "MD", "MD_DETAIL": f"{method} 4 1.0 300 300"})
    (half / "atom.config").write_text((half / "final.config").read_text())
    assert run(half).returncode == 0
    straight, resumed = frames(whole / "MOVEMENT"), frames(half / "MOVEMENT")
    assert len(resumed) == 8
    for a, b in zip(straight, resumed, strict=True):
        assert a["time"] == b["time"]
        assert a["energy"] == pytest.approx(b["energy"], abs=1e-6)
        np.testing.assert_allclose(a["positions"], b["positions"], atol=1e-9)
        np.testing.assert_allclose(a["velocities"], b["velocities"], atol=1e-9)


@pytest.mark.parametrize("method", ["2", "3", "6"])
def test_thermostats_hold_the_temperature(method, tmp_path):
    atoms = bulk("Si", cubic=True) * (2, 1, 1)
    velocities = np.random.default_rng(1).normal(scale=1, size=(16, 3))
    velocities *= np.sqrt(units.kB * 500 / (28.0855 * units._amu * 1e10 / units._e))
    velocities -= velocities.mean(axis=0)
    settings = {"JOB": "MD", "MD_DETAIL": f"{method} 400 2.0 500 500"}
    folder = calculate(tmp_path, atoms, settings, velocities=velocities)
    kinetic = np.array([frame["kinetic"] for frame in frames(folder / "MOVEMENT")])
    assert 2 * kinetic[150:].mean() / (45 * units.kB) == pytest.approx(500, rel=0.2)


def test_a_barostat_expands_a_compressed_cell_and_writes_stresses(tmp_path):
    atoms = bulk("Si", a=5.2, cubic=True)
    folder = calculate(tmp_path, atoms, {"JOB": "MD", "MD_DETAIL": "5 60 2.0 300 300"})
    found = frames(folder / "MOVEMENT")
    volumes = [np.linalg.det(frame["cell"]) for frame in found]
    assert volumes[0] < volumes[30] < volumes[-1]
    assert np.trace(found[0]["stress"]) < 0 < np.trace(found[-1]["stress"]) - np.trace(found[0]["stress"])


def test_a_relaxation_reaches_its_force_tolerance_with_fixed_atoms_where_they_were(tmp_path):
    flags = np.ones((8, 3), int)
    flags[0], flags[1] = 0, (1, 0, 1)
    atoms = silicon()
    folder = calculate(tmp_path, atoms, {"JOB": "RELAX", "RELAX_DETAIL": "1 100 0.01"}, flags=flags)
    last = frames(folder / "MOVEMENT")[-1]
    assert np.linalg.norm(last["gradient"] * flags, axis=1).max() < 0.01
    assert np.abs(last["gradient"] * (1 - flags)).max() > 0.01
    end = (folder / "RELAXSTEPS").read_text().splitlines()[-1]
    assert re.match(r"It=\s+\d+ \*END E=\s+-0\.9", end)
    final = (folder / "final.config").read_text()
    relaxed = Atoms("Si8", cell=atoms.cell, scaled_positions=table(final, "\n Position")[:, 1:4], pbc=True)
    shift = relaxed.positions - atoms.positions
    shift -= 5.43 * np.round(shift / 5.43)
    assert np.abs(shift[0]).max() < 1e-9 and abs(shift[1, 1]) < 1e-9 < abs(shift[1, 0])
    forces = surface_of(folder, relaxed).evaluate(relaxed, first=False)[1]
    np.testing.assert_allclose(forces, -last["gradient"], atol=1e-6)


def test_a_cell_relaxation_ends_without_force_and_stress(tmp_path):
    atoms = bulk("Si", a=5.6, cubic=True)
    atoms.rattle(0.02, seed=4)
    settings = {"JOB": "RELAX", "RELAX_DETAIL": "1 200 0.005 1 0.002", "OUT.FORCE": "T"}
    folder = calculate(tmp_path, atoms, settings)
    found = frames(folder / "MOVEMENT")
    assert np.trace(found[0]["stress"]) > 0  # stretched: the energy rises with strain
    assert np.linalg.norm(found[-1]["gradient"], axis=1).max() < 0.005
    assert np.abs(found[-1]["stress"] / 8).mean(axis=1).max() < 0.002
    assert np.linalg.det(found[-1]["cell"]) ** (1 / 3) == pytest.approx(5.431, abs=0.005)
    assert "*END" in (folder / "RELAXSTEPS").read_text()
    steps = (folder / "RELAXSTEPS").read_text().splitlines()
    assert len(steps) == len(found) + 1 and " Av_e= " in steps[0] and steps[0].startswith("It=   -1 CORR E=")


def test_a_relaxation_that_runs_out_of_steps_has_no_end_mark_and_can_go_on(tmp_path):
    folder = calculate(tmp_path, silicon(), {"JOB": "RELAX", "RELAX_DETAIL": "1 4 0.01"})
    assert len(frames(folder / "MOVEMENT")) == 4
    assert "*END" not in (folder / "RELAXSTEPS").read_text()
    for _ in range(12):
        (folder / "atom.config").write_text((folder / "final.config").read_text())
        assert run(folder).returncode == 0
        if "*END" in (folder / "RELAXSTEPS").read_text():
            break
    assert "*END" in (folder / "RELAXSTEPS").read_text()


def test_old_versions_write_a_relaxation_without_units(tmp_path):
    prepare(tmp_path, silicon(), {"JOB": "RELAX", "RELAX_DETAIL": "1 3 0.01 1 0.01"})
    run(tmp_path, PWMAT_OLD_FORMAT="1")
    text = (tmp_path / "MOVEMENT").read_text()
    assert " Force\n" in text and " stress: " in text and "Etot,Ep,Ek =" in text
    assert len(frames(tmp_path / "MOVEMENT")) == 3
