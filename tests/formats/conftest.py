"""Frames of any cell, composition and order of atoms."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from alpw.structures.frames import LabelledFrames


def random_cell(rng):
    """Any orientation, left-handed every other time, skewed but not flat."""
    while True:
        cell = rng.normal(scale=2, size=(3, 3)) + np.diag(rng.uniform(3, 9, 3))
        cell = cell @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
        lengths = np.linalg.norm(cell, axis=1)
        if abs(np.linalg.det(cell)) > 0.1 * lengths.prod():
            return cell


def random_batch(seed, n_frames=3, n_atoms=None, virials="all", symbols=("Si", "O", "Li", "Ge", "H")):
    """Frames of the same atoms in an order in which elements are not together."""
    rng = np.random.default_rng(seed)
    n_atoms = n_atoms or int(rng.integers(1, 9))
    numbers = Atoms([symbols[k] for k in rng.integers(0, len(symbols), n_atoms)]).numbers
    cells = np.array([random_cell(rng) for _ in range(n_frames)])
    # Not symmetric on purpose: rows and columns must not be exchanged.
    tensors = rng.normal(scale=5, size=(n_frames, 3, 3))
    if virials == "some":
        tensors[::2] = np.nan
    return LabelledFrames(
        numbers=numbers.astype(np.int64),
        cells=cells,
        positions=rng.uniform(-0.5, 1.5, (n_frames, n_atoms, 3)) @ cells,
        energies=rng.normal(-100, 30, n_frames),
        forces=rng.normal(size=(n_frames, n_atoms, 3)),
        virials=None if virials == "none" else tensors,
        converged=np.ones(n_frames, dtype=bool),
    )


@pytest.fixture
def batch():
    """The function :func:`random_batch`."""
    return random_batch


@pytest.fixture
def structure():
    """A function that makes one structure from a seed."""
    return lambda seed, **options: random_batch(seed, n_frames=1, **options)[0].atoms


@pytest.fixture
def outcar(tmp_path):
    """Writes a text as an OUTCAR."""

    def write(text: str, name: str = "OUTCAR") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write
