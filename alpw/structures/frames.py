"""Many labelled frames of one composition as arrays: what every parser of a DFT code gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from alpw.files import replacing
from alpw.structures.frame import Label, LabelledFrame

EXTRAS: dict[str, str] = {
    "time": "ps, (n_frames,)",
    "temperature": "K, (n_frames,)",
    "velocities": "Å/ps, (n_frames, n_atoms, 3)",
    "energy_sigma0": "energy extrapolated to zero smearing, eV, (n_frames,)",
    "electronic_steps": "(n_frames,)",
    "id": "of the configuration in the database, text, (n_frames,); empty where there is none, as below",
    "campaign": "text, (n_frames,)",
    "iteration": "of the campaign, text, (n_frames,)",
    "settings_hash": "level of theory, text, (n_frames,)",
}
"""Names that :attr:`LabelledFrames.extras` may hold, with unit and shape."""
BY_FRAME = ("time", "temperature", "energy_sigma0", "electronic_steps")
"""the extras that are one number for each frame"""
PROVENANCE = ("id", "campaign", "iteration", "settings_hash")
"""the extras by which a frame is found again"""


@dataclass(frozen=True)
class LabelledFrames:
    """Frames of the same atoms in the same order, each with its label.

    Attributes:
        numbers: atomic numbers, ``(n_atoms,)``.
        cells: lattice vectors as rows, Å, ``(n_frames, 3, 3)``.
        positions: Å, ``(n_frames, n_atoms, 3)``.
        energies: eV, ``(n_frames,)``.
        forces: eV/Å, ``(n_frames, n_atoms, 3)``.
        virials: eV, positive under compression, ``(n_frames, 3, 3)``; None when no frame has one. The rows of
            a frame without virial are NaN here and None in its :class:`Label`.
        converged: whether the SCF of each frame converged, ``(n_frames,)``.
        pbc: periodicity.
        extras: further arrays by frame, see :data:`EXTRAS`.
    """

    numbers: NDArray[np.int64]
    cells: NDArray[np.float64]
    positions: NDArray[np.float64]
    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    virials: NDArray[np.float64] | None
    converged: NDArray[np.bool_]
    pbc: tuple[bool, bool, bool] = (True, True, True)
    extras: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_frames, n_atoms = len(self.energies), len(self.numbers)
        shapes = {
            "cells": (n_frames, 3, 3),
            "positions": (n_frames, n_atoms, 3),
            "forces": (n_frames, n_atoms, 3),
            "converged": (n_frames,),
            "virials": (n_frames, 3, 3),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} have the shape {array.shape}, not {shape}")
        for name, array in self.extras.items():
            if name not in EXTRAS or len(array) != n_frames:
                raise ValueError(f"extra '{name}' of {len(array)} frames; {n_frames} wanted, known: {EXTRAS}")

    def __len__(self) -> int:
        return len(self.energies)

    def __getitem__(self, frame: int) -> LabelledFrame:
        """One frame; raises :class:`IndexError` beyond the last."""
        atoms = Atoms(
            numbers=self.numbers,
            cell=self.cells[frame],
            positions=self.positions[frame],
            pbc=self.pbc,
            info={name: str(self.extras[name][frame]) for name in PROVENANCE if name in self.extras},
        )
        virial = None if self.virials is None else self.virials[frame].copy()
        if virial is not None and np.isnan(virial).all():
            virial = None
        return LabelledFrame(atoms, Label(float(self.energies[frame]), self.forces[frame].copy(), virial))

    def __iter__(self) -> Iterator[LabelledFrame]:
        return (self[frame] for frame in range(len(self)))

    def select(self, frames: ArrayLike | slice) -> LabelledFrames:
        """The frames of a slice, of indices, or of a mask."""
        chosen: Any = frames if isinstance(frames, slice) else np.asarray(frames)
        per_frame = {name: getattr(self, name)[chosen] for name in _PER_FRAME}
        virials = None if self.virials is None else self.virials[chosen]
        extras = {name: array[chosen] for name, array in self.extras.items()}
        return replace(self, **per_frame, virials=virials, extras=extras)

    def reordered(self, order: ArrayLike) -> LabelledFrames:
        """The same frames with atom ``order[i]`` in place ``i``."""
        permutation = np.asarray(order)
        extras = {
            name: array[:, permutation] if name == "velocities" else array
            for name, array in self.extras.items()
        }
        return replace(
            self,
            numbers=self.numbers[permutation],
            positions=self.positions[:, permutation],
            forces=self.forces[:, permutation],
            extras=extras,
        )

    def same_atoms(self, other: LabelledFrames) -> bool:
        """Whether both hold the same atoms in the same order, so that they can be joined."""
        return np.array_equal(self.numbers, other.numbers) and self.pbc == other.pbc

    @classmethod
    def join(cls, parts: Sequence[LabelledFrames]) -> LabelledFrames:
        """Parts of one trajectory in order; extras that not all parts have are left out.

        Raises:
            ValueError: nothing to join, or other atoms.
        """
        if not parts or not all(parts[0].same_atoms(part) for part in parts):
            raise ValueError("frames of the same atoms in the same order wanted")
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in _PER_FRAME
        }
        virials = None
        if any(part.virials is not None for part in parts):
            virials = np.concatenate([part.filled_virials() for part in parts])
        shared = set.intersection(*(set(part.extras) for part in parts))
        extras = {name: np.concatenate([part.extras[name] for part in parts]) for name in sorted(shared)}
        return replace(parts[0], **arrays, virials=virials, extras=extras)

    @classmethod
    def of(cls, frames: Sequence[LabelledFrame]) -> LabelledFrames:
        """Frames of the same atoms, one by one, taken as converged.

        What ``info`` of their atoms says of :data:`PROVENANCE` is kept.

        Raises:
            ValueError: no frame, or frames of other atoms.
        """
        if not frames or any(
            not np.array_equal(frame.atoms.numbers, frames[0].atoms.numbers) for frame in frames
        ):
            raise ValueError("frames of the same atoms in the same order wanted")
        missing = np.full((3, 3), np.nan)
        virials = np.array([missing if f.label.virial is None else f.label.virial for f in frames])
        x, y, z = (bool(axis) for axis in frames[0].atoms.pbc)
        known = [name for name in PROVENANCE if any(name in frame.atoms.info for frame in frames)]
        return cls(
            numbers=frames[0].atoms.numbers.astype(np.int64),
            cells=np.array([np.asarray(frame.atoms.cell) for frame in frames]),
            positions=np.array([frame.atoms.positions for frame in frames]),
            energies=np.array([frame.label.energy for frame in frames], dtype=float),
            forces=np.array([frame.label.forces for frame in frames]),
            virials=None if np.isnan(virials).all() else virials,
            converged=np.ones(len(frames), dtype=bool),
            pbc=(x, y, z),
            extras={name: np.array([str(f.atoms.info.get(name, "")) for f in frames]) for name in known},
        )

    def filled_virials(self) -> NDArray[np.float64]:
        """``(n_frames, 3, 3)`` with NaN where there is no virial."""
        return np.full((len(self), 3, 3), np.nan) if self.virials is None else self.virials

    def save(self, path: str | Path) -> None:
        """Write everything to one ``.npz`` file, in one step."""
        arrays = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "extras"}
        extras: dict[str, Any] = {f"extra_{name}": array for name, array in self.extras.items()}
        kept: dict[str, Any] = {name: array for name, array in arrays.items() if array is not None}
        with replacing(path) as file:
            np.savez(file, **kept, **extras)

    @classmethod
    def load(cls, path: str | Path) -> LabelledFrames:
        """What :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        extras = {n.removeprefix("extra_"): arrays.pop(n) for n in list(arrays) if n.startswith("extra_")}
        x, y, z = (bool(axis) for axis in arrays.pop("pbc"))
        return cls(**{"virials": None, **arrays}, pbc=(x, y, z), extras=extras)

    @staticmethod
    def count(path: str | Path) -> int:
        """Number of frames in a file of :meth:`save`, without reading their arrays."""
        with np.load(path, allow_pickle=False) as stored:
            return len(stored["energies"])


def reads_as_number(text: str) -> bool:
    """Whether readers that guess what a text is take it for a number or a truth value."""
    try:
        float(text)
    except ValueError:
        return text.lower() in ("t", "f", "true", "false")
    return True


_PER_FRAME = ("cells", "positions", "energies", "forces", "converged")


def single_frames(batches: Iterable[LabelledFrames]) -> Iterator[LabelledFrame]:
    """The frames of all batches, one after the other."""
    return (frame for batch in batches for frame in batch)
