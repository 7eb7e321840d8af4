"""The other end of LAMMPS's ``fix external``: any LAMMPS input runs with a model of ours.

The input is an ordinary one with ``pair_style none`` and

    fix        model all external pf/callback 1 1
    fix_modify model energy yes virial yes

One MPI rank. LAMMPS's box is the structure's cell, atom types are elements in an order that the caller gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from alpw.errors import AlpwError, InputError
from alpw.potential.model import DeepPotential
from alpw.potential.neighbors import NeighborList

Array = NDArray[np.float64]

FIX = "model"
SKIN = 1.0
"""Å that the pair list reaches beyond the cutoff."""

# Rows and columns of xx, yy, zz, xy, xz, yz, the order in which LAMMPS takes a virial.
_VOIGT = ((0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2))


class ModelForces:
    """A model that gives a LAMMPS instance its forces.

    Args:
        lammps: an instance whose input has defined atoms and the fix; `units metal`.
        model: the potential, on its device.
        elements: chemical symbol of each LAMMPS atom type.

    Raises:
        InputError: atom types without an element, or an element that the model does not know.
    """

    def __init__(self, lammps: Any, model: DeepPotential, elements: Sequence[str]) -> None:
        n_types, known = lammps.extract_global("ntypes"), model.config.elements
        if n_types != len(elements) or not set(elements) <= set(known):
            raise InputError(
                f"found {' '.join(elements)} for {n_types} atom types; allowed: for each one of "
                f"{' '.join(known)}",
                key="elements",
            )
        self._lammps, self._model = lammps, model
        self._numbers = np.array([0, *(atomic_numbers[symbol] for symbol in elements)])
        self._neighbors: NeighborList | None = None
        self._failure: BaseException | None = None
        lammps.set_fix_external_callback(FIX, self, None)

    def command(self, command: str) -> None:
        """Run a LAMMPS command that may compute forces, such as ``run 1000``.

        Raises:
            AlpwError: LAMMPS refused, or the model gave no finite number.
        """
        try:
            self._lammps.command(command)
        except Exception as error:  # LAMMPS's own errors arrive as plain Exception.
            raise AlpwError(f"{command}: {' '.join(str(error).split())}") from error
        if self._failure is not None:
            raise self._failure

    def __call__(self, _: Any, step: int, n_local: int, tags: Any, x: Array, forces: Array) -> None:
        forces[:] = 0.0
        if self._failure is not None:
            return
        try:
            self._evaluate(n_local, np.asarray(tags[:n_local]), x[:n_local], forces)
        except BaseException as failure:  # noqa: BLE001  it must not cross into C++; `command` raises it
            self._failure = failure
            self._lammps.force_timeout()

    def _evaluate(self, n_local: int, tags: NDArray[np.int64], x: Array, forces: Array) -> None:
        order = np.argsort(tags)
        low, high, xy, yz, xz, periodic, _ = self._lammps.extract_box()
        lx, ly, lz = np.subtract(high, low)
        cell = np.array([[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]])
        positions = x[order] - low
        types = self._lammps.numpy.extract_atom("type")[:n_local][order]
        if self._neighbors is None or not self._fits(types, positions, cell):
            atoms = Atoms(self._numbers[types], positions=positions, cell=cell, pbc=periodic)
            self._neighbors = self._model.neighbors(atoms, SKIN)
        prediction = self._model.energy_forces_virial(self._neighbors, positions, cell)
        forces[order] = prediction.forces
        self._lammps.fix_external_set_energy_global(FIX, prediction.energy)
        self._lammps.fix_external_set_virial_global(FIX, prediction.virial[_VOIGT].tolist())

    def _fits(self, types: NDArray[np.int32], positions: Array, cell: Array) -> bool:
        """Whether the pair list of an earlier step still covers this one."""
        assert self._neighbors is not None
        same = np.array_equal(self._neighbors.numbers, self._numbers[types])
        return same and self._neighbors.covers(positions, cell)
