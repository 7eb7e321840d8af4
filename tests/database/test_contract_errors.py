"""What ALPW and FireWorks expect of any MongoDB: errors have its codes, and change nothing."""

from __future__ import annotations

import pytest
from bson import Int64
from pymongo.database import Database
from pymongo.errors import OperationFailure

ERRORS = {
    "unknown query operator": (2, lambda c: list(c.find({"a": {"$bogus": 1}}))),
    "unknown top-level operator": (2, lambda c: list(c.find({"$bogus": 1}))),
    "mixed operators and fields": (2, lambda c: list(c.find({"a": {"$gt": 1, "b": 2}}))),
    "$in without an array": (2, lambda c: list(c.find({"a": {"$in": 3}}))),
    "unknown update operator": (9, lambda c: c.update_one({}, {"$bogus": {"a": 1}})),
    "unknown stage": (40324, lambda c: list(c.aggregate([{"$bogus": {}}]))),
    "unknown command": (59, lambda c: c.database.command("nosuchcommand")),
    "unknown field of a command": (40415, lambda c: c.database.command({"find": c.name, "bogus": 1})),
    "$inc of a string": (14, lambda c: c.update_one({"_id": "s"}, {"$inc": {"x": 1}})),
    "$inc by a string": (14, lambda c: c.update_one({"_id": "s"}, {"$inc": {"y": "1"}})),
    "$inc of a string in findAndModify": (
        14,
        lambda c: c.find_one_and_update({"_id": "s"}, {"$inc": {"x": 1}}),
    ),
    "$push to a string": (2, lambda c: c.update_one({"_id": "s"}, {"$push": {"x": 1}})),
    "$set below a string": (28, lambda c: c.update_one({"_id": "s"}, {"$set": {"x.y.z": 1}})),
    "two operators on one path": (
        40,
        lambda c: c.update_one({"_id": "s"}, {"$set": {"x": 1}, "$inc": {"x": 1}}),
    ),
    "change of _id": (66, lambda c: c.update_one({"_id": "s"}, {"$set": {"_id": "t"}})),
    "hint on a missing index": (2, lambda c: list(c.find({}, hint="none_1"))),
    "missing positional match": (None, lambda c: c.update_one({"_id": "s"}, {"$set": {"l.$": 1}})),
    "cursor that does not exist": (
        43,
        lambda c: c.database.command({"getMore": Int64(12345), "collection": c.name}),
    ),
    "projection of both kinds": (31254, lambda c: c.find_one({}, {"x": 1, "y": 0})),
    "unsorted direction": (None, lambda c: list(c.find().sort("x", 3))),
    "invalid regular expression": (51091, lambda c: list(c.find({"x": {"$regex": "("}}))),
    "bad accumulator": (15952, lambda c: list(c.aggregate([{"$group": {"_id": 1, "n": {"$bogus": 1}}}]))),
    "bad expression": (None, lambda c: list(c.aggregate([{"$project": {"n": {"$bogus": 1}}}]))),
}


@pytest.mark.parametrize("what", ERRORS)
def test_errors_are_errors_and_change_nothing(mongo: Database, what: str) -> None:
    code, action = ERRORS[what]
    document = {"_id": "s", "x": "text", "l": [1]}
    mongo.filled.insert_one(document)
    for collection in [mongo.filled] if what in NEEDS_A_DOCUMENT else [mongo.empty, mongo.filled]:
        before = list(collection.find())
        with pytest.raises(OperationFailure) as caught:
            action(collection)
        if code is not None:
            assert caught.value.code == code
        assert list(collection.find()) == before


# MongoDB finds these errors in a document.
NEEDS_A_DOCUMENT = {
    "$inc of a string",
    "$inc by a string",
    "$inc of a string in findAndModify",
    "$push to a string",
    "$set below a string",
    "change of _id",
    "hint on a missing index",
    "missing positional match",
}


def test_a_failing_update_leaves_the_documents_before_it_changed(mongo: Database) -> None:
    mongo.c.insert_many([{"_id": 1, "n": 1}, {"_id": 2, "n": "text"}, {"_id": 3, "n": 3}])
    with pytest.raises(OperationFailure):
        mongo.c.update_many({}, {"$set": {"seen": True}, "$inc": {"n": 1}})
    assert mongo.c.find_one({"_id": 2}) == {"_id": 2, "n": "text"}
    assert mongo.c.find_one({"_id": 3}) == {"_id": 3, "n": 3}
