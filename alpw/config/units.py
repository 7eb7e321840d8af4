"""The units of ALPW and the factors of those that enter it: eV, Å, eV/Å, ps, K, bar (CODATA 2014, by ASE).

Multiply by the constant to enter: ``energy_hartree * HARTREE`` is in eV.
"""

from __future__ import annotations

from ase import units

HARTREE: float = units.Hartree
"""eV"""

RYDBERG: float = units.Rydberg
"""eV"""

BOHR: float = units.Bohr
"""Å"""

HARTREE_PER_BOHR: float = HARTREE / BOHR
"""eV/Å"""

GPA: float = units.GPa
"""eV/Å^3"""

BAR: float = units.bar
"""eV/Å^3"""

KBAR: float = 1000 * BAR
"""eV/Å^3"""

BOLTZMANN: float = units.kB
"""eV/K"""

PS: float = 1000 * units.fs
"""ASE's unit of time, Å sqrt(u/eV); ``md_dt * PS`` is what an ASE integrator takes"""
