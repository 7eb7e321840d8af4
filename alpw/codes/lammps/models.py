"""Model files as force models for molecular dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from ase import Atoms

from alpw.codes.lammps.checks import TrajectoryEnded
from alpw.codes.lammps.outputs import EndReason
from alpw.errors import AlpwError, InputError
from alpw.potential.model import DeepPotential, Prediction
from alpw.potential.neighbors import NeighborList

SKIN = 1.0
"""Å that the neighbour list reaches beyond the cutoff; rebuilt when it no longer covers the motion."""


class VerletModel:
    """A Deep Potential that keeps its neighbour list from step to step.

    Args:
        model: the potential, on its device.
    """

    def __init__(self, model: DeepPotential) -> None:
        self._model = model
        self._neighbors: NeighborList | None = None

    def predict(self, atoms: Atoms) -> Prediction:
        """Energy, forces and virial.

        Raises:
            TrajectoryEnded: the model gives no finite number.
        """
        cell = atoms.cell.array
        if self._neighbors is None or not self._neighbors.covers(atoms.positions, cell):
            self._neighbors = self._model.neighbors(atoms, SKIN)
        try:
            return self._model.energy_forces_virial(self._neighbors, atoms.positions, cell)
        except InputError:
            raise
        except AlpwError as error:
            raise TrajectoryEnded(EndReason.NAN, str(error)) from error


def load_models(paths: Sequence[Path]) -> list[VerletModel]:
    """The committee in ``paths``, on the GPU if there is one.

    Raises:
        InputError: no model, or a file that does not hold one.
    """
    if not paths:
        raise InputError("no model file; the first one drives the dynamics", key="models")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return [VerletModel(DeepPotential.load(path, device)) for path in paths]
