"""FireWorks' settings and queue adapters that hurt, as `alpw doctor` finds them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fireworks import fw_config
from monty.serialization import dumpfn
from typer.testing import CliRunner

from alpw.cli import doctor
from alpw.cli.main import app
from alpw.cluster import pitfalls, slurm
from alpw.cluster.fw_config import config_files
from alpw.cluster.queue.files import qadapter
from alpw.codes import lammps
from alpw.config.resource import ResourceBlock
from alpw.database import exposure

GOOD = {
    "QUEUE_UPDATE_INTERVAL": 0.2,
    "RAPIDFIRE_SLEEP_SECS": 2,
    "PING_TIME_SECS": 300,
    "DS_PASSWORD": "my own",
    "MONGOMOCK_SERVERSTORE_FILE": None,
}


def test_fireworks_own_defaults_hurt():
    keys = [finding.text.split(":")[0] for finding in pitfalls.setting_findings(fw_config.config_to_dict())]
    assert set(keys) >= {"QUEUE_UPDATE_INTERVAL", "RAPIDFIRE_SLEEP_SECS", "PING_TIME_SECS", "DS_PASSWORD"}


def test_good_settings_are_silent():
    assert list(pitfalls.setting_findings(GOOD)) == []


def test_a_setting_of_the_wrong_type_is_told_and_not_compared():
    (finding,) = pitfalls.setting_findings(GOOD | {"QUEUE_UPDATE_INTERVAL": "fast"})
    assert finding.text.startswith("QUEUE_UPDATE_INTERVAL: 'fast' is no number of seconds")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "PING_TIME_SEC: 3",
            "PING_TIME_SEC: FireWorks has no such setting, and does not start; write PING_TIME_SECS",
        ),
        ("a: 1\nb: [1, 2\nc: 3", "is no valid YAML in line 3 (ParserError)"),
        ("- 1", "holds no lines 'KEY: value'"),
        ("ADD_USER_PACKAGES: 3", "FireWorks cannot use it ('int' object is not iterable)"),
    ],
)
def test_a_file_with_which_fireworks_does_not_start_is_wrong_input(tmp_path, text, message):
    """In a process of its own: FireWorks is imported once."""
    (tmp_path / "FW_config.yaml").write_text(text)
    command = [sys.executable, "-m", "alpw.cli.main", "doctor"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: {tmp_path.resolve() / 'FW_config.yaml'}: {message}")
    assert len(done.stderr.splitlines()) == 1


def test_a_monty_that_breaks_offline_mode(monkeypatch):
    monkeypatch.setattr(pitfalls, "version", lambda name: "2026.2.18")
    (finding,) = pitfalls.setting_findings(GOOD)
    assert "--offline" in finding.text


def test_the_first_of_several_config_files_and_its_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("FW_config.yaml", "other.yaml"):
        dumpfn({"LAUNCHPAD_LOC": "my_launchpad.yaml", "FWORKER_LOC": "/etc/my_fworker.yaml"}, tmp_path / name)
    monkeypatch.setenv("FW_CONFIG_FILE", str(tmp_path / "other.yaml"))
    files = config_files()
    texts = [finding.text for finding in pitfalls.config_findings(files)]
    assert len(texts) == 2 and "other.yaml" in texts[0] and "LAUNCHPAD_LOC" in texts[1]


def test_messages_of_fireworks_would_stand_in_our_output(tmp_path):
    dumpfn(
        {"host": "h", "strm_lvl": "INFO", "logdir": str(tmp_path / "none")}, tmp_path / "my_launchpad.yaml"
    )
    texts = [finding.text for finding in pitfalls.launchpad_findings(tmp_path / "my_launchpad.yaml")]
    assert len(texts) == 2 and "strm_lvl" in texts[0] and "logdir" in texts[1]


def test_an_adapter_of_our_own_is_silent_and_each_trap_is_named(tmp_path):
    file = tmp_path / "my_qadapter.yaml"
    block = ResourceBlock.model_validate({"queue_name": "debug", "cpu_per_node": 2})
    good = qadapter("dft", block, tmp_path / "my_launchpad.yaml", tmp_path / "my_fworker.yaml", tmp_path)
    dumpfn(good, file)
    assert list(pitfalls.adapter_findings(file)) == []
    bad = {
        "partition": "debug",
        "wall_time": "1:00:00",
        "walltime": "soon",
        "logdir": str(tmp_path / "none"),
        "pre_rocket": None,
        "rocket_launch": "rlaunch -w my_fworker.yaml singleshot",
    }
    dumpfn(good | bad, file)
    texts = "\n".join(finding.text for finding in pitfalls.adapter_findings(file))
    for words in (
        "partition: is ignored; write queue",
        "wall_time: is ignored; write walltime",
        "walltime: 'soon' is no time limit",
        "logdir: ",
        "--no-requeue",
        "rocket_launch: rlaunch depends",
        "rocket_launch: my_fworker.yaml depends",
    ):
        assert words in texts


def test_the_doctor_shows_slurm_each_job_script(inputs, monkeypatch):
    monkeypatch.chdir(inputs.folder)
    monkeypatch.setenv("ALPW_DB_DIR", str(inputs.folder / "db"))
    inputs.resource["train"] = {"queue_name": "good"}
    inputs.resource["dft"] = {"queue_name": "bad", "walltime": "1:00:00"}
    inputs.write()
    asked = []

    def refusal(script):
        asked.append(script)
        return "Invalid partition name specified" if "--partition=bad" in script else None

    monkeypatch.setattr(slurm, "refusal", refusal)
    # Asking the programs takes seconds.
    monkeypatch.setattr(doctor, "CODES", ())
    monkeypatch.setattr(lammps, "available", lambda: (True, ""))
    answer = CliRunner().invoke(app, ["doctor", "param.json", "resource.json", "--json"])
    found = {finding["subject"]: finding for finding in json.loads(answer.stdout)}
    assert found["queue train"]["severity"] == "ok"
    assert found["queue dft"]["severity"] == "FAIL" and "Invalid partition" in found["queue dft"]["text"]
    assert found["FireWorks"]["severity"] == "warn"
    assert answer.exit_code == 1
    assert "--time=1:00:00" in asked[1] and "--no-requeue" in asked[1]
    # Nothing is written.
    assert {path.name for path in inputs.folder.iterdir()} == {"POSCAR", "param.json", "resource.json"}


def test_warnings_change_no_exit_status(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # What can run here has tests of its own, and takes seconds to tell.
    monkeypatch.setattr(doctor, "examine", lambda inputs, launchpad: [])
    monkeypatch.setattr(exposure, "PATIENCE_MS", 100)
    file = tmp_path / "my_launchpad.yaml"
    file.write_text("{host: 127.0.0.1, port: 1, username: me, password: hunter2, strm_lvl: INFO}")
    file.chmod(0o644)
    answer = CliRunner().invoke(app, ["doctor", "-l", "my_launchpad.yaml", "--json"])
    severities = {finding["subject"]: finding["severity"] for finding in json.loads(answer.stdout)}
    assert severities == {"access": "ok", "secrets": "warn", "FireWorks": "warn"}
    assert answer.exit_code == 0 and "hunter2" not in answer.output
