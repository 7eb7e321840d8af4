"""What a calculator says of a structure, and one finished step as one line of ``steps.jsonl``."""

from __future__ import annotations

import json
import os
from typing import Any, TextIO

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from alpw.errors import CalculationError, FailureKind


def properties(atoms: Atoms) -> dict[str, Any]:
    """Energy, forces and virial of a structure with a calculator.

    The energy is the free energy where the calculator gives one: the forces are its derivative, as with the
    ``free`` energy of a VASP label.

    Returns:
        ``energy`` eV, ``forces`` eV/Å as ``(n_atoms, 3)`` lists, ``virial`` eV, positive under compression;
        None if the structure is not periodic in all directions, or the calculator knows no stress.

    Raises:
        CalculationError: forces of another shape, or numbers that are not finite.
        PropertyNotImplementedError: the calculator gives no energy or no forces.
    """
    forces = np.asarray(atoms.get_forces(), dtype=float)
    if forces.shape != (len(atoms), 3):
        raise CalculationError(f"forces of shape {forces.shape} for {len(atoms)} atoms", FailureKind.UNKNOWN)
    energy, virial = _energy(atoms), _virial(atoms)
    finite = {"energy": energy, "forces": forces, "virial": virial if virial is not None else 0.0}
    if wrong := [name for name, numbers in finite.items() if not np.isfinite(numbers).all()]:
        raise CalculationError(
            f"the calculator gives no finite number for {', '.join(wrong)}", FailureKind.UNKNOWN
        )
    return {
        "energy": energy,
        "forces": forces.tolist(),
        "virial": None if virial is None else virial.tolist(),
    }


def write_line(file: TextIO, record: dict[str, Any]) -> None:
    """One line, on disk when this returns."""
    file.write(json.dumps(record) + "\n")
    file.flush()
    os.fsync(file.fileno())


def _energy(atoms: Atoms) -> float:
    try:
        return float(atoms.get_potential_energy(force_consistent=True))
    except PropertyNotImplementedError:
        return float(atoms.get_potential_energy())


def _virial(atoms: Atoms) -> Any:
    if not atoms.pbc.all():
        return None
    try:
        return -atoms.get_stress(voigt=False) * atoms.get_volume()
    # ASE's own exception is one of these, and some calculators raise the plain one.
    except NotImplementedError:
        return None
