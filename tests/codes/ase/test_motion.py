"""Relaxation and MD against ASE's own and against analytic averages, at the steps that were asked for."""

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.optimize import BFGS, FIRE

from alpw.codes.ase.limits import check_step
from alpw.codes.protocol import Task
from alpw.codes.registry import code_of
from alpw.errors import InputError

ASE = code_of("ase")
PRESSURE = 5e4  # bar
BAR = 1e5 * units.Pascal
MODULUS = 0.5  # eV/Å^3


@pytest.fixture
def crystal():
    """32 atoms on their sites, and settings that tie them there."""
    atoms = bulk("Al", cubic=True) * (2, 2, 2)
    sites = atoms.get_scaled_positions().tolist()
    arguments = {"sites": sites, "volume": atoms.get_volume(), "modulus": MODULUS}
    return atoms, {"calculator": "toys.Einstein", "arguments": arguments}


@pytest.mark.parametrize(("optimizer", "own"), [("bfgs", BFGS), ("fire", FIRE)])
def test_relaxation_is_that_of_ase_and_ends_below_fmax(copper, with_calculator, drive, optimizer, own):
    frames = drive.steps(copper, with_calculator(optimizer=optimizer, fmax=0.01), Task.RELAX)
    assert np.linalg.norm(frames.forces[-1], axis=1).max() < 0.01
    np.testing.assert_array_equal(frames.positions[0], copper.positions)
    copper.calc = EMT()
    relaxation = own(copper, logfile=None)
    relaxation.run(fmax=0.01)
    assert len(frames) == relaxation.nsteps + 1
    np.testing.assert_allclose(frames.positions[-1], copper.positions, atol=1e-10)
    assert ASE.complete(drive.root / "run", Task.RELAX)


def test_relaxed_cell_is_free_of_stress(copper, with_calculator, drive):
    frames = drive.steps(copper, with_calculator(cell=True, fmax=0.005), Task.RELAX)
    # The optimiser's forces on the cell are the virial per deformation in eV: below fmax like those of atoms.
    assert np.abs(frames.virials[-1]).max() < 0.01 * len(copper)
    assert np.abs(frames.cells[-1] - frames.cells[0]).max() > 1e-3


def test_relaxation_that_reaches_its_limit_is_not_complete(copper, with_calculator, drive):
    assert len(drive.steps(copper, with_calculator(steps=2, fmax=1e-6), Task.RELAX)) == 3
    assert not ASE.complete(drive.root / "run", Task.RELAX)


def test_nve_conserves_the_energy(copper, with_calculator, drive):
    dft = with_calculator(ensemble="nve", steps=100, timestep=2.0, temperature=600)
    frames = drive.steps(copper, dft, Task.AIMD)
    speeds = (frames.extras["velocities"] ** 2).sum(axis=2)
    kinetic = 0.5 * (speeds * copper.get_masses()).sum(axis=1) * 1.036426966e-4  # u Å^2/ps^2 in eV
    assert np.ptp(frames.energies) > 0.05
    # Velocity Verlet's error is of order (ω dt)^2 of the exchanged energy: 1 % at 2 fs and 7 THz.
    assert np.ptp(frames.energies + kinetic) < 0.02 * np.ptp(frames.energies)
    np.testing.assert_allclose(frames.extras["time"], np.arange(101) * 2e-3)


def test_thermostat_gives_its_temperature_to_velocities_and_positions(crystal, with_calculator, drive):
    atoms, chosen = crystal
    dft = with_calculator(**chosen, temperature=400, steps=3000, timestep=4.0, friction=0.02, stride=10)
    frames = drive.steps(atoms, dft, Task.AIMD).select(slice(50, None))
    # 96 degrees of freedom fluctuate by 14 %; velocities forget in 50 fs and positions in 100 fs, which
    # leaves more than 100 independent draws: 1.4 %, and four times that is allowed.
    assert frames.extras["temperature"].mean() == pytest.approx(400, rel=0.06)
    assert frames.energies.mean() == pytest.approx(1.5 * 32 * units.kB * 400, rel=0.06)


def test_barostat_gives_the_analytic_mean_and_fluctuation_of_the_volume(crystal, with_calculator, drive):
    atoms, chosen = crystal
    barostat = {"pressure": PRESSURE, "taup": 80.0, "compressibility": BAR / MODULUS}
    dft = with_calculator(
        **chosen,
        ensemble="npt",
        temperature=400,
        steps=3000,
        timestep=4.0,
        friction=0.02,
        stride=5,
        **barostat,
    )
    frames = drive.steps(atoms, dft, Task.AIMD).select(slice(60, None))
    volumes = np.linalg.det(frames.cells)
    wanted = atoms.get_volume() * (1 - PRESSURE * BAR / MODULUS)
    spread = np.sqrt(units.kB * 400 * atoms.get_volume() / MODULUS)
    # 10 ps, and the volume forgets in about twice its period: some 60 draws, four standard errors.
    assert volumes.mean() == pytest.approx(wanted, abs=4 * spread / np.sqrt(60))
    assert volumes.std() == pytest.approx(spread, rel=4 / np.sqrt(2 * 60))
    virial = np.trace(frames.virials, axis1=1, axis2=2) / 3
    pressures = (virial + 32 * units.kB * frames.extras["temperature"]) / volumes / BAR
    assert pressures.mean() == pytest.approx(PRESSURE, abs=4 * pressures.std() / np.sqrt(60))
    assert frames.extras["temperature"].mean() == pytest.approx(400, rel=0.06)
    # Isotropic: the shape stays.
    np.testing.assert_allclose(frames.cells[-1] / frames.cells[-1][0, 0], np.eye(3), atol=1e-12)


def test_volume_oscillates_with_the_period_asked_for(crystal, with_calculator, drive):
    atoms, chosen = crystal
    atoms.set_cell(atoms.cell * 1.01, scale_atoms=True)
    barostat = {"pressure": 0.0, "taup": 200.0, "compressibility": BAR / MODULUS}
    dft = with_calculator(
        **chosen, ensemble="npt", temperature=1.0, steps=150, timestep=2.0, friction=1e-5, **barostat
    )
    volumes = np.linalg.det(drive.steps(atoms, dft, Task.AIMD).cells)
    # From its largest value to the first minimum it takes half a period; the friction of the barostat,
    # 1/taup, makes it longer by 1 %.
    assert 2 * 2.0 * np.argmin(volumes) == pytest.approx(200.0, rel=0.05)


@pytest.mark.parametrize("ensemble", ["nve", "nvt", "npt"])
def test_stride_keeps_every_third_step_of_the_same_trajectory(copper, with_calculator, drive, ensemble):
    every = drive.steps(copper, with_calculator(ensemble=ensemble, steps=10), Task.AIMD, "every")
    third = drive.steps(copper, with_calculator(ensemble=ensemble, steps=10, stride=3), Task.AIMD, "third")
    np.testing.assert_allclose(third.extras["time"] * 1e3, [0, 3, 6, 9])
    np.testing.assert_array_equal(third.positions, every.positions[::3])
    assert len((drive.root / "third/steps.jsonl").read_text().splitlines()) == 1 + 4
    assert ASE.complete(drive.root / "third", Task.AIMD)


def test_atoms_are_relaxed_before_md_when_asked(copper, with_calculator, drive):
    dft = with_calculator(steps=1, relax_first=True, fmax=0.02)
    frames = drive.steps(copper, dft, Task.AIMD)
    assert len(frames) == 2
    assert np.linalg.norm(frames.forces[0], axis=1).max() < 0.02
    assert np.abs(frames.positions[0] - copper.positions).max() > 0.02
    np.testing.assert_array_equal(frames.cells[0], np.asarray(copper.cell))


def test_seed_decides_the_trajectory(copper, with_calculator, drive):
    runs = [
        drive.steps(copper, with_calculator(steps=3, seed=seed), Task.AIMD, f"run{i}").positions[-1]
        for i, seed in enumerate((1, 1, 2))
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.abs(runs[0] - runs[2]).max() > 1e-4


def test_temperature_and_seed_of_a_run_go_before_the_control_file(copper, make_dft, drive, tmp_path):
    control = tmp_path / "control.json"
    control.write_text(json.dumps({"steps": 1, "temperature": 100, "seed": 9}))
    dft = make_dft(
        dft_style="ase", calculator="ase.calculators.emt.EMT", input=control, temperature=800.0, seed=4
    )
    folder = drive.run(copper, dft, Task.AIMD)
    task = json.loads((folder / "ase.json").read_text())["task"]
    assert (task["temperature"], task["seed"], task["steps"]) == (800.0, 4, 1)
    assert "temperature: 800.0, asked for by this run" in ASE.write_inputs(copper, folder, dft, Task.AIMD)
    (tmp_path / "relax").mkdir()
    relax = dft.model_copy(update={"input": None})
    ASE.write_inputs(copper, tmp_path / "relax", relax, Task.RELAX)
    assert "temperature" not in json.loads((tmp_path / "relax/ase.json").read_text())["task"]


def test_control_file_goes_before_what_is_given_in_place(copper, make_dft, tmp_path):
    control = tmp_path / "control.json"
    control.write_text(json.dumps({"steps": 7}))
    dft = make_dft(dft_style="xtb", input=control, motion={"steps": 3})
    for code in ("xtb", "ase"):
        code_of(code).write_inputs(copper, tmp_path, dft, Task.AIMD)
        assert json.loads((tmp_path / f"{code}.json").read_text())["task"]["steps"] == 7
        code_of(code).write_inputs(copper, tmp_path, dft.model_copy(update={"input": None}), Task.AIMD)
        assert json.loads((tmp_path / f"{code}.json").read_text())["task"]["steps"] == 3


@pytest.mark.parametrize(
    ("task", "motion", "message"),
    [
        (Task.AIMD, {"step": 5}, "step: unknown; allowed are ensemble"),
        (Task.AIMD, {"ensemble": "npt", "pressure": "high"}, "a number wanted"),
        (Task.AIMD, {"pressure": 1.0}, 'pressure: needs ensemble "npt"'),
        (Task.AIMD, {"fmax": 0.1}, "fmax: needs relax_first true"),
        (Task.AIMD, {"stride": 0}, "whole number of 1 or more"),
        (Task.AIMD, {"relax_first": 1}, "true or false"),
        (Task.RELAX, {"stride": 2}, "stride: unknown"),
    ],
)
def test_control_that_cannot_be_meant_is_refused_by_its_key(with_calculator, task, motion, message):
    with pytest.raises(InputError, match=message):
        ASE.check(with_calculator(**motion), ["Cu"], task)


def test_npt_needs_a_structure_that_is_periodic_in_all_directions(with_calculator):
    wire = Atoms("Cu", cell=[9, 9, 2.5], pbc=[False, False, True])
    with pytest.raises(InputError, match="all directions"):
        ASE.check_structure(wire, with_calculator(ensemble="npt"), Task.AIMD)
    ASE.check_structure(wire, with_calculator(), Task.AIMD)


def test_crystal_that_relaxes_its_strain_is_not_taken_for_an_explosion(copper):
    copper.calc = EMT()
    copper.set_velocities(np.full((4, 3), 0.1))
    assert copper.get_temperature() > 5000
    check_step(copper, 1, temperature=300.0, volume=copper.get_volume() / 2)
