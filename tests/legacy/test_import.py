"""Directories of DP-GEN and PWact become campaigns with their iterations, and nothing is made up."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
from typer.testing import CliRunner

from alpw.cli.main import app
from alpw.config import load_inputs
from alpw.database import campaigns, iterations
from alpw.errors import InputError
from alpw.legacy import import_directory, recognise, store
from alpw.workflows.launch import start_campaign
from tests.legacy.samples import dpgen, frames, pwact


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    return dpgen(tmp_path_factory.mktemp("dpgen") / "sic_run")


def labels(db, name, **wanted):
    query = {"campaign": name, "state": "labelled", **wanted}
    return list(db.configurations.find(query).sort([("iteration", 1), ("key", 1)]))


def test_directories_are_recognised(ran, tmp_path):
    assert recognise(ran) == "dpgen"
    assert [recognise(pwact(tmp_path / str(n), newer=n == 1)) for n in range(2)] == ["pwact"] * 2
    # A campaign of our own has folders of the same names.
    (tmp_path / "own/iter.0000/label/000").mkdir(parents=True)
    assert recognise(tmp_path / "own") is None and recognise(tmp_path / "nothing") is None


def test_a_campaign_of_dpgen_with_counts_labels_and_where_they_are_from(ran, launchpad):
    db = launchpad.db
    report = import_directory(db, ran, "sic")
    assert (report.new, report.there, report.duplicates, report.state) == (9, 0, 0, "completed")
    assert any("data.hdf5 is in no format" in note for note in report.notes)
    campaign = campaigns.get(db, "sic")
    assert campaign["param"]["numb_models"] == 4 and "hunter2" not in repr(campaign)
    first, second, last = iterations.of_campaign(db, "sic")
    # Of iteration 0 from the reports, of iteration 1 from the log.
    assert first["counts"] == {"accurate": 12, "candidate": 5, "failed": 3} and first["frames"] == 20
    assert second["counts"] == {"accurate": 55, "candidate": 14, "failed": 1}
    assert second["thresholds"]["committee"]["sys.001"] == {"lower": 0.08, "upper": 0.4}
    assert (last["kind"], last["stage"], "counts" in last) == ("final", "done", False)
    found = labels(db, "sic", iteration=0)
    want = frames(2, 2)
    assert [document["source"]["task"] for document in found] == ["task.000.000000", "task.000.000001"]
    assert [document["source"]["temperature"] for document in found] == [300.0, 600.0]
    for document, (atoms, label) in zip(found, want, strict=True):
        assert document["energy"] == label.energy and document["code"] == "vasp"
        assert document["max_force"] == pytest.approx(np.linalg.norm(label.forces, axis=1).max(), rel=1e-14)
        # Positive under compression on both sides.
        assert document["pressure"] == pytest.approx(
            np.trace(label.virial) / 3 / atoms.get_volume() * 160.2176634, rel=1e-6
        )
    # Three tasks and two labels: which label is of which task is not known.
    assert all("task" not in document["source"] for document in labels(db, "sic", formula="Si8"))
    assert Counter(document["iteration"] for document in labels(db, "sic")) == {-1: 3, 0: 2, 1: 4}
    again = import_directory(db, ran, "sic")
    assert (again.new, again.there, again.state) == (0, 9, "completed")


@pytest.mark.parametrize("newer", [False, True])
def test_a_campaign_of_pwact_that_was_not_finished(newer, launchpad, tmp_path):
    directory = pwact(tmp_path / "si", newer=newer)
    db = launchpad.db
    report = import_directory(db, directory)
    assert report.state == "stopped" and "2 iterations were asked for" in report.reason
    first, second = iterations.of_campaign(db, "si")
    assert first["counts"] == {"accurate": 20, "candidate": 8, "failed": 2}
    assert (first["stage"], second["stage"], "counts" in second) == ("done", "explore", False)
    assert first["thresholds"]["committee"] == {"all": {"lower": 0.1, "upper": 0.2}}
    initial = Counter(document["role"] for document in labels(db, "si", iteration=-1))
    assert initial == {"train": 3, "validation": 1}
    found = labels(db, "si", iteration=0)
    if newer:
        assert len(found) == 5 and all("task" not in document["source"] for document in found)
    else:
        assert Counter(document["role"] for document in found) == {"train": 4, "validation": 2}
        # The name says the second temperature of block 0, and the first of block 1 at its pressure.
        known = {(d["source"]["temperature"], d["source"].get("pressure")) for d in found}
        assert known == {(800.0, None), (300.0, 1.0)}


def test_a_broken_file_leaves_nothing_and_a_cut_import_is_finished_by_another(
    launchpad, tmp_path, monkeypatch
):
    directory = dpgen(tmp_path / "run")
    db = launchpad.db
    energies = directory / "iter.000001/02.fp/data.001/set.000/energy.npy"
    whole = energies.read_bytes()
    energies.write_bytes(whole[:-4])
    with pytest.raises(InputError, match=r"energy\.npy"):
        import_directory(db, directory)
    assert campaigns.find(db, "run") is None and db.configurations.count_documents({}) == 0
    energies.write_bytes(whole)
    add, calls = store._add, []

    def dies(*arguments):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(add(*arguments))
        return calls[-1]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store, "_add", dies)
        import_directory(db, directory)
    assert "give it again" in campaigns.get(db, "run")["verdict"]
    report = import_directory(db, directory)
    assert (report.new, report.there, report.state) == (4, 5, "completed")
    # What PWact's appending writer repeats is there once.
    shutil.copytree(directory / "iter.000000/02.fp/data.000", directory / "iter.000000/02.fp/data.007")
    assert import_directory(db, directory).duplicates == 2
    with pytest.raises(InputError, match="another one"):
        import_directory(db, dpgen(tmp_path / "other"), "run")


def test_commands_show_it_and_none_runs_it(ran, launchpad, inputs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    import_directory(launchpad.db, ran, "tiny")
    import_directory(launchpad.db, pwact(inputs.folder / "pw"), "stopped")

    def alpw(*words):
        return CliRunner().invoke(app, [*words, "-l", str(inputs.folder / "my_launchpad.yaml")])

    shown = json.loads(alpw("status", "tiny", "--json").stdout)
    assert (shown["state"], shown["seconds"], len(shown["iterations"])) == ("completed", None, 2)
    assert shown["iterations"][0]["force_rmse_heldout"] is None
    told = [alpw("campaigns"), alpw("status", "stopped")]
    assert [result.exit_code for result in told] == [0, 0]
    assert "stopped" in told[0].stdout and "2 iterations were asked for" in told[1].stdout
    page = inputs.folder / "page.html"
    assert alpw("report", "tiny", "-o", str(page)).exit_code == 0
    text = page.read_text()
    assert "Campaign of DP-GEN, imported" in text and "sys.001" in text and "FireWorks" not in text
    # The campaign's name in param.json is that of the imported one.
    files = [str(inputs.folder / name) for name in ("param.json", "resource.json")]
    for words in (["run", *files], ["resume", "stopped"], ["pause", "stopped"]):
        refused = alpw(*words)
        assert refused.exit_code == 2 and "was imported and cannot be run" in refused.stderr
    with pytest.raises(InputError, match="was imported and cannot be run"):
        start_campaign(launchpad, *load_inputs(*files))
