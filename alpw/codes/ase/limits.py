"""Is a step of a relaxation or of MD still a structure? Asked before it is kept."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from alpw.errors import CalculationError, FailureKind

MAX_FORCE = 1000.0
"""eV/Å. A pair of atoms feels it at half its bond length; ten times what `dft.max_force` allows a label."""

HOT = 20.0
TOO_HOT = 10_000.0
"""K. Beyond ``HOT`` times the wanted temperature plus this (1.3 eV per atom), no start structure's strain
explains the heat: bonds have broken, and the atoms fly apart."""

MAX_EXPANSION = 8.0
"""times the first volume: twice each length is no longer the same phase"""


def check_step(atoms: Atoms, number: int, temperature: float | None = None, volume: float = 0.0) -> None:
    """Raise unless a step is fit to go on from.

    Args:
        atoms: with a calculator that knows their forces, in eV/Å.
        number: of the step, for the message.
        temperature: that MD is to have, in K; None for a relaxation.
        volume: of the first step, in Å^3; 0 for a cell that does not change.

    Raises:
        CalculationError: of kind ``geometry``, for what was found and what is allowed. Forces of the very
            first structure that are not finite are left to `alpw.codes.ase.records.properties`: there the
            force field is to blame, not the way that the atoms took.
    """
    forces = np.linalg.norm(atoms.get_forces(), axis=1)
    atom = int(np.argmax(forces))
    if number > 0 and not np.isfinite(forces).all():
        _refuse(number, "a force is no finite number")
    if forces[atom] > MAX_FORCE:
        _refuse(number, f"the force on atom {atom} is {forces[atom]:.4g} eV/Å, allowed {MAX_FORCE:g}")
    if temperature is not None:
        allowed = HOT * temperature + TOO_HOT
        found = float(atoms.get_temperature())
        if not found <= allowed:
            _refuse(number, f"the temperature is {found:.4g} K, allowed {allowed:.4g}; the atoms fly apart")
    if volume and not atoms.get_volume() <= MAX_EXPANSION * volume:
        _refuse(number, f"the volume is {atoms.get_volume():.4g} Å^3 and began with {volume:.4g}")


def _refuse(number: int, reason: str) -> None:
    raise CalculationError(
        f"step {number} is unphysical: {reason}; look at the first structure, the time step, and whether the "
        "force field knows these elements and densities",
        FailureKind.GEOMETRY,
    )
