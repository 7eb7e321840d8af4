"""Calculators as a user's package would hold them: one with a known answer, and faulty ones."""

import os
import signal
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.stress import full_3x3_to_voigt_6_stress


class Einstein(Calculator):
    """Atoms tied to lattice sites that move with the cell, and a bulk modulus; every average is known.

    E = k/2 Σ u² + B V0/2 (V/V0 - 1)². In scaled coordinates the two parts are independent, so at constant
    pressure <V> = V0 (1 - P/B) and var V = kT V0/B, and <k/2 Σ u²> = 3/2 N kT.

    Args:
        sites: fractional coordinates.
        volume: V0, Å^3.
        spring: k, eV/Å^2.
        modulus: B, eV/Å^3.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 - as ASE has it

    def __init__(self, sites, volume, spring=5.0, modulus=0.5):
        super().__init__()
        self.sites, self.volume, self.spring, self.modulus = np.array(sites), volume, spring, modulus

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        u = self.atoms.positions - self.sites @ np.asarray(self.atoms.cell)
        volume = self.atoms.get_volume()
        strain = volume / self.volume - 1
        stress = self.spring * u.T @ u / volume + self.modulus * strain * np.eye(3)
        self.results = {
            "energy": 0.5 * self.spring * (u**2).sum() + 0.5 * self.modulus * self.volume * strain**2,
            "forces": -self.spring * u,
            "stress": full_3x3_to_voigt_6_stress(stress),
        }


class Faulty(EMT):
    """EMT until some call, and then something else.

    Args:
        after: number of good calls.
        fault: "memory", "nan", "force"; "raise", from then on after one call in every process; "kill", once.
            A file in the folder above remembers.
    """

    def __init__(self, after, fault):
        super().__init__()
        again = fault == "raise" and Path("../failed").exists()
        self.after, self.fault = min(after, 1) if again else after, fault

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.after -= 1
        if self.after >= 0:
            return
        if self.fault == "raise":
            Path("../failed").touch()
            raise RuntimeError("the graph is empty")
        if self.fault == "memory":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if self.fault == "nan":
            self.results["forces"] = np.full((len(atoms), 3), np.nan)
        if self.fault == "force":
            self.results["forces"] = self.results["forces"] + 1e5
        if self.fault == "kill" and not Path("../died").exists():
            Path("../died").touch()
            os.kill(os.getpid(), signal.SIGKILL)


class WithoutForces(Calculator):
    """Knows an energy only."""

    implemented_properties = ["energy"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0}


class WithoutStress(EMT):
    """Knows energy and forces, and says so."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, ["energy"], system_changes)
        self.results.pop("stress", None)


def without_stress():
    """A function, of whose calculator nothing is known before it is made."""
    return WithoutStress()


def without_forces():
    """The same, for forces."""
    return WithoutForces()


def from_file(weights):
    """A calculator with a file among its arguments."""
    assert Path(weights).is_file()
    return EMT()


def nothing():
    """No calculator."""
    return "none"


constant = 3
