"""Input files of PWact become ours with present names; what they mean stays."""

import json

import pytest
from typer.testing import CliRunner

from alpw.cli.main import app
from alpw.config import load_inputs
from alpw.config.load import load_init_inputs
from alpw.config.vocabulary import SPELLINGS
from alpw.errors import InputError
from alpw.legacy.convert import convert, write
from alpw.legacy.notes import Fate, source_keys
from alpw.legacy.recognise import recognise_input
from tests.legacy.samples import DPGEN, MACHINE, PWACT, PWACT_INIT, PWACT_RESOURCE, pwact

SOURCES = {"param.json": PWACT, "resource.json": PWACT_RESOURCE, "init_bulk/init_param.json": PWACT_INIT}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return pwact(tmp_path_factory.mktemp("pwact") / "run")


def test_files_are_recognised_by_their_content():
    kinds = [recognise_input(raw) for raw in (*SOURCES.values(), DPGEN, MACHINE, {"a": 1})]
    pwact_kinds = [("pwact", name.rpartition("/")[2]) for name in SOURCES]
    assert kinds == [*pwact_kinds, ("dpgen", "param.json"), ("dpgen", "resource.json"), None]


def test_the_new_files_mean_what_the_old_ones_meant(source, monkeypatch):
    monkeypatch.chdir(source)
    done = CliRunner().invoke(app, ["convert-input", *SOURCES, "-o", "deep/er", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    for name, raw in SOURCES.items():
        notes = [note for note in told["notes"] if note["file"] == name.rpartition("/")[2]]
        assert {note["key"] for note in notes} == set(source_keys(raw))
    old, _ = load_inputs_without(source, "typo_of_mine")
    new, resource = load_inputs(source / "deep/er/param.json", source / "deep/er/resource.json")
    mine = {"file", "source", "notes", "campaign", "work_dir"}
    # The prefix is a path, which begins elsewhere now; the files are the same.
    files = [[entry.files for entry in param.explore.sys_configs] for param in (new, old)]
    assert files[0] == files[1]
    here, there = (p.model_dump(exclude={*mine, "explore"}) for p in (new, old))
    assert here == there and new.explore.md_jobs == old.explore.md_jobs
    assert resource.dft.env_list == ["ulimit -s unlimited"] and resource.train.queue_name == "gpu,old"
    init, _ = load_init_inputs(source / "deep/er/init_param.json", source / "deep/er/resource.json")
    assert init.relax_input[0].input == source / "INCAR" and init.sys_configs[0].perturb == 2
    written = (source / "deep/er/param.json").read_text()
    assert not any(f'"{old_name}"' in written for old_name in SPELLINGS["strategy"] | {"model": ""})
    with pytest.raises(InputError, match="is there already"):
        write(convert([source / "param.json"], source / "deep/er"), source / "deep/er")


def load_inputs_without(source, key):
    """The source as ALPW reads it, but for a key that no program knows."""
    strategy = {name: value for name, value in PWACT["strategy"].items() if name != key}
    (source / "plain.json").write_text(json.dumps(PWACT | {"strategy": strategy}))
    return load_inputs(source / "plain.json", source / "resource.json")


def test_what_this_version_does_not_have_is_left_out_and_told(source):
    train = PWACT["train"] | {"model_type": "NEP"}
    (source / "nep.json").write_text(json.dumps(PWACT | {"train": train}))
    made = convert([source / "nep.json"], source / "nep")
    (note,) = [note for note in made.notes if note.key == "train.model_type"]
    assert note.fate is Fate.ABSENT and "model_type" not in made.files["param.json"]["train"]
    assert made.errors == []


def test_contradictions_and_foreign_files_are_errors(source, tmp_path):
    train = PWACT["train"] | {"Rmax": 7.0}
    (source / "two.json").write_text(json.dumps(PWACT | {"train": train}))
    with pytest.raises(InputError, match="same key with different values"):
        convert([source / "two.json"], tmp_path)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match="is not known"):
        convert([tmp_path / "other.json"], tmp_path)
