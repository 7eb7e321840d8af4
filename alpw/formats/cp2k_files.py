"""The files that CP2K writes beside its log: trajectories in its XYZ format, tables with a row per step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_HEADING = re.compile(r"i =\s*(\d+)(?:, time =\s*([^,]+))?.*, E =\s*(\S+)")


class Geometry(NamedTuple):
    """One frame of a file in CP2K's XYZ format."""

    step: int
    time: float
    energy: float
    symbols: tuple[str, ...]
    rows: Array


def read_xyz(path: Path) -> Iterator[Geometry]:
    """The complete frames of a trajectory, force or velocity file, in its own units."""
    with path.open(encoding="utf-8", errors="replace") as file:
        while (count := file.readline()).strip().isdigit():
            heading = _HEADING.search(file.readline())
            lines = [file.readline() for _ in range(int(count))]
            if heading is None or not lines or not lines[-1].endswith("\n"):
                return
            words = [line.split() for line in lines]
            try:
                rows = np.array([[float(x) for x in row[1:4]] for row in words]).reshape(-1, 3)
                time, energy = float(heading[2] or "nan"), float(heading[3])
            except ValueError:
                return
            yield Geometry(int(heading[1]), time, energy, tuple(row[0] for row in words), rows)


def beside(log: Path, project: str, ending: str) -> Path | None:
    """A file of the run that wrote ``log``, such as ``run-pos-1.xyz`` for the ending ``-pos-1.xyz``."""
    if project and (path := log.parent / f"{project}{ending}").is_file():
        return path
    found = sorted(log.parent.glob(f"*{ending}"))
    return found[0] if len(found) == 1 else None


class ByStep:
    """Values by step number, read forward only."""

    def __init__(self, values: Iterable[tuple[int, Array]]) -> None:
        self._values = iter(values)
        self._latest = next(self._values, None)

    def at(self, step: int) -> Array | None:
        while self._latest is not None and self._latest[0] < step:
            self._latest = next(self._values, None)
        return self._latest[1] if self._latest is not None and self._latest[0] == step else None


def read_rows(path: Path | None) -> Iterator[tuple[int, Array]]:
    """Step and rows of each frame of a file in XYZ format; nothing without a file."""
    if path is not None:
        yield from ((geometry.step, geometry.rows) for geometry in read_xyz(path))


def read_table(path: Path | None, columns: int) -> Iterator[tuple[int, Array]]:
    """Complete lines of a table whose first column is the step."""
    if path is None:
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if line.startswith("#") or len(words) < columns or not line.endswith("\n"):
                continue
            yield int(words[0]), np.array([float(word) for word in words])
