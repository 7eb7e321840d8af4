"""The commands of the data set, where their users err."""

import pytest
from typer.testing import CliRunner

from alpw.cli.main import app


def alpw(*words):
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize("query", ['{"a": {"$foo": 1}}', '{"$where": "1"}', '{"a": {"$in": 1}}'])
def test_a_filter_that_mongodb_refuses_is_wrong_input(db, query):
    result = alpw("query", query, "--count")
    assert result.exit_code == 2 and "query: MongoDB refuses it" in result.stderr
    assert "full error" not in result.stderr


def test_a_tag_is_one_word(db):
    result = alpw("dataset", "tag", "two words", "chemsys=Si")
    assert result.exit_code == 2 and "one word" in result.stderr
    assert not db.configurations.count_documents({"tags": "two words"})


def test_an_id_in_a_table_can_be_copied(db):
    found = [str(document["_id"]) for document in db.configurations.find({"state": "labelled"})]
    shown = alpw("query", "state=labelled").stdout
    assert found and all(identity in shown for identity in found)


def test_groups_of_commands_are_named_in_the_help():
    assert " dataset " in alpw("--help").stdout
