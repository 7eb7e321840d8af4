import pytest

from tests.firetasks.init_bench import InitBench


@pytest.fixture
def bench(inputs, launchpad, monkeypatch):
    """init_bulk on a machine where codes answer at once."""
    return InitBench(inputs.folder, launchpad, monkeypatch)
