"""What one ionic step produces, as the writers of the output files receive it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from ase import Atoms

from vasp.scf import ElectronicStep

KBAR = 1602.1766208  # kbar in one eV/Å³
FERMI = 5.0  # eV, the Fermi level of the made-up spectrum


class NumericalBreakdown(Exception):
    """Energy or forces are not finite: atoms on top of each other, or a molecular dynamics that blew up."""


@dataclass
class Motion:
    """State of a molecular dynamics at one step.

    Attributes:
        kinetic: kinetic energy of the ions, eV.
        temperature: K.
        conserved: what the integrator conserves, eV.
        thermostat: potential energy of the thermostat, eV.
        thermostat_kinetic: its kinetic energy, eV.
    """

    kinetic: float
    temperature: float
    conserved: float
    thermostat: float = 0.0
    thermostat_kinetic: float = 0.0


@dataclass
class IonicStep:
    """One ionic step.

    Attributes:
        number: from 1.
        atoms: its structure.
        energy: free energy, eV; the forces are its derivatives.
        entropy: T*S of the electrons, eV.
        forces: eV/Å, ``(n_atoms, 3)``.
        stress: eV/Å³, ``(3, 3)``, positive under tension; None if it is not computed.
        electronic: the electronic steps.
        converged: whether the electronic loop reached EDIFF.
        magnetization: Bohr magnetons, None without spin.
        motion: of molecular dynamics.
        seconds: wall time.
    """

    number: int
    atoms: Atoms
    energy: float
    entropy: float
    forces: np.ndarray
    stress: np.ndarray | None
    electronic: list[ElectronicStep] = field(default_factory=list)
    converged: bool = True
    magnetization: list[float] | None = None
    motion: Motion | None = None
    seconds: float = 0.0

    @property
    def without_entropy(self) -> float:
        return self.energy + self.entropy

    @property
    def extrapolated(self) -> float:
        """Energy for vanishing smearing, eV."""
        return self.energy + 0.5 * self.entropy

    @property
    def pressure_tensor(self) -> np.ndarray | None:
        """kbar, positive under compression, as VASP prints it."""
        return None if self.stress is None else -self.stress * KBAR
