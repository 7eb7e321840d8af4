"""The durable store under random commands: the file says what memory says, indexes change no answer."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import bson
import pytest
from mongomock import aggregate
from mongomock.filtering import filter_applies, resolve_sort_key

from alpw.database.embedded.checks import check_query
from alpw.database.embedded.collection import Client
from alpw.database.embedded.commands import Commands
from alpw.database.embedded.store import CODEC, DirectoryInUse, Journal, ServerStore

VALUES: list[Any] = [
    1,
    0,
    True,
    False,
    None,
    2.5,
    "x",
    [1, "x"],
    [],
    {"k": 1},
    {"k": [1, 2]},
    [{"k": 1}],
    b"b",
]
PATHS = ["a", "b", "c.d", "a.k", "l", "l.0"]
IDS: list[Any] = [1, 2, 3, "s", {"q": 1}]
OPERATORS = ["$set", "$inc", "$push", "$unset", "$pull", "$addToSet", "$min", "$pop", "$bogus"]


def random_query(rng: random.Random) -> dict[str, Any]:
    path, value = rng.choice(PATHS), rng.choice(VALUES)
    return rng.choice(
        [
            {},
            {"_id": rng.choice(IDS)},
            {path: value},
            {path: {"$in": [rng.choice([1, "x", None]), rng.choice([2.5, True])]}},
            {"$and": [{path: value}, {rng.choice(PATHS): {"$ne": rng.choice(VALUES)}}]},
        ]
    )


def random_command(rng: random.Random) -> dict[str, Any]:
    update = {
        rng.choice(OPERATORS): {rng.choice(PATHS): rng.choice(VALUES)},
        "$set": {"u": rng.choice(VALUES)},
    }
    updates: list[Any] = [update, update, {"a": rng.choice(VALUES)}, [{"$set": {"z": "$a"}}]]
    update = rng.choice(updates)
    documents = [
        {**rng.choice([{}, {"_id": rng.choice(IDS)}]), "a": rng.choice(VALUES), "l": [1, {"k": 1}]}
        for _ in "123"
    ]
    name = f"i{rng.randrange(3)}"
    index = {"key": {rng.choice(PATHS): 1}, "name": name, "unique": rng.random() < 0.3}
    statement = {
        "q": random_query(rng),
        "u": update,
        "multi": rng.random() < 0.5,
        "upsert": rng.random() < 0.2,
    }
    commands: list[tuple[float, dict[str, Any]]] = [
        (8, {"insert": "c", "documents": documents, "ordered": rng.random() < 0.5}),
        (8, {"update": "c", "updates": [statement]}),
        (3, {"findAndModify": "c", "query": random_query(rng), "update": update}),
        (2, {"delete": "c", "deletes": [{"q": random_query(rng), "limit": rng.choice([0, 1])}]}),
        (2, {"createIndexes": "c", "indexes": [index]}),
        (1, {"dropIndexes": "c", "index": name}),
        (0.2, {"drop": "c"}),
    ]
    weights, choices = zip(*commands, strict=True)
    (chosen,) = rng.choices(choices, weights)
    return bson.decode(bson.encode(chosen), CODEC)


def contents(commands: Commands) -> tuple[list[bytes], dict[str, Any]]:
    store: Any = commands.client["t"].get_collection("c")._store
    return [bson.encode(document) for document in store.documents], store.indexes


@pytest.mark.parametrize("seed", range(4))
def test_the_file_says_what_memory_says_and_indexes_change_no_answer(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    (tmp_path / "db").mkdir()
    journal = Journal(tmp_path / "db")
    commands = Commands(Client(ServerStore(journal)))
    refused = 0
    for number in range(300):
        try:
            commands.run("t", random_command(rng))
        except Exception:  # noqa: BLE001 - whatever a command fails with, the file must follow memory
            refused += 1
        journal.commit()
        query = random_query(rng)
        collection: Any = commands.client["t"].get_collection("c")
        check_query(query)
        everything = collection._store.documents
        assert collection.select(query) == [
            document for document in everything if filter_applies(query, document)
        ]
        if number % 50 == 49:
            # what a server that is killed now leaves behind
            copy = shutil.copytree(tmp_path / "db", tmp_path / f"copy{number}")
            assert contents(Commands(Client(ServerStore(Journal(copy))))) == contents(commands)
    assert 0 < refused < 200
    journal.close()


@pytest.mark.parametrize("seed", range(4))
def test_counts_and_orders_are_those_of_mongomock(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    commands = Commands(Client(ServerStore(Journal(tmp_path))))
    values: list[Any] = [["x", "y", "é", "z"], [3, 1, 2], [bson.ObjectId() for _ in "123"], VALUES][seed]
    documents = [
        {
            "_id": number,
            "n": number % 3,
            **({"a": rng.choice(values)} if rng.random() < 0.9 or seed < 3 else {}),
        }
        for number in range(40)
    ]
    commands.run("t", bson.decode(bson.encode({"insert": "c", "documents": documents}), CODEC))
    collection: Any = commands.client["t"].get_collection("c")
    everything = list(collection._store.documents)
    for by in (None, 1, "$a", {"first": "$a", "second": "$n"}):
        group = {"$group": {"_id": by, "count": {"$sum": 1}}}
        expected = aggregate.process_pipeline(everything, collection.database, [group], None)
        found = collection.run_pipeline([{"$match": {}}, group])
        rows = ([str(sorted(row.items())) for row in each] for each in (found, expected))
        assert sorted(next(rows)) == sorted(next(rows))
    # A sort by arrays is refused.
    for name, direction in (("n", -1), ("n", 1)) if seed == 3 else (("a", 1), ("a", -1), ("n", -1)):
        keys = [resolve_sort_key(name, document) for document in everything]
        order = sorted(range(len(keys)), key=keys.__getitem__, reverse=direction < 0)
        expected = [everything[place] for place in order]
        assert collection.select({}, sort={name: direction}) == expected


def test_a_file_of_another_format_is_not_opened(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.sql.execute("PRAGMA user_version = 99")
    journal.close()
    with pytest.raises(DirectoryInUse, match="format 99"):
        Journal(tmp_path)


def test_the_file_shrinks_after_documents_are_deleted(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    commands = Commands(Client(ServerStore(journal)))
    commands.run("t", {"insert": "c", "documents": [{"_id": n, "b": bytes(100_000)} for n in range(100)]})
    commands.run("t", {"delete": "c", "deletes": [{"q": {"_id": {"$gt": 0}}, "limit": 0}]})
    journal.commit()
    journal.close()
    before = journal.path.stat().st_size
    journal = Journal(tmp_path)
    assert ServerStore(journal)["t"]["c"].rows.keys() == {0}
    assert journal.path.stat().st_size < before / 10
    journal.close()
