"""``trajectories``: what exploration saw, with per-frame deviations; coordinates lie in GridFS."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from ase import Atoms
from bson import ObjectId
from numpy.typing import NDArray
from pymongo.database import Database

from alpw.config.strategy import COMMITTEE, KPU
from alpw.database import blobs, campaigns
from alpw.database.arrays import decode, encode
from alpw.database.campaigns import now
from alpw.database.upsert import insert_once
from alpw.errors import DatabaseError
from alpw.sampling.select import DECISIONS

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
    "max_kpu": "max_kpu",
    "mean_kpu": "mean_kpu",
    "min_kpu": "min_kpu",
    "worst_atom_kpu": "worst_atom_kpu",
    "energy_kpu": "energy_kpu",
}
"""What a document calls the columns of a trajectory; forces in eV/Å, energies and virials in eV/atom.

A committee's numbers and those of Kalman prediction uncertainty have columns of their own, so that one frame
may have both."""

WITHOUT_FRAMES = {"series": 0, "coordinates": 0, "decisions": 0}
"""Projection that leaves out whatever there is one of per frame."""

MEASURES = {COMMITTEE: "max_force_deviation", KPU: "mean_kpu"}
"""The series, in eV/Å, that tells how uncertain a frame is by each measure.

Of a committee the largest deviation of an atom, as in DP-GEN; of Kalman prediction uncertainty the mean over
the atoms, as in AL-PWMLFF: the largest of many noisy values is too large, the more so the more there are."""

MAX_FORCE = "max_force"
"""Series: the largest force on one atom that the driving model gives, eV/Å."""

_OPTIONAL_SERIES = frozenset({*DEVIATION_SERIES.values(), MAX_FORCE})
"""What a trajectory may lack: not every measure gives every number, and old documents have no forces."""


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


def whole_course(db: Database, campaign: str) -> dict[str, Any]:
    """The query for the trajectories of a campaign, with those of the iterations that a branch shares.

    They stay with the campaign that ran them, its parent or a parent of that.
    """
    parts: list[dict[str, Any]] = []
    before: dict[str, int] = {}
    while True:
        parent = (campaigns.find(db, campaign) or {}).get("parent")
        bounds = {**before, **({"$gte": parent["at"]} if parent else {})}
        parts.append({"campaign": campaign, **({"iteration": bounds} if bounds else {})})
        if not parent:
            return {"$or": parts} if len(parts) > 1 else parts[0]
        campaign = parent["campaign"]
        before = {"$lt": min(parent["at"], before.get("$lt", parent["at"]))}


def newest(db: Database, campaign: str) -> dict[str, Any] | None:
    """A trajectory of the last iteration that has any, without its arrays; None before the first."""
    last = db[COLLECTION].find_one({"campaign": campaign}, {"iteration": 1}, sort=[("iteration", -1)])
    if last is None:
        return None
    mine = {"campaign": campaign, "iteration": last["iteration"]}
    return db[COLLECTION].find_one(mine, WITHOUT_FRAMES, sort=[("key", 1)])


def without_frames(db: Database, campaign: str, iteration: int) -> list[dict[str, Any]]:
    """An iteration's trajectories as they were planned and ended, without what is saved of their frames."""
    return list(
        db[COLLECTION].find({"campaign": campaign, "iteration": iteration}, WITHOUT_FRAMES).sort("key", 1)
    )


def forget_failed(db: Database, campaign: str, iteration: int) -> list[str]:
    """Delete an iteration's trajectories that have not one frame; returns their names."""
    query = {"campaign": campaign, "iteration": iteration, "n_frames": 0}
    names = [document["key"] for document in db[COLLECTION].find(query, {"key": 1})]
    db[COLLECTION].delete_many(query)
    return names


def forget_frames(db: Database, campaign: str, iteration: int) -> None:
    """Delete the coordinates of an iteration's trajectories; all else stays. May be repeated.

    `frames` of such a document says so. Coordinates that another document names too stay until that one
    forgets them.
    """
    collection = db[COLLECTION]
    query = {"campaign": campaign, "iteration": iteration, "coordinates": {"$ne": None}}
    collection.update_many(query, {"$set": {"frames_deleted": now()}})
    found = [run["coordinates"] for run in collection.find(query, {"coordinates": 1})]
    others = {"coordinates": {"$in": found}, "frames_deleted": None}
    shared = {run["coordinates"] for run in collection.find(others, {"coordinates": 1})}
    for blob in set(found) - shared:
        blobs.delete(db, blob, missing_ok=True)
    collection.update_many(query, {"$set": {"coordinates": None}})


def series(trajectory: dict[str, Any], name: str) -> NDArray[Any]:
    """A per-frame series of a trajectory document, ``(n_frames,)``.

    One of the uncertainty or of the forces that it does not hold is NaN.
    """
    if name in _OPTIONAL_SERIES and name not in trajectory["series"]:
        return np.full(trajectory["n_frames"], np.nan)
    return decode(trajectory["series"][name])


def measures(trajectory: dict[str, Any]) -> list[str]:
    """Names of the measures, keys of `MEASURES`, by which a trajectory says how uncertain its frames are."""
    return [name for name, series in MEASURES.items() if series in trajectory["series"]]


def deviation(trajectory: dict[str, Any]) -> str | None:
    """Definition of a committee's force deviation: ``dpgen`` or ``legacy``; None without a committee."""
    # Documents from before there was a choice do not say; it was DP-GEN's.
    found: str | None = trajectory.get("deviation", "dpgen")
    return found


def record_decisions(db: Database, trajectory: dict[str, Any], codes: NDArray[np.int8]) -> None:
    """Keep what became of every frame of a trajectory.

    Args:
        db: the campaign's database.
        trajectory: its document.
        codes: indices into `alpw.sampling.select.DECISIONS`, ``(n_frames,)``.
    """
    db[COLLECTION].update_one({"_id": trajectory["_id"]}, {"$set": {"decisions": encode(codes)}})


def decisions(trajectory: dict[str, Any]) -> list[str]:
    """What became of every frame of a trajectory, one of `DECISIONS` each; empty before the selection."""
    if "decisions" not in trajectory:
        return []
    return [DECISIONS[code] for code in decode(trajectory["decisions"])]


def frames(db: Database, trajectory: dict[str, Any]) -> list[Atoms]:
    """Every saved frame of a trajectory.

    Raises:
        DatabaseError: they were deleted.
    """
    if trajectory.get("frames_deleted"):
        raise DatabaseError(
            f"the frames of {trajectory['key']} of iteration {trajectory['iteration']} were deleted when it "
            "had ended (reserve_md_traj = false); those that were chosen are among the configurations"
        )
    if trajectory["coordinates"] is None:
        return []
    with np.load(io.BytesIO(blobs.get(db, trajectory["coordinates"])), allow_pickle=False) as data:
        return [
            Atoms(numbers=data["numbers"], cell=cell, positions=positions, pbc=data["pbc"])
            for cell, positions in zip(data["cells"], data["positions"], strict=True)
        ]
