"""Labelled frames in the groups that data sets of other programs hold, and back in their own order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from alpw.potential.evaluation import Comparison
from alpw.structures.frame import LabelledFrame

Array = NDArray[np.float64]
Predictions = tuple[Array, Array, Array | None]
"""Energies ``(n,)`` in eV, forces ``(n, n_atoms, 3)`` in eV/Å, virials ``(n, 3, 3)`` in eV or None."""


def grouped(frames: Sequence[LabelledFrame]) -> list[list[int]]:
    """Indices of frames with the same atoms in the same order, periodicity, and a virial or none."""
    groups: dict[tuple[bytes, bytes, bool], list[int]] = {}
    for index, (atoms, label) in enumerate(frames):
        key = (atoms.numbers.tobytes(), atoms.pbc.tobytes(), label.virial is None)
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def compared(
    frames: Sequence[LabelledFrame], predict: Callable[[int, Sequence[LabelledFrame]], Predictions]
) -> Comparison:
    """The labels of frames beside what a program predicts of them, group by group, in the frames' order.

    Args:
        frames: not empty.
        predict: from the number of a group and its frames.
    """
    n = len(frames)
    energies, virials = np.empty(n), np.full((n, 3, 3), np.nan)
    forces: list[Array] = [np.empty(0)] * n
    for number, members in enumerate(grouped(frames)):
        energy, force, virial = predict(number, [frames[k] for k in members])
        energies[members] = energy
        for row, k in enumerate(members):
            forces[k] = force[row]
        if virial is not None:
            virials[members] = virial
    labels = [label for _, label in frames]
    n_atoms = np.array([len(atoms) for atoms, _ in frames])
    known = [label.virial if label.virial is not None else np.full((3, 3), np.nan) for label in labels]
    # A virial that was not predicted is not compared.
    known = [np.where(np.isnan(found), np.nan, label) for found, label in zip(virials, known, strict=True)]
    return Comparison(
        numbers=np.concatenate([atoms.numbers for atoms, _ in frames]),
        frame=np.repeat(np.arange(n), n_atoms),
        n_atoms=n_atoms,
        energies=energies,
        energy_labels=np.array([label.energy for label in labels]),
        forces=np.concatenate(forces),
        force_labels=np.concatenate([label.forces for label in labels]),
        virials=virials,
        virial_labels=np.array(known),
    )
