"""``alpw template``: FireWorks' own commands work with the four files, unmodified."""

import pytest
from monty.serialization import loadfn

FILES = ("FW_config.yaml", "my_launchpad.yaml", "my_fworker.yaml", "my_qadapter.yaml")


@pytest.fixture
def elsewhere(inputs, launchpad, monkeypatch):
    """A folder with the files, not that of the database, with FW_CONFIG_FILE leading to it."""
    inputs.resource["dft"] = {"queue_name": "debug", "memory": "1G", "walltime": "0:05:00"}
    inputs.write()
    written = inputs.command("alpw", "template", "config", "--resource", "resource.json")
    assert written.returncode == 0, written.stdout + written.stderr
    monkeypatch.setenv("FW_CONFIG_FILE", str(inputs.folder / "config" / "FW_config.yaml"))
    workplace = inputs.folder / "workplace"
    workplace.mkdir()
    inputs.home, inputs.folder = inputs.folder, workplace
    yield inputs
    inputs.folder = inputs.home


def states(launchpad):
    return [document["state"] for document in launchpad.fireworks.find().sort("fw_id", 1)]


def test_every_path_in_the_files_is_absolute_and_exists(elsewhere):
    folder = elsewhere.home / "config"
    assert {path.name for path in folder.iterdir() if path.is_file()} == set(FILES)
    config = loadfn(folder / "FW_config.yaml")
    locations = {key: config[key] for key in ("LAUNCHPAD_LOC", "FWORKER_LOC", "QUEUEADAPTER_LOC")}
    assert locations == {
        "LAUNCHPAD_LOC": str(folder / "my_launchpad.yaml"),
        "FWORKER_LOC": str(folder / "my_fworker.yaml"),
        "QUEUEADAPTER_LOC": str(folder / "my_qadapter.yaml"),
    }
    adapter = loadfn(folder / "my_qadapter.yaml")
    for word in adapter["rocket_launch"].split():
        assert not word.endswith(("yaml", "rlaunch")) or word.startswith("/")
    assert adapter["logdir"] == str(folder / "queue_logs") and (folder / "queue_logs").is_dir()


def test_the_launchpad_file_may_hold_a_password_and_is_private(elsewhere):
    assert (elsewhere.home / "config" / "my_launchpad.yaml").stat().st_mode & 0o077 == 0


def test_files_are_replaced_only_by_force(elsewhere):
    elsewhere.folder = elsewhere.home
    adapter = elsewhere.home / "config" / "my_qadapter.yaml"
    adapter.write_text("mine")
    refused = elsewhere.command("alpw", "template", "config")
    assert refused.returncode == 2 and "--force" in refused.stderr
    assert adapter.read_text() == "mine"
    assert elsewhere.command("alpw", "template", "config", "--force").returncode == 0
    assert loadfn(adapter)["_fw_q_type"] == "SLURM"


def test_the_launchpad_file_in_use_is_kept(inputs, launchpad):
    before = (inputs.folder / "my_launchpad.yaml").read_text()
    assert inputs.command("alpw", "template", "--force").returncode == 0
    assert (inputs.folder / "my_launchpad.yaml").read_text() == before
    assert all((inputs.folder / name).is_file() for name in FILES)


def test_lpad_and_rlaunch_find_the_database_from_another_folder(elsewhere, launchpad):
    added = elsewhere.command("lpad", "add_scripts", "echo hello > here")
    assert added.returncode == 0, added.stdout + added.stderr
    assert states(launchpad) == ["READY"]
    assert elsewhere.command("rlaunch", "singleshot").returncode == 0
    assert states(launchpad) == ["COMPLETED"]
    assert (elsewhere.folder / "here").read_text() == "hello\n"
    counted = elsewhere.command("lpad", "get_fws", "-s", "COMPLETED", "-d", "count")
    assert counted.stdout.split()[-1] == "1"


def test_every_file_of_a_further_cluster_is_named(inputs, launchpad):
    assert inputs.command("alpw", "run", "param.json", "resource.json", "--detach").returncode == 0
    inputs.resource["dft"] = {"queue_name": "debug"}
    inputs.write()
    told = inputs.command(
        *("alpw", "template", "north", "--campaign", "tiny", "--cluster", "north"),
        "--resource",
        "resource.json",
    )
    written = sorted(str(path) for path in (inputs.folder / "north").iterdir())
    assert sorted(line.removeprefix("wrote ") for line in told.stdout.splitlines()) == written
