"""What the embedded server answers itself is what mongomock, which it spares the work, answers."""

from __future__ import annotations

import itertools
import random
from datetime import datetime

import mongomock
import pytest
from bson import Int64, ObjectId
from mongomock.filtering import filter_applies

from alpw.database.embedded import checks
from alpw.database.embedded.lookup import Lookup
from alpw.database.embedded.matching import verdict
from alpw.database.embedded.shortcuts import distinct, in_order, projected

VALUES = [0, 1, 2.5, -3, Int64(2**40), True, False, "a", "b", ObjectId(b"a" * 12), ObjectId(b"b" * 12)]
VALUES += [datetime(2026, 1, 1), datetime(2026, 1, 2), None, float("nan"), ["a", 1], [], {"y": 1}]
OPERATORS = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]


def documents() -> list[dict]:
    rng = random.Random(1)
    found = [{"_id": n, "x": value} for n, value in enumerate(VALUES)]
    found += [{"_id": 100 + n, "s": {"y": value}} for n, value in enumerate(VALUES)]
    found += [{"_id": 200 + n, "x": rng.choice(VALUES), "s": {"y": rng.choice(VALUES)}} for n in range(40)]
    return found


def queries() -> list[dict]:
    simple = [
        {path: {name: value}}
        for path in ("x", "s.y")
        for name in OPERATORS
        for value in VALUES
        if value != []
    ]
    simple += [{"x": {name: ["a", 1, 2.5]}} for name in ("$in", "$nin")] + [{"x": {"$in": [None, "b"]}}]
    simple += [{"s.y": {"$exists": there}} for there in (True, False)]
    simple += [{"x": {}}, {"x": {"y": 1}}, {"x": {"$regex": "^a"}}, {"x": {"$gt": 0, "$lt": 2}}]
    rng = random.Random(2)
    pairs = [rng.sample(simple, 2) for _ in range(200)]
    return simple + [{name: pair} for pair in pairs for name in ("$and", "$or", "$nor")]


def test_what_is_certain_of_a_document_is_what_mongomock_finds() -> None:
    certain = 0
    for query in queries():
        checks.check_query(query)
        answer = verdict(query)
        for document in documents():
            if (found := answer(document)) is not None:
                certain += 1
                assert found == filter_applies(query, document), (query, document)
    assert certain > 10_000


def test_the_tables_and_what_they_leave_give_what_mongomock_finds() -> None:
    held = {document["_id"]: document for document in documents()}
    lookup = Lookup(["x", "s.y"], [(key, document | {"x": None}) for key, document in held.items()])
    for key, document in held.items():
        lookup.replace(key, document | {"x": None}, document)
    helped = 0
    for query in queries():
        checks.check_query(query)
        if (found := lookup.candidates(query, held)) is None:
            continue
        keys, rest = found
        helped += 1
        matching = {key for key in keys if filter_applies(rest, held[key])}
        assert matching == {key for key, one in held.items() if filter_applies(query, one)}, query
    assert helped > 30


@pytest.mark.parametrize("projection", [{"x": 1}, {"x": 0}, {"_id": 0}, {"_id": 1}, {"x": 1, "_id": 0}])
def test_a_projection_is_mongomocks(projection: dict) -> None:
    collection = mongomock.MongoClient().d.c
    for document in documents():
        shown = projected(document, projection) or {}
        expected = collection._copy_only_fields(document, dict(projection), dict)
        assert repr(sorted(shown.items())) == repr(sorted(expected.items()))


def test_an_order_is_mongomocks() -> None:
    kinds = [["a", "b", "a", None], [1, 2.5, -3, Int64(7)], [datetime(2026, 1, day) for day in (2, 1, 3, 2)]]
    for values in kinds:
        rows = [{"_id": n, "x": value, "s": {"y": n % 2}} for n, value in enumerate(values)]
        collection = mongomock.MongoClient().d.c
        collection.insert_many([*rows, {"_id": 9, "s": {"y": 0}}])
        held = list(collection.find())
        for one, other in itertools.product((1, -1), repeat=2):
            sort = [("s.y", one), ("x", other)]
            assert in_order(held, sort) == list(collection.find().sort(sort))


def test_distinct_values_are_mongomocks() -> None:
    collection = mongomock.MongoClient().d.c
    collection.insert_many(
        [{"x": value} for value in (1, 2.5, 1, "a", True, Int64(1))] + [{"y": {"z": "b"}}, {}]
    )
    held = list(collection.find())
    for path in ("x", "y.z", "nothing"):
        assert set(distinct(held, path) or []) == set(collection.distinct(path))
    assert distinct([*held, {"x": [1]}], "x") is None
