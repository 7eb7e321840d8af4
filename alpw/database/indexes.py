"""Indexes of our collections, and of our Fireworks, created idempotently in the LaunchPad's database."""

from __future__ import annotations

from pymongo import ASCENDING
from pymongo.database import Database

from alpw.database import (
    calculations,
    configurations,
    iterations,
    models,
    preparations,
    queue_events,
    snapshots,
    trajectories,
)

#: collection -> indexes as (keys, unique)
INDEXES: dict[str, list[tuple[list[str], bool]]] = {
    configurations.COLLECTION: [
        (["campaign", "key"], True),
        (["campaign", "iteration", "state"], False),
        (["campaign", "role", "state"], False),
        (["campaign", "source.structure"], False),
        (["campaign", "model_error.iteration"], False),
        (["structure_hash"], False),
        (["label_hash"], False),
        (["chemical_system", "state"], False),
        (["formula"], False),
        (["max_force"], False),
        (["energy_per_atom"], False),
        (["tags"], False),
    ],
    calculations.COLLECTION: [
        (["campaign", "key"], True),
        (["campaign", "source.structure"], False),
        (["campaign", "state"], False),
        (["code", "task", "state"], False),
    ],
    preparations.COLLECTION: [(["campaign", "index"], True)],
    models.COLLECTION: [(["campaign", "iteration", "member"], True)],
    trajectories.COLLECTION: [(["campaign", "iteration", "key"], True)],
    iterations.COLLECTION: [(["campaign", "index"], True)],
    snapshots.NAMES: [(["snapshot"], False)],
    queue_events.COLLECTION: [(["campaign"], False), (["fw_id"], False)],
    # FireWorks' own collection, which it indexes by nothing that says whose a Firework is.
    "fireworks": [(["spec.campaign", "spec.iteration", "spec.task"], False)],
}


def ensure_indexes(db: Database) -> None:
    """Create every index that is not there yet."""
    for collection, indexes in INDEXES.items():
        for keys, unique in indexes:
            db[collection].create_index([(key, ASCENDING) for key in keys], unique=unique)
