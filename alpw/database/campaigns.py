"""``campaigns``: what a user asked for, how far it is, how it ended. The ``_id`` is the name."""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from typing import Any

from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from alpw.errors import InputError

COLLECTION = "campaigns"


class CampaignState(str, Enum):
    """Where a campaign stands: running, held by its user, or ended until the user asks for more."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    COMPLETED = "completed"
    CONVERGED = "converged"
    EXHAUSTED = "exhausted"
    STALLED = "stalled"


#: States of a campaign that has done what it was asked to do.
ENDED_STATES = frozenset(
    {CampaignState.COMPLETED.value, CampaignState.CONVERGED.value, CampaignState.EXHAUSTED.value}
)

#: States of a campaign of which nothing new starts until its user lets it go on.
HELD_STATES = frozenset({CampaignState.PAUSED.value, CampaignState.STOPPED.value})

#: States of a campaign that has more to do.
OPEN_STATES = frozenset({CampaignState.RUNNING.value}) | HELD_STATES

#: What campaigns there are; those of another program are kept as they were and run no further.
ACTIVE_LEARNING, INIT_BULK, IMPORTED = "active_learning", "init_bulk", "imported"


def kind(campaign: dict[str, Any]) -> str:
    """Whether a campaign's document is of active learning or of init_bulk."""
    return str(campaign.get("kind", ACTIVE_LEARNING))


def go_on_from(campaign: dict[str, Any]) -> str:
    """What to do with a campaign that was imported, in a sentence."""
    name, where = campaign["_id"], campaign["work_dir"]
    return (
        f"`al_pwmlff gather_pwdata --campaign {name}` writes its labels for init_data of a campaign with "
        f"another name; `alpw convert-input` makes the inputs of one from those in {where}"
    )


def now() -> datetime:
    """The current time in UTC, as MongoDB stores it (naive, milliseconds)."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


def create(db: Database, name: str, document: dict[str, Any]) -> bool:
    """Insert a running campaign; False when the name is taken (somebody else was first)."""
    try:
        db[COLLECTION].insert_one(
            {
                "_id": name,
                "state": CampaignState.RUNNING.value,
                "verdict": None,
                "settings_hash": None,
                "created": now(),
                **document,
            }
        )
    except DuplicateKeyError:
        return False
    return True


def find(db: Database, name: str) -> dict[str, Any] | None:
    """The campaign of that name, or None."""
    return db[COLLECTION].find_one({"_id": name})


def with_parents(db: Database, name: str) -> list[str]:
    """A campaign, the one that it is a branch of, and so on."""
    names = [name]
    while parent := (find(db, names[-1]) or {}).get("parent"):
        names.append(parent["campaign"])
    return names


def get(db: Database, name: str) -> dict[str, Any]:
    """The campaign of that name; raises :class:`InputError` naming the known ones when there is none."""
    document = find(db, name)
    if document is None:
        known = ", ".join(sorted(db[COLLECTION].distinct("_id"))) or "none"
        raise InputError(f"no campaign '{name}' in database '{db.name}' (known: {known})")
    return document


def all_campaigns(db: Database) -> list[dict[str, Any]]:
    """Every campaign, newest first."""
    return list(db[COLLECTION].find().sort("created", -1))


def update(db: Database, name: str, **fields: Any) -> None:
    """Set fields of a campaign."""
    db[COLLECTION].update_one({"_id": name}, {"$set": fields})


def finish(db: Database, name: str, state: CampaignState, verdict: str) -> None:
    """End a campaign; one that has ended keeps its first verdict.

    A held campaign ends too: its last Firework may have been running when it was held.
    """
    db[COLLECTION].update_one(
        {"_id": name, "state": {"$in": sorted(OPEN_STATES)}},
        {"$set": {"state": state.value, "verdict": verdict, "finished": now()}},
    )


def hold(db: Database, name: str, state: CampaignState, reason: str) -> bool:
    """Pause or stop a campaign; False when it has ended, or is stopped and would be paused."""
    stopped = {CampaignState.STOPPED.value} if state is CampaignState.PAUSED else set()
    found = db[COLLECTION].find_one_and_update(
        {"_id": name, "state": {"$in": sorted(OPEN_STATES - stopped)}},
        {"$set": {"state": state.value, "verdict": reason}},
    )
    return found is not None


def is_running(db: Database, name: str) -> bool:
    """Whether Fireworks of a campaign may start."""
    return get(db, name)["state"] == CampaignState.RUNNING.value


def reopen(db: Database, name: str) -> None:
    """Let a held or finished campaign go on."""
    update(db, name, state=CampaignState.RUNNING.value, verdict=None, finished=None)


def admit_settings(db: Database, name: str, settings_hash: str) -> bool:
    """Whether a label made with these settings belongs to the campaign's data set.

    The first label fixes the level of theory; labels with any other hash are quarantined by the caller.
    """
    db[COLLECTION].find_one_and_update(
        {"_id": name, "settings_hash": None}, {"$set": {"settings_hash": settings_hash}}
    )
    return get(db, name)["settings_hash"] == settings_hash
