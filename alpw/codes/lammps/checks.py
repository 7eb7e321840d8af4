"""Whether a step of molecular dynamics is still physical, asked before the model sees it and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import units
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from alpw.codes.lammps.forces import ClosePairs
from alpw.codes.lammps.frames import CRITERIA
from alpw.codes.lammps.inputs import ExplorationTask
from alpw.codes.lammps.outputs import EndReason

Array = NDArray[np.float64]

_PS = 1000.0 * units.fs


class TrajectoryEnded(Exception):
    """The present step crosses a limit; the trajectory ends before it. A result of exploration, not an error.

    Args:
        reason: which limit.
        message: the value found and the value allowed.
    """

    def __init__(self, reason: EndReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def require_finite(what: str, *arrays: Array | float) -> None:
    """End the trajectory if a number is infinite or none."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise TrajectoryEnded(EndReason.NAN, f"{what} not finite")


def kinetic_temperature(velocities: Array, masses: Array) -> float:
    """K, with the three degrees of freedom of the conserved total momentum taken out, as in LAMMPS.

    Args:
        velocities: ``(n_atoms, 3)`` in Å/ps.
        masses: ``(n_atoms,)`` in u.
    """
    twice_kinetic = np.einsum("i,ij,ij->", masses, velocities, velocities) / _PS**2
    return float(twice_kinetic / (3 * len(masses) - 3) / units.kB)


class StepCheck:
    """The limits of one trajectory.

    Args:
        task: its start structure and its limits.

    Attributes:
        reach: Å; no two atoms farther apart than this can be too close.
    """

    def __init__(self, task: ExplorationTask) -> None:
        atoms, limits = task.atoms, task.limits
        self.max_temperature = limits.max_temperature(task.highest_temperature)
        self.max_force = limits.force
        self.max_volume = limits.expansion * atoms.get_volume()
        self.stop_after = task.stop_after
        self.stop_above = {"max_f": task.stop_above, "mean_kpu": task.stop_above_kpu}
        self._numbers = atoms.numbers
        self._closest = limits.distance_ratio * covalent_radii[atoms.numbers]
        self.reach = 2.0 * float(self._closest.max())

    def temperature(self, found: float) -> None:
        """End the trajectory if it is too hot; ``found`` in K."""
        require_finite("temperature", found)
        if found > self.max_temperature:
            raise TrajectoryEnded(
                EndReason.TEMPERATURE, f"temperature {found:.0f} K, allowed {self.max_temperature:.0f} K"
            )

    def volume(self, found: float) -> None:
        """End the trajectory if the cell has grown too large; ``found`` in Å^3."""
        if found > self.max_volume:
            raise TrajectoryEnded(
                EndReason.EXPANSION, f"volume {found:.1f} Å^3, allowed {self.max_volume:.1f} Å^3"
            )

    def distances(self, pairs: ClosePairs) -> None:
        """End the trajectory if two atoms, or an atom and its own image, are too close.

        Args:
            pairs: every pair closer than ``reach``, possibly among others.
        """
        i, j, d = pairs
        if len(d) == 0:
            return
        allowed = self._closest[i] + self._closest[j]
        worst = int(np.argmin(d - allowed))
        if d[worst] < allowed[worst]:
            first, second = int(i[worst]), int(j[worst])
            names = "-".join(f"{chemical_symbols[self._numbers[k]]}{k}" for k in (first, second))
            raise TrajectoryEnded(
                EndReason.TOO_CLOSE, f"atoms {names} at {d[worst]:.3f} Å, allowed {allowed[worst]:.3f} Å"
            )

    def forces(self, forces: Array) -> None:
        """End the trajectory if a force is too large; forces ``(n_atoms, 3)`` in eV/Å."""
        norms = np.linalg.norm(forces, axis=1)
        atom = int(norms.argmax())
        if norms[atom] > self.max_force:
            raise TrajectoryEnded(
                EndReason.FORCE,
                f"force {norms[atom]:.1f} eV/Å on atom {atom}, allowed {self.max_force:.1f} eV/Å",
            )

    def uncertainty(self, criteria: Mapping[str, Sequence[float]]) -> None:
        """End the trajectory if the models have not known what they do for too long.

        A frame at the threshold counts, as it does in `alpw.sampling.classify`.

        Args:
            criteria: uncertainty of the forces of each saved frame so far, in eV/Å, by `frames.CRITERIA`.
        """
        if self.stop_after is None:
            return
        for name, found in criteria.items():
            above = self.stop_above[name]
            if above is None or len(found) < self.stop_after:
                continue
            if min(found[-self.stop_after :]) >= above:
                raise TrajectoryEnded(
                    EndReason.UNCERTAIN,
                    f"{CRITERIA[name]} {found[-1]:.4g} eV/Å on frame {len(found) - 1}, "
                    f"the last of {self.stop_after} in a row with {above:g} eV/Å or more",
                )
