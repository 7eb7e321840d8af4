"""The compose file and the images, as far as they can be judged without an engine that runs them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from monty.serialization import loadfn

from alpw.config.load import load_inputs

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
COMPOSE = loadfn(DOCKER / "compose.yaml")
SERVICES = COMPOSE["services"]
LASTING = {name for name, service in SERVICES.items() if "restart" in service}


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_is_root_or_can_become_it(name):
    service = SERVICES[name]
    assert service["user"] not in ("root", "0")
    assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service and "cap_add" not in service and "ports" not in service


def test_what_lasts_tells_whether_it_works_and_others_wait_for_that():
    assert {"mongo", "controller", "node1", "node2"} == LASTING
    assert all(SERVICES[name]["healthcheck"]["test"][0] == "CMD" for name in LASTING)
    for name in ("controller", "node1", "node2"):
        assert SERVICES["demo"]["depends_on"][name]["condition"] == "service_healthy"


def test_passwords_come_from_the_environment_and_reach_only_who_needs_them():
    holders = {}
    for name, service in SERVICES.items():
        for key, value in (service.get("environment") or {}).items():
            if "PASSWORD" in key:
                assert re.fullmatch(r"\$\{\w+:\?.+\}", value), f"{name}: {key} stands in the file"
                holders.setdefault(name, set()).add(re.match(r"\$\{(\w+)", value)[1])
    # What a service that starts jobs has in its environment would be in that of every job.
    assert holders == {"mongo": {"MONGO_ROOT_PASSWORD", "ALPW_DB_PASSWORD"}, "setup": {"ALPW_DB_PASSWORD"}}
    example = (DOCKER / ".env.example").read_text()
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == holders["mongo"]
    assert "/docker/.env\n" in (ROOT / ".gitignore").read_text()


def test_every_volume_and_every_file_is_there():
    for service in SERVICES.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert (DOCKER / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]


def test_the_nodes_of_slurm_are_containers_and_the_demo_asks_for_its_queues():
    slurm = (DOCKER / "slurm.conf").read_text()
    first, last = map(int, re.search(r"^NodeName=node\[(\d)-(\d)\]", slurm, re.MULTILINE).groups())
    nodes = {f"node{number}" for number in range(first, last + 1)}
    assert nodes == {name for name, service in SERVICES.items() if service["command"] == ["node"]}
    assert all(SERVICES[name]["hostname"] == name for name in (*nodes, "controller"))
    _, resource = load_inputs(ROOT / "examples/silicon/short/param.json", DOCKER / "resource.json")
    queues = {block.queue_name for block in (resource.train, resource.explore, resource.dft)}
    assert queues <= set(re.findall(r"^PartitionName=(\w+)", slurm, re.MULTILINE))


def test_what_the_images_copy_is_sent_to_the_builder():
    sent = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    for line in re.findall(r"^COPY (?!--from)(.+)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert source.removeprefix("./") in sent and (ROOT / source).exists()


def test_compose_takes_the_file(tmp_path):
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed")
    (tmp_path / "env").touch()
    passwords = {"MONGO_ROOT_PASSWORD": "one", "ALPW_DB_PASSWORD": "other"}
    command = [program, "-f", DOCKER / "compose.yaml", "--env-file", tmp_path / "env", "config", "--quiet"]
    environment = {"PATH": os.environ["PATH"]}
    taken = subprocess.run(command, env=environment | passwords, capture_output=True, text=True)
    assert taken.returncode == 0, taken.stderr
    missing = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert missing.returncode != 0 and "docker/.env.example" in missing.stderr
