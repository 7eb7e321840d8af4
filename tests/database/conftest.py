"""A MongoDB for tests: ``ALPW_TEST_MONGO_URI`` where it is set, else an embedded server per module."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from alpw.database import daemon


def pytest_configure(config: pytest.Config) -> None:
    # FireWorks imports its own tests when it looks for a Firetask by name, and they carry this mark
    config.addinivalue_line("markers", "mongodb: on FireWorks' own tests")


@pytest.fixture(scope="module")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    configured = os.environ.get("ALPW_TEST_MONGO_URI")
    if configured:
        yield configured
        return
    directory = tmp_path_factory.mktemp("db")
    yield daemon.start(directory).uri
    daemon.stop(directory)


@pytest.fixture
def mongo(mongo_uri: str) -> Iterator[Database]:
    """A fresh database, dropped afterwards."""
    client: MongoClient = MongoClient(mongo_uri, serverSelectionTimeoutMS=10_000)
    name = f"alpw_test_{uuid.uuid4().hex[:12]}"
    yield client[name]
    client.drop_database(name)
    client.close()
