"""What ALPW and FireWorks expect of any MongoDB: indexes."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import pytest
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure


def test_unique_index_holds_for_every_kind_of_write(mongo: Database) -> None:
    mongo.c.create_index([("campaign", 1), ("iteration", 1)], unique=True)
    mongo.c.insert_many([{"campaign": "a", "iteration": i} for i in range(3)])
    writes = [
        lambda: mongo.c.insert_one({"campaign": "a", "iteration": 1}),
        lambda: mongo.c.update_one({"iteration": 2}, {"$set": {"iteration": 0}}),
        lambda: mongo.c.find_one_and_update({"iteration": 2}, {"$inc": {"iteration": -1}}),
        lambda: mongo.c.replace_one({"iteration": 2}, {"campaign": "a", "iteration": 1}),
    ]
    for write in writes:
        with pytest.raises(DuplicateKeyError) as caught:
            write()
        assert caught.value.code == 11000
    assert sorted(d["iteration"] for d in mongo.c.find()) == [0, 1, 2]
    mongo.c.insert_one({"campaign": "b", "iteration": 1})


def test_bulk_errors_name_the_statement_and_keep_the_rest(mongo: Database) -> None:
    mongo.c.create_index("fw_id", unique=True)
    mongo.c.insert_one({"fw_id": 1})
    with pytest.raises(BulkWriteError) as caught:
        mongo.c.insert_many([{"fw_id": 2}, {"fw_id": 1}, {"fw_id": 3}], ordered=False)
    assert caught.value.details["nInserted"] == 2
    assert [error["index"] for error in caught.value.details["writeErrors"]] == [1]
    with pytest.raises(BulkWriteError) as caught:
        mongo.c.insert_many([{"fw_id": 12}, {"fw_id": 1}, {"fw_id": 13}])
    assert caught.value.details["nInserted"] == 1
    assert sorted(document["fw_id"] for document in mongo.c.find()) == [1, 2, 3, 12]


def test_sparse_and_partial_unique_indexes_leave_documents_out(mongo: Database) -> None:
    mongo.c.create_index("u", unique=True, sparse=True)
    mongo.c.insert_many([{}, {}, {"u": 1}])
    with pytest.raises(DuplicateKeyError):
        mongo.c.insert_one({"u": 1})
    mongo.d.create_index("u", unique=True, partialFilterExpression={"live": True})
    mongo.d.insert_many([{"u": 1, "live": False}, {"u": 1, "live": False}, {"u": 1, "live": True}])
    with pytest.raises(DuplicateKeyError):
        mongo.d.update_one({"live": False}, {"$set": {"live": True}})


def test_index_definitions(mongo: Database) -> None:
    mongo.c.insert_one({"n": 1})
    mongo.c.create_index([("state", -1), ("spec._priority", -1)])
    mongo.c.create_index("n", unique=True)
    mongo.c.create_index("n", unique=True)
    information = mongo.c.index_information()
    assert set(information) == {"_id_", "state_-1_spec._priority_-1", "n_1"}
    assert information["n_1"]["unique"] is True
    with pytest.raises(OperationFailure):
        mongo.c.create_index("n", sparse=True)
    mongo.c.drop_index("n_1")
    mongo.c.insert_one({"n": 1})
    with pytest.raises(DuplicateKeyError):
        mongo.c.create_index("n", unique=True)
    assert "n_1" not in mongo.c.index_information()
    with pytest.raises(OperationFailure):
        mongo.c.drop_index("n_1")


@pytest.mark.slow
def test_ttl_index_deletes_what_has_expired(mongo: Database) -> None:
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    mongo.c.create_index("t", expireAfterSeconds=1)
    mongo.c.insert_many(
        [
            {"_id": 1, "t": now - timedelta(hours=1)},
            {"_id": 2, "t": now + timedelta(hours=1)},
            {"_id": 3, "t": "no date"},
        ]
    )
    deadline = time.monotonic() + 150  # MongoDB's own sweep runs once a minute
    while mongo.c.count_documents({}) > 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert sorted(document["_id"] for document in mongo.c.find()) == [2, 3]
