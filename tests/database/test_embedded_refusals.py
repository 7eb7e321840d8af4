"""What the embedded server does not do, or not as MongoDB does: each is an error and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure

from alpw.database import daemon

DOCUMENTS = [
    {"_id": 1, "a": 1, "l": [1, 2], "d": [{"k": 1}, 5], "x": "text"},
    {"_id": 2, "a": 2, "l": [], "d": [], "u": 2},
]


def find(query: Any, **options: Any) -> dict[str, Any]:
    return {"find": "c", "filter": query, **options}


def update(change: Any, **options: Any) -> dict[str, Any]:
    return {"findAndModify": "c", "query": {"_id": 1}, "update": change, **options}


def aggregate(*stages: dict[str, Any]) -> dict[str, Any]:
    return {"aggregate": "c", "pipeline": [*stages], "cursor": {}}


def index(key: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"createIndexes": "c", "indexes": [{"key": key, "name": "i", **options}]}


# what MongoDB has and this server has not
NOT_SERVED = {
    "javascript": find({"$where": "1"}),
    "text search": find({"$text": {"$search": "x"}}),
    "schema": find({"$jsonSchema": {}}),
    "geometry": find({"a": {"$near": [0, 0]}}),
    "bits": find({"a": {"$bitsAllSet": 1}}),
    "empty $all": find({"l": {"$all": []}}),
    "collation": find({}, collation={"locale": "de"}),
    "sort by an array": find({}, sort={"l": 1}),
    "computed projection": find({}, projection={"b": "$a"}),
    "nested field left out": find({}, projection={"d.k": 0}),
    "nested $slice": find({}, projection={"d.k": {"$slice": 1}, "a": 1}),
    "$slice alone": find({}, projection={"l": {"$slice": 1}}),
    "field of an array that is not of documents alone": find({}, projection={"d.k": 1}),
    "$mul": update({"$mul": {"a": 2}}),
    "$rename": update({"$rename": {"a": "b"}}),
    "$pullAll": update({"$pullAll": {"l": [1]}}),
    "$bit": update({"$bit": {"a": {"and": 1}}}),
    "$currentDate": update({"$currentDate": {"t": True}}),
    "$push with $sort": update({"$push": {"l": {"$each": [3], "$sort": 1}}}),
    "$addToSet with $each": update({"$addToSet": {"l": {"$each": [3]}}}),
    "$unset of an element": update({"$unset": {"l.0": ""}}),
    "$max of an element": update({"$max": {"l.0": 5}}),
    "positional operator": update({"$set": {"l.$": 2}}, query={"l": 1}),
    "all elements": update({"$set": {"l.$[]": 2}}),
    "array filters": update({"$set": {"l.$[e]": 2}}, arrayFilters=[{"e": 1}]),
    "upsert with $or": update({"$set": {"a": 1}}, query={"$or": [{"a": 9}]}, upsert=True),
    "$out": aggregate({"$out": "other"}),
    "$merge": aggregate({"$merge": "other"}),
    "$facet": aggregate({"$facet": {}}),
    "nested document in $project": aggregate({"$project": {"d": {"k": 1}}}),
    "$cmp": aggregate({"$project": {"n": {"$cmp": ["$a", 1]}}}),
    "$lookup with a pipeline": aggregate({"$lookup": {"from": "c", "pipeline": [], "as": "o"}}),
    "text index": index({"a": "text"}),
    "hashed index": index({"a": "hashed"}),
    "wildcard index": index({"$**": 1}),
    "index with a collation": index({"a": 1}, collation={"locale": "de"}),
    "unique index on an array": index({"l": 1}, unique=True),
    "capped collection": {"create": "other", "capped": True, "size": 100},
    "view": {"create": "other", "viewOn": "c", "pipeline": []},
    "validator": {"create": "other", "validator": {"a": 1}},
}
# what MongoDB refuses too, with the same code
ERRORS = {
    "unknown command": ({"nosuchcommand": 1}, 59),
    "unknown field": (find({}, bogus=1), 40415),
    "unknown field of a statement": (
        {"update": "c", "updates": [{"q": {}, "u": {"$set": {"a": 9}}, "bogus": 1}]},
        40415,
    ),
    "users": ({"createUser": "me", "pwd": "x", "roles": []}, 59),
    "transaction": (find({}, startTransaction=True, autocommit=False), 20),
    "unknown operator": (find({"a": {"$bogus": 1}}), 2),
    "unknown operator deep in a query": (find({"$or": [{"a": {"$not": {"$bogus": 1}}}]}), 2),
    "unknown operator of an update": (update({"$bogus": {"a": 1}}), 9),
    "conflicting operators": (update({"$set": {"a": 1}, "$inc": {"a.b": 1}}), 40),
    "change of _id": (update({"$set": {"_id": 9}}), 66),
    "path through a text": (update({"$set": {"x.y": 1}}), 28),
    "unknown stage": (aggregate({"$bogus": {}}), 40324),
    "stage with two names": (aggregate({"$limit": 1, "$skip": 1}), 40323),
    "unknown expression": (aggregate({"$project": {"n": {"$bogus": 1}}}), 168),
    "unknown accumulator": (aggregate({"$group": {"_id": 1, "n": {"$bogus": 1}}}), 15952),
    "no accumulator": (aggregate({"$group": {"_id": 1, "n": "$a"}}), 40234),
    "hint on a missing index": (find({}, hint="missing"), 2),
    "missing index": ({"dropIndexes": "c", "index": "missing"}, 27),
    "missing collection": ({"drop": "missing"}, 26),
    "existing collection": ({"create": "c"}, 48),
    "missing cursor": ({"getMore": 1 << 40, "collection": "c"}, 43),
    "duplicate key": (update({"$set": {"u": 2}}), 11000),
}
CASES = {**{what: (command, 238) for what, command in NOT_SERVED.items()}, **ERRORS}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("db")
    with MongoClient(daemon.start(directory).uri) as client:
        client.t.c.create_index("u", unique=True)
        client.t.c.insert_many(DOCUMENTS)
        yield client.t
    daemon.stop(directory)


@pytest.mark.parametrize("what", CASES)
def test_a_refusal_has_a_code_and_changes_nothing(database: Database, what: str) -> None:
    command, code = CASES[what]
    with pytest.raises(OperationFailure) as caught:
        reply = database.command(command)
        # write commands tell their errors in the reply
        error = reply["writeErrors"][0]
        raise OperationFailure(error["errmsg"], error["code"])
    assert caught.value.code == code
    assert list(database.c.find()) == DOCUMENTS
    assert set(database.c.index_information()) == {"_id_", "u_1"}
    assert database.list_collection_names() == ["c"]


EMPTY = [find({"a": {"$bogus": 1}}), update({"$bogus": {"a": 1}}), NOT_SERVED["javascript"]]
EMPTY += [ERRORS[what][0] for what in ("unknown stage", "unknown expression", "unknown accumulator")]


@pytest.mark.parametrize("command", EMPTY, ids=str)
def test_unknown_operators_are_errors_on_an_empty_collection_too(
    database: Database, command: dict[str, Any]
) -> None:
    name = next(iter(command))
    with pytest.raises(OperationFailure):
        database.command({**command, name: "empty"})
