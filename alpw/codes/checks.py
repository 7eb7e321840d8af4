"""Can these numbers be a label? Whatever a code says about itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ase import Atoms

from alpw.errors import CalculationError, FailureKind
from alpw.structures.frame import Label
from alpw.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from alpw.config import Dft


class Defect(NamedTuple):
    """Why numbers cannot be a label: in two words, for counting, and in a sentence."""

    what: str
    detail: str


def label_defect(label: Label, atoms: Atoms, net_force_tolerance: float, dft: Dft) -> Defect | None:
    """Why the numbers cannot be a label of ``atoms``, or None when nothing is wrong.

    Args:
        label: what the code gave.
        atoms: the structure.
        net_force_tolerance: largest norm of the mean force in eV/Å.
        dft: ``max_force`` in eV/Å, and whether a periodic structure needs a stress.
    """
    if label.forces.shape != (len(atoms), 3):
        return Defect("wrong shape", f"forces of shape {label.forces.shape} for {len(atoms)} atoms")
    if label.virial is None and dft.stress and atoms.pbc.all():
        return Defect("no stress", "the stress is missing; dft.stress = false does without")
    virial = np.zeros((3, 3)) if label.virial is None else label.virial
    if virial.shape != (3, 3):
        return Defect("wrong shape", f"virial of shape {virial.shape}")
    if not (np.isfinite(label.energy) and np.isfinite(label.forces).all() and np.isfinite(virial).all()):
        return Defect("not finite", "energy, forces or virial are not finite numbers")
    forces = np.linalg.norm(label.forces, axis=1)
    if forces.max(initial=0.0) > dft.max_force:
        atom = int(np.argmax(forces))
        found = f"the force on atom {atom} is {forces[atom]:.4g} eV/Å"
        return Defect("large force", f"{found}, above dft.max_force = {dft.max_force:g} eV/Å")
    net_force = float(np.linalg.norm(label.forces.mean(axis=0)))
    if net_force > net_force_tolerance:
        return Defect(
            "net force",
            f"the mean force is {net_force:.2g} eV/Å where {net_force_tolerance:g} is credible: the forces "
            "do not belong together, or the integration grid is too coarse",
        )
    return None


def check_label(label: Label, atoms: Atoms, net_force_tolerance: float, dft: Dft, directory: Path) -> None:
    """Raise `CalculationError` of kind ``unknown`` unless the numbers can be a label; see `label_defect`."""
    if found := label_defect(label, atoms, net_force_tolerance, dft):
        raise CalculationError(found.detail, FailureKind.UNKNOWN, directory)


def rejected_steps(frames: LabelledFrames, net_force_tolerance: float, dft: Dft) -> dict[int, str]:
    """Steps of a trajectory that can be no label, with the reason in two words.

    Args:
        frames: of a relaxation or AIMD.
        net_force_tolerance: largest norm of the mean force in eV/Å.
        dft: as for `label_defect`.
    """
    found = {}
    for step, (frame, converged) in enumerate(zip(frames, frames.converged, strict=True)):
        defect = label_defect(frame.label, frame.atoms, net_force_tolerance, dft)
        if not converged:
            found[step] = "SCF not converged"
        elif defect:
            found[step] = defect.what
    return found
