"""An analytic force model that LAMMPS also has natively, and helpers to run both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lammps import Prism
from vesin import NeighborList

from alpw.codes.lammps.engine import integrate
from alpw.codes.lammps.inputs import ExplorationTask
from alpw.codes.lammps.library import open_lammps
from alpw.codes.lammps.measure import CommitteeMeasure
from alpw.codes.lammps.outputs import TASK_FILE, read_result


class Forces(NamedTuple):
    energy: float
    forces: np.ndarray
    virial: np.ndarray


@dataclass
class LennardJones:
    """Argon with force-shifted truncation, LAMMPS's ``pair_style lj/smooth/linear``; energy is conserved."""

    epsilon: float = 0.0104
    sigma: float = 3.40
    cutoff: float = 8.0
    calls: int = 0

    def pair_style(self) -> list[str]:
        return [f"pair_style lj/smooth/linear {self.cutoff}", f"pair_coeff * * {self.epsilon} {self.sigma}"]

    def _pair(self, r):
        s6 = (self.sigma / r) ** 6
        return 4 * self.epsilon * (s6**2 - s6), -24 * self.epsilon * (2 * s6**2 - s6) / r

    def predict(self, atoms: Atoms) -> Forces:
        self.calls += 1
        i, vectors, r = NeighborList(cutoff=self.cutoff, full_list=True).compute(
            points=atoms.positions, box=atoms.cell.array, periodic=atoms.pbc.tolist(), quantities="iDd"
        )
        energy, slope = self._pair(r)
        energy_end, slope_end = self._pair(self.cutoff)
        energy = energy - energy_end - (r - self.cutoff) * slope_end
        pull = ((slope - slope_end) / r)[:, None] * vectors
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, pull)
        return Forces(0.5 * float(energy.sum()), forces, -0.5 * vectors.T @ pull)


def rotated(atoms: Atoms, seed: int) -> Atoms:
    """The same structure in a random orientation."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    matrix *= np.sign(np.linalg.det(matrix))
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell.array @ matrix)
    atoms.positions = atoms.positions @ matrix
    return atoms


def make_argon(cell: str) -> Atoms:
    """Argon in cells below two cutoffs.

    ``cubic`` has 32 atoms along the axes. The others have 8 and are turned in space: ``oblique``,
    ``left-handed``, ``skewed`` (the lattice of ``oblique``, too tilted for fix npt), and ``flipping``, whose
    tilts are so near a half that fix npt soon changes its box vectors.
    """
    if cell == "cubic":
        atoms = bulk("Ar", "fcc", a=5.4, cubic=True).repeat((2, 2, 2))
    elif cell == "flipping":
        atoms = bulk("Ar", "fcc", a=5.4).repeat((2, 2, 2))
        strain = np.array([[1, 0.05, 0.02], [0, 1.02, 0.03], [-0.04, 0, 0.98]])
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms = rotated(atoms, 3)
    else:
        atoms = bulk("Ar", "fcc", a=5.4, cubic=True).repeat((1, 1, 2))
        strain = np.array([[1, 0.05, 0.02], [0.12, 1.02, 0.03], [-0.14, 0.1, 0.98]])
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        if cell == "left-handed":
            atoms.set_cell(atoms.cell.array[[1, 0, 2]])
        elif cell == "skewed":
            atoms.set_cell(np.array([[1, 0, 0], [2, 1, 0], [-1, 2, 1]]) @ atoms.cell.array)
        atoms = rotated(atoms, 3)
    atoms.rattle(0.05, seed=1)
    return atoms


class Native(NamedTuple):
    """End of a trajectory with LAMMPS's own pair style, unwrapped, relative to the corner of the box."""

    positions: np.ndarray
    cell: np.ndarray
    energy: float
    pressure: float
    temperature: float


def run_natively(atoms: Atoms, model: LennardJones, commands: list[str], n_steps: int) -> Native:
    """Integrate with the pair style in a box that was turned but not reduced."""
    prism = Prism(atoms.cell.array)
    lx, ly, lz, xy, xz, yz = prism.get_lammps_prism()
    lammps = open_lammps()
    for command in [
        "units metal",
        "atom_style atomic",
        "atom_modify map array sort 0 0.0",
        "box tilt large",
        f"region cell prism 0 {lx:.17g} 0 {ly:.17g} 0 {lz:.17g} {xy:.17g} {xz:.17g} {yz:.17g} units box",
        "create_box 1 cell",
        f"mass 1 {atoms.get_masses()[0]:.17g}",
    ]:
        lammps.command(command)
    n = len(atoms)
    lammps.create_atoms(n, list(range(1, n + 1)), [1] * n, (atoms.positions @ prism.rot_mat).ravel().tolist())
    box, start = _unwrapped(lammps, n)
    wrapped_by = np.rint((atoms.positions @ prism.rot_mat - start) @ np.linalg.inv(box))
    for command in [*model.pair_style(), *commands]:
        lammps.command(command)
    lammps.command(f"run {n_steps}")
    box, end = _unwrapped(lammps, n)
    energy, pressure, temperature = (lammps.get_thermo(name) for name in ("pe", "press", "temp"))
    positions, cell = (end + wrapped_by @ box) @ prism.rot_mat.T, box @ prism.rot_mat.T
    result = Native(positions, cell, energy, pressure, temperature)
    lammps.close()
    return result


def _unwrapped(lammps, n: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(lammps.numpy.extract_atom("id")[:n])
    x = lammps.numpy.extract_atom("x")[:n][order]
    images = [
        lammps.decode_image_flags(v) for v in lammps.numpy.extract_atom("image")[:n][order].ravel().tolist()
    ]
    low, high, xy, yz, xz, *_ = lammps.extract_box()
    lx, ly, lz = np.subtract(high, low)
    box = np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]])
    return box, x - np.array(low) + np.array(images) @ box


@pytest.fixture
def lennard_jones():
    return LennardJones()


@pytest.fixture
def argon():
    return make_argon


@pytest.fixture
def native_run():
    return run_natively


@pytest.fixture
def make_task():
    """A task whose models are given as objects, in the NVE ensemble unless said otherwise."""

    def make(atoms: Atoms, n_steps: int, **options) -> ExplorationTask:
        settings = {
            "ensemble": "nve",
            "temperature": 60.0,
            "timestep": 0.004,
            "models": ("unread",),
            **options,
        }
        return ExplorationTask(atoms=atoms, n_steps=n_steps, **settings)

    return make


@pytest.fixture
def go(tmp_path):
    """Run a task in this process and read it back."""

    def run(task: ExplorationTask, *models, **options):
        task = replace(task, models=[f"model-{index}" for index, _ in enumerate(models)])
        task.write(tmp_path / TASK_FILE)
        measure = CommitteeMeasure(models[1:], task.deviation) if len(models) > 1 else None
        integrate(task, models[0], tmp_path, measure=measure, **options)
        return read_result(tmp_path)

    return run
