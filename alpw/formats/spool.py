"""Frames put aside on disk and taken back in any order, for the shuffled split of a long trajectory."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpw.formats.batches import frames_per_batch
from alpw.structures.frames import PROVENANCE, LabelledFrames


@dataclass(frozen=True)
class _Group:
    """Frames of the same atoms, with the same extras: records of one size in one file."""

    path: Path
    numbers: NDArray[np.int64]
    pbc: tuple[bool, bool, bool]
    record: np.dtype[np.void]
    extras: tuple[str, ...]


class FrameSpool:
    """Frames of any atoms in a folder of scratch files; a frame that is there already is not added again.

    Memory grows by some 100 bytes per frame, whatever its size. The provenance of frames is not kept.

    Args:
        directory: an empty folder for the scratch files; whoever made it removes it.

    Attributes:
        n_duplicates: frames that were not added, because structure and label were those of another one.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.n_duplicates = 0
        self._groups: list[_Group] = []
        self._by_key: dict[Any, int] = {}
        self._group_of = array("q")
        self._row_of = array("q")
        self._n_rows: list[int] = []
        self._seen: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._row_of)

    def append(self, batch: LabelledFrames) -> None:
        """Add the frames of a batch."""
        known = self._key_of(batch)
        group = self._groups[known]
        records = np.zeros(len(batch), group.record)
        records["energy"], records["converged"] = batch.energies, batch.converged
        records["cell"], records["positions"] = batch.cells, batch.positions
        records["forces"], records["virial"] = batch.forces, batch.filled_virials()
        for name in group.extras:
            records[name] = batch.extras[name]
        atoms = batch.numbers.tobytes() + bytes(batch.pbc)
        fresh = [k for k in range(len(records)) if self._is_new(atoms, batch, k)]
        self.n_duplicates += len(records) - len(fresh)
        with group.path.open("ab") as file:
            records[fresh].tofile(file)
        self._group_of.extend([known] * len(fresh))
        self._row_of.extend(range(self._n_rows[known], self._n_rows[known] + len(fresh)))
        self._n_rows[known] += len(fresh)

    def by_composition(self) -> list[NDArray[np.int64]]:
        """Indices of the frames of each composition, by first appearance, each in their order."""
        owners: dict[tuple[int, ...], int] = {}
        owner_of = np.array(
            [owners.setdefault(tuple(sorted(g.numbers.tolist())), len(owners)) for g in self._groups]
        )
        if not len(self):
            return []
        found = owner_of[np.frombuffer(self._group_of, dtype=np.int64)]
        return [np.flatnonzero(found == owner) for owner in range(len(owners)) if (found == owner).any()]

    def frames(self, indices: Iterable[int]) -> Iterator[LabelledFrames]:
        """The frames of these indices, in this order, in batches."""
        rows: list[int] = []
        current = -1
        for index in indices:
            group = self._group_of[index]
            if rows and (group != current or len(rows) >= frames_per_batch(len(self._groups[group].numbers))):
                yield self._take(current, rows)
                rows = []
            current = group
            rows.append(self._row_of[index])
        if rows:
            yield self._take(current, rows)

    def _take(self, index: int, rows: list[int]) -> LabelledFrames:
        group = self._groups[index]
        records = np.memmap(group.path, group.record, mode="r")[rows]
        virials = np.array(records["virial"])
        return LabelledFrames(
            numbers=group.numbers,
            cells=np.array(records["cell"]),
            positions=np.array(records["positions"]),
            energies=np.array(records["energy"]),
            forces=np.array(records["forces"]),
            virials=None if np.isnan(virials).all() else virials,
            converged=np.array(records["converged"]),
            pbc=group.pbc,
            extras={name: np.array(records[name]) for name in group.extras},
        )

    def _key_of(self, batch: LabelledFrames) -> int:
        n_atoms = len(batch.numbers)
        extras = tuple(sorted(batch.extras.keys() - set(PROVENANCE)))
        key = (batch.numbers.tobytes(), batch.pbc, extras)
        if key not in self._by_key:
            fields: list[tuple[str, str, tuple[int, ...]]] = [
                ("energy", "<f8", ()),
                ("converged", "?", ()),
                ("cell", "<f8", (3, 3)),
                ("virial", "<f8", (3, 3)),
                ("positions", "<f8", (n_atoms, 3)),
                ("forces", "<f8", (n_atoms, 3)),
                *((name, "<f8", batch.extras[name].shape[1:]) for name in extras),
            ]
            path = self.directory / f"{len(self._groups)}.frames"
            self._groups.append(_Group(path, batch.numbers, batch.pbc, np.dtype(fields), extras))
            self._n_rows.append(0)
            self._by_key[key] = len(self._groups) - 1
        return self._by_key[key]

    def _is_new(self, atoms: bytes, batch: LabelledFrames, k: int) -> bool:
        """Whether structure and label are those of no frame before."""
        digest = hashlib.blake2b(atoms, digest_size=16)
        for part in (batch.cells[k], batch.positions[k], batch.energies[k : k + 1], batch.forces[k]):
            digest.update(np.ascontiguousarray(part).data)
        if (found := digest.digest()) in self._seen:
            return False
        self._seen.add(found)
        return True
