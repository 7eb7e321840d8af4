"""JOB = MD: velocity Verlet, alone or with a thermostat and a barostat.

Every step moves the atoms first and evaluates them then, so the structure of IN.ATOM is not in MOVEMENT.
final.config is the last frame with its velocities: a run that starts from it goes on without a seam and
without a repeated frame, and takes time and thermostat from it. MOVEMENT and MDSTEPS are continued if they
are there already, as PWmat does.

| method | thermostat | cell |
| --- | --- | --- |
| 1 | none | fixed |
| 2, 5 | Nose-Hoover, period 40 fs (Nose, J. Chem. Phys. 81, 511 (1984)) | 5: follows the pressure |
| 3, 4 | Langevin, friction 0.01/fs, half before and half after each step | 4: follows the pressure |
| 6, 7 | Berendsen, 100 fs (Berendsen et al., J. Chem. Phys. 81, 3684 (1984)) | 7: follows the pressure |

The cell follows the pressure as Berendsen's does in all three; 11, 22, ... want velocities in IN.ATOM.
"""

import math
from pathlib import Path

import numpy as np
from ase import units
from ase.data import atomic_masses

from pwmat.calculation import Calculation, Step
from pwmat.fortran import e, f
from pwmat.inputs import Refused
from pwmat.movement import END, SEPARATOR, Thermodynamics, final_config, md_frame

MASS = units._amu * 1e10 / units._e
"""eV in one amu (Å/fs)²"""
FRICTION = 0.01
BERENDSEN = 100.0
NOSE_PERIOD = 40.0
COMPRESSIBILITY = 1 / 0.6
"""Å³/eV, for a bulk modulus of about 100 GPa"""
BAROSTAT = 500.0


class Dynamics:
    """The integrator and its files."""

    def __init__(self, calculation: Calculation) -> None:
        """Read MD_DETAIL and give the atoms their velocities."""
        self.calculation = calculation
        self.start = calculation.configuration
        method, steps, self.dt, self.first_temperature, self.last_temperature = calculation.settings.numbers(
            "MD_DETAIL"
        )[:5]
        self.method, self.steps = int(method), int(steps)
        continued = self.method > 10 and self.method % 11 == 0
        self.kind = self.method // 11 if continued else self.method
        if self.kind not in range(1, 8):
            raise Refused(f" MD method {self.method} is beyond this stand-in, stop")
        if continued and self.start.velocities is None:
            raise Refused(" keyword 'velocity' is needed at " + calculation.settings.text("IN.ATOM"))
        self.atoms = self.start.atoms.copy()
        self.mass = atomic_masses[self.atoms.numbers][:, None] * MASS
        free = self.start.mobile.sum()
        self.freedom = max(int(free) - (3 if self.start.mobile.all() else 0), 1)
        self.time, self.thermostat = self.start.time, self.start.thermostat
        seed = int(calculation.settings.first("RANDOM_SEED", 7)) + round(1000 * self.time)
        self.random = np.random.default_rng(abs(seed))
        self.velocities = self._initial_velocities()

    def _initial_velocities(self) -> np.ndarray:
        """Those of IN.ATOM, or twice the kinetic energy of TEMP1, of which half becomes potential energy."""
        if self.start.velocities is not None:
            return self.start.velocities * self.start.mobile
        temperature = 2 * self.first_temperature
        velocities = self.random.normal(size=(len(self.atoms), 3))
        velocities *= np.sqrt(units.kB / self.mass) * self.start.mobile
        if self.start.mobile.all():
            velocities -= (self.mass * velocities).sum(axis=0) / self.mass.sum()
        kinetic = self._kinetic(velocities)
        wanted = 0.5 * self.freedom * units.kB * temperature
        return velocities * (math.sqrt(wanted / kinetic) if kinetic > 0 else 0.0)

    def _kinetic(self, velocities: np.ndarray) -> float:
        return float(0.5 * (self.mass * velocities**2).sum())

    def run(self) -> None:
        """Integrate and write all steps."""
        step = self.calculation.evaluate(self.atoms, 0, first=True)
        self.calculation.stop_at_nan(step)
        initial = step.frame.energy + self._kinetic(self.velocities)
        total = 0.0
        with Path("MOVEMENT").open("a") as movement, Path("MDSTEPS").open("a") as mdsteps:
            for n in range(1, self.steps + 1):
                share = (n - 1) / max(self.steps - 1, 1)
                desired = self.first_temperature + (self.last_temperature - self.first_temperature) * share
                self.time += self.dt
                before = self.atoms.positions.copy()
                step = self._advance(step, n, desired)
                frame = step.frame
                frame.velocities, frame.kinetic = self.velocities, self._kinetic(self.velocities)
                temperature = 2 * frame.kinetic / (self.freedom * units.kB)
                total += temperature
                state = Thermodynamics(
                    self.method,
                    self.time,
                    temperature,
                    desired,
                    total / n,
                    total,
                    (self.mass * self.velocities).sum(axis=0),
                    self.thermostat,
                    initial,
                    self._pressure(step),
                )
                movement.write(md_frame(frame, state) + (END if n == self.steps else SEPARATOR))
                moved = float(np.sqrt(((self.atoms.positions - before) ** 2).sum() / len(self.atoms)))
                mdsteps.write(_mdsteps(step, state, moved))
                movement.flush()
                mdsteps.flush()
                self.calculation.stop_at_nan(step)
                Path("final.config").write_text(final_config(frame, state))
        self.calculation.write_results(step.frame)

    def _advance(self, step: Step, n: int, desired: float) -> Step:
        """One step of velocity Verlet, with half of the thermostat on either side."""
        self._thermostat(desired)
        self.velocities = self.velocities + 0.5 * self.dt * self._acceleration(step.forces)
        self.atoms.positions += self.dt * self.velocities
        if self.kind in (4, 5, 7):
            self._follow_pressure(step)
        step = self.calculation.evaluate(self.atoms, n, first=False)
        self.velocities = self.velocities + 0.5 * self.dt * self._acceleration(step.forces)
        self._thermostat(desired)
        return step

    def _acceleration(self, forces: np.ndarray) -> np.ndarray:
        return forces / self.mass * self.start.mobile

    def _thermostat(self, desired: float) -> None:
        """Act for half a time step."""
        wanted = 0.5 * self.freedom * units.kB * max(desired, 1e-3)
        half = 0.5 * self.dt
        if self.kind in (2, 5):
            inertia = 2 * wanted * (NOSE_PERIOD / (2 * math.pi)) ** 2
            self.thermostat += half * (self._kinetic(self.velocities) - wanted) / inertia
            self.velocities = self.velocities * math.exp(-half * self.thermostat)
            self.thermostat += half * (self._kinetic(self.velocities) - wanted) / inertia
        if self.kind in (3, 4):
            kept = math.exp(-FRICTION * half)
            noise = np.sqrt((1 - kept**2) * units.kB * desired / self.mass)
            kick = noise * self.random.normal(size=self.velocities.shape) * self.start.mobile
            self.velocities = kept * self.velocities + kick
        if self.kind in (6, 7):
            ratio = wanted / max(self._kinetic(self.velocities), 1e-12)
            self.velocities = self.velocities * math.sqrt(max(1 + (ratio - 1) * half / BERENDSEN, 0.0))

    def _pressure(self, step: Step) -> float:
        kinetic = 2 / 3 * self._kinetic(self.velocities)
        return (kinetic - float(np.trace(step.strain)) / 3) / self.atoms.get_volume()

    def _follow_pressure(self, step: Step) -> None:
        """Scale the cell towards zero pressure, as far as STRESS_MASK lets it."""
        stretch = 1 + self.dt / BAROSTAT * COMPRESSIBILITY * self._pressure(step)
        factor = min(max(stretch, 0.99), 1.01) ** (1 / 3)
        cell = self.atoms.cell.array
        self.atoms.set_cell(np.where(self.start.stress_mask, factor * cell, cell), scale_atoms=True)


def _mdsteps(step: Step, state: Thermodynamics, moved: float) -> str:
    last = step.cycle.iterations[-1]
    frame = step.frame
    return (
        f"Iter(fs)= {e(state.time, 13, 6)} Etot,Ep,Ek(eV)= {frame.energies} "
        f"Temp(K)= {f(state.temperature, 15, 5)} aveTemp(K)= {f(state.average, 15, 5)} "
        f"dE= {e(last.energy_change, 9, 2)} dRho= {e(last.density_error, 9, 2)} "
        f"SCF= {frame.scf:5d} dL= {e(moved, 9, 2)} Fcheck= {e(1.0, 10, 3)}\n"
    )
