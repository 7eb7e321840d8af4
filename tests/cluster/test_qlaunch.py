"""A campaign that FireWorks' own commands run with the files that `alpw run --detach` writes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from alpw.database import campaigns, configurations
from tests.campaigns import check_finished


@pytest.mark.slow
@pytest.mark.slurm
def test_qlaunch_and_rlaunch_alone_bring_a_campaign_to_its_verdict(slurm, queued, launchpad, monkeypatch):
    started = queued.command("alpw", "run", "param.json", "resource.json", "--detach")
    assert started.returncode == 0 and "qlaunch" in started.stdout, started.stdout + started.stderr

    queue, launches = queued.folder / "queue", queued.folder / "launches"
    launches.mkdir()
    monkeypatch.setenv("FW_CONFIG_FILE", str(queue / "FW_config.yaml"))
    forever = ["rapidfire", "--nlaunches", "infinite", "--sleep", "1"]
    commands = [["rlaunch", "-s", "-w", queue / "my_fworker_light.yaml", *forever]]
    for block in ("train", "explore", "dft"):
        files = ["-w", queue / f"my_fworker_{block}.yaml", "-q", queue / f"my_qadapter_{block}.yaml"]
        commands.append(["qlaunch", "-s", "-r", "--launch_dir", launches, *files, *forever, "-m", "5"])
    programs = Path(sys.executable).parent
    running = [
        subprocess.Popen([programs / command[0], *command[1:]], cwd=launches, stdout=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        deadline = time.monotonic() + 500
        while campaigns.is_running(launchpad.db, "tiny") and time.monotonic() < deadline:
            time.sleep(0.5)
    finally:
        for process in running:
            process.terminate()
            process.wait()
    check_finished(launchpad)
    assert launchpad.db[configurations.COLLECTION].distinct("state") == ["labelled"]
    names = launchpad.launches.distinct("fworker.name")
    assert set(names) == {"tiny-local", "tiny-train", "tiny-explore", "tiny-dft"}
    jobs = [launchpad.get_reservation_id_from_fw_id(fw_id) for fw_id in launchpad.get_fw_ids()]
    assert len(set(filter(None, jobs))) == len(list(filter(None, jobs))) > 0
