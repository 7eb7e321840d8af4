"""What is asked about every saved frame: how uncertain the models are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from ase import Atoms

from alpw.codes.lammps.checks import TrajectoryEnded, require_finite
from alpw.codes.lammps.forces import ForceModel, Forces
from alpw.codes.lammps.outputs import EndReason
from alpw.errors import AlpwError, InputError
from alpw.potential.environment import Environment
from alpw.uncertainty.committee import committee_deviation
from alpw.uncertainty.definition import KPU, Definition
from alpw.uncertainty.kpu import SampledKPU


class Measure(Protocol):
    """An uncertainty of saved frames.

    Attributes:
        deviation: ``dpgen``, ``legacy`` or ``kpu``; it is stored with the numbers.
        members: models, or draws of the weights, that are compared.
    """

    deviation: str
    members: int

    def __call__(self, atoms: Atoms, driving: Forces) -> dict[str, float]:
        """The numbers of `frames.DEVIATION_COLUMNS`, by name.

        Args:
            atoms: the frame.
            driving: what the driving model says about it.

        Raises:
            TrajectoryEnded: a number that is not finite.
        """


class CommitteeMeasure:
    """Deviation of a committee.

    Args:
        others: the members besides the driving model.
        definition: of the force deviation.
    """

    def __init__(self, others: Sequence[ForceModel], definition: Definition = "dpgen") -> None:
        self._others, self._definition = others, definition
        self.deviation: str = definition
        self.members = 1 + len(others)

    def __call__(self, atoms: Atoms, driving: Forces) -> dict[str, float]:
        members = [driving, *(model.predict(atoms) for model in self._others)]
        for index, member in enumerate(members):
            what = f"energy, forces or virial of model {index}"
            require_finite(what, member.energy, member.forces, member.virial)
        found = committee_deviation(
            [member.energy for member in members],
            np.array([member.forces for member in members]),
            np.array([member.virial for member in members]),
            self._definition,
        )
        return {
            "max_f": found.max_f,
            "mean_f": found.mean_f,
            "min_f": found.min_f,
            "worst_atom": found.worst_atom,
            "energy_deviation": found.energy,
            "max_v": found.max_v,
            "mean_v": found.mean_v,
            "min_v": found.min_v,
        }


class KPUMeasure:
    """Kalman prediction uncertainty of the driving model, from draws of its weights.

    Args:
        kpu: the draws.
        environment: what the driving model reads of a structure.
    """

    deviation = KPU

    def __init__(self, kpu: SampledKPU, environment: Callable[[Atoms], Environment]) -> None:
        self._kpu, self._environment = kpu, environment
        self.members = len(kpu.draws)

    def __call__(self, atoms: Atoms, driving: Forces) -> dict[str, float]:
        try:
            found = self._kpu.uncertainty(self._environment(atoms))
        except InputError:
            raise
        except AlpwError as error:
            raise TrajectoryEnded(EndReason.NAN, str(error)) from error
        return {
            "max_f": found.max,
            "mean_f": found.mean,
            "min_f": found.min,
            "worst_atom": int(found.u_force.argmax()),
            "energy_deviation": found.u_energy,
        }
