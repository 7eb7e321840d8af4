"""What two sets of configurations do not have in common."""

from __future__ import annotations

from typing import NamedTuple

from bson import ObjectId

from alpw.dataset.dataset import Dataset


class Difference(NamedTuple):
    """From one set to another.

    Attributes:
        added: only in the other.
        removed: only in the one.
        relabelled: structures that both have, with another label; ids in the one and in the other.
        common: number of frames with the same structure and label.
    """

    added: list[ObjectId]
    removed: list[ObjectId]
    relabelled: list[tuple[ObjectId, ObjectId]]
    common: int


def difference(one: Dataset, other: Dataset) -> Difference:
    """Compare labelled frames by what they hold, so that two campaigns or databases can be compared.

    Args:
        one: a set, perhaps ``Dataset(db, {"$snapshot": "v1"})``.
        other: another, of any database.
    """
    old, new = _held(one), _held(other)
    labels = {label for label, _ in old} & {label for label, _ in new}
    common = sum(label in labels for label, _ in new)
    gone = {structure: identity for (label, structure), identity in old.items() if label not in labels}
    come = {structure: identity for (label, structure), identity in new.items() if label not in labels}
    both = [structure for structure in gone if structure in come]
    return Difference(
        added=[identity for structure, identity in come.items() if structure not in gone],
        removed=[identity for structure, identity in gone.items() if structure not in come],
        relabelled=[(gone[structure], come[structure]) for structure in both],
        common=common,
    )


def _held(dataset: Dataset) -> dict[tuple[str, str], ObjectId]:
    """(label_hash, structure_hash) -> id."""
    fields = {"label_hash": 1, "structure_hash": 1}
    documents = dataset.labelled.documents(fields)
    return {(found["label_hash"], found["structure_hash"]): found["_id"] for found in documents}
