"""What ALPW and FireWorks expect of any MongoDB: documents, queries, updates, indexes, errors.

Every expectation is MongoDB's documented behaviour; run it on a server of your own with ALPW_TEST_MONGO_URI.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from datetime import datetime

import pytest
from bson import Binary, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from pymongo import DeleteOne, InsertOne, MongoClient, ReplaceOne, ReturnDocument, UpdateOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DocumentTooLarge, OperationFailure

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000)

VALUES = {
    "int": 5,
    "long": Int64(2**40),
    "small long": Int64(7),
    "double": 2.0,
    "tiny": 5e-324,
    "infinity": math.inf,
    "string": 'añ✓ "q" \n',
    "true": True,
    "null": None,
    "array": [1, [2, [3, "x"]], {"a": []}],
    "document": {"1": "READY", "22": {"x y": 1}},
    "bytes": b"\x00\xff" * 8,
    "binary": Binary(b"abc", 5),
    "date": NOW,
    "decimal": Decimal128("1.2300"),
    "id": ObjectId("0123456789abcdef01234567"),
    "regex": Regex("^a.b$", "i"),
    "timestamp": Timestamp(10, 2),
    "least": MinKey(),
    "greatest": MaxKey(),
}


def test_every_type_comes_back_as_it_went(mongo: Database) -> None:
    mongo.c.insert_many([{"_id": name, "value": value} for name, value in VALUES.items()])
    found = {document["_id"]: document["value"] for document in mongo.c.find()}
    assert found == VALUES
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in VALUES.items()
    }


def test_key_order_and_nan_survive(mongo: Database) -> None:
    mongo.c.insert_one({"_id": 1, "z": 1, "a": {"y": 1, "b": 2}, "nan": math.nan})
    found = mongo.c.find_one()
    assert list(found) == ["_id", "z", "a", "nan"]
    assert list(found["a"]) == ["y", "b"]
    assert math.isnan(found["nan"])


FRAMES = [
    {
        "_id": i,
        "n": i,
        "name": f"fw-{i:02d}",
        "tags": ["a", f"t{i % 3}"],
        "sub": {"k": i % 4, "arr": [{"x": i, "y": i * 2}, {"x": -i, "y": 0}]},
        **({"opt": i} if i % 2 else {}),
    }
    for i in range(20)
]
QUERIES = [
    ({"n": {"$gte": 5, "$lt": 8}}, [5, 6, 7]),
    ({"n": {"$in": [1, 3, 99]}}, [1, 3]),
    ({"n": {"$nin": list(range(2, 20))}}, [0, 1]),
    ({"n": {"$ne": 1}, "_id": {"$lt": 3}}, [0, 2]),
    ({"opt": {"$exists": False}, "n": {"$lt": 5}}, [0, 2, 4]),
    ({"opt": None, "n": {"$lt": 5}}, [0, 2, 4]),
    ({"opt": {"$ne": None}, "n": {"$lt": 5}}, [1, 3]),
    ({"name": {"$regex": "FW-0[12]$", "$options": "i"}}, [1, 2]),
    ({"name": Regex("-1[0-1]")}, [10, 11]),
    ({"name": {"$not": Regex("^fw-[01]")}}, []),
    ({"sub.arr": {"$elemMatch": {"x": {"$gt": 3}, "y": {"$lt": 10}}}}, [4]),
    ({"sub.arr.x": -7}, [7]),
    ({"sub.arr.0.x": 7}, [7]),
    ({"tags": {"$all": ["a", "t1"]}, "n": {"$lt": 5}}, [1, 4]),
    ({"tags": {"$size": 2}, "n": 3}, [3]),
    ({"name": {"$size": 1}}, []),
    ({"tags": ["a", "t0"], "n": {"$lt": 5}}, [0, 3]),
    ({"tags": {"$nin": ["t0", "t1"]}, "n": {"$lt": 6}}, [2, 5]),
    ({"$or": [{"n": 1}, {"n": 2}], "sub.k": {"$exists": True}}, [1, 2]),
    ({"$nor": [{"n": {"$lt": 15}}]}, [15, 16, 17, 18, 19]),
    ({"n": {"$not": {"$lt": 18}}}, [18, 19]),
    ({"n": {"$mod": [7, 3]}}, [3, 10, 17]),
    ({"n": {"$type": "int"}, "_id": 4}, [4]),
    ({"n": {"$type": "string"}}, []),
    ({"$expr": {"$gt": ["$n", 17]}}, [18, 19]),
    ({"sub": {"k": 1, "arr": [{"x": 1, "y": 2}, {"x": -1, "y": 0}]}}, [1]),
    ({"n": {"$in": []}}, []),
    ({"n": True}, []),
    ({"n": "1"}, []),
    ({"n": 1.0}, [1]),
    ({"n": {"$gt": "a"}}, []),
]


@pytest.fixture(scope="module")
def frames(mongo_uri: str) -> Iterator[tuple[Collection, Collection]]:
    """The frames without and with indexes; they must not be changed."""
    with MongoClient(mongo_uri, serverSelectionTimeoutMS=10_000) as client:
        db = client[f"alpw_test_{uuid.uuid4().hex[:12]}"]
        for collection in (db.plain, db.indexed):
            collection.insert_many(FRAMES)
        for path in ("n", "opt", "name", "tags", "sub.k", "sub.arr.x"):
            db.indexed.create_index(path)
        yield db.plain, db.indexed
        client.drop_database(db.name)


@pytest.mark.parametrize(("query", "expected"), QUERIES, ids=[str(query)[:60] for query, _ in QUERIES])
def test_query(frames: tuple[Collection, Collection], query: dict, expected: list) -> None:
    for collection in frames:
        assert sorted(frame["_id"] for frame in collection.find(query)) == expected
        assert collection.count_documents(query) == len(expected)


def test_numeric_keys_of_documents_are_not_array_positions(mongo: Database) -> None:
    mongo.c.insert_one({"_id": 1, "fw_states": {"1": "READY", "2": "WAITING"}, "arr": ["p", "q"]})
    mongo.c.update_one({"_id": 1}, {"$set": {"fw_states.1": "FIZZLED", "fw_states.30": "NEW", "arr.1": "Q"}})
    mongo.c.update_one({"_id": 1}, {"$unset": {"fw_states.2": ""}})
    assert mongo.c.find_one() == {"_id": 1, "fw_states": {"1": "FIZZLED", "30": "NEW"}, "arr": ["p", "Q"]}


@pytest.mark.parametrize(
    ("projection", "expected"),
    [
        ({"x.y": 1}, {"_id": 3, "x": {"y": 3}}),
        ({"_id": 0, "a": True}, {"a": 0}),
        ({"x": 0, "l": 0}, {"_id": 3, "a": 0}),
        ({"l.k": 1}, {"_id": 3, "l": [{"k": 1}, {"k": 2}]}),
        ({"l": {"$elemMatch": {"k": 2}}}, {"_id": 3, "l": [{"k": 2, "v": 2}]}),
    ],
)
def test_projection(mongo: Database, projection: dict, expected: dict) -> None:
    mongo.c.insert_one(
        {"_id": 3, "a": 0, "x": {"y": 3, "z": [1, 2, 3]}, "l": [{"k": 1, "v": 1}, {"k": 2, "v": 2}]}
    )
    assert mongo.c.find_one({}, projection) == expected
    # the stored document is as it was
    assert mongo.c.find_one()["x"]["z"] == [1, 2, 3]


def test_sort_puts_types_in_bson_order_and_missing_with_null(mongo: Database) -> None:
    values = ["text", 3, None, {"a": 1}, True, 2.5, NOW]
    mongo.c.insert_many([{"_id": i, "v": value} for i, value in enumerate(values)])
    mongo.c.insert_one({"_id": 99})
    ascending = [document["_id"] for document in mongo.c.find().sort([("v", 1), ("_id", 1)])]
    assert ascending == [2, 99, 5, 1, 0, 3, 4, 6]


def test_sort_by_a_path_that_ends_early_is_a_sort_by_null(mongo: Database) -> None:
    mongo.c.insert_many([{"_id": 1, "a": {"b": 1}}, {"_id": 2, "a": 5}, {"_id": 3}])
    assert [document["_id"] for document in mongo.c.find().sort([("a.b", 1), ("_id", 1)])] == [2, 3, 1]
    assert [document["_id"] for document in mongo.c.find().sort([("a.b", -1), ("_id", 1)])] == [1, 2, 3]


UPDATES = [
    ({"n": 1}, {"$inc": {"n": 4, "new.deep": 2}}, {"n": 5, "new": {"deep": 2}}),
    ({"n": 3}, {"$min": {"n": 2}}, {"n": 2}),
    ({"n": 3}, {"$max": {"n": 2}}, {"n": 3}),
    ({"l": [1]}, {"$push": {"l": 2}}, {"l": [1, 2]}),
    ({}, {"$push": {"l": {"$each": [3, 1, 2], "$slice": 2}}}, {"l": [3, 1]}),
    ({"l": [0, False]}, {"$addToSet": {"l": False}}, {"l": [0, False]}),
    ({"l": [1, 5, 3]}, {"$pull": {"l": {"$gte": 3}}}, {"l": [1]}),
    ({"l": [{"k": 1, "v": 1}, {"k": 2}]}, {"$pull": {"l": {"k": 1}}}, {"l": [{"k": 2}]}),
    ({"l": [1, 2]}, {"$pop": {"l": -1}}, {"l": [2]}),
    ({"l": [1]}, {"$set": {"l.2": 3}}, {"l": [1, None, 3]}),
    ({"a": 2}, [{"$set": {"b": {"$add": ["$a", 1]}}}], {"a": 2, "b": 3}),
]


@pytest.mark.parametrize(
    ("before", "update", "after"), UPDATES, ids=[str(update)[:60] for _, update, _ in UPDATES]
)
def test_update_operator(mongo: Database, before: dict, update: dict, after: dict) -> None:
    mongo.c.insert_one({"_id": 1, **before})
    result = mongo.c.update_one({"_id": 1}, update)
    assert result.matched_count == 1
    assert result.modified_count == (before != after)
    assert mongo.c.find_one({}, {"_id": 0}) == after


def test_upsert_starts_from_the_equalities_of_its_query(mongo: Database) -> None:
    result = mongo.c.update_one(
        {"campaign": "a", "n": {"$gt": 5}, "sub.x": {"$eq": 2}},
        {"$set": {"v": 1}, "$setOnInsert": {"born": True}},
        upsert=True,
    )
    expected = {"_id": result.upserted_id, "campaign": "a", "sub": {"x": 2}, "v": 1, "born": True}
    assert mongo.c.find_one() == expected
    assert (
        mongo.c.update_one({"campaign": "a"}, {"$setOnInsert": {"born": False}}, upsert=True).upserted_id
        is None
    )
    assert mongo.c.find_one()["born"] is True


def test_find_and_modify_returns_the_document_before_or_after(mongo: Database) -> None:
    mongo.c.insert_many([{"_id": i, "p": p, "state": "READY"} for i, p in enumerate((3, 9, 5))])
    change, first = {"$set": {"state": "RUNNING"}}, [("p", -1)]
    before = mongo.c.find_one_and_update({"state": "READY"}, change, sort=first)
    assert (before["p"], before["state"]) == (9, "READY")
    after = mongo.c.find_one_and_update(
        {"state": "READY"}, change, sort=first, projection={"_id": 0}, return_document=ReturnDocument.AFTER
    )
    assert after == {"p": 5, "state": "RUNNING"}
    assert mongo.c.find_one_and_update({"p": 77}, change) is None
    assert mongo.c.find_one_and_delete({"p": 9})["state"] == "RUNNING"
    assert mongo.c.find_one_and_replace({"_id": 0}, {"only": 1}, return_document=ReturnDocument.AFTER) == {
        "_id": 0,
        "only": 1,
    }


def test_bulk_write_counts(mongo: Database) -> None:
    mongo.c.insert_many([{"_id": i, "v": 0} for i in range(5)])
    result = mongo.c.bulk_write(
        [
            InsertOne({"_id": 10}),
            UpdateOne({"_id": 1}, {"$inc": {"v": 5}}),
            UpdateOne({"_id": 0}, {"$set": {"v": 0}}),
            DeleteOne({"_id": 2}),
            ReplaceOne({"_id": 3}, {"w": 1}),
            UpdateOne({"_id": 50}, {"$set": {"v": 1}}, upsert=True),
        ]
    )
    counts = result.inserted_count, result.matched_count, result.modified_count, result.deleted_count
    assert counts == (1, 3, 2, 1)
    assert result.upserted_ids == {5: 50}
    assert mongo.c.find_one({"_id": 3}) == {"_id": 3, "w": 1}


def test_aggregation(mongo: Database) -> None:
    mongo.c.insert_many(
        [
            {"_id": i, "state": "AB"[i % 2], "e": i, "els": ["Ge", "Te"][: i % 2 + 1], "zero": 0}
            for i in range(6)
        ]
    )
    group = {"_id": "$state", "n": {"$sum": 1}, "mean": {"$avg": "$e"}, "zeros": {"$addToSet": "$zero"}}
    assert list(mongo.c.aggregate([{"$group": group}, {"$sort": {"_id": 1}}])) == [
        {"_id": "A", "n": 3, "mean": 2.0, "zeros": [0]},
        {"_id": "B", "n": 3, "mean": 3.0, "zeros": [0]},
    ]
    unwound = [{"$unwind": "$els"}, {"$group": {"_id": "$els", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}]
    assert list(mongo.c.aggregate(unwound)) == [{"_id": "Ge", "n": 6}, {"_id": "Te", "n": 3}]
    assert list(mongo.c.aggregate([{"$match": {"e": 99}}, {"$count": "n"}])) == []
    assert mongo.c.aggregate([{"$set": {"new.x": 1}}, {"$limit": 1}]).next()["new"] == {"x": 1}
    assert "new" not in mongo.c.find_one()
    compared = {"_id": 0, "eq": {"$eq": ["$zero", False]}, "gt": {"$gt": ["$zero", None]}}
    assert mongo.c.aggregate([{"$project": compared}]).next() == {"eq": False, "gt": True}
    constant = {"$group": {"_id": None, "n": {"$sum": 1}}}
    assert list(mongo.c.aggregate([{"$match": {"e": 99}}, constant])) == []
    assert list(mongo.c.aggregate([constant])) == [{"_id": None, "n": 6}]


def test_true_is_no_number_in_sums_means_and_sets(mongo: Database) -> None:
    mongo.c.insert_many([{"v": value} for value in (1, True, 4, False)])
    group = {"_id": None, "sum": {"$sum": "$v"}, "mean": {"$avg": "$v"}, "all": {"$addToSet": "$v"}}
    found = mongo.c.aggregate([{"$group": group}]).next()
    assert (found["sum"], found["mean"]) == (5, 2.5)
    assert sorted(map(repr, found["all"])) == ["1", "4", "False", "True"]


def test_dates_are_parsed_as_lpad_needs(mongo: Database) -> None:
    mongo.c.insert_many([{"_id": 1, "when": "2026-01-02T00:00:00.123456"}, {"_id": 2, "when": NOW}])
    parse = {"$dateFromString": {"dateString": "$when", "onError": "$when"}}
    found = list(mongo.c.aggregate([{"$set": {"when": parse}}, {"$sort": {"when": -1}}]))
    assert [document["when"] for document in found] == [NOW, datetime(2026, 1, 2, 0, 0, 0, 123000)]


def test_cursors_give_every_document_once(mongo: Database) -> None:
    mongo.c.insert_many([{"_id": i} for i in range(1000)])
    assert [document["_id"] for document in mongo.c.find(batch_size=7).sort("_id", 1)] == list(range(1000))
    assert sum(1 for _ in mongo.c.aggregate([{"$match": {}}], batchSize=13)) == 1000
    cursor = mongo.c.find(batch_size=10)
    next(cursor)
    cursor.close()
    assert [document["_id"] for document in mongo.c.find().skip(990).limit(4).sort("_id", 1)] == [
        990,
        991,
        992,
        993,
    ]


def test_replies_longer_than_a_message_arrive_whole(mongo: Database) -> None:
    size = 7 * 2**20
    mongo.c.insert_many([{"_id": i, "body": bytes(size)} for i in range(9)])
    assert [len(document["body"]) for document in mongo.c.find()] == [size] * 9


def test_documents_over_sixteen_megabytes_are_refused(mongo: Database) -> None:
    with pytest.raises(DocumentTooLarge):
        mongo.c.insert_one({"body": bytes(17 * 2**20)})
    mongo.c.insert_one({"_id": 1, "a": bytes(10 * 2**20)})
    with pytest.raises(OperationFailure):
        mongo.c.update_one({"_id": 1}, {"$set": {"b": bytes(10 * 2**20)}})
    assert set(mongo.c.find_one()) == {"_id", "a"}


def test_namespaces_are_separate(mongo: Database) -> None:
    mongo.c.insert_one({"x": 1})
    mongo["a.b"].insert_one({"x": 1})
    assert sorted(mongo.list_collection_names()) == ["a.b", "c"]
    other = mongo.client[f"{mongo.name}_b"]
    other.c.insert_one({"x": 2})
    assert mongo.c.count_documents({"x": 2}) == 0
    mongo.client.drop_database(other.name)
    assert other.name not in mongo.client.list_database_names()
    mongo["a.b"].create_index("x", unique=True)
    mongo["a.b"].rename("moved")
    assert sorted(mongo.list_collection_names()) == ["c", "moved"]
    assert mongo.moved.count_documents({"x": 1}) == 1
    assert mongo.moved.index_information()["x_1"]["unique"] is True
    with pytest.raises(OperationFailure):
        mongo.moved.rename("c")
    mongo.drop_collection("c")
    assert mongo.c.count_documents({}) == 0
