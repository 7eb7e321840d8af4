"""Which documents a campaign consists of.

Its own ones carry its name, or that of a revision which a rerun set aside. What they refer to comes along,
whatever campaign it belongs to: a branch's labels have their arrays in documents of its parent. A document
is read after those that refer to it, so that nothing is referred to in vain although the campaign goes on
meanwhile; what belongs to an iteration that began meanwhile is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import bson
from bson import ObjectId
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from alpw.database import (
    blobs,
    calculations,
    campaigns,
    configurations,
    iterations,
    leases,
    migrations,
    models,
    preparations,
    queue_events,
    snapshots,
    trajectories,
)
from alpw.database.configurations import PENDING_STATES
from alpw.database.revisions import archive_name

BLOBS, CHUNKS = f"{blobs.BUCKET}.files", f"{blobs.BUCKET}.chunks"

BY_CAMPAIGN = (
    iterations.COLLECTION,
    models.COLLECTION,
    configurations.COLLECTION,
    trajectories.COLLECTION,
    calculations.COLLECTION,
    preparations.COLLECTION,
)
"""Collections whose documents say to which campaign they belong, those that refer to others first."""

TAKEN = (campaigns.COLLECTION, *BY_CAMPAIGN, snapshots.COLLECTION, snapshots.NAMES, BLOBS, CHUNKS)
"""Collections that an archive may hold: nothing else is ever restored."""

LEFT_OUT = {
    leases.COLLECTION: "processes that supervise a campaign, here and now",
    queue_events.COLLECTION: "jobs of launches: their numbers are those of other launches elsewhere",
    migrations.COLLECTION: "version of the whole database; the archive says its own",
}
"""Our other collections, and why an archive does not hold them. FireWorks' are left out like the launches."""

REFERRED = (configurations.COLLECTION, BLOBS, trajectories.COLLECTION, calculations.COLLECTION)
"""Where the documents are that others name by an ObjectId."""

NOT_FOLLOWED = frozenset({"_id", "reused_from"})
"""Keys whose ids lead to nothing that is needed: a label that was taken over is a copy."""

RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)

PAGE = 500
"""ids of a query"""


class Contents:
    """The documents of a campaign, once each.

    Args:
        db: the campaigns' database.
        name: of the campaign; raises :class:`DatabaseError` if there is none.
        at_work: whether it may go on meanwhile.

    Attributes:
        campaign: its document.
        newest: index of its newest iteration, or None.
        counts: collection -> number of documents so far.
        paths: what documents have named in the campaign's folder so far.
    """

    def __init__(self, db: Database, name: str, *, at_work: bool = False) -> None:
        self._db, self._name, self._at_work = db, name, at_work
        self.campaign = campaigns.get(db, name)
        # As it is now: what follows from its state is decided by this one.
        self._document = RawBSONDocument(bson.encode(self.campaign))
        newest = iterations.latest(db, name)
        self.newest = None if newest is None else int(newest["index"])
        self.counts = dict.fromkeys(TAKEN, 0)
        self.paths: set[str] = set()
        self._folder = f"{self.campaign['work_dir']}/"
        self._taken: dict[str, set[Any]] = {collection: set() for collection in TAKEN}
        self._mentioned: set[ObjectId] = set()
        self._hashes: set[str] = set()

    def documents(self) -> Iterator[tuple[str, RawBSONDocument]]:
        """Each document with its collection, as it is stored."""
        yield from self._taking(campaigns.COLLECTION, [self._document])
        names = [self._name, *self._revisions()]
        for collection in BY_CAMPAIGN:
            yield from self._take(collection, {"campaign": {"$in": names}})
        # Trajectories that a branch shares with its parent, for its report.
        yield from self._take(trajectories.COLLECTION, trajectories.whole_course(self._db, self._name))
        yield from self._snapshots(self._hashes)
        while self._mentioned:
            mentioned, self._mentioned = self._mentioned, set()
            for collection in REFERRED:
                mentioned.difference_update(*self._taken.values())
                yield from self._by_ids(collection, "_id", mentioned)
        yield from self._names()
        yield from self._by_ids(CHUNKS, "files_id", self._taken[BLOBS])

    def _revisions(self) -> list[str]:
        marks = [*self.campaign.get("reruns", []), self.campaign.get("rerun") or {}]
        return [archive_name(self._name, mark["revision"]) for mark in marks if mark]

    def _take(self, collection: str, query: Mapping[str, Any]) -> Iterator[tuple[str, RawBSONDocument]]:
        found = self._db.get_collection(collection, codec_options=RAW).find(query)
        return self._taking(collection, found)

    def _taking(
        self, collection: str, found: Iterable[RawBSONDocument]
    ) -> Iterator[tuple[str, RawBSONDocument]]:
        taken = self._taken[collection]
        for raw in found:
            document = raw if collection == CHUNKS else _decoded(raw)
            if collection != CHUNKS:
                if document["_id"] in taken or self._is_later(document):
                    continue
                taken.add(document["_id"])
                self._follow(document)
            self.counts[collection] += 1
            yield collection, raw

    def _is_later(self, document: Mapping[str, Any]) -> bool:
        """Whether a document is of an iteration that began after the backup had."""
        index = document.get("iteration", document.get("index"))
        is_loop = campaigns.kind(self.campaign) == campaigns.ACTIVE_LEARNING
        if not (self._at_work and is_loop) or document.get("campaign") != self._name:
            return False
        last = iterations.PREPARATION if self.newest is None else self.newest
        return isinstance(index, int) and index > last

    def _follow(self, document: Mapping[str, Any]) -> None:
        own = document.get("campaign", document["_id"])
        mine = isinstance(own, str) and own.split("@")[0] == self._name
        # The files of a label that is being made change.
        self._walk(document, mine and document.get("state") not in PENDING_STATES)

    def _walk(self, value: Any, files: bool) -> None:
        if isinstance(value, ObjectId):
            self._mentioned.add(value)
        elif isinstance(value, str):
            if files and value.startswith(self._folder):
                self.paths.add(value)
        elif isinstance(value, Mapping):
            for key, part in value.items():
                if key == "training_set" and part:
                    self._hashes.add(part["hash"])
                elif key not in NOT_FOLLOWED:
                    self._walk(part, files)
        elif isinstance(value, list):
            for part in value:
                self._walk(part, files)

    def _by_ids(
        self, collection: str, field: str, wanted: Collection[Any]
    ) -> Iterator[tuple[str, RawBSONDocument]]:
        for page in _pages(wanted):
            yield from self._take(collection, {field: {"$in": page}})

    def _snapshots(self, hashes: Collection[str]) -> Iterator[tuple[str, RawBSONDocument]]:
        """Snapshots, and with them their frames."""
        for collection, raw in self._by_ids(snapshots.COLLECTION, "_id", hashes):
            self._mentioned.update(snapshots.ids_of(raw))
            yield collection, raw
        self._mentioned -= self._taken[configurations.COLLECTION]

    def _names(self) -> Iterator[tuple[str, RawBSONDocument]]:
        """Named snapshots of which every frame comes along."""
        for named in list(self._db[snapshots.NAMES].find()):
            found = self._db[snapshots.COLLECTION].find_one({"_id": named["snapshot"]})
            if found and self._taken[configurations.COLLECTION].issuperset(snapshots.ids_of(found)):
                yield from self._snapshots([named["snapshot"]])
                yield from self._take(snapshots.NAMES, {"_id": named["_id"]})


def _decoded(raw: RawBSONDocument) -> dict[str, Any]:
    return bson.decode(raw.raw)


def _pages(wanted: Iterable[Any]) -> Iterator[list[Any]]:
    # A copy: documents that come along name others meanwhile.
    remaining = iter(list(wanted))
    while page := list(islice(remaining, PAGE)):
        yield page
