"""LMDB as deepmd-kit trains on it: one folder, one record for each frame.

The layout is that of deepmd-kit (3.2) and of dpdata's ``deepmd/lmdb``. Values are packed by msgpack:

=================  ======================================================================================
``__metadata__``   ``nframes``, ``frame_idx_fmt``, ``type_map``, ``frame_nlocs`` and ``frame_system_ids``
                   (number of atoms and of the composition of each frame)
``000000000000``   the first frame: ``coords``, ``forces`` ``(N, 3)``, ``energies`` ``()``, ``atom_types``
                   ``(N,)``, and perhaps ``cells``, ``virials`` ``(3, 3)``; Å, eV, the virial positive
                   under compression. Without ``cells``, nothing is periodic.
=================  ======================================================================================

Each array is a map of ``type``, ``shape`` and ``data``. Numbers are written in double precision.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.formats.batches import Frames, PeriodicOnly, frames_per_batch, in_batches
from alpw.formats.deepmd_system import check_cells, numbers_of, same_atoms
from alpw.formats.npy import finite
from alpw.formats.optional import library
from alpw.structures.frames import LabelledFrames

_NAME = "lmdb"
_DATA = "data.mdb"
_METADATA = b"__metadata__"
_KEY = "012d"
# Where the first page of a database has its signature.
_MAGIC_AT, _MAGIC = 16, (0xBEEFC0DE).to_bytes(4, "little")
_FIRST_SIZE = 1 << 28
"""bytes of the first map; it is doubled when it is full"""
_FIELDS = {"coords": "coord", "cells": "box", "energies": "energy", "forces": "force", "virials": "virial"}
"""name in a record -> in a system; both are read, as deepmd-kit does"""


def is_lmdb(path: str | Path) -> bool:
    """Whether a folder, or the ``data.mdb`` in it, is a database of LMDB."""
    file = _data_file(Path(path))
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(_MAGIC_AT + 4)[_MAGIC_AT:] == _MAGIC


def read_lmdb(path: str | Path) -> Iterator[LabelledFrames]:
    """The labelled frames of a database, in batches of the same atoms, in their order.

    Raises:
        InputError: not such a database, damaged, or numbers that are not finite; names file and frame.
        AlpwError: lmdb or msgpack is not installed.
    """
    path = Path(path)
    lmdb, msgpack = library("lmdb", _NAME), library("msgpack", _NAME)
    try:
        with (
            lmdb.open(str(_data_file(path)), subdir=False, readonly=True, lock=False) as database,
            database.begin(buffers=True) as reading,
        ):
            metadata = _unpacked(reading.get(_METADATA), path, "__metadata__", msgpack)
            if not metadata.get("type_map") or "nframes" not in metadata:
                raise InputError("__metadata__ has no nframes or no type_map", path)
            by_type = numbers_of(list(metadata["type_map"]), path)
            key = metadata.get("frame_idx_fmt", _KEY)
            records = (
                _unpacked(reading.get(format(k, key).encode()), path, f"frame {k}", msgpack)
                for k in range(metadata["nframes"])
            )
            yield from _batches(records, by_type, path)
    except lmdb.Error as error:
        raise InputError(f"not a readable LMDB database: {error}", path) from error


def write_lmdb(path: str | Path, frames: Frames) -> None:
    """Writes (and replaces) a database.

    Its folder stays where it was: one that is read while it is replaced goes on giving the old frames.

    Raises:
        InputError: a periodic frame whose cell has no volume, or ``path`` is a file.
        AlpwError: lmdb or msgpack is not installed.
    """
    path = Path(path)
    if path.is_file():
        raise InputError("is a file; an LMDB database is a folder", path)
    lmdb, msgpack = library("lmdb", _NAME), library("msgpack", _NAME)
    path.parent.mkdir(parents=True, exist_ok=True)
    periodic = PeriodicOnly(str(path))
    type_map: dict[int, int] = {}
    compositions: dict[bytes, int] = {}
    n_atoms, systems = array("q"), array("q")
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        # Nothing reads it before all is written, so that only the end has to wait for the disk.
        with lmdb.open(scratch, map_size=_FIRST_SIZE, sync=False) as database:
            for batch in in_batches(frames):
                if any(batch.pbc):
                    periodic.check(batch)
                    check_cells(batch.cells, path, len(n_atoms))
                for z in dict.fromkeys(batch.numbers.tolist()):
                    type_map.setdefault(z, len(type_map))
                first, system = len(n_atoms), np.sort(batch.numbers).tobytes()
                n_atoms.extend([len(batch.numbers)] * len(batch))
                systems.extend([compositions.setdefault(system, len(compositions))] * len(batch))
                records = {
                    format(first + k, _KEY).encode(): msgpack.packb(record)
                    for k, record in enumerate(_records(batch, type_map))
                }
                _put(database, records, lmdb.MapFullError)
            metadata = {
                "nframes": len(n_atoms),
                "frame_idx_fmt": _KEY,
                "type_map": [chemical_symbols[z] for z in type_map],
                "frame_nlocs": list(n_atoms),
                "frame_system_ids": list(systems),
            }
            _put(database, {_METADATA: msgpack.packb(metadata)}, lmdb.MapFullError)
            database.sync(True)
        path.mkdir(exist_ok=True)
        # The locks of readers belong to the old file.
        (path / "lock.mdb").unlink(missing_ok=True)
        (Path(scratch) / _DATA).replace(path / _DATA)


def _data_file(path: Path) -> Path:
    return path / _DATA if path.is_dir() else path


def _put(database: Any, records: dict[bytes, bytes], full: type[Exception]) -> None:
    """Add records in one transaction, in a map of twice the size for as long as it is full."""
    while True:
        try:
            with database.begin(write=True) as writing:
                for key, record in records.items():
                    writing.put(key, record, append=True)
            return
        except full:
            database.set_mapsize(2 * database.info()["map_size"])


def _records(batch: LabelledFrames, type_map: dict[int, int]) -> Iterator[dict[str, Any]]:
    types = np.array([type_map[z] for z in batch.numbers.tolist()], dtype=np.int32)
    for k, virial in enumerate(batch.filled_virials()):
        arrays: dict[str, NDArray[Any]] = {
            "atom_types": types,
            "coords": batch.positions[k],
            "energies": batch.energies[k],
            "forces": batch.forces[k],
        }
        if any(batch.pbc):
            arrays["cells"] = batch.cells[k]
        if not np.isnan(virial).any():
            arrays["virials"] = virial
        yield {
            name: {"type": str(value.dtype), "shape": list(value.shape), "data": value.tobytes()}
            for name, value in arrays.items()
        }


def _batches(
    records: Iterator[dict[str, Any]], by_type: NDArray[np.int64], path: Path
) -> Iterator[LabelledFrames]:
    """Neighbouring records with the same number of atoms and the same arrays, a batch at a time."""
    gathered: list[dict[str, NDArray[Any]]] = []
    first = 0
    for k, record in enumerate(records):
        with _named(path, k):
            frame = _frame(record)
        if gathered and (
            len(gathered) >= frames_per_batch(len(frame["types"]))
            or frame.keys() != gathered[0].keys()
            or len(frame["types"]) != len(gathered[0]["types"])
        ):
            yield from _joined(gathered, by_type, path, first)
            gathered, first = [], k
        gathered.append(frame)
    if gathered:
        yield from _joined(gathered, by_type, path, first)


@contextmanager
def _named(path: Path, k: int) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise InputError(f"the record has no {error}", path, f"frame {k}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"not a record of deepmd-kit: {error}", path, f"frame {k}") from error


def _frame(record: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The arrays of a record as rows, by their names in a system."""
    types = _decoded(record["atom_types"]).ravel().astype(np.int64)
    widths = {"coord": 3 * len(types), "force": 3 * len(types), "energy": 1, "box": 9, "virial": 9}
    found = {"types": types}
    for name, short in _FIELDS.items():
        given = name if name in record else short
        if given in record or short in ("coord", "energy", "force"):
            found[short] = _decoded(record[given]).reshape(widths[short])
    return found


def _decoded(value: Any) -> NDArray[Any]:
    if not isinstance(value, dict):
        return np.array(value)
    return np.frombuffer(value["data"], np.dtype(value["type"])).reshape(value["shape"])


def _joined(
    frames: list[dict[str, NDArray[Any]]], by_type: NDArray[np.int64], path: Path, first: int
) -> Iterator[LabelledFrames]:
    arrays = {name: np.array([frame[name] for frame in frames]) for name in frames[0]}
    types = arrays.pop("types")
    arrays = {name: finite(rows, path, first) for name, rows in arrays.items()}
    if "box" in arrays:
        check_cells(arrays["box"], path, first)
    return same_atoms(arrays, types, by_type, "box" in arrays, path, first)


def _unpacked(packed: Any, path: Path, what: str, msgpack: Any) -> dict[str, Any]:
    if packed is None:
        raise InputError(
            "no such record; only the layout of deepmd-kit is read, or it is incomplete", path, what
        )
    try:
        record = msgpack.unpackb(packed)
    except (ValueError, msgpack.UnpackException) as error:
        raise InputError(f"not packed by msgpack: {error}", path, what) from error
    if not isinstance(record, dict):
        raise InputError("not a map of names to arrays", path, what)
    return record
