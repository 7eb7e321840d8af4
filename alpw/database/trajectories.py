"""``trajectories``: what exploration saw, with per-frame deviations; coordinates lie in GridFS."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from ase import Atoms
from bson import ObjectId
from numpy.typing import NDArray
from pymongo.database import Database

from alpw.database import blobs
from alpw.database.arrays import decode, encode
from alpw.database.campaigns import now
from alpw.database.upsert import insert_once

COLLECTION = "trajectories"

DEVIATION_SERIES = {
    "max_f": "max_force_deviation",
    "mean_f": "mean_force_deviation",
    "min_f": "min_force_deviation",
    "worst_atom": "worst_atom",
    "energy_deviation": "energy_deviation",
    "max_v": "max_virial_deviation",
    "mean_v": "mean_virial_deviation",
    "min_v": "min_virial_deviation",
}
"""What a document calls the columns of a trajectory; forces in eV/Å, energies and virials in eV/atom."""


def _pack(frames: list[Atoms]) -> bytes:
    """Positions, cells and species of frames with one composition, as a compressed npz file."""
    first = frames[0]
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        numbers=first.numbers,
        pbc=first.pbc,
        positions=np.array([atoms.positions for atoms in frames]),
        cells=np.array([np.asarray(atoms.cell) for atoms in frames]),
    )
    return buffer.getvalue()


def store(
    db: Database,
    campaign: str,
    iteration: int,
    key: str,
    frames: list[Atoms],
    series: dict[str, NDArray[Any]],
    record: dict[str, Any],
) -> ObjectId:
    """Add a trajectory once per ``(campaign, iteration, key)`` and return its id.

    Args:
        db: the campaign's database.
        campaign: its name.
        iteration: its iteration.
        key: name of the trajectory in the iteration's plan.
        frames: saved frames, all of one composition.
        series: per-frame values by name, each ``(n_frames,)``.
        record: thermodynamic state, how the run ended, the definition of the deviation, wall time.
    """
    existing = find(db, campaign, iteration, key)
    if existing:
        return existing["_id"]
    blob = blobs.put(db, _pack(frames), campaign=campaign, iteration=iteration, key=key) if frames else None
    document = insert_once(
        db[COLLECTION],
        {"campaign": campaign, "iteration": iteration, "key": key},
        {
            "n_frames": len(frames),
            "coordinates": blob,
            "series": {name: encode(values) for name, values in series.items()},
            "created": now(),
            **record,
        },
    )
    if blob is not None and document["coordinates"] != blob:
        blobs.delete(db, blob)
    return document["_id"]


def find(db: Database, campaign: str, iteration: int, key: str) -> dict[str, Any] | None:
    """The trajectory of that name in an iteration, or None."""
    return db[COLLECTION].find_one({"campaign": campaign, "iteration": iteration, "key": key})


def of_iteration(db: Database, campaign: str, iteration: int) -> list[dict[str, Any]]:
    """An iteration's trajectories in the order of their names."""
    return list(db[COLLECTION].find({"campaign": campaign, "iteration": iteration}).sort("key", 1))


def forget_failed(db: Database, campaign: str, iteration: int) -> list[str]:
    """Delete an iteration's trajectories that have not one frame; returns their names."""
    query = {"campaign": campaign, "iteration": iteration, "n_frames": 0}
    names = [document["key"] for document in db[COLLECTION].find(query, {"key": 1})]
    db[COLLECTION].delete_many(query)
    return names


def series(trajectory: dict[str, Any], name: str) -> NDArray[Any]:
    """A per-frame series of a trajectory document, ``(n_frames,)``; a deviation it does not hold is NaN."""
    if name in DEVIATION_SERIES.values() and name not in trajectory["series"]:
        return np.full(trajectory["n_frames"], np.nan)
    return decode(trajectory["series"][name])


def deviation(trajectory: dict[str, Any]) -> str:
    """Definition of a trajectory's force deviation: ``dpgen``, ``legacy`` or ``kpu``."""
    # Documents from before there was a choice do not say; it was DP-GEN's.
    return str(trajectory.get("deviation", "dpgen"))


def frames(db: Database, trajectory: dict[str, Any]) -> list[Atoms]:
    """Every saved frame of a trajectory."""
    if trajectory["coordinates"] is None:
        return []
    with np.load(io.BytesIO(blobs.get(db, trajectory["coordinates"])), allow_pickle=False) as data:
        return [
            Atoms(numbers=data["numbers"], cell=cell, positions=positions, pbc=data["pbc"])
            for cell, positions in zip(data["cells"], data["positions"], strict=True)
        ]
