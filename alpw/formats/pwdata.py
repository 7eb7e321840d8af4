"""PWdata: the predecessor's data sets, folders of NumPy files.

One folder holds frames of one composition in one order of atoms. With n frames of N atoms:

| file | shape | content |
| --- | --- | --- |
| lattice.npy | (n, 9) | cell vectors a, b, c, Å |
| position.npy | (n, 3N) | fractional coordinates |
| energies.npy | (n, 1) | total energy, eV |
| forces.npy | (n, 3N) | eV/Å |
| virials.npy | (n, 9) | eV, positive under compression; may be absent |
| ei.npy | (n, N) | atomic energies, eV; written as the usual filler, never read |
| image_type.npy | (1, N) | atomic numbers |
| atom_type.npy | (1, T) | distinct atomic numbers |

A data set is such a folder, or its subfolders ``train`` and ``valid`` (old layout), or a tree of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.structures.frame import Label, LabelledFrame

FILLER = -1e5
"""what newer converters write for a virial that is missing"""
MISSING_BELOW = -1e6
"""the trainer of the predecessor takes numbers up to this one as missing"""

Part = Literal["all", "train", "valid"]


def is_pwdata(directory: str | Path) -> bool:
    """Whether a folder is a PWdata data set in one of its layouts."""
    return bool(_sets(Path(directory), "all"))


def read_pwdata(directory: str | Path, part: Part = "all") -> list[LabelledFrame]:
    """All labelled frames of a PWdata data set, ``train`` before ``valid``, subfolders sorted by name.

    Args:
        directory: the data set in either layout.
        part: ``"train"`` leaves out the old layout's ``valid`` folders, ``"valid"`` keeps only them.

    Raises:
        InputError: a missing file, a wrong shape, or numbers that are not finite; it names file and frame.
    """
    directory = Path(directory)
    if not _sets(directory, "all"):
        raise InputError("no PWdata here: image_type.npy not found", directory)
    return [frame for folder in _sets(directory, part) for frame in _read_set(folder)]


def write_pwdata(
    directory: str | Path, frames: Sequence[LabelledFrame], valid: Sequence[LabelledFrame] | None = None
) -> list[Path]:
    """Writes frames as one folder per composition below ``directory``, atoms sorted by atomic number.

    Frames with and without a virial go to different folders, so that no virial has to be invented.

    Args:
        directory: where the folders ``Si64``, ``Li16Si8``, ... are made; existing files are replaced.
        frames: the frames; the training frames if ``valid`` is given.
        valid: validation frames; each folder then has the old layout's ``train`` and ``valid``.

    Returns:
        The folders written, in the order of their names: what goes into ``init_data``.
    """
    parts = {"": frames} if valid is None else {"train": frames, "valid": valid}
    written: set[Path] = set()
    for part, members in parts.items():
        for name, group in _groups(members):
            folder = Path(directory) / name
            _write_set(folder / part, group)
            written.add(folder)
    return sorted(written)


def _sets(directory: Path, part: Part) -> list[Path]:
    folders = {
        file.parent for depth in ("", "*/", "*/*/") for file in directory.glob(f"{depth}image_type.npy")
    }
    train = sorted(folder for folder in folders if folder.name != "valid")
    valid = sorted(folder for folder in folders if folder.name == "valid")
    return {"all": train + valid, "train": train, "valid": valid}[part]


def _read_set(folder: Path) -> Iterator[LabelledFrame]:
    numbers = _load(folder / "image_type.npy", None).reshape(-1).astype(int)
    if len(numbers) == 0 or (numbers < 1).any() or (numbers >= len(chemical_symbols)).any():
        raise InputError("holds something that is not an atomic number", folder / "image_type.npy")
    n_atoms = len(numbers)
    energies = _load(folder / "energies.npy", 1)
    arrays = {"energies": energies}
    for name, width in (("lattice", 9), ("position", 3 * n_atoms), ("forces", 3 * n_atoms)):
        arrays[name] = _load(folder / f"{name}.npy", width)
    for name, array in arrays.items():
        if len(array) != len(energies):
            raise InputError(
                f"has {len(array)} frames, energies.npy has {len(energies)}", folder / f"{name}.npy"
            )
        if bad := np.flatnonzero(~np.isfinite(array).all(axis=1)).tolist():
            raise InputError("holds a number that is not finite", folder / f"{name}.npy", f"frame {bad[0]}")
    cells = arrays["lattice"].reshape(-1, 3, 3)
    if flat := np.flatnonzero(np.linalg.matrix_rank(cells) < 3).tolist():
        raise InputError("the cell has no volume", folder / "lattice.npy", f"frame {flat[0]}")
    virials = _virials(folder / "virials.npy", len(energies))
    for k, virial in enumerate(virials):
        atoms = Atoms(
            numbers=numbers,
            cell=cells[k],
            scaled_positions=arrays["position"][k].reshape(-1, 3),
            pbc=True,
        )
        yield LabelledFrame(
            atoms, Label(float(energies[k, 0]), arrays["forces"][k].reshape(-1, 3).copy(), virial)
        )


def _virials(path: Path, n_frames: int) -> list[NDArray[np.float64] | None]:
    if not path.is_file():
        return [None] * n_frames
    rows = _load(path, 9)
    if len(rows) != n_frames:
        raise InputError(f"has {len(rows)} frames, energies.npy has {n_frames}", path)
    missing = (rows == FILLER).all(axis=1) | (rows <= MISSING_BELOW).any(axis=1)
    if bad := np.flatnonzero(~missing & ~np.isfinite(rows).all(axis=1)).tolist():
        raise InputError("holds a number that is not finite", path, f"frame {bad[0]}")
    return [None if gone else row.reshape(3, 3).copy() for row, gone in zip(rows, missing, strict=True)]


def _load(path: Path, width: int | None) -> NDArray[np.float64]:
    if not path.is_file():
        raise InputError("no such file; the data set is incomplete", path)
    try:
        array = np.asarray(np.load(path, allow_pickle=False), dtype=float)
    except (ValueError, EOFError) as error:
        raise InputError(f"not an array of numbers: {error}", path) from error
    if width is None:
        return array
    if array.ndim == 1 and width == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != width:
        raise InputError(f"has the shape {array.shape}; (frames, {width}) is needed", path)
    return array


def _groups(frames: Iterable[LabelledFrame]) -> Iterator[tuple[str, list[LabelledFrame]]]:
    """Frames of one composition, with or without virials, in their order, under their folder's name."""

    def kind(frame: LabelledFrame) -> tuple[tuple[int, ...], bool]:
        return tuple(sorted(frame.atoms.numbers)), frame.label.virial is None

    kinds = {(numbers, lacks) for numbers, lacks in map(kind, frames)}
    for (numbers, lacks), group in groupby(sorted(frames, key=kind), key=kind):
        name = "".join(f"{chemical_symbols[z]}{numbers.count(z)}" for z in sorted(set(numbers)))
        yield name + ("_1" if lacks and (numbers, False) in kinds else ""), list(group)


def _write_set(folder: Path, frames: list[LabelledFrame]) -> None:
    numbers = np.sort(frames[0].atoms.numbers).astype("i8")
    orders = [np.argsort(frame.atoms.numbers, kind="stable") for frame in frames]
    energies = np.array([[frame.label.energy] for frame in frames])
    pairs = list(zip(frames, orders, strict=True))
    arrays = {
        "lattice": np.array([np.asarray(frame.atoms.cell).ravel() for frame in frames]),
        "position": np.array(
            [f.atoms.cell.scaled_positions(f.atoms.positions)[order].ravel() for f, order in pairs]
        ),
        "energies": energies,
        "forces": np.array([f.label.forces[order].ravel() for f, order in pairs]),
        "ei": energies * _filler_weights(numbers),
        "image_type": numbers[None],
        "atom_type": np.unique(numbers)[None],
    }
    virials = [frame.label.virial for frame in frames if frame.label.virial is not None]
    if virials:
        arrays["virials"] = np.array(virials).reshape(len(frames), 9)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "virials.npy").unlink(missing_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def _filler_weights(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """``n_t / sum_t n_t^2`` for an atom of type t: the least-squares share of the energy, eV per eV."""
    counts = np.array([np.count_nonzero(numbers == z) for z in numbers])
    return counts / counts.sum()
