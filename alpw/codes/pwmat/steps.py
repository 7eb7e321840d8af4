"""Frames of MOVEMENT and OUT.MLMD, and which of their atoms is which.

PWmat puts the atoms of one element together; what it writes has to be brought back into the order asked for.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from alpw.errors import CalculationError, FailureKind, InputError
from alpw.formats.movement import read_movement
from alpw.structures.frames import LabelledFrames

MLMD, MOVEMENT = "OUT.MLMD", "MOVEMENT"

BAD_NUMBER = re.compile(r"nan|\*\*\*", re.IGNORECASE)
"""What stands where a number does not exist, or does not fit into its field."""

STEP_LENGTH = 1.0
"""Å that no atom moves in one ionic step."""


def read_frames(path: Path) -> LabelledFrames | None:
    """All complete frames of a MOVEMENT or OUT.MLMD; None without any."""
    if not path.is_file():
        return None
    try:
        batches = list(read_movement(path))
    except InputError:
        return None
    return LabelledFrames.join(batches) if batches else None


def places(asked: Atoms, frames: LabelledFrames, directory: Path) -> NDArray[np.intp]:
    """Places in the output of the atoms of ``asked``, judged by the first frame.

    Raises:
        CalculationError: other atoms, or atoms that are not where they can be.
    """
    found = frames.numbers
    if len(found) != len(asked) or not np.array_equal(np.sort(found), np.sort(asked.numbers)):
        first = frames[0].atoms
        raise CalculationError(
            f"asked for {asked.symbols}, the output is for {first.symbols}", FailureKind.UNKNOWN, directory
        )
    if np.array_equal(found, asked.numbers):
        return np.arange(len(found))
    # The k-th atom of an element is the k-th of that element in the output.
    order = np.empty(len(found), dtype=np.intp)
    for number in np.unique(found):
        order[asked.numbers == number] = np.flatnonzero(found == number)
    moved = distances(frames.positions[0][order], asked.positions, np.asarray(asked.cell))
    if not moved.max() < STEP_LENGTH:
        raise CalculationError(
            f"the atoms of the output cannot be told: atom {int(np.argmax(moved))} would have moved by "
            f"{moved.max():.2g} Å",
            FailureKind.UNKNOWN,
            directory,
        )
    return order


def nearest_images(
    positions: NDArray[np.float64], reference: NDArray[np.float64], cell: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The periodic images of ``positions`` that are nearest to ``reference``, all ``(n_atoms, 3)`` in Å."""
    fractions = np.linalg.solve(cell.T, (positions - reference).T).T
    nearest: NDArray[np.float64] = positions - np.round(fractions) @ cell
    return nearest


def distances(
    positions: NDArray[np.float64], reference: NDArray[np.float64], cell: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distances between two geometries atom by atom, ``(n_atoms,)`` in Å, over the periodic images."""
    found: NDArray[np.float64] = np.linalg.norm(
        nearest_images(positions, reference, cell) - reference, axis=1
    )
    return found


def unwrapped(frames: LabelledFrames, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions along a trajectory without jumps by lattice vectors, ``(n_frames, n_atoms, 3)`` in Å.

    PWmat puts every atom back into the cell.

    Args:
        frames: in order.
        start: positions near those of the first frame, ``(n_atoms, 3)`` in Å.
    """
    fractions = frames.positions @ np.linalg.inv(frames.cells)
    before = np.concatenate([[start @ np.linalg.inv(frames.cells[0])], fractions[:-1]])
    jumps = np.cumsum(np.round(fractions - before), axis=0)
    found: NDArray[np.float64] = frames.positions - jumps @ frames.cells
    return found
