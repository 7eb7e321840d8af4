"""``leases``: which process supervises a campaign. The ``_id`` is the campaign; one process at a time has it.

A lease lasts until a time that its holder wrote, by the holder's clock, and is renewed long before. Whoever
wants it compares that time with a clock of its own and waits for `MARGIN` longer. Where the clocks agree, a
lease that is not renewed ends within a minute; where they differ by up to 45 seconds, it may end so much
sooner or later, and nobody loses one that is renewed. A holder that is known to be dead, because it ran on
this host, is succeeded at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pymongo import ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from alpw.database.campaigns import now
from alpw.database.owner import is_dead

COLLECTION = "leases"

#: Seconds for which a lease lasts unless it is renewed.
TERM = 45.0
#: Seconds between two renewals.
RENEWAL = 10.0
#: Seconds after its end in which a lease is not taken yet.
MARGIN = 15.0


def take(db: Database, campaign: str, owner: str) -> dict[str, Any]:
    """Get a campaign's lease, or renew it; returns the lease as it is then, whose ``owner`` has it.

    Args:
        db: the database.
        campaign: name of the campaign.
        owner: of this process, as `alpw.database.owner.process_identity` names it.
    """
    since = now()
    fresh = {"owner": owner, "since": since, "until": since + timedelta(seconds=TERM)}
    try:
        db[COLLECTION].insert_one({"_id": campaign, **fresh})
        return {"_id": campaign, **fresh}
    except DuplicateKeyError:
        pass
    held = db[COLLECTION].find_one({"_id": campaign})
    if held is not None and held["owner"] != owner and not has_ended(held):
        return held
    if held is not None:
        fresh["since"] = held["since"] if held["owner"] == owner else since
        # Only as it was seen: one of many that see the same succeeds.
        seen = {key: held[key] for key in ("_id", "owner", "until")}
        taken = db[COLLECTION].find_one_and_update(
            seen, {"$set": fresh}, return_document=ReturnDocument.AFTER
        )
        if taken is not None:
            return taken
    # Somebody was faster, or it was released in between.
    return take(db, campaign, owner)


def has_ended(lease: dict[str, Any]) -> bool:
    """Whether a lease may be taken by somebody else."""
    return is_dead(lease["owner"]) or lease["until"] + timedelta(seconds=MARGIN) < now()


def holder(db: Database, campaign: str) -> dict[str, Any] | None:
    """The lease of a campaign that some process has, this one included; None when it is free."""
    held = db[COLLECTION].find_one({"_id": campaign})
    return None if held is None or has_ended(held) else held


def renew(db: Database, campaigns: Sequence[str], owner: str) -> None:
    """Extend those leases of campaigns that are still the owner's."""
    mine = {"_id": {"$in": list(campaigns)}, "owner": owner}
    db[COLLECTION].update_many(mine, {"$set": {"until": now() + timedelta(seconds=TERM)}})


def release(db: Database, campaigns: Sequence[str], owner: str) -> None:
    """Give back those leases of campaigns that are still the owner's."""
    db[COLLECTION].delete_many({"_id": {"$in": list(campaigns)}, "owner": owner})
