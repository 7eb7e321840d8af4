"""DeePMD data: the folders of NumPy files that deepmd-kit trains on.

A system is a folder with frames of the same atoms (``deepmd/npy``) or of the same number of atoms
(``deepmd/mixed``). With n frames of N atoms in ``set.000``:

| file | shape | content |
| --- | --- | --- |
| type_map.raw | T lines | symbols of types 0, 1, ... |
| type.raw | N lines | type of each atom; all 0 in a mixed system |
| nopbc | | present if nothing is periodic |
| set.*/coord.npy | (n, 3N) | Å |
| set.*/box.npy | (n, 9) | cell vectors, Å |
| set.*/energy.npy | (n,) | eV |
| set.*/force.npy | (n, 3N) | eV/Å |
| set.*/virial.npy | (n, 9) | eV, positive under compression; may be absent |
| set.*/real_atom_types.npy | (n, N) | mixed: the types; -1 is a place without an atom |

deepmd-kit: https://docs.deepmodeling.com/projects/deepmd/en/stable/data/system.html. A data set is one such
folder or a tree of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.formats.batches import Frames, PeriodicOnly, by_virial, composition, frames_per_batch, in_batches
from alpw.formats.npy import GrowingFolders, finite, open_npy
from alpw.structures.frames import LabelledFrames

_ARRAYS = ("coord", "box", "energy", "force", "virial", "real_atom_types")
_TYPES = "real_atom_types"


def is_deepmd(directory: str | Path, *, mixed: bool | None = None) -> bool:
    """Whether a folder holds systems of deepmd-kit, mixed ones, plain ones, or (None) either."""
    found = systems(Path(directory))
    return bool(found) and (mixed is None or any(_is_mixed(system) == mixed for system in found))


def read_deepmd(directory: str | Path) -> Iterator[LabelledFrames]:
    """The frames of all systems in a folder, plain and mixed, systems and sets sorted by name.

    Raises:
        InputError: no system, a missing or cut file, a wrong shape, or numbers that are not finite.
    """
    directory = Path(directory)
    found = systems(directory)
    if not found:
        raise InputError("no system of deepmd-kit here: type.raw and set.* not found", directory)
    return (batch for system in found for batch in _read_system(system))


def write_deepmd(directory: str | Path, frames: Frames, *, mixed: bool = False) -> list[Path]:
    """Writes frames as systems of deepmd-kit, in double precision, atoms in their order.

    Plain systems are named by their composition (``Li2Si1``; with ``_1``, ... where the atoms come in another
    order or some frames have no virial), mixed ones by their number of atoms. A system's folder is replaced;
    nothing is touched if a frame cannot be written.

    Returns:
        The folders, sorted: what goes into ``systems`` of deepmd-kit's input.

    Raises:
        InputError: a periodic frame whose cell has no volume.
    """
    directory = Path(directory)
    kinds: dict[_Kind, str] = {}
    # Symbols in the order of their types; frames still to come may add to those of mixed systems.
    type_maps: dict[_Kind, list[str]] = {}
    periodic = PeriodicOnly(str(directory))
    with GrowingFolders(directory) as growing:
        for batch in in_batches(frames):
            if any(batch.pbc):
                periodic.check(batch)
                if (np.linalg.matrix_rank(batch.cells) < 3).any():
                    raise InputError("a frame is periodic, but its cell has no volume", directory)
            for whole in by_virial(batch):
                kind = _Kind.of(whole, mixed)
                key = kinds.setdefault(kind, str(len(kinds)))
                type_map = type_maps.setdefault(kind, [])
                symbols = [chemical_symbols[z] for z in whole.numbers]
                type_map += [s for s in dict.fromkeys(symbols) if s not in type_map]
                types = np.array([type_map.index(symbol) for symbol in symbols], dtype=np.int64)
                growing.append(key, _rows(whole, kind, np.tile(types, (len(whole), 1)) if mixed else None))
        folders = dict(zip(kinds, _names(list(kinds), directory), strict=True))
        for kind, key in kinds.items():
            folder = folders[kind]
            _clear(folder)
            growing.put(key, folder)
            _write_types(folder, kind, type_maps[kind])
    return sorted(folders.values())


class _Kind(NamedTuple):
    """What frames of one system share."""

    n_atoms: int
    numbers: tuple[int, ...]
    is_periodic: bool
    lacks_virial: bool

    @classmethod
    def of(cls, batch: LabelledFrames, mixed: bool) -> _Kind:
        numbers = () if mixed else tuple(batch.numbers.tolist())
        lacks = bool(np.isnan(batch.filled_virials()).any())
        return cls(len(batch.numbers), numbers, any(batch.pbc), lacks)

    @property
    def stem(self) -> str:
        counts = composition(self.numbers)
        return "".join(f"{chemical_symbols[z]}{n}" for z, n in counts.items()) or str(self.n_atoms)


def _names(kinds: list[_Kind], directory: Path) -> list[Path]:
    taken: dict[str, int] = {}
    folders = []
    for kind in kinds:
        again = taken[kind.stem] = taken.get(kind.stem, -1) + 1
        folders.append(directory / (f"{kind.stem}_{again}" if again else kind.stem))
    return folders


def _rows(batch: LabelledFrames, kind: _Kind, types: NDArray[np.int64] | None) -> dict[str, NDArray[Any]]:
    n_frames = len(batch)
    rows: dict[str, NDArray[Any]] = {
        "coord": batch.positions.reshape(n_frames, -1),
        "box": batch.cells.reshape(n_frames, 9),
        "energy": batch.energies,
        "force": batch.forces.reshape(n_frames, -1),
    }
    if not kind.lacks_virial and batch.virials is not None:
        rows["virial"] = batch.virials.reshape(n_frames, 9)
    rows = {name: array.astype(np.float64) for name, array in rows.items()}
    if types is not None:
        rows[_TYPES] = types
    return {f"set.000/{name}": array for name, array in rows.items()}


def _clear(folder: Path) -> None:
    """Removes the sets of a system, so that none of an earlier one is left."""
    for file in [path for name in _ARRAYS for path in folder.glob(f"set.*/{name}.npy")]:
        file.unlink()
    (folder / "nopbc").unlink(missing_ok=True)


def _write_types(folder: Path, kind: _Kind, type_map: list[str]) -> None:
    types = [type_map.index(chemical_symbols[z]) for z in kind.numbers] or [0] * kind.n_atoms
    (folder / "type_map.raw").write_text("".join(f"{symbol}\n" for symbol in type_map))
    (folder / "type.raw").write_text("".join(f"{number}\n" for number in types))
    if not kind.is_periodic:
        (folder / "nopbc").write_text("")


def systems(directory: Path) -> list[Path]:
    """The systems in a folder, sorted: itself, or those below it."""
    files = [file for depth in ("", "*/", "*/*/") for file in directory.glob(f"{depth}type.raw")]
    return sorted(file.parent for file in files if _sets(file.parent))


def _sets(system: Path) -> list[Path]:
    """Sets with arrays; those that were emptied are passed over."""
    return sorted(folder for folder in system.glob("set.*") if folder.is_dir() and any(folder.glob("*.npy")))


def _is_mixed(system: Path) -> bool:
    return any((folder / f"{_TYPES}.npy").is_file() for folder in _sets(system))


def _words(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError("no such file; the system is incomplete", path)
    return path.read_text(encoding="utf-8", errors="replace").split()


def _read_system(system: Path) -> Iterator[LabelledFrames]:
    symbols = _words(system / "type_map.raw")
    if unknown := [symbol for symbol in symbols if not atomic_numbers.get(symbol)]:
        raise InputError(f"{unknown[0]!r} is not an element", system / "type_map.raw")
    by_type = np.array([atomic_numbers[symbol] for symbol in symbols], dtype=np.int64)
    try:
        types = np.array([int(word) for word in _words(system / "type.raw")], dtype=np.int64)
    except ValueError as error:
        raise InputError(f"not a list of types: {error}", system / "type.raw") from error
    is_periodic = not (system / "nopbc").exists()
    for folder in _sets(system):
        for arrays, first in _pieces(folder, len(types), is_periodic):
            rows = arrays.pop(_TYPES, None)
            per_frame = np.tile(types, (len(arrays["energy"]), 1)) if rows is None else rows
            where = system / "type.raw" if rows is None else folder / f"{_TYPES}.npy"
            yield from _same_atoms(arrays, per_frame, by_type, is_periodic, where, first)


def _pieces(folder: Path, n_atoms: int, periodic: bool) -> Iterator[tuple[dict[str, NDArray[Any]], int]]:
    """Arrays of a few frames at a time, and the number of the first of them."""
    widths = {"energy": 1, "coord": 3 * n_atoms, "force": 3 * n_atoms}
    optional = {"box": 9, "virial": 9, _TYPES: n_atoms}
    widths |= {
        name: width
        for name, width in optional.items()
        if (folder / f"{name}.npy").is_file() or (name == "box" and periodic)
    }
    arrays = {name: open_npy(folder / f"{name}.npy", width) for name, width in widths.items()}
    n_frames = len(arrays["energy"])
    for name, array in arrays.items():
        if len(array) != n_frames:
            raise InputError(f"has {len(array)} frames, energy.npy has {n_frames}", folder / f"{name}.npy")
    step = frames_per_batch(n_atoms)
    for first in range(0, n_frames, step):
        piece: dict[str, NDArray[Any]] = {}
        for name, array in arrays.items():
            rows = array[first : first + step]
            piece[name] = np.array(rows) if name == _TYPES else finite(rows, folder / f"{name}.npy", first)
        if periodic:
            ranks = np.linalg.matrix_rank(piece["box"].reshape(-1, 3, 3))
            if flat := np.flatnonzero(ranks < 3).tolist():
                raise InputError("the cell has no volume", folder / "box.npy", f"frame {first + flat[0]}")
        yield piece, first


def _same_atoms(
    arrays: dict[str, NDArray[Any]],
    types: NDArray[np.int64],
    by_type: NDArray[np.int64],
    is_periodic: bool,
    where: Path,
    first: int,
) -> Iterator[LabelledFrames]:
    """Neighbouring frames with the same types as one batch; places without an atom are left out."""
    if bad := np.flatnonzero(((types >= len(by_type)) | (types < -1)).any(axis=1)).tolist():
        raise InputError(
            f"a type beyond those of type_map.raw (0 to {len(by_type) - 1})", where, f"frame {first + bad[0]}"
        )
    changes = np.flatnonzero((types[1:] != types[:-1]).any(axis=1)) + 1
    for start, stop in zip([0, *changes.tolist()], [*changes.tolist(), len(types)], strict=True):
        real, n_frames = types[start] >= 0, stop - start
        virials = arrays.get("virial")
        boxes = arrays.get("box")
        yield LabelledFrames(
            numbers=by_type[types[start][real]],
            cells=np.zeros((n_frames, 3, 3)) if boxes is None else boxes[start:stop].reshape(-1, 3, 3),
            positions=arrays["coord"][start:stop].reshape(n_frames, -1, 3)[:, real],
            energies=arrays["energy"][start:stop, 0],
            forces=arrays["force"][start:stop].reshape(n_frames, -1, 3)[:, real],
            virials=None if virials is None else virials[start:stop].reshape(-1, 3, 3),
            converged=np.ones(n_frames, dtype=bool),
            pbc=(is_periodic,) * 3,
        )
