"""One system of deepmd-kit, read by rows, wherever it lies: in a folder or in a group of an HDF5 file.

See :mod:`alpw.formats.deepmd` for its arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.formats.batches import frames_per_batch
from alpw.formats.npy import finite
from alpw.structures.frames import LabelledFrames

TYPES = "real_atom_types"
"""the array that makes a system a mixed one"""


class Store(Protocol):
    """Where a system lies; names are those of its files, ``set.000/coord.npy``."""

    def path(self, name: str) -> Path:
        """What messages call a file."""

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""

    def words(self, name: str) -> list[str]:
        """The words of a file; raises :class:`InputError` if there is none."""

    def array(self, name: str, width: int) -> NDArray[Any]:
        """Rows that are read when they are used; raises :class:`InputError` for any other shape."""

    def sets(self) -> list[str]:
        """Sets with arrays, sorted."""


def read_system(system: Store) -> Iterator[LabelledFrames]:
    """The frames of one system, plain or mixed, its sets sorted by name.

    Raises:
        InputError: a missing or cut file, a wrong shape, or numbers that are not finite.
    """
    by_type = numbers_of(system.words("type_map.raw"), system.path("type_map.raw"))
    try:
        types = np.array([int(word) for word in system.words("type.raw")], dtype=np.int64)
    except ValueError as error:
        raise InputError(f"not a list of types: {error}", system.path("type.raw")) from error
    is_periodic = not system.has("nopbc")
    for part in system.sets():
        for arrays, first in _pieces(system, part, len(types), is_periodic):
            rows = arrays.pop(TYPES, None)
            per_frame = np.tile(types, (len(arrays["energy"]), 1)) if rows is None else rows
            where = system.path("type.raw" if rows is None else f"{part}/{TYPES}.npy")
            yield from same_atoms(arrays, per_frame, by_type, is_periodic, where, first)


def numbers_of(symbols: list[str], path: Path) -> NDArray[np.int64]:
    """Atomic numbers of types 0, 1, ...; raises :class:`InputError` for what is no element."""
    if unknown := [symbol for symbol in symbols if not atomic_numbers.get(symbol)]:
        raise InputError(f"{unknown[0]!r} is not an element", path)
    return np.array([atomic_numbers[symbol] for symbol in symbols], dtype=np.int64)


def _pieces(
    system: Store, part: str, n_atoms: int, periodic: bool
) -> Iterator[tuple[dict[str, NDArray[Any]], int]]:
    """Arrays of a few frames at a time, and the number of the first of them."""
    widths = {"energy": 1, "coord": 3 * n_atoms, "force": 3 * n_atoms}
    optional = {"box": 9, "virial": 9, TYPES: n_atoms}
    widths |= {
        name: width
        for name, width in optional.items()
        if system.has(f"{part}/{name}.npy") or (name == "box" and periodic)
    }
    arrays = {name: system.array(f"{part}/{name}.npy", width) for name, width in widths.items()}
    paths = {name: system.path(f"{part}/{name}.npy") for name in widths}
    n_frames = len(arrays["energy"])
    for name, array in arrays.items():
        if len(array) != n_frames:
            raise InputError(f"has {len(array)} frames, energy.npy has {n_frames}", paths[name])
    step = frames_per_batch(n_atoms)
    for first in range(0, n_frames, step):
        piece: dict[str, NDArray[Any]] = {}
        for name, array in arrays.items():
            rows = array[first : first + step]
            piece[name] = np.array(rows) if name == TYPES else finite(rows, paths[name], first)
        if periodic:
            check_cells(piece["box"], paths["box"], first)
        yield piece, first


def check_cells(cells: NDArray[np.float64], path: Path, first: int) -> None:
    """Raise :class:`InputError` for a periodic frame without volume; ``first`` is the frame of row 0."""
    ranks = np.linalg.matrix_rank(cells.reshape(-1, 3, 3))
    if flat := np.flatnonzero(ranks < 3).tolist():
        raise InputError("the cell has no volume", path, f"frame {first + flat[0]}")


def same_atoms(
    arrays: dict[str, NDArray[Any]],
    types: NDArray[np.int64],
    by_type: NDArray[np.int64],
    is_periodic: bool,
    where: Path,
    first: int,
) -> Iterator[LabelledFrames]:
    """Neighbouring frames with the same types as one batch; places without an atom are left out.

    Args:
        arrays: ``coord``, ``force`` ``(n, 3N)``, ``energy`` ``(n, 1)`` and perhaps ``box``, ``virial``
            ``(n, 9)``, in deepmd-kit's units.
        types: ``(n, N)``; -1 is a place without an atom.
        by_type: atomic numbers of types 0, 1, ....
        is_periodic: in all directions, or in none.
        where: what messages call the types.
        first: the frame of row 0.

    Raises:
        InputError: a type without an element.
    """
    if bad := np.flatnonzero(((types >= len(by_type)) | (types < -1)).any(axis=1)).tolist():
        raise InputError(
            f"a type beyond those of type_map.raw (0 to {len(by_type) - 1})", where, f"frame {first + bad[0]}"
        )
    changes = np.flatnonzero((types[1:] != types[:-1]).any(axis=1)) + 1
    for start, stop in zip([0, *changes.tolist()], [*changes.tolist(), len(types)], strict=True):
        real, n_frames = types[start] >= 0, stop - start
        virials = arrays.get("virial")
        boxes = arrays.get("box")
        yield LabelledFrames(
            numbers=by_type[types[start][real]],
            cells=np.zeros((n_frames, 3, 3)) if boxes is None else boxes[start:stop].reshape(-1, 3, 3),
            positions=arrays["coord"][start:stop].reshape(n_frames, -1, 3)[:, real],
            energies=arrays["energy"][start:stop, 0],
            forces=arrays["force"][start:stop].reshape(n_frames, -1, 3)[:, real],
            virials=None if virials is None else virials[start:stop].reshape(-1, 3, 3),
            converged=np.ones(n_frames, dtype=bool),
            pbc=(is_periodic,) * 3,
        )
