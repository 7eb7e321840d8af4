"""Who else can reach the database, or read its password.

Whoever can write to the database of FireWorks can run code as everybody who works from it: a Firetask is
named in a document and imported by that name.
"""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psutil
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from alpw.database.launchpad import read_launchpad_file
from alpw.database.secrets import has_credentials, server_uri
from alpw.errors import InputError
from alpw.findings import Finding, Severity

#: Milliseconds for a server to answer somebody who has no password.
PATIENCE_MS = 2000


def database_findings(file: Path) -> Iterator[Finding]:
    """Whether the server of a my_launchpad.yaml lets anybody in, and from where."""
    settings = read_launchpad_file(file)
    subject, address = "access", server_uri(settings)
    listening = outward_addresses(address)
    if not lets_anybody_in(settings):
        yield Finding(subject, Severity.OK, f"{address} asks for a password")
    elif listening:
        text = (
            f"{address} listens on {', '.join(listening)} and lets anybody in, who can then run code as you: "
            "switch authentication on (docs/cluster.md, Security), or listen on 127.0.0.1 only"
        )
        yield Finding(subject, Severity.WARN, text)
    else:
        yield Finding(subject, Severity.OK, f"{address} is reached from this machine only")


def lets_anybody_in(settings: Mapping[str, Any]) -> bool:
    """Whether the server answers without the password; without an answer, whether there is no password."""
    address = server_uri(settings)
    try:
        client: MongoClient = MongoClient(
            address, serverSelectionTimeoutMS=PATIENCE_MS, socketTimeoutMS=PATIENCE_MS
        )
    except (PyMongoError, ValueError):
        return not has_credentials(settings)
    try:
        # Unlike a ping this needs rights.
        client[str(settings.get("name") or "fireworks")].fw_id_assigner.find_one({}, {"_id": 1})
        return True
    except PyMongoError as error:
        # It has an answer of its own, such as that a password is missing.
        return not has_credentials(settings) and getattr(error, "code", None) is None
    finally:
        client.close()


def outward_addresses(address: str) -> list[str]:
    """Where other machines can reach a server; empty for a Unix socket and for loopback alone.

    Args:
        address: as `server_uri` gives it. A server on this machine's loopback may listen elsewhere too,
            which the kernel tells.
    """
    hosts = address.partition("://")[2].split("/", 1)[0].split(",")
    if any(unquote(host).startswith("/") for host in hosts):
        return []
    parts = [re.fullmatch(r"(.*?)(?::(\d+))?", host) for host in hosts]
    places = {(part[1].strip("[]"), int(part[2] or 27017)) for part in parts if part}
    if outward := sorted(f"{host}:{port}" for host, port in places if not is_loopback(host)):
        return outward
    ports = {port for _, port in places}
    try:
        sockets = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        # Some systems tell this to nobody but root.
        return []
    listening = [each.laddr for each in sockets if each.status == psutil.CONN_LISTEN]
    return sorted(
        f"{place.ip}:{place.port}" for place in listening if place.port in ports and not is_loopback(place.ip)
    )


def is_loopback(host: str) -> bool:
    """Whether a name or an address leads to this machine and nowhere else."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def file_findings(files: Mapping[Path, str]) -> Iterator[Finding]:
    """Files with secrets that others can read, or that a commit would publish.

    Args:
        files: existing files, and what is secret in each.
    """
    for file, secret in files.items():
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & 0o077:
            text = f"{file} holds {secret} and is open to others (mode {mode:03o}): chmod 600 {file}"
            yield Finding("secrets", Severity.WARN, text)
        if (tree := work_tree(file)) and not is_ignored(file, tree):
            text = f"{file} holds {secret} and lies in the git work tree {tree}: add it to {tree}/.gitignore"
            yield Finding("secrets", Severity.WARN, text)


def launchpad_files(*folders: Path) -> dict[Path, str]:
    """Files in these folders that could be taken for a my_launchpad.yaml, and that hold a password."""
    found = {}
    for folder in folders:
        for file in sorted(folder.glob("*launchpad*")):
            if file.suffix not in (".yaml", ".json") or not file.is_file():
                continue
            try:
                settings = read_launchpad_file(file)
            except InputError:
                continue
            if has_credentials(settings):
                found[file.resolve()] = "the database's password"
    return found


def work_tree(file: Path) -> Path | None:
    """The git work tree that a file lies in."""
    return next((folder for folder in file.resolve().parents if (folder / ".git").exists()), None)


def is_ignored(file: Path, tree: Path) -> bool:
    """Whether git would leave a file out of a commit; False also where git is not installed."""
    if not (git := shutil.which("git")):
        return False
    command = [git, "-C", str(tree), "check-ignore", "--quiet", "--", str(file.resolve())]
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
