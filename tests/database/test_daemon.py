"""`alpw db` and `my_launchpad.yaml`: start, stop, status, and who owns the address in the file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from fireworks import fw_config
from typer.testing import CliRunner

from alpw.cli.db import app
from alpw.database import daemon
from alpw.database.launchpad import (
    database,
    find_launchpad_file,
    open_launchpad,
    prepare,
    read_launchpad_file,
    write_launchpad_file,
)
from alpw.database.secrets import server_uri
from alpw.errors import DatabaseError, InputError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder without any configuration, and a data directory of its own."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("ALPW_DB_DIR", str(tmp_path / "db"))
    monkeypatch.setattr(fw_config, "CONFIG_FILE_DIR", ".")
    monkeypatch.setattr(fw_config, "LAUNCHPAD_LOC", None)
    yield tmp_path / "work"
    daemon.stop(tmp_path / "db")


def alpw_db(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == status, result.output
    return result.output


def lpad(*arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("lpad")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_lpad_works_at_once_in_the_folder_where_the_database_was_started(folder: Path) -> None:
    assert "my_launchpad.yaml" in alpw_db("start")
    assert stat.S_IMODE((folder / "my_launchpad.yaml").stat().st_mode) == 0o600
    (folder / "fw.json").write_text(
        json.dumps({"spec": {"_tasks": [{"_fw_name": "ScriptTask", "script": "true"}]}})
    )
    lpad("add", "fw.json")
    assert json.loads(lpad("get_fws"))["fw_id"] == 1


def test_start_is_idempotent_and_status_tells_by_its_exit_status(folder: Path) -> None:
    assert json.loads(alpw_db("status", "--json", status=1))["reachable"] is False
    first = json.loads(alpw_db("start", "--json"))
    again = json.loads(alpw_db("start", "--json"))
    assert (first["pid"], first["started"], again["started"]) == (again["pid"], True, False)
    state = json.loads(alpw_db("status", "--json"))
    assert (state["kind"], state["pid"], state["running"]) == ("embedded", first["pid"], True)
    assert "Stopped" in alpw_db("stop")
    assert not psutil.pid_exists(first["pid"])
    assert "No private database" in alpw_db("stop")
    alpw_db("status", status=1)


def test_a_stopped_database_starts_again_where_its_file_says(folder: Path, tmp_path: Path) -> None:
    alpw_db("start", "--dir", str(tmp_path / "elsewhere"))
    try:
        lpad_pid = json.loads(alpw_db("status", "--json"))["pid"]
        alpw_db("stop")
        again = json.loads(alpw_db("start", "--json"))
        assert Path(again["directory"]) == tmp_path / "elsewhere"
        assert again["pid"] != lpad_pid
        assert daemon.status().uri is None
    finally:
        daemon.stop(tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["demo", "d" * 120], ids=["socket inside", "socket elsewhere"])
def test_a_database_whose_directory_was_removed_starts_afresh(
    folder: Path, tmp_path: Path, name: str
) -> None:
    directory = tmp_path / name / "db"
    alpw_db("start", "--dir", str(directory))
    alpw_db("stop")
    settings = (folder / "my_launchpad.yaml").read_text()
    shutil.rmtree(directory.parent)
    try:
        again = json.loads(alpw_db("start", "--dir", str(directory), "--json"))
        assert (Path(again["directory"]), again["started"]) == (directory, True)
        assert (folder / "my_launchpad.yaml").read_text() == settings
        assert json.loads(alpw_db("status", "--json"))["pid"] == again["pid"]
    finally:
        daemon.stop(directory)


def test_the_socket_of_another_server_is_not_taken_for_a_removed_directory(folder: Path) -> None:
    directory = folder / "db"
    address = f"mongodb://{quote(str(directory), safe='')}%2F"
    assert daemon.directory_of(f"{address}mongo.sock", directory) == directory
    assert daemon.directory_of(f"{address}mongodb-27017.sock", directory) is None
    assert daemon.directory_of(f"{address}mongo.sock", folder / "other") is None


def test_a_configured_server_is_used_and_left_alone(folder: Path, tmp_path: Path) -> None:
    other = daemon.start(tmp_path / "other", port=0)
    # the state file is what makes a server ours
    state = (tmp_path / "other" / "server.json").read_text()
    (tmp_path / "other" / "server.json").unlink()
    write_launchpad_file(folder / "my_launchpad.yaml", other.uri)
    try:
        assert "nothing to start" in alpw_db("start")
        assert json.loads(alpw_db("status", "--json"))["kind"] == "configured"
        assert "own tools" in alpw_db("stop", status=1)
        assert psutil.pid_exists(other.pid)
    finally:
        (tmp_path / "other" / "server.json").write_text(state)
        daemon.stop(tmp_path / "other")


def test_a_private_mongod_is_preferred(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # stands in for mongod: serves the address that the real one would be given
    stand_in = tmp_path / "bin" / "mongod"
    stand_in.parent.mkdir()
    stand_in.write_text(
        "#!/bin/sh\n"
        "while [ $# -gt 0 ]; do case $1 in --dbpath) data=$2;; --bind_ip) socket=$2;; esac; shift; done\n"
        f'exec {sys.executable} -m alpw.database.embedded --dir "$data" --socket "$socket"\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")
    server = daemon.start()
    assert server.kind == "mongod"
    assert daemon.status().kind == "mongod"
    assert daemon.start().pid == server.pid
    assert daemon.stop()
    assert not psutil.pid_exists(server.pid)


def test_mongod_listens_on_a_private_socket_or_on_loopback(tmp_path: Path) -> None:
    command, uri = daemon.mongod_command("/usr/bin/mongod", tmp_path, None)
    options = dict(zip(command[1::2], command[2::2], strict=False))
    assert options["--dbpath"] == str(tmp_path / "mongod")
    assert command[command.index("--bind_ip") + 1] == str(tmp_path / "mongo.sock")
    assert command[command.index("--filePermissions") + 1] == "0600"
    assert uri == f"mongodb://{str(tmp_path / 'mongo.sock').replace('/', '%2F')}"
    command, uri = daemon.mongod_command("/usr/bin/mongod", tmp_path, 4711)
    assert command[-5:] == ["--bind_ip", "127.0.0.1", "--port", "4711", "--nounixsocket"]
    assert uri == "mongodb://127.0.0.1:4711"


def test_a_stale_state_file_is_not_taken_for_a_server(folder: Path) -> None:
    server = daemon.start()
    os.kill(server.pid, signal.SIGKILL)
    os.waitpid(server.pid, 0)
    state_file = server.directory / "server.json"
    state = json.loads(state_file.read_text())
    assert daemon.status().running is False
    # the number now belongs to another process, which must survive
    state["pid"] = os.getpid()
    state_file.write_text(json.dumps(state))
    assert daemon.status().running is False
    assert daemon.stop() is False
    assert daemon.start().started


def test_starts_that_come_together_give_one_server(folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        servers = list(pool.map(lambda _: daemon.start(), range(4)))
    assert len({server.pid for server in servers}) == 1
    assert sum(server.started for server in servers) == 1


def test_the_server_has_a_session_of_its_own(folder: Path) -> None:
    assert os.getsid(daemon.start().pid) != os.getsid(0)


def test_a_directory_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match="file"):
        daemon.start(tmp_path / "file" / "db")


def test_the_launchpad_file_is_found_as_fireworks_finds_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_launchpad_file() is None
    central = write_launchpad_file(tmp_path / "central.yaml", "mongodb://a")
    monkeypatch.setattr(fw_config, "LAUNCHPAD_LOC", str(central))
    assert find_launchpad_file() == central
    write_launchpad_file(folder / "my_launchpad.yaml", "mongodb://b")
    assert find_launchpad_file().resolve() == folder / "my_launchpad.yaml"
    explicit = write_launchpad_file(tmp_path / "explicit.yaml", "mongodb://c")
    assert find_launchpad_file(explicit) == explicit
    with pytest.raises(InputError, match="absent"):
        find_launchpad_file(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="exists already"):
        write_launchpad_file(explicit, "mongodb://d")


@pytest.mark.parametrize(
    "content",
    ["host: [", "just text", "name: fireworks\n", "- 1\n"],
    ids=["syntax", "text", "no host", "list"],
)
def test_a_bad_launchpad_file_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "my_launchpad.yaml"
    file.write_text(content)
    with pytest.raises(InputError, match=r"my_launchpad\.yaml: ") as caught:
        read_launchpad_file(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"host": "h", "port": 5}, "mongodb://h:5"),
        ({"host": "h", "username": "u", "password": "secret"}, "mongodb://h:27017"),
        ({"host": "mongodb://u:secret@h/db?tls=true", "uri_mode": True}, "mongodb://h/db"),
        ({"host": "mongodb+srv://u:se@cret@h", "uri_mode": True}, "mongodb+srv://h"),
        ({"host": "mongodb://u:se/cr?et@h/db", "uri_mode": True}, "mongodb://h/db"),
        # the driver takes both
        ({"host": "mongodb://u:secret@h/db"}, "mongodb://h/db"),
        ({"host": "u:secret@h", "port": 5}, "mongodb://h:5"),
        ({"host": "mongodb://%2Ftmp%2Fm.sock/", "uri_mode": True}, "mongodb://%2Ftmp%2Fm.sock"),
    ],
)
def test_the_address_is_shown_without_password(settings: dict, shown: str) -> None:
    assert server_uri(settings) == shown


@pytest.mark.slow
def test_an_unreachable_database_is_one_line_within_twelve_seconds(tmp_path: Path) -> None:
    file = tmp_path / "my_launchpad.yaml"
    file.write_text("host: mongodb://me:hunter2@127.0.0.1:9/fireworks\nuri_mode: true\nname: fireworks\n")
    begun = time.monotonic()
    with pytest.raises(DatabaseError) as caught:
        open_launchpad(file)
    # the requirement on the user's waiting time, not a measurement
    assert time.monotonic() - begun < 12
    message = str(caught.value)
    for part in (str(file), "mongodb://127.0.0.1:9", "alpw db start"):
        assert part in message
    assert "hunter2" not in message
    assert "\n" not in message


def test_a_refused_login_does_not_show_the_password(folder: Path, tmp_path: Path) -> None:
    server = daemon.start(port=0)
    port = server.uri.rsplit(":", 1)[1]
    file = tmp_path / "login.yaml"
    file.write_text(f"host: 127.0.0.1\nport: {port}\nname: fireworks\nusername: me\npassword: hunter2\n")
    with pytest.raises(DatabaseError) as caught:
        open_launchpad(file)
    assert "hunter2" not in str(caught.value)


def test_prepare_may_run_in_many_processes_at_once(folder: Path) -> None:
    file = write_launchpad_file(folder / "my_launchpad.yaml", daemon.start().uri, name="campaigns")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: prepare(open_launchpad(file)), range(8)))
    found = database(open_launchpad(file))
    assert found.name == "campaigns"
    assert list(found.fw_id_assigner.find()) == [{"_id": -1, "next_fw_id": 1, "next_launch_id": 1}]
    assert "fw_id_1" in found.fireworks.index_information()


@pytest.mark.parametrize("command", ["start", "stop", "status"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    assert f"alpw db {command}" in alpw_db(command, "--help")
