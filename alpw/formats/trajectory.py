"""Reading trajectories without labels, whatever format they have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.formats.extxyz import looks_like_extxyz
from alpw.formats.pwdata import is_pwdata, read_pwdata
from alpw.structures.atom_config import looks_like_atom_config, read_atom_config


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
        path: an extended XYZ file, a LAMMPS text dump, atom.config, any file that ASE reads, a PWdata folder,
            or a folder of structure files named ``<step>`` or ``<step>.<anything>``.
        elements: symbols of LAMMPS types 1, 2, ..., for a dump without a column ``element``.

    Raises:
        InputError: no such file, an unknown format, no frames, coordinates that are not finite, or LAMMPS
            types without a symbol.
    """
    path = Path(path)
    if path.is_dir() and is_pwdata(path):
        found = _numbered([frame.atoms for frame in read_pwdata(path)])
    elif path.is_dir():
        found = _folder(path, elements)
    elif path.is_file():
        found = _file(path, elements)
    else:
        raise InputError("no such file or folder", path)
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
        raise InputError(
            "neither PWdata (image_type.npy) nor files named by their step, as 100.config", folder
        )
    frames: list[Atoms] = []
    for step in sorted(numbered):
        images = _file(numbered[step], elements).frames
        if len(images) != 1:
            raise InputError(
                f"holds {len(images)} frames; a file named by its step holds one", numbered[step]
            )
        frames += images
    return Trajectory(np.array(sorted(numbered)), frames)


def _file(path: Path, elements: Sequence[str]) -> Trajectory:
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.read(4096)
    if head.startswith("ITEM:"):
        return _dump(path, elements)
    if looks_like_atom_config(head):
        return _numbered([read_atom_config(path)])
    images = _read(path, "extxyz" if looks_like_extxyz(head) else None)
    steps = [atoms.info.get("step", atoms.info.get("timestep", k)) for k, atoms in enumerate(images)]
    if all(isinstance(step, (int, np.integer)) for step in steps):
        return Trajectory(np.array(steps, dtype=np.int64), images)
    return _numbered(images)


def _dump(path: Path, elements: Sequence[str]) -> Trajectory:
    """A LAMMPS text dump; its steps are read here, because not every version of ASE keeps them."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    columns = next((line.split()[2:] for line in lines if line.startswith("ITEM: ATOMS")), [])
    if "element" not in columns:
        if "type" not in columns:
            raise InputError("the dump has neither a column 'element' nor 'type'", path)
        if not elements:
            raise InputError(
                "the dump has LAMMPS types and no column 'element'; name the elements of types 1, 2, ...",
                path,
                "elements",
            )
        if unknown := [symbol for symbol in elements if symbol not in atomic_numbers]:
            raise InputError(f"{unknown[0]!r} is not an element", key="elements")
    options = {} if "element" in columns else {"specorder": list(elements)}
    images = _read(path, "lammps-dump-text", **options)
    steps = [int(lines[k + 1]) for k, line in enumerate(lines) if line.startswith("ITEM: TIMESTEP")]
    return Trajectory(np.array(steps, dtype=np.int64), images)


def _read(path: Path, format: str | None, **options: object) -> list[Atoms]:
    try:
        images = ase.io.read(path, index=":", format=format, **options)
    # ASE's readers raise anything from AssertionError to errors of their own on a broken file.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"cannot be read as {format or 'any known format'}: {reason}", path) from error
    return list(images)


def _numbered(frames: list[Atoms]) -> Trajectory:
    return Trajectory(np.arange(len(frames)), frames)
