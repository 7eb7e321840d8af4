"""Passwords in addresses, and in what the driver says of them; who else can get at database and files."""

import os
import socket
import subprocess

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from alpw.database import daemon, exposure
from alpw.database.launchpad import read_launchpad_file, write_launchpad_file
from alpw.database.secrets import has_credentials, without_secrets
from alpw.findings import Severity

#: Passwords of people who forgot to escape what an address gives another meaning.
PASSWORDS = ["hunter2", "hun/ter2", "hun:ter2", "hun@ter2", "hun?ter2=1", "hun%ter2", "hun#ter2", "hun[ter2]"]


@pytest.mark.parametrize("password", PASSWORDS)
def test_whatever_the_driver_complains_about_a_password_is_not_in_it(password):
    settings = {"host": f"mongodb://me:{password}@127.0.0.1:1/db", "uri_mode": True, "name": "db"}
    try:
        MongoClient(settings["host"], connect=False).close()
        message = settings["host"]
    except (PyMongoError, ValueError) as error:
        message = f"{settings['host']}: {error!r}"
    shown = without_secrets(message, settings)
    assert "hun" not in shown and "ter2" not in shown


def test_addresses_in_a_text_keep_their_hosts():
    text = "cannot reach mongodb://me:hunter2@a:1,b:2/db nor mongodb+srv://c.example/db"
    assert without_secrets(text) == "cannot reach mongodb://a:1,b:2/db nor mongodb+srv://c.example/db"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"host": "h"}, False),
        ({"host": "h", "username": "me", "password": "p"}, True),
        ({"host": "mongodb://%2Ftmp%2Fm.sock", "uri_mode": True}, False),
        ({"host": "mongodb://me:p@h"}, True),
    ],
)
def test_settings_with_which_one_can_log_in(settings, expected):
    assert has_credentials(settings) is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("mongodb://%2Ftmp%2Fm.sock", []),
        ("mongodb://localhost:1", []),
        ("mongodb://127.0.0.2:1,[::1]:1", []),
        ("mongodb://db.example", ["db.example:27017"]),
        ("mongodb://localhost:1,10.0.0.1:2/db", ["10.0.0.1:2"]),
    ],
)
def test_where_others_reach_a_server(address, expected):
    assert exposure.outward_addresses(address) == expected


def test_a_server_on_loopback_may_listen_elsewhere_too():
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        assert exposure.outward_addresses(f"mongodb://localhost:{port}") == [f"0.0.0.0:{port}"]


def test_an_open_database_is_a_warning_only_where_others_reach_it(tmp_path, monkeypatch):
    server = daemon.start(tmp_path / "db")
    try:
        file = write_launchpad_file(tmp_path / "my_launchpad.yaml", server.uri)
        assert exposure.lets_anybody_in(read_launchpad_file(file))
        (finding,) = exposure.database_findings(file)
        assert finding.severity is Severity.OK
        monkeypatch.setattr(exposure, "outward_addresses", lambda address: ["10.0.0.1:27017"])
        (finding,) = exposure.database_findings(file)
        assert finding.severity is Severity.WARN and "10.0.0.1:27017" in finding.text
    finally:
        daemon.stop(tmp_path / "db")


def test_a_silent_server_is_judged_by_whether_there_is_a_password(monkeypatch):
    monkeypatch.setattr(exposure, "PATIENCE_MS", 100)
    assert exposure.lets_anybody_in({"host": "127.0.0.1", "port": 1})
    assert not exposure.lets_anybody_in({"host": "127.0.0.1", "port": 1, "password": "p"})


@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0), (0o640, 1), (0o604, 1)])
def test_a_password_that_others_can_read(tmp_path, mode, expected):
    file = tmp_path / "my_launchpad.yaml"
    file.write_text("{host: h, username: me, password: hunter2}")
    file.chmod(mode)
    found = list(exposure.file_findings(exposure.launchpad_files(tmp_path)))
    assert len(found) == expected
    assert all("chmod 600" in finding.text and "hunter2" not in finding.text for finding in found)


def test_a_password_that_a_commit_would_publish(tmp_path):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    subprocess.run(["git", "init", "-q", tmp_path], check=True, env=environment)
    (tmp_path / "in it").mkdir()
    file = tmp_path / "in it" / "my_launchpad.yaml"
    file.touch(0o600)
    file.write_text("{host: 'mongodb://me:hunter2@h', uri_mode: true, name: db}")
    secrets = exposure.launchpad_files(file.parent)
    (finding,) = exposure.file_findings(secrets)
    assert finding.severity is Severity.WARN and ".gitignore" in finding.text
    (tmp_path / ".gitignore").write_text("my_launchpad.yaml\n")
    assert list(exposure.file_findings(secrets)) == []


def test_a_file_without_a_password_may_be_read_by_anybody(tmp_path):
    (tmp_path / "my_launchpad.yaml").write_text("{host: localhost}")
    (tmp_path / "notes_launchpad.yaml").write_text("not: [yaml")
    assert exposure.launchpad_files(tmp_path) == {}
