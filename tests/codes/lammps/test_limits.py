"""Where a trajectory stops being physical it ends, and what is kept was physical."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii

from alpw.codes.lammps.checks import kinetic_temperature
from alpw.codes.lammps.inputs import Limits
from alpw.codes.lammps.outputs import EndReason
from alpw.errors import InputError


class Forces(NamedTuple):
    energy: float
    forces: np.ndarray
    virial: np.ndarray = np.zeros((3, 3))


class CentralForce:
    """A force from or towards the centre of the cell, proportional to the distance; no interaction."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def predict(self, atoms: Atoms) -> Forces:
        return Forces(0.0, self.strength * (atoms.positions - atoms.cell.sum(axis=0) / 2))


class FailsAt:
    """Argon until a call number, then whatever `action` makes of the prediction."""

    def __init__(self, model, call: int, action) -> None:
        self.model, self.call, self.action = model, call, action

    def predict(self, atoms: Atoms):
        prediction = self.model.predict(atoms)
        return self.action(prediction) if self.model.calls > self.call else prediction


def closest_ratio(atoms: Atoms) -> float:
    distances = atoms.get_all_distances(mic=True)
    np.fill_diagonal(distances, np.inf)
    radii = covalent_radii[atoms.numbers]
    return (distances / (radii[:, None] + radii)).min()


def check_prefix(result, reason: EndReason, n_frames: int) -> None:
    assert result.end.reason is reason
    assert len(result) == n_frames
    np.testing.assert_array_equal(result.steps, 10 * np.arange(n_frames))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_forces_that_are_not_numbers_end_the_trajectory(bad, argon, lennard_jones, make_task, go):
    def spoil(prediction):
        prediction.forces[3, 1] = bad
        return prediction

    result = go(make_task(argon("cubic"), 100), FailsAt(lennard_jones, 25, spoil))
    check_prefix(result, EndReason.NAN, 3)
    assert result.end.steps_done == 25
    assert result.end.message.startswith("step 25: ")
    assert np.isfinite(result.positions).all()


def test_energy_that_is_not_a_number_ends_the_trajectory(argon, lennard_jones, make_task, go):
    result = go(
        make_task(argon("cubic"), 100), FailsAt(lennard_jones, 20, lambda p: p._replace(energy=np.nan))
    )
    check_prefix(result, EndReason.NAN, 2)


def test_member_of_the_committee_that_gives_no_number_ends_the_trajectory(
    argon, lennard_jones, make_task, go
):
    member = FailsAt(replace(lennard_jones), 2, lambda p: p._replace(forces=p.forces * np.nan))
    check_prefix(go(make_task(argon("cubic"), 100), lennard_jones, member), EndReason.NAN, 2)


def test_large_force_ends_the_trajectory_before_the_frame_that_has_it(argon, lennard_jones, make_task, go):
    kick = FailsAt(lennard_jones, 30, lambda p: p._replace(forces=p.forces * 1e6))
    result = go(make_task(argon("cubic"), 100), kick)
    check_prefix(result, EndReason.FORCE, 3)
    assert "allowed 100.0 eV/Å" in result.end.message


def test_exploding_temperature_ends_the_trajectory(argon, make_task, go):
    task = make_task(argon("cubic"), 10_000, limits=Limits(temperature=500.0, distance_ratio=1e-6))
    result = go(task, CentralForce(0.01))
    assert result.end.reason is EndReason.TEMPERATURE
    assert 2 < len(result) < 100
    assert result.temperatures.max() <= 500.0
    assert result.end.steps_done - result.steps[-1] <= task.stride


def test_evaporating_cell_ends_the_trajectory(argon, lennard_jones, make_task, go):
    task = make_task(argon("cubic"), 20_000, ensemble="npt-iso", pressure=0.0, temperature=400.0)
    result = go(task, lennard_jones)
    assert result.end.reason is EndReason.EXPANSION
    volumes = np.linalg.det(result.cells)
    assert 2 * volumes[0] < volumes[-1] <= 3 * volumes[0]


def test_default_temperature_limit_leaves_room_for_a_relaxing_start():
    assert Limits().max_temperature(300.0) == 5300.0
    assert Limits().max_temperature(2000.0) == 10000.0


def test_collapsing_atoms_end_the_trajectory_before_they_are_too_close(argon, make_task, go):
    task = make_task(argon("cubic"), 10_000, limits=Limits(temperature=1e6))
    result = go(task, CentralForce(-0.5))
    assert result.end.reason is EndReason.TOO_CLOSE
    assert len(result) > 1
    assert min(closest_ratio(atoms) for atoms in result.frames()) >= 0.6


@pytest.mark.parametrize(("distance", "frames"), [(1.26, 0), (1.28, 1)])
def test_start_structure_with_close_atoms_has_no_valid_frame(distance, frames, make_task, go):
    # 0.6 times twice the covalent radius of argon, 1.06 Å, is 1.272 Å.
    atoms = Atoms("Ar2", positions=[[0, 0, 0], [9.0 - distance, 0, 0]], cell=[9, 9, 9], pbc=True)
    result = go(make_task(atoms, 0), CentralForce(0.0))
    assert len(result) == frames
    assert result.end.reason is (EndReason.COMPLETED if frames else EndReason.TOO_CLOSE)


def test_too_close_to_its_own_image_counts(make_task, go):
    atoms = Atoms("Ar2", positions=[[0, 0, 0], [0, 5, 5]], cell=[1.2, 9, 9], pbc=True)
    result = go(make_task(atoms, 0), CentralForce(0.0))
    assert result.end.reason is EndReason.TOO_CLOSE


def test_time_step_too_long_ends_with_a_physical_prefix(argon, lennard_jones, make_task, go):
    task = make_task(argon("cubic"), 2000, timestep=0.08, temperature=100.0)
    result = go(task, lennard_jones)
    assert result.end.reason in {EndReason.TOO_CLOSE, EndReason.TEMPERATURE, EndReason.FORCE}
    assert 0 < len(result) < task.n_frames
    for atoms, temperature in zip(result.frames(), result.temperatures, strict=True):
        assert temperature <= 5100.0
        assert closest_ratio(atoms) >= 0.6
        assert np.linalg.norm(lennard_jones.predict(atoms).forces, axis=1).max() <= 100.0


def test_atom_that_leaves_an_open_cell_is_lost(make_task, go):
    atoms = Atoms("Ar2", positions=[[2, 2, 5], [6, 6, 5]], cell=[9, 9, 10], pbc=[True, True, False])
    result = go(make_task(atoms, 2000, temperature=300.0), CentralForce(0.005))
    assert result.end.reason is EndReason.LOST_ATOMS
    assert 1 < len(result) < 200


def test_atom_outside_an_open_cell_is_refused(make_task, go):
    atoms = Atoms("Ar2", positions=[[2, 2, 11], [6, 6, 5]], cell=[9, 9, 10], pbc=[True, True, False])
    with pytest.raises(InputError, match="1 of 2 atoms lie outside the cell"):
        go(make_task(atoms, 10), CentralForce(0.0))


def test_lammps_error_is_recorded_in_its_own_words(argon, lennard_jones, make_task, go):
    task = make_task(argon("oblique"), 1000, ensemble="npt-tri", pressure=1e6, taup=0.01)
    result = go(task, lennard_jones)
    assert result.end.reason is EndReason.LAMMPS_ERROR
    assert "tilted box too far" in result.end.message


def test_time_limit_keeps_what_was_done(argon, lennard_jones, make_task, go):
    result = go(make_task(argon("cubic"), 10**9, restart_stride=0), lennard_jones, timeout=1.0)
    assert result.end.reason is EndReason.TIMEOUT
    assert len(result) == result.end.steps_done // 10 + 1 - (result.end.steps_done % 10 == 0)


def test_failure_of_the_model_itself_is_raised_not_swallowed(argon, lennard_jones, make_task, go):
    def refuse(_):
        raise InputError("element Ar is unknown")

    with pytest.raises(InputError, match="element Ar is unknown"):
        go(make_task(argon("cubic"), 100), FailsAt(lennard_jones, 25, refuse))


def test_kinetic_temperature_is_that_of_equipartition():
    """3N - 3 degrees of freedom of kT/2 each; argon of 39.948 u at 300 K has sqrt(3kT/m) = 4.328 Å/ps."""
    rng = np.random.default_rng(0)
    masses = np.full(20_000, 39.948)
    velocities = rng.normal(scale=4.3281 / np.sqrt(3), size=(20_000, 3))
    # 60 000 components: relative spread sqrt(2 / 60 000) = 0.6 %.
    assert kinetic_temperature(velocities, masses) == pytest.approx(300.0, rel=0.02)
