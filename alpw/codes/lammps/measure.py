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
from alpw.uncertainty.definition import Definition
from alpw.uncertainty.kpu import SampledKPU


class Measure(Protocol):
    """An uncertainty of saved frames. What it consists of is stored with the numbers.

    Attributes:
        deviation: definition of a committee's force deviation; None if there is no committee.
        members: models that are compared.
        draws: of the driving model's weights that are compared; 0 for none.
    """

    deviation: Definition | None
    members: int
    draws: int

    def __call__(self, atoms: Atoms, driving: Forces) -> dict[str, float]:
        """The numbers of `frames.COMMITTEE_COLUMNS`, of `frames.KPU_COLUMNS`, or of both, by name.

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

    draws = 0

    def __init__(self, others: Sequence[ForceModel], definition: Definition = "dpgen") -> None:
        self._others, self._definition = others, definition
        self.deviation: Definition | None = definition
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

    deviation: Definition | None = None
    members = 1

    def __init__(self, kpu: SampledKPU, environment: Callable[[Atoms], Environment]) -> None:
        self._kpu, self._environment = kpu, environment
        self.draws = len(kpu.draws)

    def __call__(self, atoms: Atoms, driving: Forces) -> dict[str, float]:
        try:
            found = self._kpu.uncertainty(self._environment(atoms))
        except InputError:
            raise
        except AlpwError as error:
            raise TrajectoryEnded(EndReason.NAN, str(error)) from error
        return {
            "max_kpu": found.max,
            "mean_kpu": found.mean,
            "min_kpu": found.min,
            "worst_atom_kpu": int(found.u_force.argmax()),
            "energy_kpu": found.u_energy,
        }


class BothMeasures:
    """A committee's deviation and the Kalman prediction uncertainty of its first member, of the same frames.

    Args:
        committee: the one.
        kpu: the other.
    """

    def __init__(self, committee: CommitteeMeasure, kpu: KPUMeasure) -> None:
        self._parts = (committee, kpu)
        self.deviation = committee.deviation
        self.members, self.draws = committee.members, kpu.draws

    def __call__(self, atoms: Atoms, driving: Forces) -> dict[str, float]:
        committee, kpu = self._parts
        return committee(atoms, driving) | kpu(atoms, driving)
