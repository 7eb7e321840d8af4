"""What is asked of whole collections, answered without mongomock, which looks at each document for long.

Each function gives None for anything but the plain case, which is then mongomock's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId

from alpw.database.embedded.matching import KINDS, MISSING, value_at

Document = dict[str, Any]
PLAIN = (str, int, datetime, ObjectId, type(None))


def in_order(documents: Sequence[Document], sort: Sequence[tuple[str, int]]) -> list[Document] | None:
    """Documents sorted by fields, in each of which they have values of one kind, or nothing."""
    ordered = list(documents)
    for name, direction in reversed(sort):
        if name.startswith("$"):
            return None
        path = name.split(".")
        found = [value_at(document, path) for document in ordered]
        values: list[Any] = [MISSING if value is None else value for value in found]
        types = set(map(type, values))
        has_gaps = type(MISSING) in types
        types.discard(type(MISSING))
        if len({KINDS.get(each, "") for each in types}) > 1 or not types <= KINDS.keys() - {bool}:
            return None
        if float in types and any(value != value for value in values):
            return None
        if ObjectId in types:
            values = [value if value is MISSING else value.binary for value in values]
        # What is missing comes first, as null does.
        keys = [(value is not MISSING, value) for value in values] if has_gaps else values
        order = sorted(range(len(keys)), key=keys.__getitem__, reverse=direction < 0)
        ordered = [ordered[place] for place in order]
    return ordered


def projected(document: Document, projection: Mapping[str, Any]) -> Document | None:
    """The document with some fields at its top, or without some."""
    wanted = {name: keep for name, keep in projection.items() if name != "_id"}
    if any("." in name or type(keep) is not int for name, keep in wanted.items()):
        return None
    if any(wanted.values()):
        shown = wanted.keys() | ({"_id"} if projection.get("_id", 1) else set())
        return {name: value for name, value in document.items() if name in shown}
    if not wanted and projection.get("_id", 1):
        return {"_id": document["_id"]}
    hidden = wanted.keys() | (set() if projection.get("_id", 1) else {"_id"})
    return {name: value for name, value in document.items() if name not in hidden}


def distinct(documents: Iterable[Document], name: str) -> list[Any] | None:
    """The different values of a field that holds one value where it is there."""
    path = name.split(".")
    values = set()
    for document in documents:
        found = value_at(document, path)
        if type(found) in KINDS:
            values.add(found)
        elif found is not MISSING:
            return None
    return list(values)


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
