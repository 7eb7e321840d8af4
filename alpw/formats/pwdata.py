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
| atom_type.npy | (1, T), or (T,) | distinct atomic numbers; not needed for reading |

A data set is such a folder, or its subfolders ``train`` and ``valid`` (old layout), or a tree of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.formats.batches import Frames, PeriodicOnly, by_virial, composition, frames_per_batch, in_batches
from alpw.formats.npy import GrowingFolders, finite, open_npy
from alpw.structures.frames import LabelledFrames

FILLER = -1e5
"""what newer converters write for a virial that is missing"""
MISSING_BELOW = -1e6
"""the trainer of the predecessor takes numbers up to this one as missing"""

Part = Literal["all", "train", "valid"]

_ALWAYS = ("lattice", "position", "energies", "forces", "ei", "image_type", "atom_type")


def is_pwdata(directory: str | Path) -> bool:
    """Whether a folder is a PWdata data set in one of its layouts."""
    return bool(data_sets(directory))


def data_sets(directory: str | Path, part: Part = "all") -> list[Path]:
    """The folders of a data set that hold arrays, ``train`` before ``valid``, sorted by name."""
    directory = Path(directory)
    folders = {
        file.parent
        for depth in ("", "*/", "*/*/")
        for file in directory.glob(f"{depth}image_type.npy")
        # A writer that was killed leaves its hidden folder.
        if not any(part.startswith(".") for part in file.relative_to(directory).parts)
    }
    train = sorted(folder for folder in folders if folder.name != "valid")
    valid = sorted(folder for folder in folders if folder.name == "valid")
    return {"all": train + valid, "train": train, "valid": valid}[part]


def read_pwdata(directory: str | Path, part: Part = "all") -> Iterator[LabelledFrames]:
    """The labelled frames of a PWdata data set, ``train`` before ``valid``, subfolders sorted by name.

    Args:
        directory: the data set in either layout.
        part: ``"train"`` leaves out the old layout's ``valid`` folders, ``"valid"`` keeps only them.

    Raises:
        InputError: a missing file, a wrong shape, or numbers that are not finite; it names file and frame.
    """
    directory = Path(directory)
    if not is_pwdata(directory):
        raise InputError("no PWdata here: image_type.npy not found", directory)
    return (batch for folder in data_sets(directory, part) for batch in _read_set(folder))


def write_pwdata(
    directory: str | Path, frames: Frames, valid: Frames | None = None, *, merge: bool = False
) -> list[Path]:
    """Writes frames as one folder per composition below ``directory``, atoms sorted by atomic number.

    Frames with and without a virial go to different folders, so that no virial has to be invented. Whatever a
    folder held before is replaced, in either layout; nothing is touched if a frame cannot be written.

    Args:
        directory: where the folders ``Si64``, ``Li16Si8``, ... are made.
        frames: the frames; the training frames if ``valid`` is given.
        valid: validation frames; each folder then has the old layout's ``train`` and ``valid``.
        merge: write into ``directory`` itself, which needs frames of one composition.

    Returns:
        The folders written, in the order of their names: what goes into ``init_data``.

    Raises:
        InputError: a cell without volume, or ``merge`` and frames that do not fit together.
    """
    directory = Path(directory)
    parts = {"": frames} if valid is None else {"train": frames, "valid": valid}
    kinds: dict[_Kind, str] = {}
    periodic = PeriodicOnly(str(directory))
    with GrowingFolders(directory) as growing:
        for part, members in parts.items():
            for batch in in_batches(members):
                periodic.check(batch)
                for whole in by_virial(batch):
                    kind = _Kind.of(whole, part)
                    if kind not in kinds:
                        kinds[kind] = str(len(kinds))
                        if merge:
                            _check_mergeable(list(kinds), directory)
                        growing.append(kinds[kind], kind.constants())
                    growing.append(kinds[kind], _rows(whole, kind, directory))
        names = {kind: directory if merge else directory / kind.name(kinds) for kind in kinds}
        for folder in set(names.values()):
            _clear(folder)
        for kind, key in kinds.items():
            growing.put(key, names[kind] / kind.part)
    return sorted(set(names.values()))


class _Kind(NamedTuple):
    """What frames of one folder share."""

    numbers: tuple[int, ...]
    lacks_virial: bool
    part: str

    @classmethod
    def of(cls, batch: LabelledFrames, part: str) -> _Kind:
        return cls(tuple(sorted(batch.numbers.tolist())), bool(np.isnan(batch.filled_virials()).any()), part)

    def name(self, kinds: dict[_Kind, str]) -> str:
        formula = "".join(f"{chemical_symbols[z]}{count}" for z, count in composition(self.numbers).items())
        others = any(kind.numbers == self.numbers and not kind.lacks_virial for kind in kinds)
        return formula + ("_1" if self.lacks_virial and others else "")

    def constants(self) -> dict[str, NDArray[np.int64]]:
        numbers = np.array(self.numbers, dtype=np.int64)
        return {"image_type": numbers[None], "atom_type": np.unique(numbers)[None]}


def _check_mergeable(kinds: list[_Kind], directory: Path) -> None:
    first, last = kinds[0], kinds[-1]
    if first.numbers != last.numbers:
        found = " and ".join(
            "".join(f"{chemical_symbols[z]}{n}" for z, n in composition(kind.numbers).items())
            for kind in (first, last)
        )
        raise InputError(f"found {found}; only frames of one composition can be merged", directory)
    if first.lacks_virial != last.lacks_virial:
        raise InputError("frames with and without a virial cannot be merged into one data set", directory)


def _rows(batch: LabelledFrames, kind: _Kind, directory: Path) -> dict[str, NDArray[np.float64]]:
    if (np.linalg.matrix_rank(batch.cells) < 3).any():
        raise InputError("PWdata holds periodic frames only; found one whose cell has no volume", directory)
    n_frames = len(batch)
    sorted_batch = batch.reordered(np.argsort(batch.numbers, kind="stable"))
    # x = f @ cell for row vectors, so that f solves cell^T f^T = x^T.
    columns = np.linalg.solve(np.swapaxes(batch.cells, 1, 2), np.swapaxes(sorted_batch.positions, 1, 2))
    counts = composition(kind.numbers)
    # n_t / sum_t n_t^2 for an atom of type t: the least-squares share of the energy.
    shares = np.array([counts[z] for z in kind.numbers]) / sum(n * n for n in counts.values())
    rows = {
        "lattice": batch.cells.reshape(n_frames, 9),
        "position": np.swapaxes(columns, 1, 2).reshape(n_frames, -1),
        "energies": batch.energies[:, None],
        "forces": sorted_batch.forces.reshape(n_frames, -1),
        "ei": batch.energies[:, None] * shares,
    }
    if not kind.lacks_virial and batch.virials is not None:
        rows["virials"] = batch.virials.reshape(n_frames, 9)
    return {name: array.astype(np.float64) for name, array in rows.items()}


def _clear(folder: Path) -> None:
    """Removes the data set of a folder in both layouts, and nothing else."""
    for part in ("", "train", "valid"):
        for name in (*_ALWAYS, "virials"):
            (folder / part / f"{name}.npy").unlink(missing_ok=True)
        if part:
            # A folder with other files in it stays.
            with contextlib.suppress(OSError):
                (folder / part).rmdir()


def _read_set(folder: Path) -> Iterator[LabelledFrames]:
    numbers = np.array(open_npy(folder / "image_type.npy"), dtype=np.int64).reshape(-1)
    if len(numbers) == 0 or (numbers < 1).any() or (numbers >= len(chemical_symbols)).any():
        raise InputError("holds something that is not an atomic number", folder / "image_type.npy")
    n_atoms = len(numbers)
    widths = {"energies": 1, "lattice": 9, "position": 3 * n_atoms, "forces": 3 * n_atoms}
    if (folder / "virials.npy").is_file():
        widths["virials"] = 9
    arrays = {name: open_npy(folder / f"{name}.npy", width) for name, width in widths.items()}
    n_frames = len(arrays["energies"])
    for name, array in arrays.items():
        if len(array) != n_frames:
            raise InputError(f"has {len(array)} frames, energies.npy has {n_frames}", folder / f"{name}.npy")
    step = frames_per_batch(n_atoms)
    for first in range(0, n_frames, step):
        rows = {name: array[first : first + step] for name, array in arrays.items()}
        virials = _virials(rows["virials"], folder / "virials.npy", first) if "virials" in rows else None
        values = {
            name: finite(part, folder / f"{name}.npy", first)
            for name, part in rows.items()
            if name != "virials"
        }
        count = len(rows["energies"])
        cells = values["lattice"].reshape(count, 3, 3)
        if flat := np.flatnonzero(np.linalg.matrix_rank(cells) < 3).tolist():
            raise InputError("the cell has no volume", folder / "lattice.npy", f"frame {first + flat[0]}")
        yield LabelledFrames(
            numbers=numbers,
            cells=cells,
            positions=values["position"].reshape(count, n_atoms, 3) @ cells,
            energies=values["energies"][:, 0],
            forces=values["forces"].reshape(count, n_atoms, 3),
            virials=virials,
            converged=np.ones(count, dtype=bool),
        )


def _virials(rows: NDArray[np.float64], path: Path, first: int) -> NDArray[np.float64] | None:
    """``(n_frames, 3, 3)`` with NaN where there is no virial; None if there is none at all."""
    values = np.array(rows, dtype=np.float64)
    missing = (values == FILLER).all(axis=1) | (values <= MISSING_BELOW).any(axis=1)
    finite(np.where(missing[:, None], 0.0, values), path, first)
    values[missing] = np.nan
    return None if missing.all() else values.reshape(-1, 3, 3)
