"""The data set as a query: what it selects, streamed in the form that a program wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from bson import ObjectId
from numpy.typing import NDArray
from pymongo.database import Database

from alpw.database import reading, snapshots
from alpw.database.campaigns import now
from alpw.database.configurations import COLLECTION, PENDING_STATES, State
from alpw.database.documents import atoms_of, frame_of
from alpw.dataset.language import SNAPSHOT
from alpw.dataset.split import part_of
from alpw.errors import InputError
from alpw.formats.batches import in_batches
from alpw.structures.frame import LabelledFrame
from alpw.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from pymatgen.core import Structure

PAGE = 500
"""documents that a cursor fetches at a time"""

NOT_REMOVED = {"$ne": State.REMOVED.value}

HAS_LABEL = {
    "$or": [
        {"state": State.LABELLED.value},
        {"state": State.REMOVED.value, "removed.state": State.LABELLED.value},
    ]
}
"""What was removed counts where a query asks for it, and in a snapshot, which is what it was."""


class Dataset:
    """Configurations that match a query.

    Nothing is read before it is asked for, and frames pass through memory a few hundred at a time.

    Example:
        >>> for frame in Dataset(db, {"chemical_system": "Si", "max_force": {"$lt": 5}}).frames():
        ...     print(frame.atoms, frame.label.energy)

    Args:
        db: the campaigns' database (`alpw.database.launchpad.open_launchpad().db`).
        query: a MongoDB filter on ``configurations``; see `alpw.dataset.language.parse` for shorthand.
            Removed ones are left out unless it names their ``state``.

    Raises:
        InputError: it names a snapshot that there is not.
    """

    def __init__(self, db: Database, query: Mapping[str, Any] | None = None) -> None:
        self.db = db
        self.query = _resolved(db, dict(query or {}))
        if not _names_state(self.query):
            self.query = _both(self.query, {"state": NOT_REMOVED})

    def where(self, query: Mapping[str, Any]) -> Dataset:
        """Those of them that match another query too."""
        return Dataset(self.db, _both(self.query, dict(query)))

    @property
    def labelled(self) -> Dataset:
        """Those that have a label which can be trusted."""
        if self.query.get("state") == NOT_REMOVED:
            return Dataset(self.db, {**self.query, "state": State.LABELLED.value})
        return self.where(HAS_LABEL)

    def count(self) -> int:
        """How many there are."""
        return int(self.db[COLLECTION].count_documents(self.query))

    def ids(self) -> list[ObjectId]:
        """Their ids, ascending."""
        return [document["_id"] for document in self.documents({"_id": 1})]

    def documents(self, fields: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Their documents by ascending id; whole ones with the arrays that a branch shares with its parent.

        Args:
            fields: a projection.
        """
        cursor = self.db[COLLECTION].find(self.query, fields).sort("_id", 1).batch_size(PAGE)
        if fields:
            yield from cursor
            return
        while page := list(islice(cursor, PAGE)):
            yield from reading.with_arrays(self.db, page)

    def frames(self) -> Iterator[LabelledFrame]:
        """Structure and label of the labelled ones, in Å, eV and eV/Å."""
        return (frame_of(document) for document in self.labelled.documents())

    def batches(self) -> Iterator[LabelledFrames]:
        """The same as arrays: successive frames of the same atoms together."""
        return in_batches(self.frames())

    def atoms(self) -> Iterator[Atoms]:
        """The same for ASE, with energy, forces and stress as results, and where it is from in ``info``."""
        for document in self.labelled.documents():
            atoms = frame_of(document).to_ase()
            atoms.info |= {"id": str(document["_id"]), "settings_hash": document.get("settings_hash", "")}
            atoms.info |= {name: document[name] for name in ("campaign", "iteration")}
            yield atoms

    def structures(self) -> Iterator[Structure]:
        """All of them, labelled or not, for pymatgen; raises `ValueError` for one that is not periodic."""
        from pymatgen.io.ase import AseAtomsAdaptor

        for document in self.documents():
            structure = AseAtomsAdaptor.get_structure(atoms_of(document))
            structure.properties["id"] = str(document["_id"])
            yield structure

    def columns(self, *names: str) -> dict[str, NDArray[Any]]:
        """Numbers or text of fields by ascending id, NaN or None where a document lacks it.

        Args:
            names: fields, such as ``energy_per_atom`` or ``source.temperature``.

        Returns:
            name -> array of shape ``(count,)``.
        """
        columns: dict[str, list[Any]] = {name: [] for name in names}
        for row in self.documents(dict.fromkeys(names, 1)):
            for name, found in columns.items():
                found.append(value(row, name))
        return {name: _column(found) for name, found in columns.items()}

    def torch_batches(self, size: int, *, seed: int | None = None) -> Iterator[dict[str, Any]]:
        """Tensors of so many labelled frames at a time, atoms of all frames in one row after another.

        Args:
            size: frames of a batch; the last one has what is left.
            seed: of a random order; ascending ids without one.

        Yields:
            ``numbers`` and ``frame`` (which frame of the batch) ``(n_atoms,)``, ``positions`` (Å) and
            ``forces`` (eV/Å) ``(n_atoms, 3)``, ``cells`` (Å) and ``virials`` (eV, NaN where missing)
            ``(n_frames, 3, 3)``, ``pbc`` ``(n_frames, 3)``, ``energies`` (eV) ``(n_frames,)``; float64.
        """
        from alpw.dataset.tensors import tensors_of

        frames = self.frames()
        if seed is not None:
            order = self.labelled.ids()
            np.random.default_rng(seed).shuffle(order)
            frames = reading.frames(self.db, order)
        while batch := list(islice(frames, size)):
            yield tensors_of(batch)

    def snapshot(self, name: str, *, words: str = "") -> dict[str, Any]:
        """Freeze the labelled ones under a name; models that are trained on them can refer to it.

        Args:
            name: of the snapshot, for good.
            words: the query as the user wrote it.

        Returns:
            ``hash``, ``content_hash`` and ``n``; see `alpw.database.snapshots`.

        Raises:
            InputError: there are none, or the name is that of another snapshot.
        """
        ids = self.labelled.ids()
        if not ids:
            raise InputError("no labelled frame matches; an empty snapshot is of no use", key="query")
        snapshot = snapshots.freeze(self.db, ids)
        snapshots.name(self.db, name, snapshot["hash"], words or str(self.query))
        return snapshot

    def split(
        self, parts: Mapping[str, float], *, seed: int = 0, by_frame: bool = False
    ) -> dict[str, Dataset]:
        """Divide the labelled ones, always in the same way, and frames of a trajectory never.

        A trajectory, AIMD, or imported file belongs to one part by a hash of what it is: what is added later
        moves none that is there. Shares are therefore met on average over many trajectories.

        Args:
            parts: name -> share; they are normalised.
            seed: another one gives another division.
            by_frame: divide frames, even of one trajectory.

        Raises:
            InputError: a share that is not positive.
        """
        members: dict[str, list[ObjectId]] = {name: [] for name in parts}
        fields = {"source": 1, "structure_hash": 1}
        for document in self.labelled.documents(fields):
            members[part_of(document, parts, seed=seed, by_frame=by_frame)].append(document["_id"])
        return {name: Dataset(self.db, _these(ids)) for name, ids in members.items()}

    def tag(self, name: str) -> int:
        """Give them a tag; returns how many had not had it.

        Raises:
            InputError: the name has blanks, which a query could not name, or nothing at all.
        """
        check_tag(name)
        return self._update({"tags": {"$ne": name}}, {"$addToSet": {"tags": name}})

    def untag(self, name: str) -> int:
        """Take a tag away; returns how many had it."""
        return self._update({"tags": name}, {"$pull": {"tags": name}})

    def remove(self, reason: str) -> int:
        """Take them out of the data set, with a reason; returns how many.

        They stay in the database, and in the snapshots that they belong to. Those that wait for a label are
        left alone: a job may be at them.
        """
        if not reason.strip():
            raise InputError("say why, for those who come after you", key="reason")
        removed = 0
        for state in (State.LABELLED, State.QUARANTINED):
            note = {"state": state.value, "reason": reason, "at": now()}
            change = {"$set": {"state": State.REMOVED.value, "removed": note}}
            removed += self._update({"state": state.value}, change)
        return removed

    def restore(self) -> int:
        """Put removed ones back as they were; returns how many."""
        restored = 0
        for state in (State.LABELLED, State.QUARANTINED):
            wanted = {"state": State.REMOVED.value, "removed.state": state.value}
            restored += self._update(wanted, {"$set": {"state": state.value}, "$unset": {"removed": ""}})
        return restored

    def waiting(self) -> int:
        """How many wait for their label."""
        return self.where({"state": {"$in": list(PENDING_STATES)}}).count()

    def _update(self, only: dict[str, Any], change: dict[str, Any]) -> int:
        query = _both(self.query, only)
        return int(self.db[COLLECTION].update_many(query, change).modified_count)


def check_tag(name: str) -> None:
    """See that a tag is one word.

    Raises:
        InputError: it is not.
    """
    if not name or any(sign.isspace() or sign == "," for sign in name):
        raise InputError(f"{name!r} is no tag; one word without commas makes one", key="tag")


def value(document: Mapping[str, Any], path: str) -> Any:
    """What lies at a dotted path of a document; None if nothing does."""
    found: Any = document
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _column(values: Sequence[Any]) -> NDArray[Any]:
    if all(found is None or type(found) in (int, float) for found in values):
        return np.array([np.nan if found is None else found for found in values], dtype=float)
    return np.array(values, dtype=object)


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    if not one or not other:
        return one or other
    return {**one, **other} if not set(one) & set(other) else {"$and": [one, other]}


def _names_state(query: Any) -> bool:
    """Whether a filter says what state it wants, at any depth."""
    if isinstance(query, Mapping):
        return "state" in query or any(map(_names_state, query.values()))
    return isinstance(query, list) and any(map(_names_state, query))


def _resolved(db: Database, query: Any) -> Any:
    """A filter with the ids of the snapshots that it names."""
    if isinstance(query, list):
        return [_resolved(db, part) for part in query]
    if not isinstance(query, Mapping):
        return query
    rest = {key: _resolved(db, part) for key, part in query.items() if key != SNAPSHOT}
    if SNAPSHOT not in query:
        return rest
    frozen = snapshots.find(db, query[SNAPSHOT])["snapshot"]
    return _both(rest, _these(snapshots.ids(db, frozen)))


def _these(ids: Sequence[ObjectId]) -> dict[str, Any]:
    """Labelled frames by their ids: a fixed set is what it was, whatever has been removed since."""
    return {"_id": {"$in": list(ids)}, **HAS_LABEL}
