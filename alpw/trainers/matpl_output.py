"""What PWMLFF and MatPL write: learning curves, tests, and the uncertainty of their ``kpu`` command.

Columns are found by name; both generations name them differently and put a ``#`` before the header or not.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpw.errors import CalculationError, FailureKind
from alpw.structures.frame import LabelledFrame
from alpw.trainers.grouping import Predictions

CODE = "matpl"
_COLUMNS = {
    "loss": r"loss",
    "energy_rmse": r"rmse_etot(_per_atom|\(ev/atom\))?",
    "force_rmse": r"rmse_f(\(ev/(å|a|ang)\))?",
    "learning_rate": r"real_lr|lr|learning_rate",
}


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """The epochs in ``epoch_train.dat`` and ``epoch_valid.dat`` of a folder, by the names of our own curves.

    Errors are in eV/Å and eV/atom; None where there is no such column.

    Raises:
        CalculationError: no ``epoch_train.dat``, or lines that make no sense.
    """
    train = _table(folder / "epoch_train.dat")
    if train is None:
        raise CalculationError("no epoch_train.dat", FailureKind.UNKNOWN, folder, CODE)
    valid = _table(folder / "epoch_valid.dat") or {}
    return [
        {
            "epoch": epoch,
            "loss": row.get("loss"),
            "learning_rate": row.get("learning_rate"),
            "train_force_rmse": row.get("force_rmse"),
            "train_energy_rmse": row.get("energy_rmse"),
            "valid_force_rmse": valid.get(epoch, {}).get("force_rmse"),
            "valid_energy_rmse": valid.get(epoch, {}).get("energy_rmse"),
        }
        for epoch, row in sorted(train.items())
    ]


def _table(path: Path) -> dict[int, dict[str, float]] | None:
    """Rows by epoch; None if there is no such file, or nothing in it."""
    lines = [line for line in path.read_text().splitlines() if line.strip()] if path.is_file() else []
    if not lines:
        return None
    names = lines[0].lstrip("# ").split()
    where = {
        ours: k
        for ours, pattern in _COLUMNS.items()
        for k, name in enumerate(names)
        if re.fullmatch(pattern, name.lower())
    }
    rows = {}
    for line in lines[1:]:
        try:
            numbers = [float(word) for word in line.split()]
            if len(numbers) != len(names):
                raise ValueError
        except ValueError:
            text = f"{path.name} has a line that is not understood: {line.strip()[:120]!r}"
            raise CalculationError(text, FailureKind.UNKNOWN, path.parent, CODE) from None
        rows[int(numbers[0])] = {ours: numbers[k] for ours, k in where.items()}
    return rows


def has_covariance(checkpoint: Path) -> bool:
    """Whether a checkpoint holds P. Without it the ``kpu`` command computes with P = p0 and says nothing."""
    # Only the names in it are looked at; objects of a foreign file are not loaded.
    if not zipfile.is_zipfile(checkpoint):
        return False
    with zipfile.ZipFile(checkpoint) as archive:
        pickled = [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]
    words = {word for data in pickled for _, word, _ in pickletools.genops(data) if isinstance(word, str)}
    return {"optimizer", "P"} <= words


def read_test(folder: Path, group: Sequence[LabelledFrame]) -> Predictions:
    """The predictions of frames with the same atoms, which PWdata holds sorted by atomic number.

    Raises:
        CalculationError: a file is missing, holds another number of frames, or another order of them.
    """
    n, numbers = len(group), group[0].atoms.numbers
    order = np.argsort(numbers, kind="stable")
    energies = _numbers(folder, "inference_total_energy.txt", (n,))
    forces = _numbers(folder, "inference_force.txt", (n, len(numbers), 3))
    labels = np.array([frame.label.forces[order] for frame in group])
    if not np.allclose(_numbers(folder, "dft_force.txt", labels.shape), labels, rtol=1e-4, atol=1e-3):
        text = "the labels in dft_force.txt are not those of the frames, or come in another order"
        raise CalculationError(text, FailureKind.UNKNOWN, folder, CODE)
    restored = np.empty_like(forces)
    restored[:, order] = forces
    return energies, restored, None


def _numbers(folder: Path, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    path = folder / name
    found = np.loadtxt(path).reshape(-1) if path.is_file() else np.empty(0)
    if found.size != np.prod(shape):
        text = f"{name} holds {found.size} numbers, {np.prod(shape)} are expected"
        raise CalculationError(text, FailureKind.UNKNOWN, folder, CODE)
    return found.reshape(shape)


@dataclass(frozen=True)
class KPUTable:
    """What the ``kpu`` command says about structures, in its own, unstated units.

    Its mean, largest and smallest value are taken over a table that has the indices of the atoms in it, so
    the largest is the only number that can be trusted, and only where it exceeds the number of atoms.

    Attributes:
        steps, energy, force_mean, force_max, force_min: each ``(n,)``.
    """

    steps: NDArray[np.int64]
    energy: NDArray[np.float64]
    force_mean: NDArray[np.float64]
    force_max: NDArray[np.float64]
    force_min: NDArray[np.float64]


def read_kpu(path: Path) -> KPUTable:
    """The table that the ``kpu`` command writes.

    Raises:
        CalculationError: another header than ``step etot_kpu f_kpu_mean f_kpu_max f_kpu_min``.
    """
    names = ["step", "etot_kpu", "f_kpu_mean", "f_kpu_max", "f_kpu_min"]
    lines = path.read_text().splitlines() or [""]
    if lines[0].lstrip("# ").split() != names:
        text = f"{path.name} begins with {lines[0]!r}, not with {' '.join(names)!r}"
        raise CalculationError(text, FailureKind.UNKNOWN, path.parent, CODE)
    rows = np.array([[float(word) for word in line.split()] for line in lines[1:]]).reshape(-1, len(names))
    return KPUTable(rows[:, 0].astype(np.int64), *rows[:, 1:].T)
