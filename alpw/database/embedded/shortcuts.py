"""What is asked of whole collections, answered without mongomock, which looks at each document for long.

Each function gives None for anything but the plain case, which is then mongomock's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId

Document = dict[str, Any]
ORDERED = (str, int, datetime, ObjectId)
"""types of which Python and MongoDB have the same order"""
PLAIN = (*ORDERED, type(None))


def in_order(documents: Sequence[Document], sort: Sequence[tuple[str, int]]) -> list[Document] | None:
    """Documents sorted by one field at their top, in which all of them have values of one type."""
    if len(sort) != 1 or "." in sort[0][0] or sort[0][0].startswith("$"):
        return None
    ((name, direction),) = sort
    values = [document.get(name) for document in documents]
    types = set(map(type, values))
    if len(types) != 1 or not types <= set(ORDERED):
        return None
    if ObjectId in types:
        values = [value.binary for value in values]  # type: ignore[union-attr]
    order = sorted(range(len(values)), key=values.__getitem__, reverse=direction < 0)  # type: ignore[arg-type]
    return [documents[place] for place in order]


def counted(documents: Sequence[Document], stages: Sequence[Document]) -> list[Document] | None:
    """Number of documents, or of those of each value of fields at their top: a lone ``$group``."""
    if len(stages) != 1 or "$group" not in stages[0]:
        return None
    group = dict(stages[0]["$group"])
    wanted = group.pop("_id", None)
    sums = [each for each in group.values() if isinstance(each, dict) and list(each.items()) == [("$sum", 1)]]
    if len(sums) != len(group) or any(isinstance(each["$sum"], bool) for each in sums):
        return None
    if wanted is None or isinstance(wanted, int):
        found = {(): len(documents)} if documents else {}
        return [{"_id": wanted, **dict.fromkeys(group, n)} for n in found.values()]
    fields = wanted if isinstance(wanted, dict) else {"": wanted}
    paths = [str(path)[1:] for path in fields.values() if isinstance(path, str) and path.startswith("$")]
    if len(paths) != len(fields) or any("." in path or path.startswith("$") for path in paths):
        return None
    if not all(type(document.get(path, ...)) in PLAIN for document in documents for path in paths):
        return None
    numbers = Counter(tuple(document[path] for path in paths) for document in documents)
    return [
        {
            "_id": dict(zip(fields, values, strict=True)) if isinstance(wanted, dict) else values[0],
            **dict.fromkeys(group, n),
        }
        for values, n in numbers.items()
    ]
