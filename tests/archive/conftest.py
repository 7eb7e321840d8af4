"""A campaign of arithmetic that has ended, and databases to bring it to."""

import contextlib
import uuid

import pytest
from pymongo import MongoClient

from tests.conftest import Inputs, opened
from tests.firetasks.arithmetic import Arithmetic

DEVIATIONS = {0: [0.2, 0.9, 0.5, *[0.0] * 7], 1: [0.3, *[0.0] * 9]}


@contextlib.contextmanager
def another(folder, server):
    """A fresh LaunchPad, known to commands in a folder of its own."""
    folder.mkdir()
    name = f"test_{uuid.uuid4().hex}"
    with opened(Inputs(folder), server, name) as launchpad:
        yield launchpad
    with MongoClient(server.uri) as client:
        client.drop_database(name)


@pytest.fixture(scope="module")
def ended(server, tmp_path_factory):
    """The campaign `tiny`, done; its worker, which may go on with it, and its folder."""
    folder = tmp_path_factory.mktemp("archive") / "campaign"
    with another(folder, server) as launchpad, pytest.MonkeyPatch.context() as patch:
        arithmetic = Arithmetic(launchpad, Inputs(folder), patch)
        arithmetic.deviations = DEVIATIONS
        arithmetic.start()
        arithmetic.run()
        yield arithmetic


@pytest.fixture
def elsewhere(server, tmp_path):
    """Another database, empty, whose my_launchpad.yaml lies in a folder of its own."""
    with another(tmp_path / "elsewhere", server) as launchpad:
        yield launchpad
