"""Labels that are there already: of the same structure and level of theory, and how many of an iteration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pymongo.database import Database

from alpw.database import campaigns
from alpw.database.configurations import COLLECTION, PENDING_STATES, State, count_states
from alpw.database.documents import atoms_of
from alpw.database.reading import frames
from alpw.structures.frame import Label
from alpw.structures.hash import same_atoms

_COPIED = ("code", "settings", "settings_hash", "level_asked", "corrections", "changes", "directory")
"""fields of a label that hold for its copy too"""


@dataclass(frozen=True)
class Progress:
    """How far the labels of an iteration are."""

    labelled: int
    quarantined: int
    total: int

    @property
    def settled(self) -> int:
        """Those that nothing more will come of."""
        return self.labelled + self.quarantined


def progress(db: Database, campaign: str, iteration: int) -> Progress:
    """Count the labels of an iteration."""
    states = count_states(db, campaign, iteration)
    labelled, quarantined = (states.get(state.value, 0) for state in (State.LABELLED, State.QUARANTINED))
    # What was removed is neither waited for nor counted as a failure.
    return Progress(labelled, quarantined, sum(states.values()) - states.get(State.REMOVED.value, 0))


def pending(db: Database, campaign: str) -> dict[int, int]:
    """Number of labels still to come by iteration; iterations without any are left out."""
    pipeline: list[dict[str, Any]] = [
        {"$match": {"campaign": campaign, "state": {"$in": list(PENDING_STATES)}}},
        {"$group": {"_id": "$iteration", "count": {"$sum": 1}}},
    ]
    return {row["_id"]: row["count"] for row in sorted(db[COLLECTION].aggregate(pipeline), key=_iteration)}


def _iteration(row: dict[str, Any]) -> int:
    return int(row["_id"])


def known_label(
    db: Database, document: dict[str, Any], level_asked: str, elsewhere: bool
) -> tuple[Label, dict[str, Any]] | None:
    """A label of the same structure and level of theory, in the order of this structure's atoms.

    The level of theory is known from a run only. So a campaign's first label is always computed: it fixes the
    campaign's level, and what carries the same hash may then stand for a run.

    Args:
        db: the campaign's database.
        document: of the configuration.
        level_asked: `alpw.codes.attempt.level_hash` of what would be run.
        elsewhere: whether labels of other campaigns serve, beside those of the campaign and of what it is a
            branch of; only those that were asked for in the same way do, because settings that were read back
            from a run do not tell everything about a label, such as which of VASP's energies it is.

    Returns:
        The label, and its record with ``reused_from`` in place of any cost; None if there is none.
    """
    level = campaigns.get(db, document["campaign"])["settings_hash"]
    if level is None:
        return None
    family = campaigns.with_parents(db, document["campaign"])
    here, anywhere = {"campaign": {"$in": family}}, {"level_asked": level_asked}
    query = {
        "structure_hash": document["structure_hash"],
        "state": State.LABELLED.value,
        "settings_hash": level,
        "_id": {"$ne": document["_id"]},
        "$or": [here, anywhere] if elsewhere else [here],
    }
    for found in db[COLLECTION].find(query).sort("_id", 1):
        (frame,) = frames(db, [found["_id"]])
        order = same_atoms(atoms_of(document), frame.atoms)
        if order is None:
            continue
        label = frame.label
        origin = {"configuration": found["_id"], "campaign": found["campaign"]}
        record = {name: found[name] for name in _COPIED if name in found}
        record |= {"wall_time": 0.0, "cores": 0, "reused_from": found.get("reused_from", origin)}
        return replace(label, forces=label.forces[order]), record
    return None
