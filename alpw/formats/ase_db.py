"""ASE's database in one SQLite file: a row for each frame.

A row holds energy, forces, and stress (eV/Å^3, positive under tension, six components) where the frame has a
virial. Key-value pairs, by which ``db.select`` finds rows: ``converged`` where it is not, the numbers and
the provenance of :data:`alpw.structures.frames.EXTRAS`; the id of a configuration is ``configuration``,
because ``id`` is the number of the row. ASE takes no text that reads as a number, so that one stands in
quotation marks there; ``row.data`` has the provenance as it is.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.files import replacing_path
from alpw.formats.batches import Frames, frames_per_batch, in_batches
from alpw.formats.streaming import begins_with
from alpw.structures.frames import BY_FRAME, PROVENANCE, LabelledFrames, reads_as_number

_SIGNATURE = b"SQLite format 3\x00"
_ROWS_AT_A_TIME = 50
"""``select`` fetches all that it is asked for at once"""
_IN_ASE = {"id": "configuration"}


def is_ase_db(path: str | Path) -> bool:
    """Whether a file is a database of ASE in SQLite."""
    path = Path(path)
    if not begins_with(path, _SIGNATURE):
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.Error:
        return False
    return {("systems",), ("species",), ("keys",)} <= set(found)


def read_ase_db(path: str | Path) -> Iterator[LabelledFrames]:
    """The labelled frames of a database of ASE, in the order of its rows, in batches of the same atoms.

    Raises:
        InputError: not such a database, damaged, a row without energy or forces, or a number that is not
            finite; names file and row.
    """
    path = Path(path)
    gathered: list[dict[str, Any]] = []
    for row in _rows(path):
        frame = _frame(row, path)
        if gathered and not _goes_with(gathered, frame):
            yield _batch(gathered)
            gathered = []
        gathered.append(frame)
    if gathered:
        yield _batch(gathered)


def write_ase_db(path: str | Path, frames: Frames) -> None:
    """Writes (and replaces) a database of ASE with one row for each frame.

    A virial is kept as its symmetric part; without a cell, there is none.

    Raises:
        OSError: it cannot be written.
    """
    from ase.db import connect  # late: it brings ASE's machinery of parallel programs

    path = Path(path)
    with replacing_path(path) as made:
        try:
            # One transaction, and no lock: nobody else knows the file before it is whole.
            with connect(str(made), type="db", use_lock_file=False) as database:
                for batch in in_batches(frames):
                    for k, row in enumerate(_as_rows(batch)):
                        database.write(row, _pairs(batch, k), data=_provenance(batch, k))
        except sqlite3.Error as error:
            raise OSError(f"SQLite: {error}") from error


def _as_rows(batch: LabelledFrames) -> Iterator[Any]:
    """What ASE makes of atoms with a single-point calculator, without comparing them for each property."""
    from ase.db.core import now  # late, see above
    from ase.db.row import AtomsRow

    shared = {"numbers": batch.numbers, "pbc": np.array(batch.pbc), "ctime": now(), "user": os.getenv("USER")}
    has_volume = np.linalg.matrix_rank(batch.cells) == 3
    for k, virial in enumerate(batch.filled_virials()):
        results = {"energy": float(batch.energies[k]), "forces": batch.forces[k]}
        if has_volume[k] and not np.isnan(virial).any():
            volume = abs(np.linalg.det(batch.cells[k]))
            results["stress"] = full_3x3_to_voigt_6_stress(-virial / volume)
        geometry = {"positions": batch.positions[k], "cell": batch.cells[k], "unique_id": uuid4().hex}
        calculator = {"calculator": "unknown", "calculator_parameters": {}}
        yield AtomsRow({**shared, **geometry, **calculator, **results})


def _provenance(batch: LabelledFrames, k: int) -> dict[str, str]:
    named = {name: str(batch.extras[name][k]) for name in PROVENANCE if name in batch.extras}
    return {name: text for name, text in named.items() if text}


def _pairs(batch: LabelledFrames, k: int) -> dict[str, Any]:
    pairs: dict[str, Any] = {} if batch.converged[k] else {"converged": False}
    pairs |= {name: float(batch.extras[name][k]) for name in BY_FRAME if name in batch.extras}
    for name, text in _provenance(batch, k).items():
        if name == "iteration":
            pairs[name] = int(text)
        else:
            pairs[_IN_ASE.get(name, name)] = json.dumps(text) if reads_as_number(text) else text
    return pairs


def _rows(path: Path) -> Iterator[Any]:
    from ase.db import connect  # late, see above

    if not path.is_file():
        raise InputError("no such file", path)
    last = 0
    try:
        with connect(str(path), type="db", use_lock_file=False) as database:
            while True:
                rows = list(database.select([("id", ">", last)], sort="id", limit=_ROWS_AT_A_TIME))
                if not rows:
                    return
                yield from rows
                last = rows[-1].id
    except (sqlite3.Error, OSError) as error:
        raise InputError(f"not a readable database of ASE: {error}", path) from error


def _frame(row: Any, path: Path) -> dict[str, Any]:
    where = f"row {row.id}"
    if lacks := [name for name in ("energy", "forces") if row.get(name) is None]:
        raise InputError(f"no {lacks[0]}; only frames with energy and forces are read", path, where)
    cell, stress = np.array(row.cell, dtype=float), row.get("stress")
    frame: dict[str, Any] = {
        "numbers": np.array(row.numbers, dtype=np.int64),
        "pbc": tuple(bool(axis) for axis in row.pbc),
        "cells": cell,
        "positions": np.array(row.positions),
        "energies": float(row.energy),
        "forces": np.array(row.forces),
        "virials": None if stress is None else _virial(np.array(stress), cell),
    }
    for name in ("cells", "positions", "energies", "forces", "virials"):
        if frame[name] is not None and not np.isfinite(frame[name]).all():
            raise InputError(f"{name}: a number that is not finite", path, where)
    if any(frame["pbc"]) and np.linalg.matrix_rank(cell) < 3:
        raise InputError("periodic, but its cell has no volume", path, where)
    pairs = row.key_value_pairs
    frame["converged"] = bool(pairs.get("converged", True))
    frame["extras"] = {name: float(pairs[name]) for name in BY_FRAME if _is_number(pairs.get(name))}
    return frame


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _virial(stress: NDArray[np.float64], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    full = voigt_6_to_full_3x3_stress(stress) if stress.size == 6 else stress.reshape(3, 3)
    return np.array(-full * abs(np.linalg.det(cell)))


def _goes_with(gathered: list[dict[str, Any]], frame: dict[str, Any]) -> bool:
    first = gathered[0]
    return (
        len(gathered) < frames_per_batch(len(first["numbers"]))
        and np.array_equal(first["numbers"], frame["numbers"])
        and first["pbc"] == frame["pbc"]
        and first["extras"].keys() == frame["extras"].keys()
    )


def _batch(frames: list[dict[str, Any]]) -> LabelledFrames:
    first, missing = frames[0], np.full((3, 3), np.nan)
    arrays = {name: np.array([frame[name] for frame in frames]) for name in ("cells", "positions", "forces")}
    virials = [missing if frame["virials"] is None else frame["virials"] for frame in frames]
    return LabelledFrames(
        numbers=first["numbers"],
        cells=arrays["cells"],
        positions=arrays["positions"],
        energies=np.array([frame["energies"] for frame in frames]),
        forces=arrays["forces"],
        virials=None if all(virial is missing for virial in virials) else np.array(virials),
        converged=np.array([frame["converged"] for frame in frames]),
        pbc=first["pbc"],
        extras={name: np.array([frame["extras"][name] for frame in frames]) for name in first["extras"]},
    )
