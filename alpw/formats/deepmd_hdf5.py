"""DeePMD data in one HDF5 file: a group for each system, with the arrays of its folder as data sets.

``train.hdf5`` holds ``Si64/type.raw``, ``Si64/type_map.raw``, ``Si64/set.000/coord.npy``, ...; see
:mod:`alpw.formats.deepmd`. deepmd-kit is given ``train.hdf5#/Si64``, dpdata the file. The data sets are
contiguous and in double precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpw.errors import AlpwError, InputError
from alpw.files import replacing_path
from alpw.formats.batches import Frames
from alpw.formats.deepmd import write_deepmd
from alpw.formats.deepmd_system import read_system
from alpw.formats.npy import checked
from alpw.formats.optional import library
from alpw.formats.streaming import begins_with
from alpw.structures.frames import LabelledFrames

_NAME = "deepmd/hdf5"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ROWS = 1 << 20
"""bytes that are copied at a time"""


def is_deepmd_hdf5(path: str | Path) -> bool:
    """Whether a file is HDF5 with systems of deepmd-kit; without h5py, whether it is HDF5."""
    path = Path(path)
    if not begins_with(path, _SIGNATURE):
        return False
    try:
        h5py = library("h5py", _NAME)
    except AlpwError:
        return True
    try:
        with h5py.File(path, "r") as file:
            return any(True for _ in _groups(file))
    except OSError:
        # Cut short: reading it says so.
        return True


def read_deepmd_hdf5(path: str | Path) -> Iterator[LabelledFrames]:
    """The frames of all systems in a file, plain and mixed, groups and sets sorted by name.

    Raises:
        InputError: not such a file, cut short, a wrong shape, or numbers that are not finite.
        AlpwError: h5py is not installed.
    """
    path = Path(path)
    h5py = library("h5py", _NAME)
    try:
        with h5py.File(path, "r") as file:
            groups = sorted(_groups(file), key=lambda group: group.name)
            if not groups:
                raise InputError("no system of deepmd-kit here: type.raw and set.* not found", path)
            for group in groups:
                yield from read_system(_Group(path, group))
    except OSError as error:
        # h5py has no other word for a file that is cut short or damaged.
        raise InputError(f"not a readable HDF5 file: {error}", path) from error


def write_deepmd_hdf5(path: str | Path, frames: Frames) -> None:
    """Writes (and replaces) an HDF5 file with one group for each system, as :func:`write_deepmd` names them.

    Raises:
        InputError: a periodic frame whose cell has no volume.
        AlpwError: h5py is not installed.
    """
    path = Path(path)
    h5py = library("h5py", _NAME)
    with (
        replacing_path(path) as made,
        # How many frames a system has is known when all were seen, and then its arrays need no chunks.
        TemporaryDirectory(prefix=".systems.", dir=path.parent) as scratch,
    ):
        folders = write_deepmd(scratch, frames, named=path)
        with h5py.File(made, "w") as file:
            for folder in folders:
                _copy(folder, file.create_group(folder.name))


def _copy(folder: Path, group: Any) -> None:
    group["type.raw"] = np.array((folder / "type.raw").read_text().split(), dtype=np.int64)
    group["type_map.raw"] = np.array((folder / "type_map.raw").read_text().split(), dtype="S")
    if (folder / "nopbc").exists():
        group["nopbc"] = True
    for source in sorted(folder.glob("set.*/*.npy")):
        array = np.load(source, mmap_mode="r")
        target = group.create_dataset(f"{source.parent.name}/{source.name}", array.shape, array.dtype)
        step = max(1, _ROWS // array[0].nbytes)
        for first in range(0, len(array), step):
            target[first : first + step] = array[first : first + step]


def _groups(group: Any) -> Iterator[Any]:
    """Groups that are systems, the file itself included."""
    if "type.raw" in group and any(name.startswith("set.") for name in group):
        yield group
        return
    for name in group:
        # A data set has no items.
        if hasattr(item := group[name], "items"):
            yield from _groups(item)


class _Group:
    """A system in a group."""

    def __init__(self, file: Path, group: Any) -> None:
        self.file, self.group = file, group

    def path(self, name: str) -> Path:
        return Path(f"{self.file}#{self.group.name.rstrip('/')}") / name

    def has(self, name: str) -> bool:
        return name in self.group

    def words(self, name: str) -> list[str]:
        values = np.ravel(self._found(name)[()])
        return [value.decode() if isinstance(value, bytes) else str(value) for value in values]

    def array(self, name: str, width: int) -> NDArray[Any]:
        found: NDArray[Any] = checked(self._found(name), self.path(name), width)
        return found

    def _found(self, name: str) -> Any:
        if name not in self.group:
            raise InputError("no such data set; the system is incomplete", self.path(name))
        return self.group[name]

    def sets(self) -> list[str]:
        return sorted(name for name in self.group if name.startswith("set.") and len(self.group[name]))
