"""``alpw template``: the four files that FireWorks' own commands read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from monty.serialization import dumpfn

from alpw.cli.common import LaunchpadFile, console, errors_as_exit_status
from alpw.cluster.queue.files import qadapter
from alpw.config.load import load_resource
from alpw.config.resource import ResourceBlock
from alpw.database.access import launchpad_file
from alpw.database.launchpad import read_launchpad_file
from alpw.errors import InputError


def template(
    directory: Annotated[Path, typer.Argument(help="Folder for the files.")] = Path(),
    resource_file: Annotated[
        Path | None, typer.Option("--resource", help="resource.json whose block `dft` describes the queue.")
    ] = None,
    launchpad: LaunchpadFile = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write FW_config.yaml, my_launchpad.yaml, my_fworker.yaml and my_qadapter.yaml with absolute paths.

    `lpad`, `rlaunch` and `qlaunch` started in that folder, or with FW_CONFIG_FILE pointing to its
    FW_config.yaml, then use the same database as `alpw`.

    Example: `alpw template . --resource resource.json`
    """
    with errors_as_exit_status():
        folder = directory.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        block = load_resource(resource_file).dft if resource_file else ResourceBlock()
        source = launchpad_file(launchpad)
        for name, content in _files(folder, source, block).items():
            target = folder / name
            if target.exists() and target == source:
                console.print(f"kept  {target}", soft_wrap=True)
            elif target.exists() and not force:
                raise InputError("exists already; --force replaces it", target)
            else:
                target.touch(mode=0o600)
                dumpfn(content, target)
                console.print(f"wrote {target}", soft_wrap=True)


def _files(folder: Path, source: Path, block: ResourceBlock) -> dict[str, dict[str, Any]]:
    launchpad_target, fworker_target = folder / "my_launchpad.yaml", folder / "my_fworker.yaml"
    (folder / "queue_logs").mkdir(exist_ok=True)
    adapter = qadapter("task", block, launchpad_target, fworker_target, folder / "queue_logs")
    config = {
        "CONFIG_FILE_DIR": str(folder),
        "LAUNCHPAD_LOC": str(launchpad_target),
        "FWORKER_LOC": str(fworker_target),
        "QUEUEADAPTER_LOC": str(folder / "my_qadapter.yaml"),
        "QUEUE_UPDATE_INTERVAL": 1,
        "RAPIDFIRE_SLEEP_SECS": 5,
        "PING_TIME_SECS": 60,
    }
    return {
        "FW_config.yaml": config,
        "my_launchpad.yaml": read_launchpad_file(source),
        "my_fworker.yaml": {"name": "alpw-by-hand", "category": "", "query": "{}", "env": {}},
        "my_qadapter.yaml": adapter,
    }
