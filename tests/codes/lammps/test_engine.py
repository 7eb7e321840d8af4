"""Dynamics with forces from Python against LAMMPS's own pair style, and conservation laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import units

from alpw.codes.lammps.cell import LammpsCell
from alpw.codes.lammps.outputs import EndReason, read_result

SEED = 7
VELOCITY = f"velocity all create 60.0 {SEED + 1} mom yes rot no dist gaussian"


def check_against_native(result, reference):
    """Same arithmetic in another order: round-off of 1e-16 has grown to about 1e-12 after 200 steps."""
    assert result.end.reason.value == "completed"
    np.testing.assert_allclose(result.positions[-1], reference.positions, atol=1e-8)
    np.testing.assert_allclose(result.cells[-1], reference.cell, atol=1e-8)
    assert result.potential_energies[-1] == pytest.approx(reference.energy, abs=1e-9)
    assert result.temperatures[-1] == pytest.approx(reference.temperature, rel=1e-7)
    assert result.pressures[-1] == pytest.approx(reference.pressure, rel=1e-7, abs=1e-4)


@pytest.mark.parametrize("cell", ["cubic", "oblique", "left-handed", "skewed"])
@pytest.mark.parametrize(("ensemble", "fix"), [("nve", "nve"), ("nvt", "nvt temp 60 60 0.1")])
def test_trajectory_at_constant_volume_is_that_of_the_native_pair_style(
    cell, ensemble, fix, argon, lennard_jones, native_run, make_task, go
):
    atoms = argon(cell)
    result = go(make_task(atoms, 200, ensemble=ensemble, seed=SEED), lennard_jones)
    commands = [VELOCITY, f"fix 1 all {fix}", "timestep 0.004"]
    check_against_native(result, native_run(atoms, lennard_jones, commands, 200))


def test_ramp_is_that_of_the_native_thermostat_over_the_whole_run(
    argon, lennard_jones, native_run, make_task, go
):
    atoms = argon("oblique")
    task = make_task(atoms, 200, ensemble="nvt", temperature_end=300.0, seed=SEED, restart_stride=50)
    commands = [VELOCITY, "fix 1 all nvt temp 60 300 0.1", "timestep 0.004"]
    check_against_native(go(task, lennard_jones), native_run(atoms, lennard_jones, commands, 200))


def test_heavier_atoms_move_as_slowly_as_their_masses_say(argon, lennard_jones, native_run, make_task, go):
    atoms = argon("oblique")
    result = go(make_task(atoms, 100, masses={"Ar": 160.0, "H": 2.0}, seed=SEED), lennard_jones)
    assert set(result.template.get_masses()) == {160.0}
    atoms.set_masses([160.0] * len(atoms))
    commands = [VELOCITY, "fix 1 all nve", "timestep 0.004"]
    check_against_native(result, native_run(atoms, lennard_jones, commands, 100))
    forces = lennard_jones.predict(result.atoms(len(result) - 1)).forces
    assert result.max_forces[-1] == pytest.approx(np.linalg.norm(forces, axis=1).max(), abs=1e-9)


@pytest.mark.parametrize("cell", ["cubic", "oblique", "left-handed"])
@pytest.mark.parametrize("barostat", ["iso", "aniso", "tri"])
def test_trajectory_at_constant_pressure_is_that_of_the_native_pair_style(
    cell, barostat, argon, lennard_jones, native_run, make_task, go
):
    atoms = argon(cell)
    result = go(make_task(atoms, 200, ensemble=f"npt-{barostat}", pressure=500.0, seed=SEED), lennard_jones)
    commands = [VELOCITY, f"fix 1 all npt temp 60 60 0.1 {barostat} 500 500 0.5", "timestep 0.004"]
    check_against_native(result, native_run(atoms, lennard_jones, commands, 200))


def test_box_that_lammps_flips_goes_on_as_the_same_crystal(argon, lennard_jones, native_run, make_task, go):
    atoms = argon("flipping")
    result = go(make_task(atoms, 200, ensemble="npt-tri", pressure=500.0, seed=SEED), lennard_jones)
    commands = [VELOCITY, "fix 1 all npt temp 60 60 0.1 tri 500 500 0.5", "timestep 0.004"]
    native = native_run(atoms, lennard_jones, commands, 200)
    change = native.cell @ np.linalg.inv(result.cells[-1])
    assert abs(change - np.eye(3)).max() > 0.9
    np.testing.assert_allclose(change, np.rint(change), atol=1e-8)
    images = np.linalg.solve(result.cells[-1].T, (native.positions - result.positions[-1]).T)
    np.testing.assert_allclose(images, np.rint(images), atol=1e-8)
    assert result.potential_energies[-1] == pytest.approx(native.energy, abs=1e-9)
    assert result.pressures[-1] == pytest.approx(native.pressure, rel=1e-7)
    # A flip of the cell that is handed back would show as a jump by a lattice vector, 5 Å or more.
    assert abs(np.diff(result.cells, axis=0)).max() < 1.0
    assert abs(np.diff(result.positions, axis=0)).max() < 1.0


def test_a_lattice_too_skewed_for_a_barostat_is_reduced_and_comes_back_as_it_was(
    argon, lennard_jones, make_task, go
):
    atoms = argon("skewed")
    result = go(make_task(atoms, 100, ensemble="npt-tri", pressure=0.0), lennard_jones)
    assert result.end.reason.value == "completed"
    np.testing.assert_allclose(result.cells[0], atoms.cell.array, atol=1e-12)
    strain = np.linalg.solve(atoms.cell.array, result.cells) - np.eye(3)
    assert abs(strain[-1]).max() > 1e-3
    assert abs(np.diff(strain, axis=0)).max() < 0.1


def test_first_frame_is_the_input(argon, lennard_jones, make_task, go):
    atoms = argon("skewed")
    atoms.positions += [13.0, -40.0, 25.0]
    result = go(make_task(atoms, 0), lennard_jones)
    assert len(result) == 1
    np.testing.assert_allclose(result.positions[0], atoms.positions, atol=1e-12)
    np.testing.assert_array_equal(result.atoms(0).numbers, atoms.numbers)
    assert result.temperatures[0] == pytest.approx(60.0, rel=1e-12)


def test_energy_is_conserved_and_motion_continuous_through_a_hundred_wraps(
    argon, lennard_jones, make_task, go
):
    atoms = argon("cubic")[:8]
    atoms.set_cell(np.diag([14.0, 12.0, 13.0]), scale_atoms=True)
    task = make_task(atoms, 3000, temperature=900.0, timestep=0.002, stride=20)
    result = go(task, lennard_jones)
    kinetic = 1.5 * (len(atoms) - 1) * units.kB * result.temperatures
    total = result.potential_energies + kinetic
    wraps = abs(np.diff(np.floor(np.linalg.solve(atoms.cell.T, result.positions.reshape(-1, 3).T).T), axis=0))
    assert wraps.sum() > 100
    # Velocity Verlet at 2 fs oscillates by 1e-4 eV around hard collisions of argon and does not drift.
    assert np.ptp(total) < 2e-3
    assert abs(total[-100:].mean() - total[:100].mean()) < 2e-4
    # 0.04 ps at the fastest thermal speed (5 standard deviations of 4.3 Å/ps) is below 1 Å.
    assert abs(np.diff(result.positions, axis=0)).max() < 1.0


def test_trajectory_does_not_depend_on_when_lammps_wraps_atoms(argon, lennard_jones, make_task, go):
    atoms = argon("oblique")
    often = go(make_task(atoms, 200, neigh_modify=0, temperature=100.0), lennard_jones)
    rarely = go(make_task(atoms, 200, neigh_modify=100, temperature=100.0), lennard_jones)
    # Round-off only, see check_against_native.
    np.testing.assert_allclose(often.positions, rarely.positions, atol=1e-8)


@pytest.mark.slow
def test_thermostat_gives_the_mean_temperature_and_its_canonical_fluctuation(
    argon, lennard_jones, make_task, go
):
    atoms = argon("cubic")
    result = go(make_task(atoms, 3_000, ensemble="nvt"), lennard_jones)
    temperatures = result.temperatures[len(result) // 6 :]
    # 10 ps hold about 50 independent samples of a spread of 8.8 K, so the mean is known to 1.3 K.
    assert temperatures.mean() == pytest.approx(60.0, abs=4.0)
    # var(T) = 2 T^2 / (3N - 3) in the canonical ensemble.
    assert temperatures.std() == pytest.approx(60.0 * np.sqrt(2 / 93), rel=0.25)


@pytest.mark.parametrize("barostat", ["iso", "aniso", "tri"])
@pytest.mark.parametrize(("scale", "sign"), [(0.95, 1), (1.04, -1)])
def test_compressed_cell_expands_and_stretched_cell_shrinks(
    barostat, scale, sign, argon, lennard_jones, make_task, go
):
    atoms = argon("oblique")
    atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
    task = make_task(atoms, 150, ensemble=f"npt-{barostat}", pressure=0.0, temperature=10.0)
    result = go(task, lennard_jones)
    assert np.sign(result.pressures[0]) == sign
    volumes = np.linalg.det(result.cells)
    assert sign * (volumes[-1] / volumes[0] - 1) > 0.01


def test_barostat_reaches_the_requested_pressure(argon, lennard_jones, make_task, go):
    atoms = argon("cubic")
    task = make_task(atoms, 1800, ensemble="npt-iso", pressure=2000.0, temperature=40.0)
    result = go(task, lennard_jones)
    # The spread of the pressure is some 300 bar and it decorrelates within 0.5 ps: 80 bar on a mean of 5 ps.
    assert result.pressures[len(result) // 4 :].mean() == pytest.approx(2000.0, abs=200.0)


@pytest.mark.parametrize(("n_steps", "stride", "steps"), [(40, 10, 5), (45, 10, 5), (5, 10, 1), (3, 1, 4)])
def test_a_full_trajectory_has_one_frame_per_stride_and_step_zero(
    n_steps, stride, steps, argon, lennard_jones, make_task, go
):
    task = make_task(argon("cubic"), n_steps, stride=stride)
    result = go(task, lennard_jones)
    assert len(result) == steps == task.n_frames
    np.testing.assert_array_equal(result.steps, stride * np.arange(steps))
    assert result.end.steps_done == n_steps
    assert lennard_jones.calls == n_steps + 1


def committee(lennard_jones, n_models: int = 3) -> list:
    """Models of one form whose well depths differ."""
    return [replace(lennard_jones, epsilon=0.0104 * (1 + 0.1 * m), calls=0) for m in range(n_models)]


@pytest.mark.parametrize("definition", ["dpgen", "legacy"])
def test_deviation_is_that_of_the_saved_frames_and_members_see_nothing_else(
    definition, argon, make_task, go, lennard_jones
):
    members = committee(lennard_jones)
    result = go(make_task(argon("oblique"), 50, deviation=definition), *members)
    assert [member.calls for member in members] == [51, 6, 6]
    assert result.deviation == result.end.deviation == definition
    for frame, atoms in enumerate(result.frames()):
        predictions = [member.predict(atoms) for member in members]
        forces = np.array([prediction.forces for prediction in predictions])
        distances = np.sqrt(((forces - forces.mean(axis=0)) ** 2).sum(axis=2))
        per_atom = distances.max(axis=0) if definition == "legacy" else (distances**2).mean(axis=0) ** 0.5
        virial = np.std([prediction.virial for prediction in predictions], axis=0) / len(atoms)
        expected = {
            "max_f": per_atom.max(),
            "mean_f": per_atom.mean(),
            "min_f": per_atom.min(),
            "worst_atom": per_atom.argmax(),
            "energy_deviation": np.std([prediction.energy for prediction in predictions]) / len(atoms),
            "max_v": virial.max(),
            "mean_v": np.linalg.norm(virial) / 3,
            "min_v": virial.min(),
        }
        found = {name: series[frame] for name, series in result.deviations.items()}
        assert found == pytest.approx(expected, abs=1e-12)
        assert result.potential_energies[frame] == pytest.approx(predictions[0].energy, abs=1e-12)


def first_frame_after(series: np.ndarray, threshold: float, n: int) -> int:
    """The frame that completes the first run of ``n`` numbers at or above ``threshold``."""
    pattern = "".join("x" if number >= threshold else "." for number in series)
    return pattern.index("x" * n) + n - 1


@pytest.fixture
def fluctuating(argon, make_task):
    """A task of 61 frames on which the deviation rises and falls around its median."""
    return make_task(argon("oblique"), 300, stride=5, temperature=100.0, models=("unread",) * 3)


def test_trajectory_stops_at_the_last_of_consecutive_uncertain_frames(fluctuating, lennard_jones, go):
    members = committee(lennard_jones)
    whole = go(fluctuating, *members)
    series = whole.deviations["max_f"]
    threshold = float(np.sort(series)[len(series) * 8 // 10])  # exactly that of a frame, which then counts
    starts = set()
    for stop_after in (1, 4, 6):
        last = first_frame_after(series, threshold, stop_after)
        task = replace(fluctuating, stop_above=threshold, stop_after=stop_after)
        result = go(task, *members)
        assert result.end.reason is EndReason.UNCERTAIN
        assert result.end.steps_done == 5 * last
        assert len(result) == last + 1
        np.testing.assert_array_equal(result.positions, whole.positions[: last + 1])
        np.testing.assert_array_equal(result.deviations["max_f"], series[: last + 1])
        assert result.end.message == (
            f"step {5 * last}: deviation {series[last]:.4g} eV/Å on frame {last}, "
            f"the last of {stop_after} in a row with {threshold:g} eV/Å or more"
        )
        starts.add(last - stop_after + 1)
    # The run that comes first is too short for six.
    assert len(starts) == 2
    assert min(starts) > 0


def test_trajectory_that_is_certain_again_in_time_goes_on(fluctuating, lennard_jones, go):
    members = committee(lennard_jones)
    series = go(fluctuating, *members).deviations["max_f"]
    threshold = float(np.median(series))
    longest = max(map(len, "".join("x" if f >= threshold else "." for f in series).split(".")))
    assert 1 < longest < len(series)
    result = go(replace(fluctuating, stop_above=threshold, stop_after=longest + 1), *members)
    assert result.end.reason is EndReason.COMPLETED
    assert len(result) == len(series)


def test_single_model_has_no_deviation(argon, lennard_jones, make_task, go):
    assert go(make_task(argon("cubic"), 10), lennard_jones).deviations is None


def test_seed_decides_the_trajectory(argon, lennard_jones, make_task, go):
    atoms = argon("cubic")
    first, again, other = (go(make_task(atoms, 20, seed=seed), lennard_jones) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.positions, again.positions)
    assert abs(first.positions[-1] - other.positions[-1]).max() > 1e-3


def test_masses_are_those_of_the_structure(argon, lennard_jones, make_task, go):
    atoms = argon("cubic")
    masses = atoms.get_masses()
    masses[::2] = 400.0
    atoms.set_masses(masses)
    result = go(make_task(atoms, 20, stride=1, timestep=0.001), lennard_jones)
    acceleration = np.diff(result.positions, 2, axis=0)[10] / (1000 * units.fs * 0.001) ** 2
    forces = lennard_jones.predict(result.atoms(11)).forces
    # The second difference is exact for velocity Verlet; positions carry 1e-15 Å, and dt^2 is 1e-2.
    np.testing.assert_allclose(acceleration * masses[:, None], forces, atol=1e-7)


class Interrupted:
    """A model that fails once, at a given call."""

    def __init__(self, model, call: int) -> None:
        self.model, self.call, self.calls = model, call, 0

    def predict(self, atoms):
        self.calls += 1
        if self.calls == self.call:
            raise ConnectionError("interrupted")
        return self.model.predict(atoms)


def test_count_of_uncertain_frames_survives_a_restart(fluctuating, lennard_jones, go, tmp_path):
    members = committee(lennard_jones)
    whole = go(fluctuating, *members)
    series = whole.deviations["max_f"]
    threshold, stop_after = float(np.median(series)), 4
    last = first_frame_after(series, threshold, stop_after)
    task = replace(fluctuating, stop_above=threshold, stop_after=stop_after, restart_stride=5)
    # Interrupted in the step after each of the uncertain frames but the last; six calls make a frame, since
    # forces are computed anew after a restart file.
    for frame in range(last - stop_after + 1, last):
        for path in tmp_path.glob("restart.*"):
            path.unlink()
        driver = Interrupted(members[0], 6 * frame + 2)
        with pytest.raises(ConnectionError):
            go(task, driver, *members[1:])
        assert len(read_result(tmp_path)) == frame + 1
        result = go(task, driver, *members[1:])
        assert driver.calls < 6 * last + 6
        assert result.end.reason is EndReason.UNCERTAIN
        assert len(result) == last + 1
        np.testing.assert_allclose(result.positions, whole.positions[: last + 1], atol=1e-8)


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("flipping", {"ensemble": "npt-tri", "pressure": 500.0, "seed": SEED}),
        ("oblique", {"ensemble": "nvt", "temperature": 5000.0, "timestep": 0.001, "n_steps": 400}),
    ],
)
def test_restart_goes_on_across_flips_and_wraps(cell, options, argon, lennard_jones, make_task, go, tmp_path):
    task = make_task(argon(cell), **{"n_steps": 200, "restart_stride": 150, **options})
    whole = go(task, lennard_jones)
    (tmp_path / "restart.150").unlink(missing_ok=True)
    (tmp_path / "restart.300").unlink(missing_ok=True)
    model = Interrupted(lennard_jones, task.n_steps - 10)
    with pytest.raises(ConnectionError, match="interrupted"):
        go(task, model)
    parts = go(task, model)
    # The second attempt evaluates the steps from the restart file on, the setup once more, and nothing else.
    assert model.calls - (task.n_steps - 10) <= task.n_steps - 150 + 2
    for series in ("positions", "cells", "pressures", "temperatures", "max_forces"):
        np.testing.assert_array_equal(getattr(parts, series), getattr(whole, series))


def test_flipped_box_is_the_same_cell():
    cell = np.array([[6.0, 0.0, 0.0], [1.0, 6.0, 0.0], [2.9, 0.5, 6.0]])
    positions = np.array([[0.3, 0.2, 5.9], [8.0, -3.0, 2.0]])
    follower = LammpsCell(cell, np.ones(3, bool), positions)
    flipped = cell.copy()
    flipped[2] += [0.11, 0.02, 0.0]
    sheared = flipped.copy()
    flipped[2] -= flipped[0]
    follower.follow(flipped)
    np.testing.assert_allclose(follower.cell, sheared, atol=1e-12)
    scaled = np.linalg.solve(cell.T, positions.T).T
    wrapped = np.linalg.solve(flipped.T, (scaled @ sheared).T).T % 1.0 @ flipped
    np.testing.assert_allclose(follower.unwrap(wrapped), scaled @ sheared, atol=1e-12)
