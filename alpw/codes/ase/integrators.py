"""ASE's integrators by ensemble, and all that is needed to go on with one exactly.

========  ==========================================================================================
nve       velocity Verlet
nvt       Langevin of Vanden-Eijnden and Ciccotti, Chem. Phys. Lett. 429, 310 (2006)
npt       Langevin-Hoover of Quigley and Probert, J. Chem. Phys. 120, 11432 (2004), isotropic, in the
          BAOAB splitting of Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013)
========  ==========================================================================================

Berendsen's barostat would be simpler, but it belongs to no ensemble: its volumes fluctuate too little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet

PS = 1000 * units.fs
BAR = 1e5 * units.Pascal


def start_dynamics(
    atoms: Atoms, task: dict[str, Any], start: dict[str, Any]
) -> tuple[MolecularDynamics, np.random.Generator]:
    """The integrator of ``task``, with the velocities that it begins with, and its random numbers.

    Args:
        atoms: with a calculator; they are given velocities.
        task: the control file: ``ensemble``, ``temperature`` K, ``timestep`` fs, ``friction`` 1/fs, ``seed``;
            for npt ``pressure`` bar, ``taup`` fs, ``compressibility`` 1/bar.
        start: what `restart_state` gave, or a dictionary without ``velocities`` for a new trajectory.
    """
    random = np.random.Generator(np.random.PCG64(task["seed"]))
    if "velocities" in start:
        atoms.set_velocities(np.array(start["velocities"]) / PS)
        random.bit_generator.state = start["random"]
    else:
        MaxwellBoltzmannDistribution(atoms, temperature_K=task["temperature"], rng=random)
        Stationary(atoms)
    return _INTEGRATORS[task["ensemble"]](atoms, task, random, start), random


def restart_state(atoms: Atoms, dynamics: MolecularDynamics, random: np.random.Generator) -> dict[str, Any]:
    """Velocities in Å/ps, state of the random numbers and of the barostat (ASE's units)."""
    state = {"velocities": (atoms.get_velocities() * PS).tolist(), "random": random.bit_generator.state}
    if hasattr(dynamics, "p_eps"):
        state["barostat"] = {
            "mass": float(dynamics.barostat_mass),
            "momentum": float(dynamics.p_eps),
            "force": float(dynamics.force_eps),
        }
    return state


def barostat_mass(volume: float, period: float, compressibility: float) -> float:
    r"""Mass of the barostat with which the volume oscillates with a given period.

    With ε = ln(V)/3 the equation of motion of Quigley and Probert is W ε'' = 3V (P - P_ext), and
    P - P_ext = -3ε/κ for small ε. That is an oscillator with ω² = 9V/(Wκ), so W = 9V/κ (τ/2π)².

    Args:
        volume: V, Å^3.
        period: τ, ASE's unit of time.
        compressibility: κ, Å^3/eV.

    Returns:
        W, in eV times ASE's unit of time squared.
    """
    return 9 * volume / compressibility * (period / (2 * np.pi)) ** 2


def _verlet(
    atoms: Atoms, task: dict[str, Any], random: np.random.Generator, start: dict[str, Any]
) -> MolecularDynamics:
    return VelocityVerlet(atoms, task["timestep"] * units.fs)


def _langevin(
    atoms: Atoms, task: dict[str, Any], random: np.random.Generator, start: dict[str, Any]
) -> MolecularDynamics:
    return Langevin(
        atoms,
        task["timestep"] * units.fs,
        temperature_K=task["temperature"],
        friction=task["friction"] / units.fs,
        # fixcm=True, still the default, gives another distribution than NVT.
        fixcm=False,
        rng=random,
    )


def _langevin_hoover(
    atoms: Atoms, task: dict[str, Any], random: np.random.Generator, start: dict[str, Any]
) -> MolecularDynamics:
    # Older versions of ASE do not have it; nve and nvt do without.
    from ase.md.langevinbaoab import LangevinBAOAB

    period = task["taup"] * units.fs
    barostat = start.get("barostat")
    mass = (
        barostat["mass"]
        if barostat
        else barostat_mass(atoms.get_volume(), period, task["compressibility"] / BAR)
    )
    dynamics = LangevinBAOAB(
        atoms,
        task["timestep"] * units.fs,
        temperature_K=task["temperature"],
        externalstress=-task["pressure"] * BAR,
        hydrostatic=True,
        T_tau=units.fs / task["friction"],
        P_tau=period,
        P_mass=mass,
        rng=random,
    )
    if barostat:
        # The force on the barostat belongs to velocities half a step ago, and cannot be computed again.
        dynamics.p_eps, dynamics.force_eps = barostat["momentum"], barostat["force"]
    return dynamics


_INTEGRATORS: dict[str, Callable[..., MolecularDynamics]] = {
    "nve": _verlet,
    "nvt": _langevin,
    "npt": _langevin_hoover,
}
