"""Reading trajectories without labels, whatever format they have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.formats.registry import Options, recognise


class Trajectory(NamedTuple):
    """Structures in the order of a simulation.

    Attributes:
        steps: ``(n_frames,)``, the time step where the file says it, else the number of the frame from 0.
        frames: one structure each, without results.
    """

    steps: NDArray[np.int64]
    frames: list[Atoms]


def read_trajectory(path: str | Path, elements: Sequence[str] = ()) -> Trajectory:
    """The structures in a file or a folder, recognised by content.

    Args:
        path: anything in a format of :mod:`alpw.formats.registry`, any file that ASE reads, or a folder of
            structure files named ``<step>`` or ``<step>.<anything>``.
        elements: symbols of LAMMPS types 1, 2, ..., for a dump without a column ``element``.

    Raises:
        InputError: no such file, an unknown format, no frames, coordinates that are not finite, or LAMMPS
            types without a symbol.
    """
    path = Path(path)
    form = recognise(path)
    found = _folder(path, elements) if form is None and path.is_dir() else _images(path, elements)
    if not found.frames:
        raise InputError("holds no frames", path)
    for k, atoms in enumerate(found.frames):
        if not len(atoms):
            raise InputError("holds no atoms", path, f"frame {k}")
        if not (np.isfinite(atoms.positions).all() and np.isfinite(np.asarray(atoms.cell)).all()):
            raise InputError("a position or a cell vector is not finite", path, f"frame {k}")
        atoms.calc = None
        atoms.set_constraint()
    return found


def _folder(folder: Path, elements: Sequence[str]) -> Trajectory:
    """Files named by their step, as the predecessor's command reads them."""
    numbered = {
        int(match[1]): file
        for file in folder.iterdir()
        if file.is_file() and (match := re.fullmatch(r"(\d+)(\..*)?", file.name))
    }
    if not numbered:
        raise InputError("neither a data set (PWdata, deepmd-kit) nor files named by their step", folder)
    frames: list[Atoms] = []
    for step in sorted(numbered):
        images = _images(numbered[step], elements).frames
        if len(images) != 1:
            raise InputError(
                f"holds {len(images)} frames; a file named by its step holds one", numbered[step]
            )
        frames += images
    return Trajectory(np.array(sorted(numbered)), frames)


def _images(path: Path, elements: Sequence[str]) -> Trajectory:
    form = recognise(path)
    if form is None:
        images = _read(path)
    else:
        images = list(form.read_structures(path, Options(elements=tuple(elements))))
    steps = [atoms.info.get("step", atoms.info.get("timestep", k)) for k, atoms in enumerate(images)]
    if all(isinstance(step, (int, np.integer)) for step in steps):
        return Trajectory(np.array(steps, dtype=np.int64), images)
    return Trajectory(np.arange(len(images)), images)


def _read(path: Path) -> list[Atoms]:
    # Late: it brings SciPy's integrators, for which no command should wait.
    import ase.io

    try:
        return list(ase.io.read(path, index=":"))
    # ASE's readers raise anything from AssertionError to errors of their own on a broken file.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"cannot be read as any known format: {reason}", path) from error
