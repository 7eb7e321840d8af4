"""Whole campaigns through real FireWorks, LAMMPS, torch and xTB."""

import json
from pathlib import Path

import pytest

from alpw.database import configurations, iterations, models, snapshots
from alpw.database.configurations import Role
from alpw.potential import DeepPotential
from alpw.potential.covariance import Covariance
from tests.campaigns import check_finished, labelled_once

TEMPLATE = Path(__file__).parents[2] / "fireworks_templates" / "active_learning.yaml"


@pytest.mark.slow
def test_rlaunch_alone_unfolds_a_campaign_from_one_firework(inputs, launchpad):
    own = TEMPLATE.read_text().replace("examples/silicon/", "")
    (inputs.folder / "start.yaml").write_text(own)
    assert inputs.command("lpad", "add", "start.yaml").returncode == 0
    result = inputs.command("rlaunch", "rapidfire", "--sleep", "1", timeout=500)
    assert result.returncode == 0, result.stdout + result.stderr

    summary = check_finished(launchpad)
    assert len(summary.iterations) == 2
    documents = labelled_once(launchpad)
    assert len({document["settings_hash"] for document in documents}) == 1

    for document in iterations.of_campaign(launchpad.db, "tiny")[1:3]:
        chosen = [label for label in documents if label["iteration"] == document["index"]]
        assert {label["model_error"]["iteration"] for label in chosen} == {document["index"]}
        assert document["fresh_errors"]["n_frames"] == len(chosen)
        assert document["calibration"]["committee"]["n_pairs"] >= len(chosen)
        assert all(hours > 0 for hours in document["core_hours"].values())
    assert sum(document["dataset"].values()) == len(documents)

    trained = models.committee(launchpad.db, "tiny", 1)
    assert len(trained) == 3
    snapshot = set(snapshots.ids(launchpad.db, trained[0]["training_set"]["hash"]))
    validation = set(configurations.ids(launchpad.db, "tiny", Role.VALIDATION))
    assert validation and not validation & snapshot
    assert len(snapshot) > models.committee(launchpad.db, "tiny", 0)[0]["training_set"]["n"]
    assert all(model["warm_start"] for model in trained)

    written = json.loads((inputs.folder / "summary.json").read_text())
    assert written["verdict"] == summary.state and len(written["iterations"]) == 2
    assert (inputs.folder / "history.png").stat().st_size > 10_000

    counted = inputs.command("lpad", "get_fws", "-d", "count")
    assert int(counted.stdout.split()[-1]) == launchpad.fireworks.count_documents({})
    assert inputs.command("lpad", "get_wflows").stdout.count('"name"') == launchpad.workflows.count_documents(
        {}
    )


@pytest.mark.slow
def test_a_label_engine_that_cannot_run_stalls_loudly_and_goes_on_when_mended(inputs, launchpad):
    inputs.param["initial"]["perturb"] = 6
    inputs.param["strategy"]["max_iterations"] = 1
    inputs.param["train"]["together"] = True
    inputs.resource["dft"]["command"] = "false"
    inputs.write()
    stalled = inputs.command("alpw", "run", "param.json", "resource.json", timeout=200)
    assert stalled.returncode == 1
    assert "stalled" in stalled.stdout and "0 of 6 initial structures were labelled" in stalled.stdout
    status = inputs.command("alpw", "status", "tiny", "--json")
    assert json.loads(status.stdout)["errors"] == {"unknown": 6}
    assert len(json.loads(status.stdout)["quarantined"]) == 6
    shown = inputs.command("alpw", "status", "tiny").stdout
    assert shown.count("quarantined: xtb unknown: ended without its closing mark; exit status 1") == 5
    assert "1 more of class unknown" in shown and "  unknown: look into the folder" in shown

    del inputs.resource["dft"]["command"]
    inputs.write()
    mended = inputs.command("alpw", "run", "param.json", "resource.json", "--update", timeout=500)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    check_finished(launchpad)
    documents = list(launchpad.db[configurations.COLLECTION].find({"iteration": -1}))
    assert all(document["errors"][0]["kind"] == "unknown" for document in documents)


@pytest.mark.slow
def test_other_trainings_run_in_the_loop(inputs, launchpad):
    inputs.param["train"] |= {"together": True, "type_embedding": "learned"}
    inputs.param["train"]["optimizer"] = {"optimizer": "LKF", "epochs": 2, "block_size": 500}
    inputs.param["strategy"] |= {"compress": True, "deviation": "legacy", "max_iterations": 1}
    inputs.write()
    done = inputs.command("alpw", "run", "param.json", "resource.json", "--workers", "2", timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr

    fireworks = launchpad.fireworks.distinct("name")
    assert "tiny.0000: train members 0 to 2" in fireworks
    trained = list(launchpad.db["models"].find({"iteration": 0}).sort("member", 1))
    assert [model["member"] for model in trained] == [0, 1, 2]
    for model in trained:
        potential = DeepPotential.from_bytes(models.weights(launchpad.db, model))
        assert potential.tables is not None and potential.config.type_embedding == "learned"
        assert model["compression"]["force_error"] < 1e-6
        assert Covariance.load(model["covariance"]).kind == "lkf"
        Covariance.load(model["covariance"]).check(potential)
    assert len({model["seeds"]["weights"] for model in trained}) == 3
    assert {run["deviation"] for run in launchpad.db["trajectories"].find()} == {"legacy"}
