"""What changes in a campaign's documents when they come to another database: what was running, and places.

FireWorks' workflows do not come along. A campaign that had not ended arrives stopped, its newest iteration
begins again where nothing is lost, and what somebody was computing waits once more.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from alpw.database import calculations, campaigns, configurations, iterations, preparations
from alpw.database.campaigns import CampaignState
from alpw.errors import FailureKind

Document = dict[str, Any]

OPEN = campaigns.OPEN_STATES | {CampaignState.STALLED.value}
"""States of a campaign that has more to do, or may have when its user has mended something."""


RUN = frozenset({campaigns.ACTIVE_LEARNING, campaigns.INIT_BULK})
"""Kinds of campaigns that have workflows."""


class Arrival:
    """Makes documents what they are after the move; the same for the same archive and folder.

    Args:
        header: of the archive.
        work_dir: where the campaign's folder is now; None leaves all paths as they are.
    """

    def __init__(self, header: dict[str, Any], work_dir: Path | None = None) -> None:
        self.name: str = header["campaign"]
        self.newest: int | None = header["newest"]
        self.when: str = header["created"]
        self.is_open = header["state"] in OPEN and header["kind"] in RUN
        self.old = header["work_dir"]
        self.new = str(work_dir) if work_dir and str(work_dir) != self.old else None

    def __call__(self, collection: str, raw: RawBSONDocument) -> RawBSONDocument:
        """A document as it is stored here; mostly as it was."""
        mine = raw.get("campaign", raw["_id"] if collection == campaigns.COLLECTION else None)
        if not isinstance(mine, str) or mine.split("@")[0] != self.name or not (self.new or self.is_open):
            return raw
        document: Document = bson.decode(raw.raw)
        if self.is_open and mine == self.name and (rule := REST.get(collection)):
            rule(self, document)
        if self.new:
            document = self._moved(document)
        return RawBSONDocument(bson.encode(document))

    def _moved(self, value: Any) -> Any:
        """The same with every path in the campaign's folder that it has now."""
        if isinstance(value, str):
            inside = value == self.old or value.startswith(f"{self.old}/")
            return f"{self.new}{value[len(self.old) :]}" if inside else value
        if isinstance(value, dict):
            return {key: self._moved(part) for key, part in value.items()}
        return [self._moved(part) for part in value] if isinstance(value, list) else value


def _campaign(arrival: Arrival, document: Document) -> None:
    if document["state"] in campaigns.OPEN_STATES - {CampaignState.STOPPED.value}:
        document["state"] = CampaignState.STOPPED.value
        document["verdict"] = (
            f"restored from an archive of {arrival.when}; `alpw resume {arrival.name}` lets it go on"
        )


def _iteration(arrival: Arrival, document: Document) -> None:
    """The newest one gets a workflow again; with its frames selected, from the labels on."""
    if document["index"] != arrival.newest:
        return
    document |= {"workflow": None, "collector": None}
    if document["kind"] != "final" and document["stage"] in ("label", "done"):
        document["entry"] = "collect"


def _configuration(arrival: Arrival, document: Document) -> None:
    if document["state"] not in configurations.PENDING_STATES:
        return
    document["state"] = configurations.State.CANDIDATE.value
    document.pop("claim", None)
    if arrival.newest is not None and document["iteration"] < arrival.newest:
        # Nobody would come back to it, and the last training waits for every label.
        message = (
            "its iteration had been judged without it, and its job did not come along when the campaign was "
            "restored"
        )
        code = document.get("code")
        who = f"{code} {FailureKind.NODE.value}" if code else FailureKind.NODE.value
        why = {"kind": FailureKind.NODE.value, "message": message, "code": code, "directory": None}
        document["state"] = configurations.State.QUARANTINED.value
        document["error"] = {**why, "diagnosis": f"{who}: {message}", "at": document["created"]}


def _calculation(arrival: Arrival, document: Document) -> None:
    states = calculations.State
    if document["state"] in (states.RUNNING.value, states.UNFINISHED.value):
        document["state"] = states.WAITING.value
        document.pop("claim", None)


def _preparation(arrival: Arrival, document: Document) -> None:
    if document["state"] == preparations.State.RUNNING.value:
        document["workflow"] = None


REST: dict[str, Callable[[Arrival, Document], None]] = {
    campaigns.COLLECTION: _campaign,
    iterations.COLLECTION: _iteration,
    configurations.COLLECTION: _configuration,
    calculations.COLLECTION: _calculation,
    preparations.COLLECTION: _preparation,
}
"""What brings the documents of an open campaign to rest."""
