"""A password of the database shows up nowhere but in my_launchpad.yaml, whatever fails."""

import json
import sys

import pytest
from typer.testing import CliRunner

from alpw.cli import doctor
from alpw.cli.main import COMMANDS, app
from alpw.cluster import worker
from alpw.codes import lammps
from alpw.database import exposure, launchpad

PASSWORD = "SECRET"
ADDRESS = f"mongodb://user:{PASSWORD}@127.0.0.1:1/"

#: Commands that open the database, with the words that lead them there.
CALLS = {
    "run": ["param.json", "resource.json"],
    "init_bulk": ["init_param.json", "resource.json"],
    "launch": [],
    "reconcile": [],
    "why": ["1"],
    "status": ["tiny"],
    "campaigns": [],
    "report": ["tiny"],
    "filter": ["tiny", "--lower", "0.1", "--upper", "0.3"],
    "pause": ["tiny"],
    "resume": ["tiny"],
    "stop": ["tiny"],
    "kill": ["tiny"],
    "rerun": ["tiny", "--iteration", "0", "--from", "label"],
    "branch": ["tiny", "--at", "1"],
    "backup": ["tiny"],
    "restore": ["param.json"],
    "query": ["state=labelled"],
    "dataset snapshots": [],
    "gather_pwdata": ["--campaign", "tiny"],
    "doctor": [],
    "db start": [],
    "db stop": [],
    "db status": [],
}
#: These need no database.
OTHERS = {
    "template",
    "train",
    "test",
    "compress",
    "export",
    "import",
    "kpu",
    "to_pwdata",
    "calculate",
    "convert-input",
}

FILES = {
    "with uri_mode": {"host": ADDRESS, "uri_mode": True, "name": "fireworks"},
    "without uri_mode": {"host": ADDRESS, "name": "fireworks"},
    "in keys": {"host": "127.0.0.1", "port": 1, "username": "user", "password": PASSWORD},
    "unescaped": {"host": f"mongodb://user:{PASSWORD}/{PASSWORD}@127.0.0.1:1/", "name": "fireworks"},
}


@pytest.fixture
def unreachable(inputs, monkeypatch):
    """Writes a my_launchpad.yaml of a server that does not answer, for which nobody waits long."""
    monkeypatch.chdir(inputs.folder)
    monkeypatch.setenv("ALPW_DB_DIR", str(inputs.folder / "db"))
    monkeypatch.setattr(launchpad, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(exposure, "PATIENCE_MS", 100)
    # What can run here takes seconds to tell.
    monkeypatch.setattr(doctor, "CODES", ())
    monkeypatch.setattr(lammps, "available", lambda: (True, ""))
    monkeypatch.setattr(doctor, "_torch", lambda: (True, ""))
    init = {"campaign": "tiny", "dft": {"dft_style": "xtb"}, "sys_configs": [{"config": "POSCAR"}]}
    (inputs.folder / "init_param.json").write_text(json.dumps(init))

    def write(settings):
        (inputs.folder / "my_launchpad.yaml").write_text(json.dumps(settings))
        (inputs.folder / "my_launchpad.yaml").chmod(0o600)

    return write


def leaks(folder):
    """Files that hold the password and are not meant to."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "my_launchpad.yaml"]
    return [path for path in files if PASSWORD.encode() in path.read_bytes()]


def test_every_command_is_in_one_of_the_lists():
    assert {name.split()[0] for name in CALLS} | OTHERS == {*COMMANDS, "db"}


@pytest.mark.parametrize("command", CALLS)
def test_a_command_that_cannot_reach_the_database(unreachable, inputs, caplog, command):
    unreachable(FILES["without uri_mode"])
    answer = CliRunner().invoke(app, [*command.split(), *CALLS[command], "-l", "my_launchpad.yaml"])
    # It came as far as the database, and failed there.
    assert "127.0.0.1:1" in answer.output
    assert PASSWORD not in answer.output + caplog.text + repr(answer.exception)
    assert leaks(inputs.folder) == []


@pytest.mark.parametrize("settings", FILES.values(), ids=FILES)
@pytest.mark.parametrize("option", [[], ["--json"]], ids=["text", "json"])
def test_a_file_that_holds_the_password_in_another_way(unreachable, inputs, caplog, settings, option):
    unreachable(settings)
    answer = CliRunner().invoke(app, ["campaigns", "-l", "my_launchpad.yaml", *option])
    assert answer.exit_code == 1 and "127.0.0.1:1" in answer.output
    assert PASSWORD not in answer.output + caplog.text


def test_a_worker_without_its_database(unreachable, inputs, capfd, monkeypatch):
    unreachable(FILES["without uri_mode"])
    monkeypatch.setattr(worker, "DATABASE_PATIENCE", 0)
    words = ["worker", str(inputs.folder / "my_launchpad.yaml"), "tiny", str(inputs.folder)]
    monkeypatch.setattr(sys, "argv", words)
    assert worker.main() == 1
    said = "".join(capfd.readouterr())
    assert "127.0.0.1:1" in said and PASSWORD not in said
    assert leaks(inputs.folder) == []
