"""A campaign as one file, and in another database again."""

import importlib
import json
import pkgutil
import tarfile

import bson
import gridfs
import pytest
from pymongo.collection import Collection
from typer.testing import CliRunner

from alpw import archive, database
from alpw.archive.contents import LEFT_OUT, TAKEN
from alpw.cli.main import app
from alpw.cluster import control
from alpw.database import blobs, campaigns, configurations, iterations, models, reading, snapshots
from alpw.database.configurations import State
from alpw.database.summary import summarise
from alpw.dataset import Dataset
from alpw.errors import DatabaseError, InputError
from alpw.legacy import import_directory
from alpw.workflows.rerun import Stage, undo
from tests.archive.conftest import DEVIATIONS
from tests.firetasks.arithmetic import Arithmetic
from tests.legacy.samples import pwact

FIREWORKS = {"fireworks", "launches", "workflows", "fw_id_assigner", "fw_gridfs.files", "fw_gridfs.chunks"}


def everything(db):
    """All documents that an archive may hold, by collection and id."""
    return {name: {found["_id"]: found for found in db[name].find()} for name in TAKEN}


def alpw(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if "--json" in words else result.output


@pytest.fixture(scope="module")
def kept(ended, tmp_path_factory):
    """An archive of the campaign that has ended."""
    file = tmp_path_factory.mktemp("kept") / "tiny.tar"
    Dataset(ended.launchpad.db, {"iteration": -1}).snapshot("first")
    archive.backup(ended.launchpad.db, "tiny", file, with_files=True)
    return file


def test_every_collection_of_a_campaign_is_taken_or_left_out_for_a_reason(ended):
    ours = set()
    for module in pkgutil.iter_modules(database.__path__):
        found = vars(importlib.import_module(f"alpw.database.{module.name}"))
        ours |= {found[name] for name in ("COLLECTION", "NAMES") if isinstance(found.get(name), str)}
    assert ours | {f"{blobs.BUCKET}.files", f"{blobs.BUCKET}.chunks"} == {*TAKEN, *LEFT_OUT}
    assert not {*TAKEN} & {*LEFT_OUT}
    assert set(ended.launchpad.db.list_collection_names()) <= {*TAKEN, *LEFT_OUT} | FIREWORKS


def test_a_campaign_that_has_ended_is_whole_elsewhere(ended, kept, elsewhere, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path / "elsewhere")
    here, there = ended.launchpad.db, elsewhere.db
    said = alpw("restore", kept, "--dry-run", "--json")
    assert not any(everything(there).values())
    assert alpw("restore", kept, "--json") == {**said, "dry_run": False}
    assert said["new"] == {name: len(found) for name, found in everything(here).items() if found}
    assert everything(there) == everything(here)
    for file in here["alpw_blobs.files"].find():
        assert (
            blobs.get(there, file["_id"])
            == gridfs.GridFSBucket(here, blobs.BUCKET).open_download_stream(file["_id"]).read()
        )
    assert there["alpw_blobs.chunks"].index_information().keys() == {"_id_", "files_id_1_n_1"}
    again = alpw("restore", kept, "--json")
    assert again["new"] == {} and again["there"] == said["new"]

    assert summarise(there, "tiny") == summarise(here, "tiny")
    assert alpw("status", "tiny", "--json")["verdict"] == "exhausted"
    assert alpw("query", "snapshot=first", "--count") == "4\n"
    alpw("branch", "tiny", "--at", "1", "--set", "strategy.max_select=5", "--work-dir", tmp_path / "branch")
    assert undo(elsewhere, "tiny", 0, Stage.EXPLORE).later == [1, 2]


def test_an_archive_can_be_read_without_alpw(kept, ended):
    with tarfile.open(kept) as tar:
        names = tar.getnames()
        assert (names[0], names[-1]) == ("archive.json", "manifest.json")
        [name] = [name for name in names if name.startswith("documents/configurations/")]
        found = bson.decode_all(tar.extractfile(name).read())
        assert "files/param.json" in names and not any("my_launchpad" in name for name in names)
    assert found == list(ended.launchpad.db["configurations"].find({"campaign": "tiny"}).sort("_id", 1))


def test_restoring_is_gone_on_with_after_it_was_cut_short(ended, kept, elsewhere, monkeypatch):
    insert, allowed, failures = Collection.insert_many, 1, 0

    def cut_short(collection, *given, **options):
        nonlocal allowed
        if not allowed:
            raise KeyboardInterrupt
        allowed -= 1
        return insert(collection, *given, **options)

    monkeypatch.setattr(Collection, "insert_many", cut_short)
    while failures < 20:
        allowed = 1
        try:
            archive.restore(elsewhere.db, kept)
            break
        except KeyboardInterrupt:
            failures += 1
            # Nobody takes it for a campaign that is whole.
            assert campaigns.find(elsewhere.db, "tiny") is None
    assert 5 < failures < 20
    assert everything(elsewhere.db) == everything(ended.launchpad.db)


def test_what_is_in_the_database_with_other_content_is_not_touched(kept, elsewhere):
    db = elsewhere.db
    archive.restore(db, kept)
    one, other = Dataset(db).ids()[:2]
    Dataset(db, {"_id": one}).tag("mine")
    db["configurations"].delete_one({"_id": other})
    before = everything(db)
    with pytest.raises(DatabaseError, match=rf"configurations {one} \(tags\)"):
        archive.restore(db, kept)
    assert everything(db) == before
    Dataset(db, {"_id": one}).untag("mine")
    db["configurations"].update_one({"_id": one}, {"$unset": {"tags": ""}})
    assert archive.restore(db, kept).new == {"configurations": 1}

    campaigns.update(db, "tiny", created=campaigns.now())
    with pytest.raises(DatabaseError, match="another campaign 'tiny'"):
        archive.restore(db, kept)


def test_a_unique_key_that_another_document_has_is_found_before_anything_is_written(ended, kept, elsewhere):
    label = ended.configurations()[0]
    elsewhere.db["configurations"].insert_one({**label, "_id": bson.ObjectId()})
    before = everything(elsewhere.db)
    with pytest.raises(DatabaseError, match=f"configurations tiny/{label['key']}"):
        archive.restore(elsewhere.db, kept)
    assert everything(elsewhere.db) == before


def test_a_branch_comes_with_what_it_shares(ended, kept, elsewhere, monkeypatch, tmp_path):
    monkeypatch.chdir(ended.inputs.folder)
    here, there = ended.launchpad.db, elsewhere.db
    alpw("branch", "tiny", "--at", "1", "--set", "strategy.max_select=5", "--name", "side")
    campaigns.hold(here, "side", campaigns.CampaignState.STOPPED, "for now")
    assert here["configurations"].count_documents({"campaign": "side", "reference": {"$exists": True}}) == 7
    archive.backup(here, "side", tmp_path / "side.tgz")
    archive.restore(there, tmp_path / "side.tgz")
    assert [campaign["_id"] for campaign in campaigns.all_campaigns(there)] == ["side"]
    shared = [list(Dataset(db, {"campaign": "side"}).frames()) for db in (here, there)]
    assert len(shared[0]) == 7
    for one, other in zip(*shared, strict=True):
        assert (one.label.forces == other.label.forces).all()
    for document in (*models.committee(there, "side", 0), iterations.get(there, "side", 1)):
        frozen = document["training_set"]
        assert len(list(reading.frames(there, snapshots.ids(there, frozen["hash"])))) == frozen["n"]
    monkeypatch.chdir(tmp_path / "elsewhere")
    alpw("report", "side")
    # Its parent fits in around what is there.
    assert archive.restore(there, kept).there["configurations"] == 7
    assert there["campaigns"].count_documents({}) == 2


def test_what_was_imported_from_a_foreign_directory_stays_as_it_was(launchpad, elsewhere, tmp_path):
    import_directory(launchpad.db, pwact(tmp_path / "old"), "old")
    assert campaigns.get(launchpad.db, "old")["state"] == "stopped"
    archive.backup(launchpad.db, "old", tmp_path / "old.tar")
    archive.restore(elsewhere.db, tmp_path / "old.tar")
    assert everything(elsewhere.db) == everything(launchpad.db)


def goes_on(arithmetic, elsewhere, file, folder):
    """Restore a campaign that had not ended, and bring it to its end in the other database."""
    with pytest.raises(InputError, match="--while-running"):
        archive.backup(arithmetic.launchpad.db, "tiny", file)
    archive.backup(arithmetic.launchpad.db, "tiny", file, while_running=True, with_files=True)
    came = archive.restore(elsewhere.db, file, work_dir=folder)
    assert (came.state, came.work_dir) == ("stopped", str(folder))
    assert archive.restore(elsewhere.db, file, work_dir=folder).new == {}
    assert not Dataset(elsewhere.db, {"state": State.LABELLING.value}).count()
    control.resume(elsewhere, "tiny")
    other = Arithmetic(elsewhere, type(arithmetic.inputs)(folder), pytest.MonkeyPatch())
    other.deviations = DEVIATIONS
    other.run()
    return other


def test_a_campaign_that_was_running_goes_on_elsewhere_to_the_same_end(
    ended, inputs, launchpad, elsewhere, monkeypatch, tmp_path_factory
):
    monkeypatch.chdir(inputs.folder)
    arithmetic = Arithmetic(launchpad, inputs, monkeypatch)
    arithmetic.deviations = DEVIATIONS
    arithmetic.start()
    while (iterations.latest(launchpad.db, "tiny")["index"], summarise(launchpad.db, "tiny").stage) != (
        0,
        "iteration 0: label",
    ):
        arithmetic.run(1)
    arithmetic.run(1, task="LabelChunk")
    [waiting] = arithmetic.configurations(state="candidate")
    configurations.claim(launchpad.db, waiting["_id"], 999)
    folder = tmp_path_factory.mktemp("moved")
    other = goes_on(arithmetic, elsewhere, folder / "tiny.tar.gz", folder / "campaign")

    assert len(other.labelled) == 2  # that one, and the one of iteration 1
    final = [iterations.get(db, "tiny", 2) for db in (ended.launchpad.db, elsewhere.db)]
    assert final[0]["verdict"] == final[1]["verdict"] and final[0]["stage"] == final[1]["stage"] == "done"
    assert final[0]["training_set"]["content_hash"] == final[1]["training_set"]["content_hash"]
    assert (folder / "campaign" / "models").is_dir()
    assert str(inputs.folder) not in json.dumps(campaigns.find(elsewhere.db, "tiny"), default=str)
