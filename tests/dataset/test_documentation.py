"""What docs/data.md says is run as it is written."""

import json
import re
import shlex
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alpw.cli.main import app
from alpw.database.indexes import INDEXES
from alpw.dataset import Dataset
from alpw.dataset.fields import FIELDS
from alpw.dataset.language import parse

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text()


def rows(heading):
    """Cells of the first table below a heading, without its first two lines."""
    part = TEXT.split(f"\n## {heading}\n")[1]
    lines = next(text for text in part.split("\n\n") if text.startswith("|")).splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def alpw(*words):
    return CliRunner().invoke(app, list(words))


def test_the_table_of_fields_is_that_of_the_code():
    indexed = {key for keys, _ in INDEXES["configurations"] for key in keys} | {"_id"}
    wanted = [
        [
            f"`{path}`",
            field.kind,
            field.unit,
            " ".join(f"`{name}`" for name in field.names),
            "yes" if path in indexed else "",
            field.meaning,
        ]
        for path, field in FIELDS.items()
    ]
    assert rows("What is in a document") == wanted


def test_every_scalar_of_a_document_is_in_the_table(db):
    described = {path.split(".")[0] for path in FIELDS}
    described |= {"structure", "forces", "virial", "settings", "corrections", "reference", "claim"}
    for document in db.configurations.find():
        assert set(document) <= described


@pytest.mark.parametrize("question", rows("Queries that people ask"), ids=lambda row: row[0])
def test_the_three_ways_of_a_query_find_the_same(db, question):
    _, shorthand, by_mongo = (cell.strip("`") for cell in question)
    wanted = eval(by_mongo, {"datetime": datetime, "false": False})
    found = sorted(document["_id"] for document in db.configurations.find(wanted))
    assert found and found == Dataset(db, parse(shorthand)).ids()
    shown = alpw("query", *shlex.split(shorthand), "--json", "--columns", "id")
    assert shown.exit_code == 0 and [row["_id"] for row in json.loads(shown.stdout)] == list(map(str, found))


def test_the_python_runs(db):
    for code in blocks("python"):
        exec(code, {"db": db})


def test_the_commands_run(db):
    commands = [line[2:] for block in blocks("console") for line in block.splitlines() if line[:1] == "$"]
    # `diff` ends with 1 where two sets differ.
    failed = {
        line: result.output
        for line in commands
        if (result := alpw(*shlex.split(line)[1:])).exit_code != 0 and " diff " not in line
    }
    assert len(commands) > 10 and not failed
