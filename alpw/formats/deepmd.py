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
from ase.data import chemical_symbols
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.formats.batches import Frames, PeriodicOnly, by_virial, composition, in_batches
from alpw.formats.deepmd_system import TYPES, read_system
from alpw.formats.npy import GrowingFolders, open_npy
from alpw.structures.frames import LabelledFrames

_ARRAYS = ("coord", "box", "energy", "force", "virial", TYPES)


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
    return (batch for system in found for batch in read_system(_Folder(system)))


def write_deepmd(
    directory: str | Path, frames: Frames, *, mixed: bool = False, named: Path | None = None
) -> list[Path]:
    """Writes frames as systems of deepmd-kit, in double precision, atoms in their order.

    Plain systems are named by their composition (``Li2Si1``; with ``_1``, ... where the atoms come in another
    order or some frames have no virial), mixed ones by their number of atoms. A system's folder is replaced;
    nothing is touched if a frame cannot be written.

    Args:
        directory: where the systems are made.
        frames: the frames.
        mixed: whether systems hold any composition.
        named: what messages call the data set, ``directory`` by default.

    Returns:
        The folders, sorted: what goes into ``systems`` of deepmd-kit's input.

    Raises:
        InputError: a periodic frame whose cell has no volume.
    """
    directory = Path(directory)
    kinds: dict[_Kind, str] = {}
    # Symbols in the order of their types; frames still to come may add to those of mixed systems.
    type_maps: dict[_Kind, list[str]] = {}
    named = named or directory
    periodic = PeriodicOnly(str(named))
    with GrowingFolders(directory) as growing:
        for batch in in_batches(frames):
            if any(batch.pbc):
                periodic.check(batch)
                if (np.linalg.matrix_rank(batch.cells) < 3).any():
                    raise InputError("a frame is periodic, but its cell has no volume", named)
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
        rows[TYPES] = types
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
    return any((folder / f"{TYPES}.npy").is_file() for folder in _sets(system))


class _Folder:
    """A system in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / name

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def words(self, name: str) -> list[str]:
        path = self.folder / name
        if not path.is_file():
            raise InputError("no such file; the system is incomplete", path)
        return path.read_text(encoding="utf-8", errors="replace").split()

    def array(self, name: str, width: int) -> NDArray[Any]:
        return open_npy(self.folder / name, width)

    def sets(self) -> list[str]:
        return [folder.name for folder in _sets(self.folder)]
