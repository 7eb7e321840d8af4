"""Molecular dynamics, IBRION = 0: leapfrog with VASP's thermostats.

| tags | ensemble |
| --- | --- |
| MDALGO = 0, SMASS = -3; MDALGO = 1, ANDERSEN_PROB = 0; MDALGO = 3, LANGEVIN_GAMMA = 0 | NVE |
| MDALGO = 0, SMASS >= 0; MDALGO = 2 | Nose-Hoover |
| MDALGO = 0, SMASS = -1 | velocities scaled every NBLOCK steps |
| MDALGO = 1 | Andersen |
| MDALGO = 3 | Langevin; with ISIF = 3 also a weak isotropic pressure coupling to PSTRESS |

The velocities of POSCAR and CONTCAR are those of the half step before the positions. A run that is continued
from CONTCAR therefore follows the trajectory of the uninterrupted one exactly, in NVE.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from vasp.inputs import Incar
from vasp.results import KBAR, Motion, NumericalBreakdown

if TYPE_CHECKING:
    from vasp.calculation import Calculation

BOLTZMANN = 8.617333262e-5  # eV/K
MASS = 103.642697  # eV fs²/Å² in one atomic mass unit


class Thermostat:
    """The change of the velocities in one step.

    Args:
        incar: tags of the run.
        parameters: values in force.
        gamma: friction of each atom in 1/fs, ``(n_atoms, 1)``.
        degrees: degrees of freedom.
    """

    def __init__(self, incar: Incar, parameters: dict, gamma: np.ndarray, degrees: int) -> None:
        algorithm, smass = parameters["MDALGO"], parameters["SMASS"]
        self.nose = algorithm == 2 or (algorithm == 0 and smass >= 0)
        self.langevin = algorithm == 3
        self.andersen = incar.real("ANDERSEN_PROB", 0.0) if algorithm == 1 else 0.0
        self.scale_every = incar.integer("NBLOCK", 1) if algorithm == 0 and smass == -1 else 0
        self.gamma, self.degrees = gamma, degrees
        # SMASS = 0 in VASP chooses a period of 40 steps of the time step.
        period = 40.0 * parameters["POTIM"] * math.sqrt(smass if smass > 0 else 1.0)
        target = BOLTZMANN * max(parameters["TEBEG"], 1.0)
        self.inertia = degrees * target * (period / (2 * math.pi)) ** 2
        self.friction = self.position = 0.0

    def energies(self, temperature: float) -> tuple[float, float]:
        """Potential and kinetic energy of Nose's variable, eV."""
        if not self.nose:
            return 0.0, 0.0
        potential = self.degrees * BOLTZMANN * temperature * self.position
        return potential, 0.5 * self.inertia * self.friction**2


class Dynamics:
    """The trajectory of one run.

    Attributes:
        half: velocities of the last half step, Å/fs ``(n_atoms, 3)``.
        now: velocities at the last positions, from which the kinetic energy is taken.
        temperature: target of the current step, K.
    """

    def __init__(self, calculation: Calculation) -> None:
        setup = calculation.setup
        self.calculation, self.parameters = calculation, setup.parameters
        self.length = float(self.parameters["POTIM"])
        self.inertia = setup.masses * MASS
        self.free = setup.poscar.movable.astype(float)
        self.constrained = not setup.poscar.movable.all()
        seed = setup.incar.reals("RANDOM_SEED", 3) or [0.0]
        self.random = np.random.default_rng(int(seed[0]))
        friction = self.parameters.get("LANGEVIN_GAMMA", [0.0] * len(setup.potentials))
        gamma = np.repeat(np.array(friction) * 1e-3, setup.poscar.counts)[:, None]
        # Random forces drive the centre of mass, too; otherwise its momentum is conserved.
        moving = self.parameters["MDALGO"] == 1 or gamma.any() or self.constrained
        self.degrees = max(int(self.free.sum()) - (0 if moving else 3), 1)
        self.thermostat = Thermostat(setup.incar, self.parameters, gamma, self.degrees)
        self.temperature = float(self.parameters["TEBEG"])
        self.atoms = setup.atoms.copy()
        given = setup.poscar.velocities
        if given is not None and np.any(given):
            self.half = given * self.free
        else:
            forces = calculation.evaluate(self.atoms)[1]
            start = self._maxwell(self._draw())
            self.half = start - 0.5 * self.length * forces / self.inertia * self.free
        self.now = self.half

    def run(self) -> None:
        """All steps; the calculation writes each of them."""
        n_steps = int(self.parameters["NSW"])
        start, end = float(self.parameters["TEBEG"]), float(self.parameters["TEEND"])
        self.calculation.velocities = self.half
        for number in range(n_steps):
            self.temperature = start + (end - start) * number / max(n_steps - 1, 1)
            result = self.calculation.step(self.atoms, self._motion)
            if not np.isfinite(result.forces).all():
                raise NumericalBreakdown
            self._accelerate(result.forces, number)
            self._move(result.stress)
            self.calculation.next_atoms, self.calculation.velocities = self.atoms, self.half
            if self.calculation.stopped:
                return

    def _kinetic(self, velocities: np.ndarray) -> float:
        return 0.5 * float((self.inertia * velocities**2).sum())

    def _draw(self) -> np.ndarray:
        """Velocities of Maxwell's distribution."""
        width = np.sqrt(BOLTZMANN * self.temperature / self.inertia)
        return self.random.normal(size=self.free.shape) * width * self.free

    def _maxwell(self, velocities: np.ndarray) -> np.ndarray:
        """Without drift and at exactly the temperature."""
        if not self.constrained:
            velocities = velocities - (self.inertia * velocities).sum(axis=0) / self.inertia.sum()
        energy = self._kinetic(velocities)
        if not energy:
            return velocities
        return velocities * math.sqrt(0.5 * self.degrees * BOLTZMANN * self.temperature / energy)

    def _motion(self, energy: float, forces: np.ndarray) -> Motion:
        """State at the positions where these are the energy and the forces."""
        drag = self.thermostat.friction * self.half if self.thermostat.nose else 0.0
        self.now = self.half + 0.5 * self.length * (forces / self.inertia * self.free - drag)
        kinetic = self._kinetic(self.now)
        potential, own = self.thermostat.energies(self.temperature)
        return Motion(
            kinetic=kinetic,
            temperature=2 * kinetic / (self.degrees * BOLTZMANN),
            conserved=energy + kinetic + potential + own,
            thermostat=potential,
            thermostat_kinetic=own,
        )

    def _accelerate(self, forces: np.ndarray, number: int) -> None:
        """Velocities from half a step before to half a step after the positions."""
        thermostat, step = self.thermostat, self.length
        drag = 0.5 * step * thermostat.friction
        self.half = ((1 - drag) * self.half + step * forces / self.inertia * self.free) / (1 + drag)
        wanted = 0.5 * self.degrees * BOLTZMANN * max(self.temperature, 1e-3)
        if thermostat.nose:
            before = thermostat.friction
            thermostat.friction += step * 2 * (self._kinetic(self.half) - wanted) / thermostat.inertia
            thermostat.position += 0.5 * step * (before + thermostat.friction)
        if thermostat.scale_every and (number + 1) % thermostat.scale_every == 0:
            self.half = self.half * math.sqrt(wanted / max(self._kinetic(self.half), 1e-12))
        if thermostat.andersen:
            struck = self.random.random(len(self.half)) < thermostat.andersen
            self.half = np.where(struck[:, None], self._draw(), self.half)

    def _move(self, stress: np.ndarray | None) -> None:
        """Positions of the next step, and the cell if a pressure is held."""
        drift = 0.5 * self.length * self.half
        if self.thermostat.langevin:
            # Half of the motion before and half after the noise: J. Phys. Chem. A 123, 6056 (2019).
            keep = np.exp(-self.thermostat.gamma * self.length)
            self.half = keep * self.half + np.sqrt(1 - keep**2) * self._draw()
        self.atoms.positions = self.atoms.positions + drift + 0.5 * self.length * self.half
        if self.thermostat.langevin and self.parameters["ISIF"] == 3 and stress is not None:
            # Berendsen's coupling with 500 fs and a bulk modulus of 0.6 eV/Å³, for Parrinello and Rahman's.
            pressure = -np.trace(stress) / 3 + 2 / 3 * self._kinetic(self.now) / self.atoms.get_volume()
            excess = (pressure - float(self.parameters["PSTRESS"]) / KBAR) / 0.6
            stretch = np.clip(1 + self.length / 500.0 * excess, 0.99, 1.01) ** (1 / 3)
            self.atoms.set_cell(self.atoms.cell * stretch, scale_atoms=True)
