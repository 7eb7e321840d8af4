"""Relaxation and molecular dynamics with tblite, by ASE's optimisers and integrators.

Each finished step is one line of ``steps.jsonl``, on disk before the next step begins, with all that is
needed to go on: velocities and the state of the random numbers. The first line says how the steps were made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, TextIO

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.filters import FrechetCellFilter
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS, FIRE
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import Bohr, Hartree

from alpw.codes.xtb.run import IterationCounter, make_calculator

STEPS, STOP_FILE = "steps.jsonl", "STOP"
PS = 1000 * units.fs

_OPTIMIZERS = {"bfgs": BFGS, "fire": FIRE}


class Tblite(Calculator):
    """tblite for ASE, with our settings; each SCF starts from the density of the step before.

    Args:
        document: ``theory`` and ``scf`` of ``xtb.json``.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__()
        self._theory, self._scf = document["theory"], document["scf"]
        self._calculator: Any = None
        self._density: Any = None
        self.iterations = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        periodic = bool(atoms.pbc.all())
        if self._calculator is None:
            structure = {
                "numbers": atoms.numbers,
                "positions": atoms.positions,
                "cell": np.asarray(atoms.cell),
                "pbc": atoms.pbc.tolist(),
            }
            self._listen = IterationCounter()
            self._calculator = make_calculator(structure, self._theory, self._scf, self._listen)
        else:
            lattice = np.asarray(atoms.cell) / Bohr if periodic else None
            self._calculator.update(atoms.positions / Bohr, lattice)
        self._listen.iterations = 0
        self._density = self._calculator.singlepoint(self._density)
        self.iterations = self._listen.iterations
        self.results = {
            "energy": float(self._density["energy"]) * Hartree,
            "forces": -self._density["gradient"] * Hartree / Bohr,
        }
        if periodic:
            stress = self._density["virial"] * Hartree / atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)


def run_steps(document: dict[str, Any], version: str) -> bool:
    """Do the ``task`` of ``xtb.json`` in the current directory.

    Args:
        document: with ``structure``, ``theory``, ``scf``, ``task`` and, to go on, ``start``.
        version: of tblite.

    Returns:
        Whether it was done to the end; False if the limit of steps or a file ``STOP`` ended it.

    Raises:
        TBLiteRuntimeError: an SCF did not converge; the steps before it are kept.
    """
    structure, task = document["structure"], document["task"]
    atoms = Atoms(structure["numbers"], structure["positions"], cell=structure["cell"], pbc=structure["pbc"])
    atoms.calc = Tblite(document)
    start = document.get("start", {"step": -1})
    with Path(STEPS).open("w") as file:
        _write(file, {"tblite": version, "theory": document["theory"], "scf": document["scf"], **structure})
        if task["name"] == "relax":
            return _relax(atoms, task, start, file)
        return _dynamics(atoms, task, start, file)


def _relax(atoms: Atoms, task: dict[str, Any], start: dict[str, Any], file: TextIO) -> bool:
    mobile = FrechetCellFilter(atoms) if task["cell"] and atoms.pbc.all() else atoms
    optimizer = _OPTIMIZERS[task["optimizer"]](mobile, logfile="-")
    converged = False
    first = max(start["step"], 0)
    for number, found in enumerate(optimizer.irun(fmax=task["fmax"], steps=task["steps"]), first):
        converged = bool(found)
        if number > start["step"]:
            _write(file, _record(atoms, number))
        if Path(STOP_FILE).exists():
            break
    return converged


def _dynamics(atoms: Atoms, task: dict[str, Any], start: dict[str, Any], file: TextIO) -> bool:
    random = np.random.Generator(np.random.PCG64(task["seed"]))
    if "velocities" in start:
        atoms.set_velocities(np.array(start["velocities"]) / PS)
        random.bit_generator.state = start["random"]
    else:
        MaxwellBoltzmannDistribution(atoms, temperature_K=task["temperature"], rng=random)
        Stationary(atoms)
    dynamics = _integrator(atoms, task, random)
    last = max(int(start["step"]), 0)
    for number in _numbers(dynamics, last, task["steps"]):
        if number > start["step"]:
            extras = {
                "velocities": (atoms.get_velocities() * PS).tolist(),
                "time": number * task["timestep"] / 1000,
                "temperature": float(atoms.get_temperature()),
                "random": random.bit_generator.state,
            }
            _write(file, _record(atoms, number) | extras)
        last = number
        if Path(STOP_FILE).exists():
            break
    return last >= int(task["steps"])


def _integrator(atoms: Atoms, task: dict[str, Any], random: np.random.Generator) -> MolecularDynamics:
    timestep = task["timestep"] * units.fs
    if task["ensemble"] == "nve":
        return VelocityVerlet(atoms, timestep)
    friction = task["friction"] / units.fs
    # fixcm=True, still the default, gives another distribution than NVT.
    return Langevin(
        atoms, timestep, temperature_K=task["temperature"], friction=friction, fixcm=False, rng=random
    )


def _numbers(dynamics: MolecularDynamics, first: int, last: int) -> Iterator[int]:
    """The number of each step, once it is made; the first geometry counts as one."""
    if first < last:
        yield from (number for number, _ in enumerate(dynamics.irun(last - first), first))


def _record(atoms: Atoms, number: int) -> dict[str, Any]:
    """A step: eV, Å, eV/Å; virial in eV, positive under compression, None where it is not periodic."""
    virial = None
    if atoms.pbc.all():
        virial = (-atoms.get_stress(voigt=False) * atoms.get_volume()).tolist()
    return {
        "step": number,
        "positions": atoms.positions.tolist(),
        "cell": np.asarray(atoms.cell).tolist(),
        "energy": float(atoms.get_potential_energy()),
        "forces": np.asarray(atoms.get_forces()).tolist(),
        "virial": virial,
        "iterations": atoms.calc.iterations,
    }


def _write(file: TextIO, record: dict[str, Any]) -> None:
    """One line, on disk when this returns."""
    file.write(json.dumps(record) + "\n")
    file.flush()
    os.fsync(file.fileno())
