"""``alpw template``: the files that FireWorks' own commands read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from monty.serialization import dumpfn

from alpw.cli.common import LaunchpadFile, console, errors_as_exit_status
from alpw.cluster.control import find
from alpw.cluster.queue.files import CONFIG_FILE, fw_config, qadapter, write_queue_files
from alpw.config.commands import command_names
from alpw.config.load import load_init_resource, load_resource
from alpw.config.resource import Resource, ResourceBlock
from alpw.database import campaigns
from alpw.database.access import launchpad_file
from alpw.database.launchpad import FILE_NAME, open_launchpad, read_launchpad_file
from alpw.errors import InputError
from alpw.workflows.firework import LIGHT
from alpw.workflows.launch import inputs_of
from alpw.workflows.launch_init import init_inputs_of


def template(
    directory: Annotated[Path, typer.Argument(help="Folder for the files.")] = Path(),
    resource_file: Annotated[
        Path | None, typer.Option("--resource", help="resource.json whose blocks describe the queues.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option("--campaign", help="Campaign whose Fireworks go to the queues.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", help="Name of a further cluster that works for the campaign too."),
    ] = None,
    launchpad: LaunchpadFile = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write FW_config.yaml, my_launchpad.yaml, my_fworker.yaml and my_qadapter.yaml with absolute paths.

    `lpad`, `rlaunch` and `qlaunch` started in that folder, or with FW_CONFIG_FILE pointing to its
    FW_config.yaml, then use the same database as `alpw`. The adapter is that of the block `dft`. With
    `--campaign` there is an FWorker and an adapter for each block with a queue, as `alpw run` writes them;
    with `--cluster` as well they are for a cluster beside the one that `alpw run` submits to.

    Exit status: 0 written, 1 no database, 2 wrong input.

    Example: `alpw template . --resource resource.json`
    """
    with errors_as_exit_status():
        folder = directory.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        source = launchpad_file(launchpad)
        if campaign is None:
            if cluster is not None:
                raise InputError("works for a campaign; give --campaign too", key="--cluster")
            block = load_resource(resource_file).dft if resource_file else ResourceBlock()
            _write(folder, source, _files(folder, block), force)
            return
        if cluster is not None and not re.fullmatch(r"[\w.-]+", cluster):
            raise InputError(f"{cluster!r} is not a word of letters, digits, -, _ and .", key="--cluster")
        resource = _resource_of(source, campaign, resource_file)
        _write(folder, source, {}, force)
        written = write_queue_files(folder, folder / FILE_NAME, campaign, resource, cluster)
        if not written:
            raise InputError("no block names a queue", resource_file, "queue_name")
        files = [path for block in written.values() for path in block]
        _tell([*files, *([] if cluster else [folder / f"my_fworker_{LIGHT}.yaml"]), folder / CONFIG_FILE])


def _write(folder: Path, source: Path, files: dict[str, dict[str, Any]], force: bool) -> None:
    """my_launchpad.yaml and other files, of which none is replaced unless that is wanted."""
    for name, content in {FILE_NAME: read_launchpad_file(source), **files}.items():
        target = folder / name
        if target.exists() and target == source:
            console.print(f"kept  {target}", soft_wrap=True)
        elif target.exists() and not force:
            raise InputError("exists already; --force replaces it", target)
        else:
            # One of them may hold a password.
            target.touch(mode=0o600)
            dumpfn(content, target)
            _tell([target])


def _tell(paths: Iterable[Path]) -> None:
    for path in paths:
        console.print(f"wrote {path}", soft_wrap=True)


def _resource_of(source: Path, campaign: str, file: Path | None) -> Resource:
    """The resources of another file, or those that the campaign has, with the names of its commands."""
    document = find(open_launchpad(source).db, campaign)
    loops = campaigns.kind(document) == campaigns.ACTIVE_LEARNING
    inputs, resource = inputs_of(document) if loops else init_inputs_of(document)
    if file is not None:
        resource = load_resource(file) if loops else load_init_resource(file)
    return resource.model_copy(update={"commands": command_names(inputs)})


def _files(folder: Path, block: ResourceBlock) -> dict[str, dict[str, Any]]:
    launchpad_target, fworker_target = folder / FILE_NAME, folder / "my_fworker.yaml"
    adapter_target, logs = folder / "my_qadapter.yaml", folder / "queue_logs"
    logs.mkdir(exist_ok=True)
    return {
        CONFIG_FILE: fw_config(folder, launchpad_target, fworker_target, adapter_target),
        "my_fworker.yaml": {"name": "alpw-by-hand", "category": "", "query": "{}", "env": {}},
        "my_qadapter.yaml": qadapter("task", block, launchpad_target, fworker_target, logs),
    }
