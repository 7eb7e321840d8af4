"""The embedded server's store: what is in memory and what is in the file are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpw.database.embedded.aggregation import update_by_pipeline
from alpw.database.embedded.collection import Collection
from alpw.database.embedded.errors import MongoError
from alpw.database.embedded.indexes import Index
from alpw.database.embedded.query import compile_filter
from alpw.database.embedded.store import DirectoryInUse, Store
from alpw.database.embedded.values import order_key

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(-2, 2, width=16), st.sampled_from(["a", "b", ""])
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abx"), inner, max_size=2)
    ),
    max_leaves=5,
)
documents = st.dictionaries(st.sampled_from("abc"), values, max_size=3)
paths = st.sampled_from(["a", "b", "a.b", "a.0", "a.x.b"])
conditions = st.one_of(
    scalars, scalars.map(lambda v: {"$eq": v}), st.lists(scalars, max_size=3).map(lambda v: {"$in": v})
)


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[[], Store]]:
    opened: list[Store] = []

    def reopen() -> Store:
        for store in opened:
            store.close()
        opened[:] = [Store(tmp_path)]
        return opened[0]

    yield reopen
    for store in opened:
        store.close()


def index(*paths: str, **options: object) -> Index:
    return Index.from_client({"key": dict.fromkeys(paths, 1), "name": "_".join(paths), **options})


class Unrecorded:
    """A journal that forgets."""

    def __init__(self) -> None:
        self.sequence = 0

    def next_sequence(self) -> int:
        self.sequence += 1
        return self.sequence

    def record_put(self, *_: object) -> None:
        pass

    record_removal = record_index = record_index_drop = record_put


@settings(max_examples=300, deadline=None)
@given(st.lists(documents, max_size=8), st.dictionaries(paths, conditions, max_size=2))
def test_an_index_never_changes_what_a_query_finds(stored: list[dict], query: dict) -> None:
    collection = Collection(1, "d.c", Unrecorded())
    for path in ("a", "b", "a.b", "a.0", "a.x.b"):
        collection.create_index(index(path))
    for number, document in enumerate(stored):
        collection.insert({"_id": number, **document})
    holds = compile_filter(query)
    expected = [number for number, document in enumerate(stored) if holds(document)]
    assert [document["_id"] for document in collection.find(query)] == expected


@settings(max_examples=200, deadline=None)
@given(values, values, values)
def test_values_are_totally_ordered(a: object, b: object, c: object) -> None:
    first, second, third = sorted(map(order_key, (a, b, c)))
    assert first <= second <= third
    assert (order_key(a) == order_key(b)) == (
        not order_key(a) < order_key(b) and not order_key(b) < order_key(a)
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("iurd"), st.integers(0, 4), documents), max_size=25))
def test_reopening_gives_the_same_documents_in_the_same_order(
    tmp_path_factory: pytest.TempPathFactory, operations: list
) -> None:
    directory = tmp_path_factory.mktemp("store")
    store = Store(directory)
    collection = store.create("d", "c")
    collection.create_index(index("a", unique=True, sparse=True))
    store.commit()
    for kind, number, document in operations:
        try:
            if kind == "i":
                collection.insert({"_id": number, **document})
            elif kind == "u":
                collection.update(
                    {"_id": number}, {"$set": document or {"a": 1}}, pipeline=update_by_pipeline
                )
            elif kind == "r":
                collection.update({"_id": number}, document, upsert=True, pipeline=update_by_pipeline)
            else:
                collection.delete({"_id": number})
        except MongoError as error:
            assert error.code == 11000
        store.commit()
    before = list(collection.find())
    store.close()
    store = Store(directory)
    again = store.get("d", "c")
    assert [list(map(order_key, (d, list(d)))) for d in again.find()] == [
        list(map(order_key, (d, list(d)))) for d in before
    ]
    assert again._owners == collection._owners
    assert again._holders == collection._holders
    store.close()


def test_indexes_dropped_collections_and_names_survive(open_store: Callable[[], Store]) -> None:
    store = open_store()
    store.create("d", "kept").create_index(index("a", "b", unique=True))
    store.create("d", "kept").create_index(index("t", expireAfterSeconds=5))
    store.create("d", "kept").create_index(index("gone"))
    store.get("d", "kept").drop_index("gone")
    store.create("d", "dropped").insert({"x": 1})
    store.drop("d", "dropped")
    store.create("d", "old").insert({"_id": 1})
    store.rename(("d", "old"), ("d", "new"))
    store.commit()
    store = open_store()
    assert list(store.collections("d")) == ["kept", "new"]
    assert list(store.get("d", "kept").indexes) == ["a_b", "t"]
    assert store.get("d", "kept").indexes["t"].expire_after == 5
    assert list(store.get("d", "new").find()) == [{"_id": 1}]


def test_uncommitted_effects_are_not_in_the_file(open_store: Callable[[], Store]) -> None:
    store = open_store()
    store.create("d", "c").insert({"_id": 1})
    store.commit()
    store.get("d", "c").insert({"_id": 2})
    assert list(open_store().get("d", "c").find()) == [{"_id": 1}]


def test_opening_gives_back_the_room_of_deleted_documents(open_store: Callable[[], Store]) -> None:
    store = open_store()
    for number in range(200):
        store.create("d", "c").insert({"_id": number, "body": bytes(20_000)})
    store.commit()
    open_store()
    full = store.path.stat().st_size
    store = open_store()
    store.get("d", "c").delete({"_id": {"$gte": 10}})
    store.commit()
    open_store()
    store = open_store()
    assert store.path.stat().st_size < full / 4
    assert [document["_id"] for document in store.get("d", "c").find()] == list(range(10))


def test_a_directory_has_one_server(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(DirectoryInUse, match="already open"):
        Store(tmp_path)
    store.close()
    Store(tmp_path).close()
