"""A simulated self-consistency cycle: a geometric approach to the energy of the potential.

How fast it goes depends on ALGO and on the mixing, so that corrections of an unconverged calculation have an
effect; where it ends does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from vasp.inputs import Incar

RATES = {"n": 0.22, "f": 0.25, "v": 0.35, "a": 0.30, "c": 0.30, "d": 0.50}
"""Contraction of the error per electronic step, by the first letter of ALGO."""

NAMES = {"v": "RMM", "a": "CG ", "c": "CG ", "d": "SDA"}
"""What OSZICAR calls the steps of an ALGO; the others are DAV."""

WARM = 1e-3
"""How much closer the wavefunctions of a previous step or run are than those made up at the start."""


class ElectronicStep(NamedTuple):
    """One electronic step: number, energy (eV), change of the energy, error of the density."""

    number: int
    energy: float
    change: float
    residual: float


class Electrons:
    """The settings that decide how the cycle runs.

    Args:
        incar: tags of the run.
        nelm, nelmin: limits of the number of steps.
        ediff: energy change at which it stops, eV.
    """

    def __init__(self, incar: Incar, nelm: int, nelmin: int, ediff: float) -> None:
        letter = incar.word("ALGO", "Normal")[0].lower()
        self.name = NAMES.get(letter, "DAV")
        self.nelm, self.nelmin, self.ediff = nelm, nelmin, ediff
        # Mixing far from VASP's defaults converges more slowly, except with ALGO = All, which does not mix.
        detour = abs(math.log(max(incar.real("AMIX", 0.4), 1e-3) / 0.4))
        detour += 0.3 * abs(math.log(max(incar.real("BMIX", 1.0), 1e-4)))
        mixing = 1.0 if letter in "acd" else 1.0 / (1.0 + 0.15 * detour)
        self.rate = RATES.get(letter, 0.25) ** mixing

    def steps_needed(self, energy: float, warm: bool) -> int:
        """Steps until the energy changes by less than EDIFF."""
        error = self._first_error(energy) * (WARM if warm else 1.0)
        needed = math.ceil(math.log(self.ediff / error) / math.log(self.rate)) + 1
        return max(self.nelmin, needed)

    def steps(self, energy: float, needed: int, warm: bool) -> Iterator[ElectronicStep]:
        """The steps of a cycle that would need some number of them, but stops at NELM.

        The last step of a converged cycle has the energy itself; one that was cut off is wrong by what is
        left of the error.
        """
        error = self._first_error(energy) * (WARM if warm else 1.0)
        before = 0.0
        for number in range(1, min(needed, self.nelm) + 1):
            left = error * self.rate**number
            if needed > self.nelm:
                left = max(left, 20 * self.ediff)
            value = energy if number == needed else energy + left * (-1) ** number
            yield ElectronicStep(number, value, value - before, left)
            before = value

    @staticmethod
    def _first_error(energy: float) -> float:
        return 0.5 * abs(energy) + 10.0
