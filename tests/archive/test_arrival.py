"""Campaigns that had not ended, in another database."""

from datetime import datetime
from pathlib import Path

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from fireworks import FWorker
from fireworks.core.rocket_launcher import rapidfire

from alpw import archive
from alpw.archive.arrival import Arrival
from alpw.archive.contents import Contents
from alpw.cluster import control
from alpw.database import calculations, campaigns, iterations, preparations
from alpw.errors import InputError
from tests.firetasks.init_bench import NAME, InitBench

HEADER = {
    "campaign": "tiny",
    "kind": "active_learning",
    "newest": 3,
    "created": "2026-01-01T00:00:00+00:00",
    "state": "running",
    "work_dir": "/old",
}
WHEN = datetime(2026, 1, 1)


def arrived(collection, document, work_dir=None, **header):
    raw = RawBSONDocument(bson.encode({"_id": 1, "campaign": "tiny", **document}))
    found = bson.decode(Arrival(HEADER | header, work_dir)(collection, raw).raw)
    return {key: value for key, value in found.items() if key not in ("_id", "campaign")}


def test_what_was_being_computed_waits_again():
    claimed = {"state": "labelling", "iteration": 3, "claim": {"fw_id": 7}, "created": WHEN}
    assert arrived("configurations", claimed) == {"state": "candidate", "iteration": 3, "created": WHEN}
    late = arrived("configurations", claimed | {"iteration": 2})
    assert (late["state"], late["error"]["kind"], late["error"]["at"]) == ("quarantined", "node", WHEN)
    done = {"state": "labelled", "iteration": 2, "created": WHEN}
    assert arrived("configurations", done) == done
    assert arrived("calculations", {"state": "unfinished", "claim": {}}) == {"state": "waiting"}


@pytest.mark.parametrize(
    ("document", "entry"),
    [
        ({"index": 3, "kind": "explore", "stage": "label"}, "collect"),
        ({"index": -1, "kind": "prepare", "stage": "done"}, "collect"),
        ({"index": 3, "kind": "explore", "stage": "explore"}, None),
        ({"index": 3, "kind": "final", "stage": "done"}, None),
    ],
)
def test_the_newest_iteration_gets_a_workflow_again_without_losing_a_stage(document, entry):
    old = document | {"workflow": {"added": WHEN}, "collector": {"fw_id": 7}}
    found = arrived("iterations", old, newest=document["index"])
    assert (found["workflow"], found["collector"], found.get("entry")) == (None, None, entry)
    assert arrived("iterations", old, newest=4) == old


def test_what_has_ended_or_was_never_run_here_or_belongs_to_another_stays_as_it_was():
    claimed = {"state": "labelling", "iteration": 3, "claim": {"fw_id": 7}, "created": WHEN}
    for header in ({"state": "converged"}, {"kind": "imported", "state": "stopped"}, {"campaign": "tin"}):
        assert arrived("configurations", claimed, **header) == claimed


def test_paths_in_the_folder_move_and_others_do_not():
    document = {"a": {"b": ["/old", "/old/x y", "/older", "x/old/y"]}, "campaign": "tiny@2"}
    found = arrived("models", document, Path("/new"), state="converged")
    assert found == {"a": {"b": ["/new", "/new/x y", "/older", "x/old/y"]}}


def test_nothing_of_an_iteration_that_begins_during_a_backup_is_taken(launchpad):
    db = launchpad.db
    campaigns.create(db, "tiny", {"work_dir": "/old"})
    label = {"campaign": "tiny", "iteration": 0, "state": "labelled"}
    iterations.create(db, "tiny", 0, {})
    db["configurations"].insert_one(label | {"_id": 1})
    contents = Contents(db, "tiny", at_work=True)
    campaigns.finish(db, "tiny", campaigns.CampaignState.EXHAUSTED, "done")
    iterations.create(db, "tiny", 1, {})
    db["configurations"].insert_many([label | {"_id": 2}, label | {"_id": 3, "iteration": 1}])
    found = {(collection, document["_id"]) for collection, document in contents.documents()}
    first = iterations.get(db, "tiny", 0)["_id"]
    assert found == {
        ("campaigns", "tiny"),
        ("iterations", first),
        ("configurations", 1),
        ("configurations", 2),
    }
    assert contents.campaign["state"] == "running"


def test_init_bulk_goes_on_elsewhere_to_the_same_frames(tmp_path, launchpad, elsewhere, monkeypatch):
    bench = InitBench(tmp_path, launchpad, monkeypatch)
    bench.init["sys_configs"] = [bench.entry(relax=True, perturb=2, aimd=True)] * 2
    bench.start()
    relaxation = launchpad.db["calculations"].find_one({"campaign": NAME})
    calculations.claim(launchpad.db, relaxation["_id"], 999)
    with pytest.raises(InputError, match="--while-running"):
        archive.backup(launchpad.db, NAME, tmp_path / "early.tar")
    archive.backup(launchpad.db, NAME, tmp_path / "early.tar", while_running=True)
    calculations.reopen(launchpad.db, NAME)
    whole = bench.work()

    assert archive.restore(elsewhere.db, tmp_path / "early.tar").state == "stopped"
    control.resume(elsewhere, NAME)
    rapidfire(elsewhere, FWorker(), m_dir=str(tmp_path), strm_lvl="CRITICAL")
    states = [found["state"] for found in preparations.of_campaign(elsewhere.db, NAME)]
    assert states == [structure.state for structure in whole.structures] == ["done", "done"]
    frames = [db["configurations"].distinct("label_hash") for db in (launchpad.db, elsewhere.db)]
    assert sorted(frames[0]) == sorted(frames[1]) != []
