"""The energy surface of a calculation: a classical potential, scaled by what would change the physics.

Energy, forces and stress share one factor, so forces stay derivatives of the energy at any setting. The
factor approaches its limit smoothly with the cutoff (exp(-ECUT/15 Ry)) and with the k-points (1/(number of
k-points times atoms)), and differs a little with precision, smearing, spin and corrections, more with the
functional, and by 7 % for DFTB. SCF steps, mixing and thresholds are not in it.
"""

import math
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from potentials import pick, valence

from pwmat.inputs import Settings
from pwmat.keys import FUNCTIONALS

METHODS = {"plane waves": 1.0, "gaussian": 0.985, "dftb": 0.93, "chardb": 0.95}
PRECISION_ERRORS = {"DOUBLE": 0.0, "MIX": 5e-7, "SINGLE": 2e-6, "AUTO": 2e-6}
SPIN_EFFECTS = {"1": 0.0, "2": 5e-4, "22": 8e-4, "222": 1e-3}
DISPERSION = {"NONE": 0.0, "DFT-D2": 4e-3, "DFT-D3": 5e-3, "PAIR": 2e-3}


class Surface:
    """Energies (eV), forces (eV/Å) and strain derivatives (eV) of one etot.input."""

    def __init__(
        self, settings: Settings, symbols: Sequence[str], ecut: float | None, potential: str | None = None
    ) -> None:
        """Choose the potential and weigh the settings.

        Args:
            settings: the etot.input.
            symbols: of the atoms, in their order.
            ecut: cutoff, Ry; None where there are no plane waves.
            potential: name for `potentials.pick`, or None to choose by element.
        """
        self.calculator, self.potential = pick(symbols, potential)
        self.electrons = settings.first("NUM_ELECTRON", sum(map(valence, symbols)))
        self.factors = {
            first: _strength(settings, symbols, ecut, self.electrons, first) for first in (True, False)
        }
        offset = -20.0 if settings.method in ("dftb", "chardb") else -27.2
        self.atomic_energies = np.array([offset * valence(symbol) for symbol in symbols])

    def evaluate(self, atoms: Atoms, first: bool = True) -> tuple[float, np.ndarray, np.ndarray]:
        """Energy, forces ``(n_atoms, 3)`` and dE/dstrain ``(3, 3)`` of a structure.

        Args:
            atoms: with the atoms of this surface.
            first: whether the lines SCF_ITER0_* hold, or SCF_ITER1_* (they bring the smearing).
        """
        atoms = atoms.copy()
        atoms.calc = self.calculator
        factor = self.factors[first]
        energy = factor * atoms.get_potential_energy() + float(self.atomic_energies.sum())
        strain = factor * atoms.get_stress(voigt=False) * atoms.get_volume()
        return energy, factor * atoms.get_forces(), strain


def smearing(settings: Settings, first: bool) -> tuple[float, int]:
    """Electronic temperature (eV) and kind of smearing of the last SCF line of the first or a later step."""
    lines = settings.numbered("SCF_ITER0_" if first else "SCF_ITER1_")
    row: tuple[float, ...] = ()
    if lines:
        row = settings.numbers(f"SCF_ITER{0 if first else 1}_{max(lines)}")
    return (row[4], int(row[5])) if len(row) > 5 else (settings.first("FERMIDE", 0.025), 1)


def _strength(
    settings: Settings, symbols: Sequence[str], ecut: float | None, electrons: float, first: bool
) -> float:
    strength = METHODS[settings.method]
    strength *= FUNCTIONALS.get(settings.word("XCFUNCTIONAL", "PBE"), 1.015)
    if ecut is not None:
        ratio = settings.first("ECUT2", _default_ecut2(settings) * ecut) / ecut
        strength *= 1 - 0.05 * math.exp(-ecut / 15) - 2e-3 * math.exp(-ratio)
    kpoints = math.prod(settings.kmesh) * (2 if any(settings.kshift) else 1)
    strength *= 1 + 0.01 / (kpoints * len(symbols))
    strength *= 1 + PRECISION_ERRORS[settings.word("PRECISION", "AUTO")]
    strength *= 1 + SPIN_EFFECTS[settings.word("SPIN", "1")] + DISPERSION[settings.word("VDW", "NONE")]
    temperature, kind = smearing(settings, first)
    strength *= 1 - 0.02 * temperature * (1 + 0.1 * (kind - 1))
    for number in settings.numbered("LDAU_PSP"):
        orbital, *repulsion = settings.numbers(f"LDAU_PSP{number}")
        strength *= 1 + (1e-3 * repulsion[0] if orbital >= 0 and repulsion else 0.0)
    charge = electrons - sum(map(valence, symbols))
    return strength * (1 + 0.01 * charge / electrons)


def _default_ecut2(settings: Settings) -> float:
    accurate = settings.word("ACCURACY", "NORM") != "NORM" or settings.job == "RELAX"
    return 4.0 if accurate else 2.0
