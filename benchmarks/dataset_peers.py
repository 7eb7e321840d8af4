"""What `dataset.py` measures of dpdata and ASE, in processes of their own: dataset_peers.py PEER FRAMES.

The frames are those of `dataset_work.py`. Prints the same kind of JSON object.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import peak_memory
from dataset_work import Steps, made, size

from alpw.structures.frames import LabelledFrames


def dpdata_npy(folder: Path, steps: Steps) -> None:
    """deepmd/npy: all frames in memory, written, and loaded again."""
    import dpdata

    batch = LabelledFrames.join(list(made(steps.count)))
    data: dict[str, Any] = {
        "atom_names": ["Si"],
        "atom_numbs": [len(batch.numbers)],
        "atom_types": np.zeros(len(batch.numbers), dtype=int),
        "orig": np.zeros(3),
        "cells": batch.cells,
        "coords": batch.positions,
        "energies": batch.energies,
        "forces": batch.forces,
        "virials": batch.virials,
    }
    system = dpdata.LabeledSystem(data=data)
    loaded: list[Any] = []
    steps.time("write", lambda: system.to("deepmd/npy", str(folder / "all")))
    steps.time(
        "read all frames", lambda: loaded.append(dpdata.LabeledSystem(str(folder / "all"), "deepmd/npy"))
    )
    if loaded[0].get_nframes() != steps.count:
        raise RuntimeError("dpdata has lost frames")
    steps.results["write"]["bytes"] = size(folder / "all")


def ase_db(folder: Path, steps: Steps) -> None:
    """SQLite: rows with energy, forces, stress and key-value pairs, in one transaction."""
    from ase.db import connect

    path = folder / "all.db"

    def write() -> None:
        index = 0
        with connect(str(path), type="db", use_lock_file=False) as database:
            for frame in (frame for batch in made(steps.count) for frame in batch):
                force = float(np.linalg.norm(frame.label.forces, axis=1).max())
                pairs = {"tenth": 1} if index % 10 == 0 else {}
                database.write(frame.to_ase(), campaign="benchmark", max_force=force, **pairs)
                index += 1

    steps.time("write", write)
    steps.results["write"]["bytes"] = size(path)
    rows = connect(str(path), use_lock_file=False)
    steps.time("count by tag", lambda: rows.count(tenth=1), repeats=3)
    steps.time(
        "first 20 by tag",
        lambda: list(rows.select("tenth=1", sort="-max_force", limit=20, include_data=False)),
        repeats=3,
    )
    steps.time("read all frames", lambda: sum(1 for row in rows.select() if row.toatoms()))


PEERS = {"dpdata": dpdata_npy, "ase": ase_db}


def main() -> None:
    """Measure one of them."""
    peer, count = sys.argv[1], int(sys.argv[2])
    steps = Steps(count)
    with tempfile.TemporaryDirectory() as folder:
        PEERS[peer](Path(folder), steps)
    print(json.dumps({"steps": steps.results, "peak_memory_gb": peak_memory()}))


if __name__ == "__main__":
    main()
